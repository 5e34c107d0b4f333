"""Which process it is, and that signals reach it and no other. With real children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from etcdlab.prepare import process as module
from etcdlab.prepare.process import (
    ANNOUNCEMENT,
    RECORD,
    Announcement,
    ProcessIdentity,
    ProcessRecord,
    identify,
    is_alive,
    send_signal,
)

Child = subprocess.Popen[bytes]


@pytest.fixture
def child() -> Iterator[Child]:
    """A child that runs until its input ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
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


def test_a_record_is_found_again_while_its_process_runs(child: Child, tmp_path: Path) -> None:
    assert ProcessRecord.of_living(tmp_path) is None
    record = record_of(identified(child))
    record.save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) == record
    assert (tmp_path / RECORD).stat().st_mode & 0o777 == 0o600
    make_zombie(child)
    assert ProcessRecord.of_living(tmp_path) is None


def test_one_that_was_announced_and_not_recorded_is_looked_for(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", str(tmp_path))
    Announcement(argv=argv, spawned_s=1.5, log_start=42).save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) is None
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs what it was given
        assert ProcessRecord.of_living(tmp_path) == record_of(identified(process))
        record_of(identified(process)).save(tmp_path)
        assert not (tmp_path / ANNOUNCEMENT).exists()
        assert ProcessRecord.of_living(tmp_path) == record_of(identified(process))


def test_a_record_of_an_earlier_boot_is_of_no_process(child: Child, tmp_path: Path) -> None:
    record_of(msgspec.structs.replace(identified(child), boot="0" * 36)).save(tmp_path)
    assert ProcessRecord.of_living(tmp_path) is None


def test_a_torn_record_is_none(child: Child, tmp_path: Path) -> None:
    record_of(identified(child)).save(tmp_path)
    whole = (tmp_path / RECORD).read_bytes()
    for content in (*(whole[:length] for length in range(len(whole))), b"\xff\xfe", b"[]", b'{"identity":{"pid":"x"}}'):
        (tmp_path / RECORD).write_bytes(content)
        assert ProcessRecord.of_living(tmp_path) is None
    (tmp_path / RECORD).unlink()
    (tmp_path / RECORD).mkdir()
    assert ProcessRecord.of_living(tmp_path) is None
