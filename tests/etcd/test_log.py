"""One line of etcd's log -> a record -> a line for people."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.etcd.log import Level, parse, render

ZAP = (
    b'{"level":"warn","ts":"2026-11-24T22:39:41.025688Z","logger":"raft","caller":"rafthttp/stream.go:653",'
    b'"msg":"lost TCP streaming connection","local-member-id":"a1","remote-peer-id":"b2","error":"EOF"}'
)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time that is not UTC: five hours behind it."""
    monkeypatch.setenv("TZ", "XXX5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_zap() -> None:
    record = parse(ZAP + b"\n")
    assert record.time == datetime(2026, 11, 24, 22, 39, 41, 25688, UTC)
    assert record.level is Level.WARNING
    assert record.message == "lost TCP streaming connection"
    assert record.fields["error"] == "EOF"
    assert record.fields["logger"] == "raft"
    assert record.raw == ZAP


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b'"2026-11-24T22:39:41.025Z"', datetime(2026, 11, 24, 22, 39, 41, 25000, UTC)),
        (b'"2026-11-24T22:39:41.025+0800"', datetime(2026, 11, 24, 14, 39, 41, 25000, UTC)),
        (b'"2026-11-24T22:39:41.025-07:00"', datetime(2026, 11, 25, 5, 39, 41, 25000, UTC)),
        (b"0.5", datetime(1970, 1, 1, 0, 0, 0, 500000, UTC)),
        (b"1e300", None),
        (b'"yesterday"', None),
        (b"null", None),
    ],
)
def test_timestamps(stamp: bytes, expected: datetime | None) -> None:
    found = parse(b'{"level":"info","ts":' + stamp + b',"msg":"x"}').time
    assert found == expected
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("debug", Level.DEBUG),
        ("warn", Level.WARNING),
        ("dpanic", Level.PANIC),
        ("fatal", Level.FATAL),
        ("?", Level.INFO),
    ],
)
def test_levels(word: str, level: Level) -> None:
    assert parse(f'{{"level":"{word}","msg":"x"}}'.encode()).level is level
    assert Level.DEBUG.rank < level.rank or level is Level.DEBUG


@pytest.mark.usefixtures("zone")
def test_capnslog_is_local_time() -> None:
    record = parse(b"2021-03-04 10:00:00.123456 W | rafthttp: lost the TCP streaming connection")
    assert record.time == datetime(2021, 3, 4, 15, 0, 0, 123456, UTC)
    assert record.level is Level.WARNING
    assert record.message == "rafthttp: lost the TCP streaming connection"


@pytest.mark.usefixtures("zone")
def test_grpc() -> None:
    record = parse(b"WARNING: 2021/03/04 10:00:00 grpc: addrConn.createTransport failed to connect")
    assert record.time == datetime(2021, 3, 4, 15, 0, 0, 0, UTC)
    assert record.level is Level.WARNING
    assert record.message == "grpc: addrConn.createTransport failed to connect"


def test_go_panic_and_its_stack() -> None:
    assert parse(b"panic: failed to open database").level is Level.PANIC
    assert parse(b"fatal error: all goroutines are asleep - deadlock!").level is Level.FATAL
    assert not parse(b"panic: failed to open database").continues
    assert parse(b"goroutine 93 [running]:").continues
    assert not parse(ZAP).continues


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        ZAP[:100],
        b"[1,2]",
        b"\x00\xff\xfe",
        b'{"msg":"\xff"}',
        b'{"a":' * 5000,
        b"x" * 2_000_000,
        b'{"level":1,"ts":{},"msg":[]}',
        b"9999-99-99 10:00:00.1 I | x",
        b"0001-01-01 00:00:00.1 I | x",
    ],
    ids=range(12),
)
def test_nothing_raises(line: bytes) -> None:
    record = parse(line)
    assert record.raw == line.rstrip(b"\n")
    assert render(record).isprintable()


@given(st.binary() | st.binary().map(lambda tail: ZAP[:60] + tail) | st.binary().map(lambda tail: b"{" + tail))
def test_any_bytes(line: bytes) -> None:
    assert render(parse(line)).isprintable()


@pytest.mark.usefixtures("zone")
def test_render() -> None:
    assert render(parse(ZAP)) == "17:39:41.025 WARN  lost TCP streaming connection  error=EOF remote-peer-id=b2"


def test_render_bounds_what_is_long() -> None:
    fields = b",".join(b'"f%d":"%s"' % (number, b"v" * 200) for number in range(20))
    text = render(parse(b'{"level":"info","ts":"2026-11-24T22:39:41.025Z","msg":"x",' + fields + b',"stacktrace":"s"}'))
    assert text.endswith("… 12 more")
    assert len(text) < 1000


def test_render_quotes_and_joins() -> None:
    text = render(
        parse(
            b'{"level":"info","ts":"2026-11-24T22:39:41Z","msg":"x","a":"two words","b":["u","v"],"c":{"d":1},"e":""}'
        )
    )
    assert text.endswith('x  a="two words" b=u,v c="{"d": 1}" e=""')


def test_render_lets_nothing_drive_the_terminal() -> None:
    assert render(parse(b"\tmain.go \x1b[31m")) == "    main.go \\x1b[31m"
