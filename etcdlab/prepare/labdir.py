"""A lab's directory: which file is where, which labs there are, and whether a lab's daemon is alive.

A daemon holds an exclusive lock on `lab.lock` for as long as it lives, so that liveness is the kernel's word and never
that of a pid in a file.

How each file is written, and what becomes of it when the machine crashes:

- `plan.json`, `topology.toml`: replaced in one step, and waited for until they are on the disk. Without a plan members'
  data belongs to no lab.
- `pki/`: written once, before the plan. Waited for as etcd waits for its data, so not with the fast profile: a member
  without its key is lost. (A certificate that is issued anew later is not: it can be issued again.)
- `nodes/NAME/spawning.json`, `process.json`: replaced in one step. A crash voids them: what they name has ended.
- `rebuilding`: made, empty, before all members' data is removed, and removed afterwards. That data was not wanted.
- `events.jsonl`, `daemon.log`, `nodes/NAME/etcd.log`: appended, each event in one write. A crash costs the last lines.
- `lab.lock`, `control.sock`: nothing is written. Who holds them, or listens, is the kernel's word.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from etcdlab.errors import LabStateError, NotRunningError, UsageError
from etcdlab.interruption import uninterrupted
from etcdlab.model.plan import Plan
from etcdlab.ownership import exposure, make_directory
from etcdlab.prepare import planfile
from etcdlab.prepare.control_socket import socket_path

_READ_ONLY: Final = (errno.EACCES, errno.EROFS)
LONGEST_NAME: Final = 255
"""Bytes that one component of a path can have."""
TRIES: Final = 100
"""How often a directory that is purged at the same time is made anew."""


def home() -> Path:
    """Where labs live: `$ETCDLAB_HOME`, else etcdlab's directory in the user's state directory. Raises UsageError."""
    if chosen := os.environ.get("ETCDLAB_HOME"):
        if not chosen.isprintable():
            raise UsageError(
                f"ETCDLAB_HOME is {chosen!r}: such a path cannot stand in an argument of etcd, nor in JSON",
                hint="Set it to a path of printable characters, in UTF-8.",
            )
        return Path(chosen).absolute()
    import platformdirs  # 20 ms that a user of $ETCDLAB_HOME does not pay

    return platformdirs.user_state_path("etcdlab")


class LabDirectory:
    """The paths of one lab. Creates nothing by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.topology = path / "topology.toml"
        self.plan = path / "plan.json"
        self.pki = path / "pki"
        self.nodes = path / "nodes"
        self.daemon_log = path / "daemon.log"
        self.events = path / "events.jsonl"
        self.lock = path / "lab.lock"
        self.rebuilding = path / "rebuilding"

    @classmethod
    def named(cls, name: str) -> "LabDirectory":
        """The directory of the lab called `name`, whether or not it exists. Raises UsageError if it is no name."""
        if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > LONGEST_NAME:
            raise UsageError(
                f"{name[:LONGEST_NAME]!r} is not the name of a lab", hint="`etcdlab ls` lists those there are."
            )
        return cls(home() / name)

    def node(self, name: str) -> Path:
        """The directory of one member: its log, its process record and (unless placed elsewhere) its data."""
        return self.nodes / name

    def exists(self) -> bool:
        """Whether a lab was made here: it is one from the moment its plan is written."""
        return os.path.isfile(self.plan)  # noqa: PTH113 - Path's raises for what is another user's

    def is_running(self) -> bool:
        """Whether a daemon (or a command that is about to start one) holds this lab. Raises LabStateError."""
        descriptor = self._look_at_lock()
        if descriptor is None:
            return False
        try:
            return _is_held(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self, *, make: bool = True) -> int | None:
        """Hold this lab: the descriptor of the lock, or None if it is held.

        If there is no directory, it is made (0700), unless not to `make` it: then it is None as well. The lock lasts
        until every copy of the descriptor is closed: a daemon that inherits it holds the lab alone.
        Raises LabStateError when the directory cannot be made, or the lock cannot be opened.
        """
        while True:
            descriptor = self._open_lock(make=make)
            if descriptor is None:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A purge may have taken the file away between the two calls: then this lock would guard nothing.
                if self.is_still(os.fstat(descriptor)):
                    return descriptor
            except BlockingIOError:
                # Not by one who only looked, as `is_running` does: that one is gone in a moment.
                if _is_held(descriptor):
                    os.close(descriptor)
                    return None
            os.close(descriptor)

    def is_still(self, lock: os.stat_result) -> bool:
        """Whether the lab that this lock is of is still here: none, if it was removed or moved, or another by now."""
        try:
            return os.path.samestat(lock, self.lock.stat())
        except OSError:
            return False

    def _open_lock(self, *, make: bool) -> int | None:
        tries = 0
        while True:
            tries += 1
            try:
                if make:
                    make_directory(self.path)
                self._require_ours()
                return os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and not make:
                    return None
                # These two also come when a purge takes the directory away in the middle of it.
                if isinstance(error, FileNotFoundError | FileExistsError) and tries < TRIES:
                    continue
                if self.lock.exists():
                    # In a lab that was made read-only, its owner can still hold what is there.
                    if error.errno in _READ_ONLY and (descriptor := self._look_at_lock()) is not None:
                        return descriptor
                    raise self._unusable_lock(error) from error
                raise LabStateError(
                    f"the lab's directory {self.path} cannot be made or written: {error.strerror}",
                    hint="Set ETCDLAB_HOME to a directory that can be written.",
                ) from error

    def _require_ours(self) -> None:
        """Raises LabStateError if others can put files in the place of ours: a plan says which programs run."""
        for place in (self.path.parent, self.path):
            if danger := exposure(place):
                raise LabStateError(
                    f"{place}, where {'a lab is' if place == self.path else 'labs are'}, {danger}",
                    hint="Set ETCDLAB_HOME to a directory of yours, or to a new one; a lab is used by who made it.",
                )

    def _look_at_lock(self) -> int | None:
        try:
            return os.open(self.lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unusable_lock(error) from error

    def _unusable_lock(self, error: OSError) -> LabStateError:
        return LabStateError(
            f"{self.lock}, which keeps a lab to one daemon, cannot be opened: {error.strerror}",
            hint="It is an empty file of the lab's owner, with mode 0600. If no daemon runs, it can be removed.",
        )

    def wait_released(self, timeout_s: float) -> bool:
        """Wait until no daemon holds this lab; False when `timeout_s` seconds were not enough."""
        with self.watch_release() as wait:
            return wait(timeout_s)

    @contextlib.contextmanager
    def watch_release(self) -> Iterator[Callable[[float], bool]]:
        """Gives a `wait_released` for the daemon of now: one that purges takes the lock's file away before it ends."""
        descriptor = self._look_at_lock()
        if descriptor is None:
            yield lambda _: True
            return
        # flock has no bound of its own, and the kernel wakes a waiter at once: so a thread waits, and we wait for it.
        waiter = threading.Thread(target=_wait_for_lock, args=[descriptor], daemon=True)
        waiter.start()

        def wait(timeout_s: float) -> bool:
            waiter.join(timeout_s)
            return not waiter.is_alive()

        yield wait

    def purge(self, plan: Plan | None) -> None:
        """Remove the lab: its directory, and what it put elsewhere (data directories, a socket). Hold the lock.

        Raises LabStateError when it cannot be removed.
        """
        for node in plan.nodes if plan else ():
            if not Path(node.data_dir).is_relative_to(self.path):
                shutil.rmtree(Path(node.data_dir) / "member", ignore_errors=True)
                with contextlib.suppress(OSError):
                    Path(node.data_dir).rmdir()
        # First away, in one step: whoever makes a lab of this name next is to lose nothing of it to this removal.
        try:
            for socket in (plan.socket, plan.network_socket) if plan else ():
                if Path(socket).is_socket():
                    Path(socket).unlink(missing_ok=True)
            with (
                uninterrupted(),
                tempfile.TemporaryDirectory(
                    dir=self.path.parent, prefix=".purged-", ignore_cleanup_errors=True
                ) as away,
                contextlib.suppress(FileNotFoundError),
            ):
                self.path.rename(Path(away, self.name))
        except OSError as error:
            raise LabStateError(
                f"{self.path} cannot be removed: {error.strerror}",
                hint="It and the directory it is in must be writable: `chmod u+w` makes them so.",
            ) from error

    def discard(self) -> None:
        """Remove a lab that was being made, however far that came. Hold the lock."""
        try:
            plan = self.load_plan()
        except (NotRunningError, LabStateError):
            plan = None
        self.purge(plan)

    def discard_vacant(self) -> None:
        """Remove a directory in which nobody holds the lock, and there is nothing else. Raises LabStateError."""
        if (lock := self.acquire(make=False)) is None:
            return
        try:
            if list(self.path.iterdir()) == [self.lock]:
                self.purge(None)
        finally:
            os.close(lock)

    def load_plan(self) -> Plan:
        """Read `plan.json`; what was moved since it was written is found at its new place.

        Raises NotRunningError when there is no lab, LabStateError when its plan cannot be read or used.
        """
        plan = self._read_plan()
        if planfile.is_at(plan, self.path):
            return plan
        return planfile.moved(plan, self.path, socket=str(socket_path(self.path)))

    def was_moved(self) -> bool:
        """Whether `plan.json` names another place than this. Raises as `load_plan`."""
        return not planfile.is_at(self._read_plan(), self.path)

    def _read_plan(self) -> Plan:
        try:
            self._require_ours()
            return planfile.read(self.plan, lab=self.name)
        except (FileNotFoundError, NotADirectoryError):
            raise no_such_lab(self.name) from None

    def save_plan(self, plan: Plan) -> None:
        """Write `plan.json`, atomically and durably. Raises LabStateError."""
        planfile.write(self.plan, plan)


def _wait_for_lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.close(descriptor)  # at once: when nobody waits any more, this lock would come late and keep others out


def _is_held(descriptor: int) -> bool:
    """Whether somebody holds the lock of this file alone. If not, it is now shared, until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def entries(home: Path) -> list[Path]:
    """What is in a directory of labs, by name. Raises LabStateError when it cannot be read."""
    try:
        return sorted(home.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LabStateError(
            f"{home}, where the labs are, cannot be read: {error.strerror}",
            hint="Set ETCDLAB_HOME to a directory of yours.",
        ) from error


def all_labs() -> Iterator[LabDirectory]:
    """Every lab in `home()`, by name."""
    for path in entries(home()):
        directory = LabDirectory(path)
        if directory.exists():
            yield directory


def choose(name: str | None) -> LabDirectory:
    """The lab that a verb means: `name`, else `$ETCDLAB_LAB`, else the only one running, else the only one there is.

    Raises NotRunningError when there is none and UsageError when there are several.
    """
    if name is None:
        name = os.environ.get("ETCDLAB_LAB") or None
    if name is not None:  # --lab "" is a mistake of a script, and not the only lab there is
        directory = LabDirectory.named(name)
        if not directory.exists():
            raise no_such_lab(name)
        return directory
    labs = list(all_labs())
    candidates = [lab for lab in labs if _may_run(lab)] or labs
    if not candidates:
        raise NotRunningError("there is no lab", hint="`etcdlab up` starts one.")
    if len(candidates) > 1:
        names = ", ".join(lab.name for lab in candidates)
        raise UsageError(f"there are several labs: {names}", hint="Choose one with `--lab NAME` or ETCDLAB_LAB.")
    return candidates[0]


def _may_run(directory: LabDirectory) -> bool:
    try:
        return directory.is_running()
    except LabStateError:  # of one lab; if it is the one that is meant, the verb will tell
        return True


def no_such_lab(name: str) -> NotRunningError:
    """The error for a lab that does not exist, naming those that do."""
    others = ", ".join(lab.name for lab in all_labs())
    hint = f"Labs here: {others}." if others else f"`etcdlab up --name {name}` starts it."
    return NotRunningError(f"there is no lab {name!r} in {home()}", hint=hint)


def not_running(name: str) -> NotRunningError:
    """The error for a lab that is down: it has no daemon and no members that run."""
    return NotRunningError(f"lab {name!r} is not running", hint=f"`etcdlab up --name {name}` starts it again.")
