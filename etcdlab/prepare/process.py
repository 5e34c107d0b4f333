"""Which process is it: a pid with the start time and boot that make it unique, and signals that cannot go astray.

Pids are reused; nothing here acts on a pid whose start time differs from the one recorded. And records can be wrong
(copied along with a directory, restored from a backup): a process is a member only if its command line says so too.
"""

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from etcdlab.errors import LabStateError, is_exhaustion
from etcdlab.prepare.files import replace_file

RECORD: Final = "process.json"
ANNOUNCEMENT: Final = "spawning.json"
_Record = TypeVar("_Record", bound=msgspec.Struct)
# Where proc(5)'s fields of stat are, counted from the state, which is its field 3.
_STATE: Final = 0
_UTIME: Final = 11
_STIME: Final = 12
_STARTTIME: Final = 19
_RSS: Final = 21


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One process for ever: `start_time` is in the system's own ticks since `boot`, immune to clock changes."""

    pid: int
    start_time: int
    boot: str


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """`spawning.json`: what is about to be started. No other process has its arguments: they name ports and data."""

    argv: tuple[str, ...]
    spawned_s: float
    log_start: int

    def save(self, directory: Path) -> None:
        """Write it, atomically."""
        replace_file(directory / ANNOUNCEMENT, msgspec.json.encode(self), durable=False)


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`process.json` in a member's directory: what it takes to find, end or adopt an incarnation.

    `spawned_s` is the system's monotonic clock; `log_start` the place in the member's log, in bytes, of
    what it wrote.
    `was_ended` says that somebody ended it on purpose while there was no daemon to journal it.
    """

    identity: ProcessIdentity
    spawned_s: float
    log_start: int
    was_ended: bool = False

    def save(self, directory: Path) -> None:
        """Write the record, atomically, in place of the announcement.

        A crash of the machine voids it anyway: `boot` is then another.
        """
        replace_file(directory / RECORD, msgspec.json.encode(self), durable=False)
        (directory / ANNOUNCEMENT).unlink(missing_ok=True)

    @staticmethod
    def forget(directory: Path) -> None:
        """Have the member, which cannot be recorded, found by its command line, and not taken for one before it."""
        (directory / RECORD).unlink(missing_ok=True)

    @classmethod
    def last(cls, directory: Path) -> Self | None:
        """The newest record, whether or not its process still runs; None when there is none that can be read."""
        return _read(directory / RECORD, cls)

    @classmethod
    def of_living(cls, directory: Path) -> Self | None:
        """The record of this directory's member if it runs, else None.

        One that was announced and not recorded, since its daemon was killed between the two, is looked for; so is one
        that has run before and has no record that can be read, or one of a process that is no member.
        """
        record = cls.last(directory)
        if record is not None and is_alive(record.identity):
            if is_member(record.identity.pid, directory):
                return record
            record = None  # it says what was never so
        announced = _read(directory / ANNOUNCEMENT, Announcement)
        if announced is not None and (identity := _find(lambda pid, argv: argv == list(announced.argv))):
            return cls(identity=identity, spawned_s=announced.spawned_s, log_start=announced.log_start)
        is_lost = record is None and ((directory / RECORD).exists() or (directory / "data" / "member").exists())
        if is_lost and (identity := _find(lambda pid, argv: is_member(pid, directory, argv))):
            return cls(identity=identity, spawned_s=_began(identity.pid), log_start=0)
        return None


def data_directory(argv: Sequence[str]) -> Path | None:
    """Where a process with this command line keeps its data, if it is a member as etcdlab starts them."""
    prefix = "--data-dir="
    if not any(argument.startswith("--listen-peer-urls=") for argument in argv):
        return None
    return next((Path(argument.removeprefix(prefix)) for argument in argv if argument.startswith(prefix)), None)


def is_member(pid: int, directory: Path, argv: Sequence[str] | None = None) -> bool:
    """Whether a process is the member whose directory this is: started as one, with its data or its work in there."""
    data = data_directory(_command_line(pid) if argv is None else argv)
    return data is not None and (data.parent == directory or _works_in(pid, directory))


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the live process with this pid; None when there is none (a zombie is none).

    Raises OSError for want of descriptors, LabStateError where nothing is known of any process.
    """
    if sys.platform == "linux":
        stat = _stat(pid)
        if stat is None or stat[_STATE] in (b"Z", b"X"):
            return None
        return ProcessIdentity(pid=pid, start_time=int(stat[_STARTTIME]), boot=_boot_id())
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return ProcessIdentity(pid=pid, start_time=int(process.create_time() * 1e6), boot="")
    except psutil.Error:
        return None


def consumption(pid: int) -> tuple[float, int] | None:
    """What a process has used: CPU seconds so far and resident bytes now; None when it is gone or not ours to see."""
    if sys.platform == "linux":  # not psutil, whose import would delay the end of every boot by 25 ms
        try:
            stat = _stat(pid)
        except OSError:
            return None
        if stat is None:
            return None
        cpu_s = (int(stat[_UTIME]) + int(stat[_STIME])) / os.sysconf("SC_CLK_TCK")
        return cpu_s, int(stat[_RSS]) * os.sysconf("SC_PAGE_SIZE")
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return None


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs. Raises as `identify`."""
    return identify(identity.pid) == identity


def is_stopped(identity: ProcessIdentity) -> bool:
    """Whether a process is frozen by SIGSTOP."""
    if sys.platform == "linux":
        stat = _stat(identity.pid)
        return stat is not None and stat[_STATE] == b"T"
    import psutil

    try:
        return bool(psutil.Process(identity.pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone. Raises PermissionError as `os.kill` does."""
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return False
        try:
            # The descriptor pins the process: if the identity matches now, the signal cannot reach another.
            if not is_alive(identity):
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True
    if is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)
            return True
    return False


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _find(accept: Callable[[int, list[str]], bool]) -> ProcessIdentity | None:
    """The process whose pid and command line are accepted."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if accept(process.pid, process.info["cmdline"] or []):
            return identify(process.pid)
    return None


def _command_line(pid: int) -> list[str]:
    """A process's arguments; none when it is gone or not ours to see."""
    if sys.platform == "linux":  # not psutil, whose import an `up` that adopts would wait for
        try:
            return [os.fsdecode(part) for part in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        except OSError:
            return []
    import psutil

    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def _works_in(pid: int, directory: Path) -> bool:
    """Whether this is the working directory of a process, by whatever path: it may have been moved since."""
    try:
        if sys.platform == "linux":
            return Path(f"/proc/{pid}/cwd").samefile(directory)
    except OSError:
        return False
    import psutil

    try:
        return directory.samefile(psutil.Process(pid).cwd())
    except (OSError, psutil.Error):
        return False


def _began(pid: int) -> float:
    """When a process was started, on the monotonic clock; now, if it has ended."""
    import psutil

    try:
        return time.monotonic() - (time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return time.monotonic()


def _stat(pid: int) -> list[bytes] | None:
    """The fields of `/proc/PID/stat` from the state on: the name before it may hold anything.

    None when there is no such process, or it is not ours to see. Raises OSError when it cannot be looked at for want of
    descriptors, LabStateError when no process can be.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError as error:
        if is_exhaustion(error):  # which says nothing of the process
            raise
        if not os.path.exists("/proc/self"):  # noqa: PTH110
            raise _no_proc() from None
        return None
    return stat[stat.rindex(b")") + 2 :].split()


def _no_proc() -> LabStateError:
    return LabStateError(
        "/proc cannot be read here: without it no process can be told from another, and none is started or ended",
        hint="Mount it (`mount -t proc proc /proc`), or have the container give it.",
    )


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
