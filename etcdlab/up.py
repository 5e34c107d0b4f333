"""From a topology, or a lab whose daemon died, to a ready lab; what was made on the way is gone again if that fails."""

import contextlib
import enum
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from etcdlab.errors import LabStateError, NotRunningError, TimedOutError, TopologyError
from etcdlab.interpreter import Interpreter
from etcdlab.interruption import uninterrupted
from etcdlab.launch import Daemon, living_members, reach
from etcdlab.model.event import Event
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.report import OwnerEnd
from etcdlab.model.status import LabPhase, LabStatus
from etcdlab.model.topology import Profile, Topology
from etcdlab.ownership import exposure, make_directory
from etcdlab.prepare import config
from etcdlab.prepare.files import replace_file, sync_directory
from etcdlab.prepare.labdir import LabDirectory, all_labs, not_running
from etcdlab.prepare.ports import Ports
from etcdlab.prepare.process import identify

if TYPE_CHECKING:
    from etcdlab.etcd.install import Progress

STATUS_TIMEOUT_S: Final = 10.0
FIRST_LOOK_S: Final = 0.05
LAST_LOOK_S: Final = 0.5
SLOWER: Final = 1.3
"""A lab that another process starts is looked at every 50 ms at first, then ever more rarely: ten may wait for it."""


class Outcome(enum.Enum):
    """What `up` found and did."""

    CREATED = "created"
    RESTARTED = "restarted"
    ALREADY_RUNNING = "already-running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    `base` is the folder that relative paths of the topology are relative to. `explicit` says that a file or a flag
    chose this topology, so that an existing lab which differs is refused; `must_be_new` refuses any that exists.
    `boot_s` is how many seconds the lab has to become ready, None for the topology's bound. `keep` leaves a failed
    lab's directory. `owner_end` is what becomes of the lab when this process ends.
    """

    topology: Topology
    base: Path
    explicit: bool
    must_be_new: bool = False
    boot_s: float | None = None
    keep: bool = False
    owner_end: OwnerEnd = OwnerEnd.STAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told what goes on meanwhile. `on_ready` is called last: what is raised until then undoes all."""

    on_event: Callable[[Event], None]
    on_install: Callable[["Progress"], None]
    on_ready: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A lab that is ready; `daemon` is None when it ran already."""

    outcome: Outcome
    status: LabStatus
    directory: LabDirectory
    daemon: Daemon | None


def up(request: Request, watcher: Watcher, interpreter: Interpreter | None = None) -> Started:
    """Create the lab, start it again, or find it running; one that another process has just in hand is waited for, and
    taken up if that fails. `interpreter` is a spare one, else one is started if needed.

    Raises BinaryError, PortTakenError, CertificateError, BootError, TimedOutError, LabStateError, UsageError.
    """
    directory = LabDirectory.named(request.topology.name)
    bound_s = float(request.topology.timeouts.boot) if request.boot_s is None else request.boot_s
    deadline = time.monotonic() + bound_s
    with contextlib.ExitStack() as stack:
        spare = stack.enter_context(interpreter or Interpreter())
        if not directory.is_running():
            identify(os.getpid())  # which raises where the daemon could not supervise anything
        reach(spare, directory)
        while True:
            with uninterrupted():  # from the first thing that is made until the daemon is there to undo it
                if (lock := directory.acquire()) is not None:
                    stack.callback(os.close, lock)
                    is_new = not directory.exists()
                    if is_new:
                        _clear(directory)
                    else:
                        _refuse_any(directory, request)
                        _refuse_difference(directory, request)
                    is_draft = is_new and not request.keep
                    starting = Daemon(spare, directory, lock, owner_end=request.owner_end, is_draft=is_draft)
                    daemon = stack.enter_context(starting)
                    break
            if (started := _wait_ready(directory, request, deadline)) is not None:
                return started
        with Ports(avoid=_known_ports()) as ports:
            plan = _create(directory, request, watcher, ports) if is_new else _load(directory)
            boot_s = plan.timeouts.boot_s if request.boot_s is None else request.boot_s
            status = daemon.boot(boot_s=boot_s, on_event=watcher.on_event)
        watcher.on_ready()
        daemon.keep()
    outcome = Outcome.CREATED if is_new else Outcome.RESTARTED
    return Started(outcome=outcome, status=status, directory=directory, daemon=daemon)


def take_over(directory: LabDirectory, *, owner_end: OwnerEnd, on_event: Callable[[Event], None]) -> Daemon | None:
    """Give a lab whose daemon died another one: it adopts the members that run and starts the others, as `up` does.

    None when somebody else has done that meanwhile. Raises NotRunningError when no member runs, so that the lab is
    down, and what `up` raises for a lab that there is.
    """
    request = Request(topology=Topology(name=directory.name), base=directory.path, explicit=False)
    deadline = time.monotonic() + directory.load_plan().timeouts.boot_s
    with contextlib.ExitStack() as stack:
        spare = stack.enter_context(Interpreter())
        while directory.load_plan():  # else it was removed meanwhile
            with uninterrupted():
                if (lock := directory.acquire(make=False)) is not None:
                    stack.callback(os.close, lock)
                    if not living_members(directory):
                        raise not_running(directory.name)
                    starting = Daemon(spare, directory, lock, owner_end=owner_end, is_draft=False)
                    daemon = stack.enter_context(starting)
                    break
            if _wait_ready(directory, request, deadline) is not None:
                return None
        plan = _load(directory)
        daemon.boot(boot_s=plan.timeouts.boot_s, on_event=on_event)
        daemon.keep()
    return daemon


def _wait_ready(directory: LabDirectory, request: Request, deadline: float) -> Started | None:
    """Somebody else has the lab: report it when it is ready. None when nobody has it any more."""
    from etcdlab.control.client import Client  # 12 ms that a lab to be started does not wait for

    _refuse_any(directory, request)
    phase, pause_s = LabPhase.STARTING, FIRST_LOOK_S
    with directory.watch_release() as wait_released:
        while True:
            with contextlib.suppress(NotRunningError):  # it has no plan yet, or no socket, or is gone again
                plan = directory.load_plan()
                _refuse_difference(directory, request)
                status = Client(plan.socket, timeout_s=STATUS_TIMEOUT_S).status()
                phase = status.phase
                if phase is LabPhase.UP:
                    return Started(outcome=Outcome.ALREADY_RUNNING, status=status, directory=directory, daemon=None)
            if wait_released(pause_s):
                return None
            if time.monotonic() > deadline:
                raise TimedOutError(
                    f"lab {directory.name!r} is {phase.value} in the hands of another process, and is not ready yet",
                    hint=f"{directory.daemon_log} may say why; `etcdlab down --lab {directory.name}` ends it.",
                )
            pause_s = min(pause_s * SLOWER, LAST_LOOK_S)


def _clear(directory: LabDirectory) -> None:
    """Remove what a creation that was killed left. Raises LabStateError if the directory holds anything else.

    Members' data is something else: no member is started before there is a plan, so here one was lost.
    """
    ours = (directory.nodes, directory.pki, directory.topology, directory.daemon_log, directory.events, directory.lock)
    temporary = (f".{directory.topology.name}.", f".{directory.plan.name}.")
    found = sorted(directory.path.iterdir())
    foreign = [path.name for path in found if path not in ours and not path.name.startswith(temporary)]
    if foreign:
        directory.lock.unlink()
        raise LabStateError(
            f"{directory.path} is no lab's directory: it holds {', '.join(foreign[:3])}",
            hint="Choose another `--name`.",
        )
    if any(directory.nodes.glob("*/data/member")):
        raise LabStateError(
            f"{directory.path} holds members' data, but its plan ({directory.plan.name}) is gone",
            hint="Move the directory away, or choose another `--name`.",
        )
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        elif path != directory.lock:
            path.unlink()


def _create(directory: LabDirectory, request: Request, watcher: Watcher, ports: Ports) -> Plan:
    """Decide the lab and write it down: directories, certificates, topology, and last the plan, which makes it one.

    Topology and plan are on the disk when this returns, and certificates if the members' data will be.
    """
    # Imported here, in 0.1 s, while the daemon's interpreter starts and imports what it needs.
    from etcdlab.etcd.ensure import ensure
    from etcdlab.pki import store
    from etcdlab.prepare.build import build

    plan = build(
        request.topology,
        directory=directory,
        base=request.base,
        ports=ports,
        find=partial(ensure, progress=watcher.on_install),
    )
    for node in plan.nodes:
        _require_unused(node)
    _make_directories(directory, plan)
    if plan.pki is not None:
        store.create(plan.pki)
    try:
        # 20 files, 5 ms: as lasting as what etcd keeps, which without its keys is lost.
        if plan.pki is not None and request.topology.etcd.profile is Profile.REALISTIC:
            sync_directory(directory.pki)
        replace_file(directory.topology, config.dump(request.topology).encode())
    except OSError as error:
        raise _not_made(directory, error) from error
    directory.save_plan(plan)
    return plan


def _require_unused(node: NodePlan) -> None:
    """Else the failure of this lab would discard what is no part of it. Raises LabStateError."""
    if os.path.exists(Path(node.data_dir) / "member"):  # noqa: PTH110 - Path's raises for what cannot be looked at
        raise LabStateError(
            f"the data directory {node.data_dir} of member {node.name} holds an earlier member's data",
            hint="Move it away, or name another one in the topology.",
        )


def _load(directory: LabDirectory) -> Plan:
    """The plan of a lab that is to be started again: where it is now, with all the directories that it names."""
    plan = directory.load_plan()
    if directory.was_moved():
        if living := living_members(directory):
            raise LabStateError(
                f"lab {directory.name!r} was moved to {directory.path} while {', '.join(living)} ran, and still run",
                hint=f"`etcdlab down --lab {directory.name}` ends them; then `etcdlab up` starts it here.",
            )
        directory.save_plan(plan)
    _make_directories(directory, plan)  # for one that was deleted: its member's own words tell what that means
    return plan


def _make_directories(directory: LabDirectory, plan: Plan) -> None:
    try:
        directory.nodes.mkdir(mode=0o700, exist_ok=True)
        for node in plan.nodes:
            Path(node.directory).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _not_made(directory, error) from error
    for node in plan.nodes:
        try:
            make_directory(Path(node.data_dir))
        except OSError as error:
            raise LabStateError(
                f"the data directory {node.data_dir} of member {node.name} cannot be made: {error.strerror}",
                hint="Name another one in the topology, or none.",
            ) from error
        if danger := exposure(Path(node.data_dir)):
            raise LabStateError(
                f"the data directory {node.data_dir} of member {node.name} {danger}",
                hint="Name a new one in the topology, or one of yours.",
            )


def _not_made(directory: LabDirectory, error: OSError) -> LabStateError:
    return LabStateError(
        f"lab {directory.name!r} cannot be made: {error}", hint="Is the disk full, or the directory read-only?"
    )


def _refuse_any(directory: LabDirectory, request: Request) -> None:
    if request.must_be_new:
        raise LabStateError(
            f"there is a lab {directory.name!r} already",
            hint="`Lab.attach` uses it; another name, or none, makes one beside it.",
        )


def _refuse_difference(directory: LabDirectory, request: Request) -> None:
    """A lab is what it was made as: a topology that says otherwise is not silently ignored."""
    if not request.explicit:
        return
    wanted = config.dump(request.topology)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if directory.topology.read_text() == wanted:
            return
    purge = f"`etcdlab down --purge --lab {directory.name}` removes it"
    try:
        made_from = config.load(directory.topology).topology
    except TopologyError as error:
        raise LabStateError(
            f"what lab {directory.name!r} was made from cannot be told any more: {error.problems[0]}",
            hint=f"`etcdlab up --name {directory.name}`, with nothing else, starts it as it was; {purge}.",
        ) from error
    # It may have been moved, and has another name since; or an earlier etcdlab knew fewer keys.
    if config.dump(msgspec.structs.replace(made_from, name=directory.name)) != wanted:
        raise LabStateError(
            f"lab {directory.name!r} exists and was made from another topology ({directory.topology})",
            hint=f"{purge}; `--name` makes another lab beside it.",
        )


def _known_ports() -> set[int]:
    """The ports of all labs, also of those that are stopped: they are to find their own free when they start again."""
    ports: set[int] = set()
    for directory in all_labs():
        try:
            plan = directory.load_plan()
        except (LabStateError, NotRunningError):  # damaged, or removed just now
            continue
        ports |= {port for node in plan.nodes for port in node.ports}
    return ports
