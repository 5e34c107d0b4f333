"""Which process is it: a pid with the start time and boot that make it unique, and signals that cannot go astray.

Pids are reused; nothing here acts on a pid whose start time differs from the one recorded.
"""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from etcdlab.prepare.labdir import replace_file

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

    `spawned_s` is the system's monotonic clock; `log_start` the size in bytes of the member's log at the spawn.
    """

    identity: ProcessIdentity
    spawned_s: float
    log_start: int

    def save(self, directory: Path) -> None:
        """Write the record, atomically, in place of the announcement.

        A crash of the machine voids it anyway: `boot` is then another.
        """
        replace_file(directory / RECORD, msgspec.json.encode(self), durable=False)
        (directory / ANNOUNCEMENT).unlink(missing_ok=True)

    @classmethod
    def of_living(cls, directory: Path) -> Self | None:
        """The record of a process that still runs; None when there is none, or none that can be read.

        One that was announced and not recorded, since its daemon was killed between the two, is looked for.
        """
        record = _read(directory / RECORD, cls)
        if record is not None and is_alive(record.identity):
            return record
        announced = _read(directory / ANNOUNCEMENT, Announcement)
        if announced is not None and (identity := _find(announced.argv)):
            return cls(identity=identity, spawned_s=announced.spawned_s, log_start=announced.log_start)
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the live process with this pid; None when there is none (a zombie is none)."""
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
        stat = _stat(pid)
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
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


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
    except (OSError, msgspec.DecodeError):
        return None


def _find(argv: Sequence[str]) -> ProcessIdentity | None:
    """The process with this command line."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == list(argv):
            return identify(process.pid)
    return None


def _stat(pid: int) -> list[bytes] | None:
    """The fields of `/proc/PID/stat` from the state on: the name before it may hold anything."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return stat[stat.rindex(b")") + 2 :].split()


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
