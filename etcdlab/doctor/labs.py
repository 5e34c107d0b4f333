"""The labs there are, and what dead ones left: members without a daemon, half-made directories, stale files.

Only what nobody can miss is offered for removal, under the lab's lock, so never from a lab that runs; a process is
ended only by the identity that its lab recorded.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from etcdlab.doctor.finding import Finding, Level, Topic
from etcdlab.errors import LabStateError, NotRunningError
from etcdlab.launch import end_members, living_members
from etcdlab.model.plan import Plan
from etcdlab.prepare.labdir import LabDirectory, entries
from etcdlab.prepare.ports import holder
from etcdlab.prepare.process import ProcessRecord, data_directory
from etcdlab.prepare.title import Role, lab_of

PURGED: Final = ".purged-*"
PURGE_S: Final = 60.0
"""Seconds for which an empty directory may belong to a purge that is about to use it."""
STOP_S: Final = 10.0
"""Seconds that a member gets to stop when there is no plan to say how many."""
TEMPORARY: Final = (
    ".plan.json.*",
    ".topology.toml.*",
    "nodes/*/.process.json.*",
    "nodes/*/etcd.log.new",
    "events.jsonl.new",
)
"""What writers of files leave that are killed on the way."""

_ANYWHERE: Final = ("127.0.0.1", "0.0.0.0", "::")


def examine(home: Path) -> Iterator[Finding]:
    """All labs in `home` by name, then what belongs to none."""
    # Processes before records: then a member that starts meanwhile is not taken for one without a record.
    processes = _processes(home)
    listening = _listening_ports()
    known: set[int] = set()
    for path in entries(home):
        directory = LabDirectory(path)
        with contextlib.suppress(FileNotFoundError, NotRunningError):  # it is removed just now
            if path.match(PURGED):
                yield from _purged(path)
            elif directory.exists() or os.path.exists(directory.lock):  # noqa: PTH110 - as in LabDirectory.exists
                yield from _lab(directory, listening)
                known |= {record.identity.pid for record in living_members(directory).values()}
    yield from _strays(processes, known)


def _lab(directory: LabDirectory, listening: Collection[int]) -> Iterator[Finding]:
    where, members = str(directory.path), living_members(directory)
    plan, unreadable = None, None
    try:
        plan = directory.load_plan() if directory.exists() else None
    except LabStateError as error:
        unreadable = error
        yield Finding(topic=Topic.LAB, where=where, level=Level.WRONG, what=error.message, remedy=error.hint)
    if not os.access(directory.path, os.W_OK | os.X_OK):
        what, remedy = "cannot be written by this user", f"`chmod -R u+w {where}` makes it so, if it is this user's."
        yield Finding(topic=Topic.LAB, where=where, level=Level.WRONG, what=what, remedy=remedy)
    try:
        is_running = directory.is_running()
    except LabStateError as error:
        yield Finding(topic=Topic.LAB, where=where, level=Level.WRONG, what=error.message, remedy=error.hint)
        return
    if is_running:
        what = f"runs, with {len(members)} of {len(plan.nodes)} members" if plan else "is held by a process"
        yield Finding(topic=Topic.LAB, where=where, what=what)
        yield from _lost_data(plan)
        return
    if members:
        yield _orphans(directory, plan, members)
    if plan is not None:
        if not members:
            yield Finding(topic=Topic.LAB, where=where, what=f"is stopped: `etcdlab up --name {directory.name}`")
            yield from _taken_ports(directory, plan, listening)
        yield from _stale_files(directory, plan)
    elif unreadable is None:
        yield _half_made(directory)


def _runs(directory: LabDirectory) -> bool:
    try:
        return directory.is_running()
    except LabStateError:  # its lock cannot be opened: then nothing of it is for us to touch
        return True


def _lost_data(plan: Plan | None) -> Iterator[Finding]:
    """It is made before a lab has a plan, so it was there."""
    for node in plan.nodes if plan else ():
        if not os.path.exists(node.data_dir):  # noqa: PTH110 - Path's raises for what cannot be looked at
            yield Finding(
                topic=Topic.LAB,
                where=node.data_dir,
                level=Level.WRONG,
                what=f"is gone: if {node.name} runs, then on with deleted files, and what it stores is lost at its end",
                remedy="Put it back, or make the lab afresh: `etcdlab down --purge` and `etcdlab up`.",
            )


def _orphans(directory: LabDirectory, plan: Plan | None, members: Mapping[str, ProcessRecord]) -> Finding:
    named = ", ".join(f"{name} (pid {record.identity.pid})" for name, record in members.items())
    adopt = f"`etcdlab up --name {directory.name}` takes them over; " if plan else ""
    return Finding(
        topic=Topic.LAB,
        where=str(directory.path),
        level=Level.WRONG,
        what=f"its daemon is gone, and these members still run: {named}",
        remedy=f"{adopt}`etcdlab doctor --fix` ends them, and their data stays.",
        repair=partial(_end_members, directory, plan.timeouts.stop_s if plan else STOP_S),
    )


def _end_members(directory: LabDirectory, timeout_s: float) -> str:
    with _held(directory):
        ended = end_members(directory, signal.SIGTERM, timeout_s=timeout_s)
    return f"ended {', '.join(ended)}" if ended else "they have ended by themselves"


def _half_made(directory: LabDirectory) -> Finding:
    has_data = _has_data(directory)
    return Finding(
        topic=Topic.LAB,
        where=str(directory.path),
        level=Level.WRONG,
        what="has data of members but no plan" if has_data else "is half-made: it has no plan, and nobody makes it",
        remedy="Look what is in it, then remove it." if has_data else "`etcdlab doctor --fix` removes it.",
        repair=None if has_data else partial(_remove_half_made, directory),
    )


def _remove_half_made(directory: LabDirectory) -> str:
    if not directory.path.exists():
        return "it is gone already"
    with _held(directory):
        if directory.exists() or _has_data(directory):
            raise LabStateError("it has become a lab meanwhile")
        directory.purge(None)
    return "removed"


def _has_data(directory: LabDirectory) -> bool:
    return any(directory.path.glob("nodes/*/data/member"))


def _taken_ports(directory: LabDirectory, plan: Plan, listening: Collection[int]) -> Iterator[Finding]:
    for node in plan.nodes:
        for port in node.ports:
            if port in listening:
                yield Finding(
                    topic=Topic.PORTS,
                    where=f"127.0.0.1:{port}",
                    level=Level.WRONG,
                    what=f"is taken by {holder(port)}; {node.name} of lab {directory.name} will want it",
                    remedy="Stop that process before the lab is started again.",
                )


def _stale_files(directory: LabDirectory, plan: Plan) -> Iterator[Finding]:
    def of(what: str, path: Path) -> Finding:
        return Finding(
            topic=Topic.LAB,
            where=str(path),
            level=Level.WRONG,
            what=what,
            remedy="`etcdlab doctor --fix` removes it.",
            repair=partial(_unlink, directory, path),
        )

    if (control := Path(plan.socket)).is_socket():
        yield of("is the control socket of a dead daemon", control)
    for pattern in TEMPORARY:
        for path in sorted(directory.path.glob(pattern)):
            yield of("was left by a writer that was killed", path)


def _unlink(directory: LabDirectory, path: Path) -> str:
    with _held(directory):
        path.unlink(missing_ok=True)
    return "removed"


def _purged(path: Path) -> Iterator[Finding]:
    """A lab on its way out. Whoever purges holds the lab's lock, which has moved along."""
    inside = [LabDirectory(inner) for inner in path.iterdir()]
    in_use = any(_runs(directory) for directory in inside)
    if in_use or (not inside and time.time() - path.stat().st_mtime < PURGE_S):
        return
    yield Finding(
        topic=Topic.LAB,
        where=str(path),
        level=Level.WRONG,
        what="is what a purge that was interrupted has left",
        remedy="`etcdlab doctor --fix` removes it.",
        repair=partial(_remove_purged, path),
    )


def _remove_purged(path: Path) -> str:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise LabStateError(f"{path} cannot be removed")
    return "removed"


def _strays(processes: dict[int, tuple[str, Path]], known: Collection[int]) -> Iterator[Finding]:
    for pid, (kind, path) in processes.items():
        if pid not in known:
            yield Finding(
                topic=Topic.PROCESS,
                where=f"pid {pid}",
                level=Level.WRONG,
                what=f"is {kind} of a lab that does not know it, in {path}",
                remedy=f"If you do not need it, `kill {pid}`: etcdlab ends no process that no lab has on record.",
            )


def _processes(home: Path) -> dict[int, tuple[str, Path]]:
    """The processes of labs in `home` that no living daemon answers for: what each is, and where."""
    daemons, networks, etcds, parents = {}, {}, {}, {}
    for process in psutil.process_iter(["cmdline", "ppid"]):
        argv = process.info["cmdline"] or []
        if (directory := lab_of(argv)) and directory.path.parent == home:
            daemons[process.pid] = directory
        elif (directory := lab_of(argv, Role.NETWORK)) and directory.path.parent == home:
            networks[process.pid] = directory
        elif (data := data_directory(argv)) and data.is_relative_to(home):
            etcds[process.pid], parents[process.pid] = data, process.info["ppid"]
    found = {pid: ("a daemon", lab.path) for pid, lab in daemons.items() if not _runs(lab)}
    # With members that run without a daemon, it is theirs.
    idle = {pid: lab for pid, lab in networks.items() if not _runs(lab) and not living_members(lab)}
    found |= {pid: ("a fault network", lab.path) for pid, lab in idle.items()}
    # A child of a daemon that lives is that daemon's business: its record may just be being written.
    found |= {
        pid: ("an etcd", data) for pid, data in etcds.items() if parents[pid] not in daemons or parents[pid] in found
    }
    return found


def _listening_ports() -> set[int]:
    """Ports that nobody can listen on any more on loopback."""
    try:
        sockets = psutil.net_connections("tcp")
    except psutil.Error:
        return set()
    ends = (one.laddr for one in sockets if one.status == psutil.CONN_LISTEN)
    return {end.port for end in ends if end and end.ip in _ANYWHERE}


@contextlib.contextmanager
def _held(directory: LabDirectory) -> Iterator[None]:
    """Hold the lab, so that nobody starts it meanwhile. Raises LabStateError if somebody has."""
    lock = directory.acquire()
    if lock is None:
        raise LabStateError(f"lab {directory.name!r} runs by now")
    try:
        yield
    finally:
        os.close(lock)
