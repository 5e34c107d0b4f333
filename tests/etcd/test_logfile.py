"""Last lines, merged logs and following, on files that are written, rotated and removed under the reader."""

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.etcd import logfile
from etcdlab.etcd.log import Record
from etcdlab.etcd.logfile import LogFiles, Tail, last_lines, read
from etcdlab.etcd.parts import older_part


def zap(second: float, message: str) -> bytes:
    return b'{"level":"info","ts":"2026-11-25T00:00:%09.6fZ","msg":"%s"}\n' % (second, message.encode())


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(lines)


def told(records: Iterator[tuple[str, Record]]) -> list[str]:
    return [f"{name} {record.message}" for name, record in records]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "n1" / "etcd.log"


@pytest.fixture(autouse=True)
def directories(tmp_path: Path) -> None:
    for name in ("n1", "n2"):
        (tmp_path / name).mkdir()


class TestLastLines:
    @pytest.mark.parametrize(
        ("count", "expected"), [(0, []), (1, [b"c\n"]), (2, [b"b\n", b"c\n"]), (9, [b"a\n", b"b\n", b"c\n"])]
    )
    def test_count(self, log: Path, count: int, expected: list[bytes]) -> None:
        append(log, b"a\n", b"b\n", b"c\n")
        assert last_lines(log, count) == expected

    def test_across_rotated_parts(self, log: Path) -> None:
        append(older_part(log, 4), b"a\n", b"b\n")
        append(older_part(log, 7), b"c\n", b"d")
        append(log, b"d\n", b"e\n")
        assert last_lines(log, 4) == [b"b\n", b"c\n", b"dd\n", b"e\n"]

    def test_last_line_without_its_end(self, log: Path) -> None:
        append(log, b"a\n", b"b")
        assert last_lines(log, 2) == [b"a\n", b"b"]

    def test_since_an_offset(self, log: Path) -> None:
        append(older_part(log, 2), b"z\n")
        append(log, b"a\n", b"b\n", b"c\n")
        assert last_lines(log, 9, since=4) == [b"b\n", b"c\n"]
        assert last_lines(log, 1, since=4) == [b"c\n"]
        assert last_lines(log, 9, since=8) == []
        assert last_lines(log, 9, since=0) == [b"z\n", b"a\n", b"b\n", b"c\n"]

    def test_since_a_place_that_is_no_longer_kept(self, log: Path) -> None:
        append(older_part(log, 12), b"a\n")
        append(log, b"b\n")
        assert last_lines(log, 9, since=2) == [b"a\n", b"b\n"]

    def test_since_a_place_of_before_it_was_emptied(self, log: Path) -> None:
        append(log, b"a\n", b"b\n")
        assert last_lines(log, 9, since=99) == [b"a\n", b"b\n"]

    def test_no_file(self, log: Path) -> None:
        assert last_lines(log, 5) == []

    def test_reads_only_the_end(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        append(log, *[b"x" * 99 + b"\n"] * 20_000)
        read_bytes = []

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            read_bytes.append(size)
            return os_pread(descriptor, size, offset)

        os_pread = os.pread
        monkeypatch.setattr(os, "pread", pread)
        assert len(last_lines(log, 100)) == 100
        assert sum(read_bytes) <= 128 * 1024

    @given(content=st.binary(max_size=60), block=st.integers(1, 7), count=st.integers(0, 9))
    def test_any_content_in_any_blocks(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int, count: int
    ) -> None:
        content = content.replace(b"\x00", b"\n")
        log = tmp_path_factory.getbasetemp() / "any.log"
        log.write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logfile, "_BLOCK", block)
            found = last_lines(log, count)
        lines = [line + b"\n" for line in content.split(b"\n")[:-1]] + [
            line for line in content.split(b"\n")[-1:] if line
        ]
        assert found == lines[max(0, len(lines) - count) :]


class TestRead:
    def test_by_time(self, tmp_path: Path, log: Path) -> None:
        append(log, zap(1, "a"), zap(3, "c"), zap(5, "e"))
        append(tmp_path / "n2" / "etcd.log", zap(2, "b"), zap(4, "d"))
        paths = {"n1": log, "n2": tmp_path / "n2" / "etcd.log"}
        assert told(read(paths)) == ["n1 a", "n2 b", "n1 c", "n2 d", "n1 e"]

    def test_by_instant_not_by_text(self, tmp_path: Path, log: Path) -> None:
        append(log, b'{"ts":"2026-11-25T08:00:01+0800","msg":"a"}\n', zap(3, "c"))
        append(tmp_path / "n2" / "etcd.log", zap(2, "b"))
        assert told(read({"n1": log, "n2": tmp_path / "n2" / "etcd.log"})) == ["n1 a", "n2 b", "n1 c"]

    def test_a_stack_stays_with_its_panic(self, tmp_path: Path, log: Path) -> None:
        append(log, zap(1, "boom"), b"panic: boom\n", b"\n", b"goroutine 1 [running]:\n", zap(3, "again"))
        append(tmp_path / "n2" / "etcd.log", zap(1, "x"), zap(2, "y"))
        paths = {"n1": log, "n2": tmp_path / "n2" / "etcd.log"}
        assert told(read(paths)) == [
            "n1 boom", "n1 panic: boom", "n1 ", "n1 goroutine 1 [running]:", "n2 x", "n2 y", "n1 again",
        ]  # fmt: skip

    def test_count_is_for_each_member(self, tmp_path: Path, log: Path) -> None:
        append(log, zap(1, "a"), zap(2, "b"))
        append(tmp_path / "n2" / "etcd.log", zap(3, "c"), zap(4, "d"))
        assert told(read({"n1": log, "n2": tmp_path / "n2" / "etcd.log"}, 1)) == ["n1 b", "n2 d"]

    def test_all_of_the_rotated_parts(self, log: Path) -> None:
        append(older_part(log, len(zap(1, "a"))), zap(1, "a"))
        append(log, zap(2, "b"))
        assert told(read({"n1": log, "n2": log.with_name("none")})) == ["n1 a", "n1 b"]


@pytest.fixture(params=["inotify", "polling"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to wait; where there is no inotify, both are polling."""
    if request.param == "polling":
        monkeypatch.setattr(logfile, "_inotify", lambda directories: None)
        monkeypatch.setattr(logfile, "POLL_S", 0.001)


Step = Callable[[], object]


def follow_while(paths: Mapping[str, Path], steps: list[Step], count: int | None = 0) -> list[str]:
    """Everything told while `steps` are done, each when the follower would next wait; then the directories go.

    Done in place of waiting, so that every step meets a follower that has seen all before it.
    """
    real = logfile._watch

    def act_then_wait(directories):  # type: ignore[no-untyped-def]
        directories = set(directories)

        class Watch:
            def __enter__(self) -> Step:
                self.inner = real(directories)
                wait = self.inner.__enter__()

                def step_then_wait(bound_s) -> None:
                    if steps:
                        steps.pop(0)()
                    else:
                        for directory in directories:
                            shutil.rmtree(directory)
                    wait(bound_s)

                return step_then_wait

            def __exit__(self, *details: object) -> None:
                self.inner.__exit__(None, None, None)

        return Watch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "_watch", act_then_wait)
        with LogFiles(paths) as logs:
            return told(itertools.chain(logs.history(count), logs.arrivals()))


@pytest.mark.usefixtures("waiting")
class TestFollow:
    def test_history_then_what_comes(self, log: Path) -> None:
        append(log, zap(1, "a"), zap(2, "b"), zap(3, "c"))
        steps: list[Step] = [lambda: append(log, zap(4, "d")), lambda: append(log, zap(5, "e"), zap(6, "f"))]
        assert follow_while({"n1": log}, steps, 2) == ["n1 b", "n1 c", "n1 d", "n1 e", "n1 f"]

    def test_arrival_order_between_members(self, tmp_path: Path, log: Path) -> None:
        other = tmp_path / "n2" / "etcd.log"
        steps: list[Step] = [lambda: append(other, zap(9, "late")), lambda: append(log, zap(1, "early"))]
        assert follow_while({"n1": log, "n2": other}, steps) == ["n2 late", "n1 early"]

    def test_half_a_line_waits_for_its_end(self, log: Path) -> None:
        line = zap(1, "whole")
        append(log, line[:10])
        steps: list[Step] = [lambda: append(log, line[10:20]), lambda: append(log, line[20:])]
        assert follow_while({"n1": log}, steps) == ["n1 whole"]

    def test_a_line_longer_than_a_read(self, log: Path) -> None:
        message = "x" * 1_000_000
        assert follow_while({"n1": log}, [lambda: append(log, zap(1, message))]) == [f"n1 {message}"]

    def test_truncated(self, log: Path) -> None:
        append(log, *[zap(1, "old")] * 10)

        def rotate() -> None:
            shutil.copy(log, log.with_name("etcd.log.1"))
            os.truncate(log, 0)

        steps: list[Step] = [lambda: append(log, zap(2, "a")), rotate, lambda: append(log, zap(3, "b"))]
        assert follow_while({"n1": log}, steps) == ["n1 a", "n1 b"]

    def test_renamed(self, log: Path) -> None:
        append(log, zap(1, "old"))

        def rotate() -> None:
            append(log, zap(2, "a"), b"cut sho")
            log.rename(log.with_name("etcd.log.1"))
            append(log, zap(3, "b"))

        assert follow_while({"n1": log}, [rotate]) == ["n1 a", "n1 cut sho", "n1 b"]

    def test_a_log_that_is_not_there_yet(self, log: Path) -> None:
        assert follow_while({"n1": log}, [lambda: append(log, zap(1, "a"))]) == ["n1 a"]

    def test_ends_when_the_lab_is_removed(self, log: Path) -> None:
        assert follow_while({"n1": log}, []) == []


def test_polls_where_a_directory_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One missing directory must not leave the others unwatched."""
    monkeypatch.setattr(logfile, "POLL_S", 0.001)
    log = tmp_path / "n1" / "etcd.log"
    paths = {"n1": log, "gone": tmp_path / "gone" / "etcd.log"}
    append(log, zap(1, "a"))
    with LogFiles(paths) as logs:
        arriving = logs.arrivals()
        append(log, zap(2, "b"))
        assert next(arriving)[1].message == "b"
        append(log, zap(3, "c"))
        assert next(arriving)[1].message == "c"


def test_an_abandoned_follower_closes_its_files(log: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with LogFiles({"n1": log}) as logs:
        append(log, zap(1, "a"))
        arriving = logs.arrivals()
        next(arriving)
        arriving.close()
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.usefixtures("waiting")
def test_following_may_be_bounded(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_bytes(b"old\n")
    with contextlib.closing(Tail(log)) as tail:
        log.write_bytes(b"old\nnew\n")
        assert list(logfile.arrivals({"n1": tail}, deadline=time.monotonic() + 0.05)) == [{"n1": [b"new"]}]


@pytest.mark.parametrize(
    ("start", "told"), [(0, [b"one\n", b"two\n"]), (4, [b"two\n"]), (8, []), (99, [b"one\n", b"two\n"])]
)
def test_what_was_there_since_a_byte(tmp_path: Path, start: int, told: list[bytes]) -> None:
    log = tmp_path / "etcd.log"
    log.write_bytes(b"one\ntwo\nhal")
    with contextlib.closing(Tail(log)) as tail:
        assert list(tail.history_since(start)) == told
