"""Which process it is, and that signals reach it and no other. With real children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import LabStateError
from etcdlab.prepare import process as module
from etcdlab.prepare.process import (
    ANNOUNCEMENT,
    RECORD,
    Announcement,
    ProcessIdentity,
    ProcessRecord,
    consumption,
    identify,
    is_alive,
    is_stopped,
    send_signal,
)
from tests.damage import damaged
from tests.plans import member_argv

Child = subprocess.Popen[bytes]
WAIT = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def child() -> Iterator[Child]:
    """A child that runs until its input ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Child]:
    """One with the command line of the member whose directory is `tmp_path`."""
    yield from running_member(tmp_path)


def running_member(node: Path, *more: str, cwd: Path | None = None) -> Iterator[Child]:
    argv = [sys.executable, "-Sc", WAIT, *(more or member_argv(node))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def identified(process: Child) -> ProcessIdentity:
    identity = identify(process.pid)
    assert identity is not None
    return identity


def make_zombie(process: Child) -> None:
    """End the child without reaping it."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def record_of(identity: ProcessIdentity) -> ProcessRecord:
    return ProcessRecord(identity=identity, spawned_s=1.5, log_start=42)


def test_a_process_stays_the_same(child: Child) -> None:
    identity = identified(child)
    assert identity.pid == child.pid
    assert identify(child.pid) == identity
    assert is_alive(identity)
    assert identify(os.getpid()) != identity


def test_a_zombie_is_not_alive(child: Child) -> None:
    identity = identified(child)
    make_zombie(child)
    assert identify(child.pid) is None
    assert not is_alive(identity)
    assert not send_signal(identity, signal.SIGTERM)


def test_a_reaped_process_is_not_alive(child: Child) -> None:
    identity = identified(child)
    child.kill()
    child.wait()
    assert not is_alive(identity)
    assert not send_signal(identity, signal.SIGTERM)


def test_a_signal_arrives(child: Child) -> None:
    assert send_signal(identified(child), signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM


def test_a_stopped_process_is_alive(child: Child) -> None:
    identity = identified(child)
    assert send_signal(identity, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert is_alive(identity)
    assert send_signal(identity, signal.SIGCONT)


@pytest.mark.parametrize("field", ["start_time", "boot"])
def test_another_process_with_the_same_pid_gets_no_signal(child: Child, field: str) -> None:
    identity = identified(child)
    reused = msgspec.structs.replace(identity, **{field: {"start_time": identity.start_time - 1, "boot": "b"}[field]})
    assert not is_alive(reused)
    assert not send_signal(reused, signal.SIGKILL)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait() == 0, "it ended by itself"


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")
def test_a_process_that_ends_while_it_is_looked_at_gets_no_signal(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pid may be another's by the time of the signal: the descriptor was opened before the look."""
    identity = identified(child)

    def ends_now(_: ProcessIdentity) -> bool:
        child.kill()
        child.wait()
        return True

    monkeypatch.setattr(module, "is_alive", ends_now)
    assert not send_signal(identity, signal.SIGTERM)


def test_no_descriptor_is_left_open(child: Child) -> None:
    identity = identified(child)
    before = set(Path("/dev/fd").iterdir())
    send_signal(identity, signal.SIGCONT)
    send_signal(msgspec.structs.replace(identity, start_time=0), signal.SIGCONT)
    assert set(Path("/dev/fd").iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_name_with_blanks_and_brackets_does_not_shift_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        identity = identified(process)
        clock = time.clock_gettime(time.CLOCK_BOOTTIME)
        ticks = os.sysconf("SC_CLK_TCK")
        assert clock - 60 < identity.start_time / ticks <= clock
        assert process.stdin is not None
        process.stdin.close()


def test_there_is_no_such_process() -> None:
    assert identify(2**22 + 1) is None


def test_a_record_is_found_again_while_its_process_runs(member: Child, tmp_path: Path) -> None:
    assert ProcessRecord.of_living(tmp_path) is None
    record = record_of(identified(member))
    record.save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) == record
    assert (tmp_path / RECORD).stat().st_mode & 0o777 == 0o600
    make_zombie(member)
    assert ProcessRecord.of_living(tmp_path) is None


def test_a_record_of_a_process_that_is_no_member_is_not_believed(child: Child, tmp_path: Path) -> None:
    """Not although pid, start time and boot are right."""
    for pid in (child.pid, os.getpid(), 1):
        identity = identify(pid)
        assert identity is not None
        record_of(identity).save(tmp_path)
        assert ProcessRecord.of_living(tmp_path) is None


def test_a_record_that_was_copied_from_another_member_is_not_believed(member: Child, tmp_path: Path) -> None:
    copied = tmp_path / "n2"
    copied.mkdir()
    record_of(identified(member)).save(copied)
    assert ProcessRecord.of_living(copied) is None


def test_a_member_with_its_data_elsewhere_is_known_by_where_it_works(tmp_path: Path) -> None:
    node = tmp_path / "n1"
    node.mkdir()
    with contextmanager(running_member)(node, *member_argv(Path("/elsewhere")), cwd=node) as process:
        record_of(identified(process)).save(node)
        assert ProcessRecord.of_living(node) == record_of(identified(process))
        node = node.rename(tmp_path / "moved")
        assert ProcessRecord.of_living(node) == record_of(identified(process))


@pytest.mark.parametrize("lost", ["torn", "gone", "another's"])
def test_a_member_whose_record_was_lost_is_looked_for(member: Child, tmp_path: Path, lost: str) -> None:
    if lost == "torn":
        (tmp_path / RECORD).write_bytes(b'{"identity":')
    elif lost == "another's":
        identity = identify(os.getpid())
        assert identity is not None
        record_of(identity).save(tmp_path)
    else:
        assert ProcessRecord.of_living(tmp_path) is None, "one that never ran is not looked for"
        (tmp_path / "data" / "member").mkdir(parents=True)
    found = ProcessRecord.of_living(tmp_path)
    assert found is not None
    assert found.identity == identified(member)
    assert time.monotonic() - 60 < found.spawned_s <= time.monotonic()
    make_zombie(member)
    assert ProcessRecord.of_living(tmp_path) is None


def test_one_that_was_announced_and_not_recorded_is_looked_for(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", WAIT, *member_argv(tmp_path))
    Announcement(argv=argv, spawned_s=1.5, log_start=42).save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) is None
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs what it was given
        assert ProcessRecord.of_living(tmp_path) == record_of(identified(process))
        record_of(identified(process)).save(tmp_path)
        assert not (tmp_path / ANNOUNCEMENT).exists()
        assert ProcessRecord.of_living(tmp_path) == record_of(identified(process))


def test_a_record_of_an_earlier_boot_is_of_no_process(member: Child, tmp_path: Path) -> None:
    record_of(msgspec.structs.replace(identified(member), boot="0" * 36)).save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) is None


def test_damaged_records_are_of_no_process(member: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut anywhere or with any byte flipped, and nothing is found instead: never another process."""
    monkeypatch.setattr(module, "_find", lambda accept: None)
    record = record_of(identified(member))
    for save, path in (
        (record.save, tmp_path / RECORD),
        (Announcement(argv=("a",), spawned_s=1.5, log_start=42).save, tmp_path / ANNOUNCEMENT),
    ):
        save(tmp_path)
        for content in damaged(path.read_bytes()):
            path.write_bytes(content)
            found = ProcessRecord.of_living(tmp_path)
            assert found is None or found.identity == record.identity
        path.unlink()
        path.mkdir()
        assert ProcessRecord.of_living(tmp_path) is None
        path.rmdir()


def test_a_frozen_process_is_told_from_one_that_runs(child):
    identity = identified(child)
    assert not is_stopped(identity)
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(identity)


class TestOfAMachineThatTellsNothing:
    def test_a_process_that_cannot_be_looked_at_for_want_of_descriptors_is_not_taken_for_dead(self, monkeypatch):
        def none_left(path: Path) -> bytes:
            raise OSError(24, "Too many open files")

        identity = identify(os.getpid())
        assert identity is not None
        monkeypatch.setattr(Path, "read_bytes", none_left)
        with pytest.raises(OSError, match="Too many"):
            is_alive(identity)
        assert consumption(os.getpid()) is None

    def test_without_proc_it_says_what_is_missing(self, monkeypatch):
        def no_proc(path: Path) -> bytes:
            raise FileNotFoundError(2, "No such file or directory")

        monkeypatch.setattr(Path, "read_bytes", no_proc)
        monkeypatch.setattr(os.path, "exists", lambda _: False)
        with pytest.raises(LabStateError, match="/proc cannot be read"):
            identify(os.getpid())
