"""From a topology to a ready lab; what was made on the way is gone again if that fails."""

import contextlib
import enum
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etcdlab.errors import LabStateError, NotRunningError
from etcdlab.interpreter import Interpreter
from etcdlab.interruption import uninterrupted
from etcdlab.launch import Daemon
from etcdlab.model.event import Event
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.report import OwnerEnd
from etcdlab.model.status import LabStatus
from etcdlab.model.topology import Topology
from etcdlab.prepare import config
from etcdlab.prepare.files import replace_file
from etcdlab.prepare.labdir import LabDirectory, all_labs
from etcdlab.prepare.ports import Ports

if TYPE_CHECKING:
    from etcdlab.etcd.install import Progress

STATUS_TIMEOUT_S: Final = 10.0


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
    """Create the lab, start it again, or find it running. `interpreter` is a spare one, else one is started if needed.

    Raises BinaryError, PortTakenError, CertificateError, BootError, TimedOutError, LabStateError, UsageError.
    """
    directory = LabDirectory.named(request.topology.name)
    with contextlib.ExitStack() as stack:
        spare = stack.enter_context(interpreter or Interpreter())
        with uninterrupted():  # from the first thing that is made until the daemon is there to undo it
            lock = directory.acquire()
            if lock is not None:
                stack.callback(os.close, lock)
                is_new = not directory.exists()
                if is_new:
                    _clear(directory)
                else:
                    _refuse_difference(directory, request)
                is_draft = is_new and not request.keep
                starting = Daemon(spare, directory, lock, owner_end=request.owner_end, is_draft=is_draft)
                daemon = stack.enter_context(starting)
        if lock is None:
            return _find_running(directory, request)
        with Ports(avoid=_known_ports()) as ports:
            plan = _create(directory, request, watcher, ports) if is_new else directory.load_plan()
            boot_s = plan.timeouts.boot_s if request.boot_s is None else request.boot_s
            status = daemon.boot(boot_s=boot_s, on_event=watcher.on_event)
        watcher.on_ready()
        daemon.keep()
    outcome = Outcome.CREATED if is_new else Outcome.RESTARTED
    return Started(outcome=outcome, status=status, directory=directory, daemon=daemon)


def _find_running(directory: LabDirectory, request: Request) -> Started:
    try:
        plan = directory.load_plan()
    except NotRunningError:
        raise LabStateError(
            f"lab {directory.name!r} is just being made by another process", hint="Try again when that is done."
        ) from None
    _refuse_difference(directory, request)
    from etcdlab.control.client import Client  # 12 ms that a lab to be started does not wait for

    status = Client(plan.socket, timeout_s=STATUS_TIMEOUT_S).status()
    return Started(outcome=Outcome.ALREADY_RUNNING, status=status, directory=directory, daemon=None)


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
    """Decide the lab and write it down: directories, certificates, topology, and last the plan, which makes it one."""
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
    directory.nodes.mkdir(mode=0o700)
    for node in plan.nodes:
        Path(node.directory).mkdir(mode=0o700)
    for node in plan.nodes:
        _make_data_directory(node)
    if plan.pki is not None:
        store.create(plan.pki)
    replace_file(directory.topology, config.dump(request.topology).encode())
    directory.save_plan(plan)
    return plan


def _make_data_directory(node: NodePlan) -> None:
    """Make it where there is none. Raises LabStateError if that cannot be, or an earlier member's data is there."""
    data = Path(node.data_dir)
    try:
        # Else the failure of this lab would discard what is no part of it.
        is_used = (data / "member").exists()
        if not is_used:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LabStateError(
            f"the data directory {data} of member {node.name} cannot be made: {error.strerror}",
            hint="Name another one in the topology, or none.",
        ) from error
    if is_used:
        raise LabStateError(
            f"the data directory {data} of member {node.name} holds an earlier member's data",
            hint="Move it away, or name another one in the topology.",
        )


def _refuse_difference(directory: LabDirectory, request: Request) -> None:
    """A lab is what it was made as: a topology that says otherwise is not silently ignored."""
    if request.must_be_new:
        raise LabStateError(
            f"there is a lab {directory.name!r} already",
            hint="`Lab.attach` uses it; another name, or none, makes one beside it.",
        )
    if request.explicit and directory.topology.read_text() != config.dump(request.topology):
        raise LabStateError(
            f"lab {directory.name!r} exists and was made from another topology ({directory.topology})",
            hint=f"`etcdlab down --purge --lab {directory.name}` removes it; `--name` makes another lab beside it.",
        )


def _known_ports() -> set[int]:
    """The ports of all labs, also of those that are stopped: they are to find their own free when they start again."""
    ports: set[int] = set()
    for directory in all_labs():
        try:
            plan = directory.load_plan()
        except LabStateError:
            continue
        ports |= {port for node in plan.nodes for port in (node.client_port, node.peer_port, node.metrics_port)}
    return ports
