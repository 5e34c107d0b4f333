"""A lab's directory: which file is where, which labs there are, and whether a lab's daemon is alive.

A daemon holds an exclusive lock on `lab.lock` for as long as it lives, so that liveness is the kernel's word and never
that of a pid in a file.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from etcdlab.errors import LabStateError, NotRunningError, UsageError
from etcdlab.model.plan import PLAN_VERSION, Plan

SOCKET_PATH_LIMIT: Final = 100
"""Bytes. `sun_path` holds 108 on Linux and 104 on macOS, with the final NUL."""
SOCKET_NAME_LENGTH: Final = 32
"""Bytes that a control socket's place in a runtime directory takes at most."""
TEMPORARY: Final = Path("/tmp")
TRIES: Final = 100
"""How often a directory that is purged at the same time is made anew."""


def home() -> Path:
    """Where labs live: `$ETCDLAB_HOME`, else etcdlab's directory in the user's state directory."""
    if chosen := os.environ.get("ETCDLAB_HOME"):
        return Path(chosen).absolute()
    import platformdirs  # 20 ms that a user of $ETCDLAB_HOME does not pay

    return platformdirs.user_state_path("etcdlab")


def runtime_directory() -> Path:
    """Where a control socket goes whose path in the lab's directory would be too long: short, and this user's alone.

    Raises LabStateError when somebody else has taken the place.
    """
    user = os.geteuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"):
        if base and len(os.fsencode(base)) + SOCKET_NAME_LENGTH <= SOCKET_PATH_LIMIT and is_private(Path(base)):
            return Path(base) / "etcdlab"
    directory = TEMPORARY / f"etcdlab-{user}"
    if os.path.lexists(directory) and not is_private(directory):
        raise LabStateError(
            f"{directory}, where the control socket would go, is not a directory of this user's alone",
            hint="Remove it, or set XDG_RUNTIME_DIR to a directory that is, with mode 0700.",
        )
    return directory


def is_private(path: Path) -> bool:
    """Whether this is a directory (no link to one) that this user owns and can use, and nobody else can enter."""
    try:
        status = path.lstat()
    except OSError:
        return False
    owned = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return owned and not status.st_mode & 0o077 and os.access(path, os.W_OK | os.X_OK)


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

    @classmethod
    def named(cls, name: str) -> "LabDirectory":
        """The directory of the lab called `name`, whether or not it exists."""
        return cls(home() / name)

    def node(self, name: str) -> Path:
        """The directory of one member: its log, its process record and (unless placed elsewhere) its data."""
        return self.nodes / name

    def exists(self) -> bool:
        """Whether a lab was made here: it is one from the moment its plan is written."""
        return self.plan.is_file()

    def is_running(self) -> bool:
        """Whether a daemon (or a command that is about to start one) holds this lab."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return _is_held(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self) -> int | None:
        """Hold this lab, making its directory (0700) if needed; the descriptor of the lock, or None if it is held.

        The lock lasts until every copy of the descriptor is closed: a daemon that inherits it holds the lab alone.
        Raises LabStateError when the directory cannot be made.
        """
        while True:
            descriptor = self._open_lock()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A purge may have taken the file away between the two calls: then this lock would guard nothing.
                if os.path.samestat(os.fstat(descriptor), self.lock.stat()):
                    return descriptor
            except BlockingIOError:
                # Not by one who only looked, as `is_running` does: that one is gone in a moment.
                if _is_held(descriptor):
                    os.close(descriptor)
                    return None
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def _open_lock(self) -> int:
        tries = 0
        while True:
            tries += 1
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                return os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                # These two also come when a purge takes the directory away in the middle of it.
                if isinstance(error, FileNotFoundError | FileExistsError) and tries < TRIES:
                    continue
                raise LabStateError(
                    f"the lab's directory {self.path} cannot be made: {error.strerror}",
                    hint="Set ETCDLAB_HOME to a directory that can be written.",
                ) from error

    def wait_released(self, timeout_s: float) -> bool:
        """Wait until no daemon holds this lab; False when `timeout_s` seconds were not enough."""
        with self.watch_release() as wait:
            return wait(timeout_s)

    @contextlib.contextmanager
    def watch_release(self) -> Iterator[Callable[[float], bool]]:
        """Gives a `wait_released` for the daemon of now: one that purges takes the lock's file away before it ends."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield lambda _: True
            return
        try:
            yield partial(_wait_for_lock, descriptor)
        finally:
            os.close(descriptor)

    def purge(self, plan: Plan | None) -> None:
        """Remove the lab: its directory, and what it put elsewhere (data directories, a socket). Hold the lock."""
        for node in plan.nodes if plan else ():
            if not Path(node.data_dir).is_relative_to(self.path):
                shutil.rmtree(Path(node.data_dir) / "member", ignore_errors=True)
                with contextlib.suppress(OSError):
                    Path(node.data_dir).rmdir()
        if plan:
            Path(plan.socket).unlink(missing_ok=True)
        # First away, in one step: whoever makes a lab of this name next is to lose nothing of it to this removal.
        with (
            tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".purged-", ignore_cleanup_errors=True) as purged,
            contextlib.suppress(FileNotFoundError),
        ):
            self.path.rename(Path(purged, self.name))

    def load_plan(self) -> Plan:
        """Read `plan.json`. Raises NotRunningError when there is no lab, LabStateError when it cannot be read."""
        try:
            content = self.plan.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise no_such_lab(self.name) from None
        except OSError as error:
            raise LabStateError(f"{self.plan} cannot be read: {error.strerror}") from error
        try:
            plan = msgspec.json.decode(content, type=Plan)
        except msgspec.DecodeError as error:
            raise LabStateError(
                f"{self.plan} cannot be read: {error}",
                hint=f"Was it written by another etcdlab? `etcdlab down --purge --lab {self.name}` removes the lab.",
            ) from error
        if plan.version != PLAN_VERSION:
            raise LabStateError(
                f"{self.plan} has version {plan.version}; this etcdlab reads version {PLAN_VERSION}",
                hint=f"`etcdlab down --purge --lab {self.name}` removes the lab.",
            )
        return plan

    def save_plan(self, plan: Plan) -> None:
        """Write `plan.json` atomically."""
        replace_file(self.plan, msgspec.json.format(msgspec.json.encode(plan), indent=2))


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path`, mode 0600: a reader sees the old file or the new one, whole.

    With `durable` also after a crash of the machine, at the cost of a wait for the disk.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a str
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _wait_for_lock(descriptor: int, timeout_s: float) -> bool:
    own = os.dup(descriptor)

    def wait() -> None:
        fcntl.flock(own, fcntl.LOCK_SH)
        os.close(own)  # here, since after a timeout this lock would come late and keep others out

    # flock has no bound of its own, and the kernel wakes a waiter at once: so a thread waits, and we wait for it.
    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    waiter.join(timeout_s)
    return not waiter.is_alive()


def _is_held(descriptor: int) -> bool:
    """Whether somebody holds the lock of this file alone. If not, it is now shared, until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def all_labs() -> Iterator[LabDirectory]:
    """Every lab in `home()`, by name."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(home().iterdir()):
            directory = LabDirectory(path)
            if directory.exists():
                yield directory


def choose(name: str | None) -> LabDirectory:
    """The lab that a verb means: `name`, else `$ETCDLAB_LAB`, else the only one running, else the only one there is.

    Raises NotRunningError when there is none and UsageError when there are several.
    """
    if name := name or os.environ.get("ETCDLAB_LAB"):
        directory = LabDirectory.named(name)
        if not directory.exists():
            raise no_such_lab(name)
        return directory
    labs = list(all_labs())
    candidates = [lab for lab in labs if lab.is_running()] or labs
    if not candidates:
        raise NotRunningError("there is no lab", hint="`etcdlab up` starts one.")
    if len(candidates) > 1:
        names = ", ".join(lab.name for lab in candidates)
        raise UsageError(f"there are several labs: {names}", hint="Choose one with `--lab NAME` or ETCDLAB_LAB.")
    return candidates[0]


def no_such_lab(name: str) -> NotRunningError:
    """The error for a lab that does not exist, naming those that do."""
    others = ", ".join(lab.name for lab in all_labs())
    hint = f"Labs here: {others}." if others else f"`etcdlab up --name {name}` starts it."
    return NotRunningError(f"there is no lab {name!r} in {home()}", hint=hint)
