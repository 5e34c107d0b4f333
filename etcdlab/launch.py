"""Starting a lab's daemon and waiting for its word; ending what a dead one left.

A daemon is an `etcdlab.interpreter` that was given a lab: it has imported already what it needs.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Final, Self

import msgspec

from etcdlab.errors import BootError, EtcdlabError, LabStateError, NotRunningError, TimedOutError, by_code
from etcdlab.interpreter import Interpreter
from etcdlab.model.event import Event
from etcdlab.model.plan import Plan
from etcdlab.model.report import Failed, Go, Hold, Keep, OwnerEnd, Progress, Reach, Ready, Report
from etcdlab.model.status import LabStatus
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord, is_alive, send_signal
from etcdlab.prepare.title import Role, kill_all

LAST_WORD_GRACE_S: Final = 15.0
"""Seconds beyond the boot's own bound after which a daemon that says nothing is given up."""
END_GRACE_S: Final = 15.0
"""Seconds that a daemon gets to stop its members before it is killed."""
DAEMON_LOG_LINES: Final = 15
CHUNK: Final = 65536
POLL_S: Final = 0.01
_BUG: Final = "This is a bug in etcdlab: please report it with the lines above."


def reach(interpreter: Interpreter, directory: LabDirectory) -> None:
    """Tell a daemon to be which lab is about to be made: if we are killed before it has that, it removes it."""
    with contextlib.suppress(BrokenPipeError):  # it died: its log will tell
        interpreter.tell(msgspec.json.encode(Reach(directory=str(directory.path))) + b"\n")


class Daemon:
    """A daemon on its way up. A context manager: leave it with an error, and it and what it started are gone.

    It undoes that itself when it hears no more of us, until it was told that the lab is wanted (`keep`). So nothing
    depends on how this process ends; what is done here is to wait for it, and to do the same for one that died.
    `owner_end` is what becomes of the lab when this process ends.
    """

    def __init__(
        self, interpreter: Interpreter, directory: LabDirectory, lock: int, *, owner_end: OwnerEnd, is_draft: bool
    ) -> None:
        self._process, self._channel = interpreter.take()
        self._directory = directory
        self.owner_end = owner_end
        self._is_draft = is_draft
        self._is_booting = False
        self._is_kept = False
        self._found = living_members(directory)
        self._lock = os.fstat(lock)
        self._say(Hold(directory=str(directory.path), owner=os.getpid(), owner_end=owner_end, is_draft=is_draft), lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not (self._is_kept and self.owner_end is OwnerEnd.STAY):
            self._end()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def boot(self, *, boot_s: float, on_event: Callable[[Event], None]) -> LabStatus:
        """Tell it that the plan is written, and wait for its last word.

        Raises what kept the lab from being ready: BootError, TimedOutError, or another error of etcdlab.
        """
        self._is_booting = True
        self._say(Go(boot_s=boot_s))
        for report in self._reports(deadline=time.monotonic() + boot_s + LAST_WORD_GRACE_S):
            if isinstance(report, Progress):
                on_event(report.event)
            elif isinstance(report, Ready):
                return report.status
            else:
                raise _error(report)
        raise self._death()

    def keep(self) -> None:
        """Tell it that the lab is wanted: from now on it stays, for as long as its `owner_end` says."""
        self._is_kept = True
        self._say(Keep())
        if self.owner_end is OwnerEnd.STAY:
            self._channel.close()
            # It outlives us; if we outlive it, as a test session does, it must not stay a zombie of ours.
            threading.Thread(target=self._process.wait, daemon=True).start()

    def wait(self) -> None:
        """Wait, without a bound, for the daemon to end."""
        self._process.wait()
        self._channel.close()

    @property
    def has_ended(self) -> bool:
        """Whether the daemon has."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask the daemon to stop its lab; `wait` tells when it has."""
        self._process.send_signal(signal.SIGTERM)

    def _say(self, word: Hold | Go | Keep, *descriptors: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died: its log will tell
            socket.send_fds(self._channel, [msgspec.json.encode(word) + b"\n"], descriptors)

    def _reports(self, *, deadline: float) -> Iterator[Report]:
        assert self._process.stdout is not None
        descriptor, rest = self._process.stdout.fileno(), b""
        while True:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimedOutError("the daemon has not said whether the lab is ready", hint="See daemon.log.")
            if not (data := os.read(descriptor, CHUNK)):
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=Report)

    def _death(self) -> LabStateError:
        # It writes what ended it when it has nothing more to tell us.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_GRACE_S)
        code = self._process.returncode
        if code is not None and code < 0:
            return LabStateError(
                f"the daemon was killed during boot, by signal {-code}",
                hint="If nobody sent it, the system did, for want of memory: `dmesg` or the container's events tell.",
            )
        with contextlib.suppress(OSError):  # one that came to no log wrote to the terminal
            words = self._directory.daemon_log.read_text(errors="replace").splitlines()[-DAEMON_LOG_LINES:]
            return LabStateError("\n".join(["the daemon died during boot; its last words:", *words]), hint=_BUG)
        return LabStateError("the daemon died during boot", hint=_BUG)

    def _end(self) -> None:
        """Let the daemon undo what it did, end it if it does not, and then whatever it left."""
        if not self._is_booting:
            self._discard()  # first: if we are killed meanwhile, it goes on with that
            self._process.kill()  # it has nothing else yet, and may still be importing
        self._channel.close()
        try:
            self._process.wait(END_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._directory.is_still(
            self._lock
        ):  # not what somebody makes by now where the daemon has discarded its own
            end_members(self._directory, signal.SIGKILL, timeout_s=END_GRACE_S, spared=self._found.values())
            if not self._found:
                self._end_network()
            self._discard()

    def _end_network(self) -> None:
        try:
            plan = self._directory.load_plan()
        except NotRunningError:  # it had not come to that
            return
        except LabStateError:
            plan = None
        end_network(self._directory, plan)

    def _discard(self) -> None:
        if self._is_draft and self._directory.is_still(self._lock):
            self._directory.discard()


def living_members(directory: LabDirectory) -> dict[str, ProcessRecord]:
    """The members of a lab whose processes run, by name, whether or not there is a daemon."""
    found = {}
    with contextlib.suppress(OSError):
        for path in sorted(directory.nodes.iterdir()):
            if record := ProcessRecord.of_living(path):
                found[path.name] = record
    return found


def end_members(
    directory: LabDirectory, number: signal.Signals, *, timeout_s: float, spared: Collection[ProcessRecord] = ()
) -> list[str]:
    """End the members that a dead daemon left running; their names. One that stays for `timeout_s` is killed.

    SIGTERM goes to one after the other: a leader waits 5 s to hand over when all leave at once, and 1 s in turn.
    """
    members = {name: record for name, record in living_members(directory).items() if record not in spared}
    if number is signal.SIGKILL:
        for record in members.values():
            send_signal(record.identity, number)
    for name, record in members.items():
        send_signal(record.identity, number)
        send_signal(record.identity, signal.SIGCONT)
        deadline = time.monotonic() + timeout_s
        # They are no children of ours: on Linux a pidfd could be waited for, elsewhere there is nothing but looking.
        while is_alive(record.identity):
            if time.monotonic() > deadline:
                send_signal(record.identity, signal.SIGKILL)
            time.sleep(POLL_S)
        with contextlib.suppress(OSError):  # else the next daemon takes it for one that died by itself
            msgspec.structs.replace(record, was_ended=True).save(directory.node(name))
    return list(members)


def end_network(directory: LabDirectory, plan: Plan | None) -> None:
    """End the fault network that a dead daemon left, at once: it keeps nothing. `plan` is None if it cannot be read."""
    if plan is None or plan.has_fault_network:
        kill_all(directory, Role.NETWORK)


def _error(report: Failed) -> EtcdlabError:
    kind = by_code(report.code)
    if issubclass(kind, BootError):
        return kind(report.message, hint=report.hint, log_tail=report.log_tail)
    return kind(report.message, hint=report.hint)
