"""One member's process: spawned here, or adopted from a daemon that died. Both can be waited for and signalled.

A member outlives its daemon: its output goes to a file, it leads its own session, and nothing here kills it when a
task is cancelled. Decision and measurements: CONTRIBUTING.md, "Members outlive the daemon".
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

from etcdlab.errors import LabStateError
from etcdlab.etcd.environment import clean
from etcdlab.prepare.process import ProcessIdentity, identify, is_alive, send_signal

LOG_MODE: Final = 0o600
POLL_S: Final = 0.1
"""Seconds between looks at an adopted process where there is no pidfd to be had (macOS)."""


class MemberProcess(Protocol):
    """A running member."""

    identity: ProcessIdentity

    async def wait(self) -> int | None:
        """Wait for the end: the exit code as in `subprocess`, or None when it cannot be known."""

    def signal(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it is already gone."""


class ChildProcess:
    """A process that this daemon started."""

    def __init__(self, process: trio.Process, identity: ProcessIdentity) -> None:
        self._process = process
        self.identity = identity

    async def wait(self) -> int:
        """Wait for the end and reap it."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Signal it: nobody else has its pid before we have reaped it, so that takes no descriptor."""
        self._process.send_signal(number)


class AdoptedProcess:
    """A process that an earlier daemon of this lab started. Its parent reaps it, so its exit code stays unknown."""

    def __init__(self, identity: ProcessIdentity) -> None:
        self.identity = identity
        self._descriptor: int | None = None  # while it is waited for

    async def wait(self) -> None:
        """Wait for the end: at once on Linux (pidfd), within POLL_S elsewhere."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # it is gone, or no descriptor is to be had
                descriptor = os.pidfd_open(self.identity.pid)
                try:
                    if is_alive(self.identity):
                        self._descriptor = descriptor
                        await trio.lowlevel.wait_readable(descriptor)
                finally:
                    self._descriptor = None
                    os.close(descriptor)
        while self._may_live():  # noqa: ASYNC110 - the system has nothing to wait for
            await trio.sleep(POLL_S)

    def signal(self, number: signal.Signals) -> None:
        """Signal exactly this process."""
        if self._descriptor is None:
            send_signal(self.identity, number)
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def _may_live(self) -> bool:
        try:
            return is_alive(self.identity)
        except OSError:  # nothing can be looked at, for want of descriptors
            return True


def have_disk_full(identity: ProcessIdentity | None, is_full: bool) -> None:
    """Have a process (None: there is none yet) write to no file any more, or to all again.

    Raises LabStateError where the system cannot do that.

    A limit of zero for the size of files refuses what a disk without space refuses, at the same places of etcd's code,
    but for one word ("file too large"). It needs no right, concerns this process alone, and can be taken back. The
    signal that comes with it, SIGXFSZ, does nothing in Go (1.16 to 1.24; etcd 3.4.23 to 3.5.30 ends with status 1).
    """
    if sys.platform != "linux":
        raise LabStateError(
            "the disk of a member can be full on Linux alone",
            hint="This system cannot limit the files of a process that runs.",
        )
    if identity is not None and is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            _, most = resource.prlimit(identity.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(identity.pid, resource.RLIMIT_FSIZE, (0 if is_full else most, most))


async def spawn(argv: Sequence[str], *, env: Mapping[str, str], directory: Path, log: Path) -> ChildProcess:
    """Start a member with its output appended to `log`. Raises OSError when the binary cannot be run."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, LOG_MODE)
    try:
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=directory,
            env=clean(os.environ) | dict(env),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)  # before the next is needed: there may be no more
    # An exited child is a zombie until waited for, and has no identity: any will do, since no signal can reach it.
    identity = identify(process.pid) or ProcessIdentity(pid=process.pid, start_time=0, boot="")
    return ChildProcess(process, identity)
