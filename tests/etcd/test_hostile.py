"""etcd's log may hold anything at all: it is read within bounds, and nothing of it drives the terminal."""

import contextlib
import json
import tracemalloc
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.etcd import api, death, logfile
from etcdlab.etcd.log import LogLine, parse, render
from etcdlab.etcd.logfile import LONGEST_LINE, Tail, last_lines, read
from tests import hostile
from tests.examples import examples

NAMES = st.sampled_from(["level", "ts", "msg", "error", "caller", "local-member-cluster-id", "port"]) | hostile.text
TIMES = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "2026-02-30T00:00:00Z", "0000-00-00", "T", 1e308]
records = st.dictionaries(NAMES, st.sampled_from(TIMES) | hostile.json_values, max_size=6)
zap_lines = records.map(lambda record: json.dumps(record).encode())
go_lines = st.tuples(
    st.sampled_from([b"panic: ", b"fatal error: ", b"", b"9999-99-99 00:00:00.0 C | ", b"0001/01/01 00:00:00 "]),
    hostile.text.map(lambda text: text.encode()) | st.binary(max_size=50),
).map(b"".join)
lines = zap_lines | go_lines | st.binary(max_size=200)


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "America/Adak"])
def zone(request, monkeypatch):
    import time

    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@examples(100)
@given(line=lines)
def test_any_line_is_shown_on_one_line_and_drives_nothing(zone, line):
    record = parse(line)
    shown = render(record)
    assert "\n" not in shown
    assert not hostile.drives_a_terminal(shown)
    msgspec.json.encode(LogLine.of("n1", record))


@examples(100)
@given(st.lists(lines, max_size=5), st.none() | st.integers(-64, 255))
def test_any_last_words_are_explained(last, code):
    explanation = death.why(code=code, lines=last, requested=False)
    assert not hostile.drives_a_terminal(explanation.detail + explanation.remedy)


@pytest.mark.parametrize("depth", [100, 990, 1100, 100_000])
def test_a_line_may_be_nested_ever_so_deep(depth):
    record = parse(b'{"level":"error","ts":1,"msg":"x","error":%s}' % hostile.nested(depth))
    assert render(record)
    assert msgspec.json.encode(LogLine.of("n1", record))


def test_a_long_last_word_is_judged_by_its_start_alone():
    words = b"panic: " + b"wal " * 100_000  # for a rule that looks from every "wal" to the end: minutes
    assert len(death.why(code=2, lines=[words], requested=False).detail) < 10_000


def write_long_line(path: Path, size: int) -> None:
    with path.open("ab") as file:
        for _ in range(size >> 20):
            file.write(b"x" * 2**20)


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path):
    log = tmp_path / "etcd.log"
    log.touch()
    size, pieces = 32 * 2**20, 0
    with closing(Tail(log)) as tail:
        write_long_line(log, size)
        tracemalloc.start()
        while new := tail.new_lines():
            pieces += sum(map(len, new))
        _, followed = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with closing(Tail(log)) as late:
            assert late.new_lines()
        assert len(last_lines(log, 1)[0]) <= 2 * LONGEST_LINE
        _, looked_back = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert size - pieces <= LONGEST_LINE
    assert followed < 6 * LONGEST_LINE
    assert looked_back < 6 * LONGEST_LINE


def test_the_last_lines_are_bounded_together(tmp_path):
    log = tmp_path / "etcd.log"
    write_long_line(log, 32 * 2**20)
    assert 0 < sum(map(len, last_lines(log, 1000))) <= logfile.LAST_BYTES
    assert 0 < sum(map(len, last_lines(log, 1000, since=1))) <= logfile.LAST_BYTES


def test_what_is_shown_of_it_does_not_either(tmp_path):
    log = tmp_path / "etcd.log"
    write_long_line(log, 64 * 2**20)
    tracemalloc.start()
    total = sum(len(record.raw) for _, record in read({"n1": log}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 64 * 2**20
    assert peak < 20 * LONGEST_LINE


@examples(60)
@given(st.binary(max_size=400), st.integers(1, 20))
def test_a_piece_is_lost_nowhere(tmp_path, content, longest):
    log = tmp_path / "etcd.log"
    log.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "LONGEST_LINE", longest)
        patch.setattr(logfile, "_BLOCK", 7)
        with closing(Tail(log)) as tail:
            log.write_bytes(content + b"\n")
            assert b"".join(tail.new_lines()) == content.replace(b"\n", b"")
        assert b"".join(last_lines(log, 1000)) == content + b"\n"
        assert b"".join(record.raw for _, record in read({"n1": log})).replace(b"\r", b"") == content.translate(
            None, b"\r\n"
        )


KINDS = st.sampled_from([api.Health, api.MemberStatus, api.MemberList, api.MemberAdded, api.LeaseList, api.AlarmList])
FIELDS = ["health", "header", "cluster_id", "dbSize", "leader", "members", "ID", "leases", "code", "message", "alarms"]
answers = st.recursive(
    hostile.json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())


@examples(150)
@given(st.sampled_from([200, 200, 400, 503]), answers | st.binary(max_size=100), KINDS)
def test_any_answer_is_read_or_refused(status, body, kind):
    with contextlib.suppress(api.GatewayError):
        msgspec.json.encode(api.decode(status, body, kind))


def test_of_a_refusal_as_much_is_passed_on_as_a_person_reads():
    with pytest.raises(api.GatewayError) as caught:
        api.decode(500, b'{"code":2,"message":"%s"}' % (b"x" * 2**20), api.Health)
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("status", [200, 500])
def test_a_deep_answer_is_refused(status):
    with pytest.raises(api.GatewayError):
        api.decode(status, b'{"code":1,"message":"x","y":%s}' % hostile.nested(100_000), api.Health)
