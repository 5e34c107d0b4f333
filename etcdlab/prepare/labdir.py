"""A lab's directory: which file is where, which labs there are, and whether a lab's daemon is alive.

A daemon holds an exclusive lock on `lab.lock` for as long as it lives, so that liveness is the kernel's word and never
that of a pid in a file.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from etcdlab.errors import LabStateError, NotRunningError, UsageError
from etcdlab.model.plan import PLAN_VERSION, Plan

SOCKET_PATH_LIMIT = 100
"""Bytes. `sun_path` holds 108 on Linux and 104 on macOS, with the final NUL."""


def home() -> Path:
    """Where labs live: `$ETCDLAB_HOME`, else etcdlab's directory in the user's state directory."""
    if chosen := os.environ.get("ETCDLAB_HOME"):
        return Path(chosen).absolute()
    import platformdirs  # 20 ms that a user of $ETCDLAB_HOME does not pay

    return platformdirs.user_state_path("etcdlab")


def runtime_directory() -> Path:
    """Where a control socket goes whose path in the lab's directory would be too long. A short path of this user's."""
    import platformdirs

    return platformdirs.user_runtime_path("etcdlab")


class LabDirectory:
    """The paths of one lab. Creates nothing by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.topology = path / "topology.toml"
        self.plan = path / "plan.json"
        self.pki = path / "pki"
        self.daemon_log = path / "daemon.log"
        self.events = path / "events.jsonl"
        self.lock = path / "lab.lock"

    @classmethod
    def named(cls, name: str) -> "LabDirectory":
        """The directory of the lab called `name`, whether or not it exists."""
        return cls(home() / name)

    def node(self, name: str) -> Path:
        """The directory of one member: its log, its process record and (unless placed elsewhere) its data."""
        return self.path / "nodes" / name

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
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def acquire(self) -> int | None:
        """Hold this lab, making its directory (0700) if needed; the descriptor of the lock, or None if it is held.

        The lock lasts until every copy of the descriptor is closed: a daemon that inherits it holds the lab alone.
        """
        while True:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # a purge removed the directory meanwhile
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A purge may have removed the file between the two calls: then this lock would guard nothing.
                if self.lock.exists() and os.path.samestat(os.fstat(descriptor), self.lock.stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            os.close(descriptor)

    def wait_released(self, timeout_s: float) -> bool:
        """Wait until no daemon holds this lab; False when `timeout_s` seconds were not enough."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        # flock has no bound of its own, and the kernel wakes a waiter at once: so a thread waits, and we wait for it.
        waiter = threading.Thread(target=fcntl.flock, args=(descriptor, fcntl.LOCK_SH), daemon=True)
        waiter.start()
        waiter.join(timeout_s)
        if waiter.is_alive():
            return False
        os.close(descriptor)
        return True

    def purge(self, plan: Plan | None) -> None:
        """Remove the lab: its directory, and what it put elsewhere (data directories, a socket). Hold the lock."""
        for node in plan.nodes if plan else ():
            if not Path(node.data_dir).is_relative_to(self.path):
                shutil.rmtree(Path(node.data_dir) / "member", ignore_errors=True)
                with contextlib.suppress(OSError):
                    Path(node.data_dir).rmdir()
        if plan:
            Path(plan.socket).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def load_plan(self) -> Plan:
        """Read `plan.json`. Raises NotRunningError when there is no lab, LabStateError when it cannot be read."""
        try:
            content = self.plan.read_bytes()
        except FileNotFoundError:
            raise no_such_lab(self.name) from None
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


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, mode 0600: a reader sees the old file or the new one, whole, also after a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a str
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def all_labs() -> Iterator[LabDirectory]:
    """Every lab in `home()`, by name."""
    with contextlib.suppress(FileNotFoundError):
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
