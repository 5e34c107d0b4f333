"""What a machine runs out of for a while, and that it stands still: the lab says so, and goes on by itself."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

from etcdlab.errors import EtcdlabError
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.prepare.ports import LOOPBACK
from etcdlab.prepare.process import send_signal
from torturing.attack import Attack, Impossible
from torturing.field import Field
from torturing.tally import Loss

DISK: Final = "700m"
PATIENCE_S: Final = 45.0
"""More than the longest pause between two restarts."""
PROMPT_S: Final = 3.0
"""Seconds that a daemon gets to answer, or to refuse to."""
POLL_S: Final = 0.05
MOST_S: Final = 3.0
LONGEST_STAND_S: Final = 15.0
LARGE: Final = "x" * 100_000
CLIENTS: Final = 40


def disk_full(field: Field, chance: Random) -> None:
    """The disk of the whole lab is full, until its members have ended, and for a while more."""
    lasts_s = chance.uniform(0, MOST_S)
    with _small_disk(field):
        if field.take_up() is None:
            return
        with _filled(field.directory.path / "filler"):
            _await(
                field,
                "a full disk ended no member",
                lambda status: _ended(status, ExitReason.DISK_FULL),
                meanwhile=lambda: _put_large(field),  # the writing client's few bytes may all find room in the log
            )
            time.sleep(lasts_s)
            status = field.lab.status()
            if not any("no space left" in problem for problem in status.problems):
                field.tally.lost(Loss.STATUS, f"the disk is full, and `status` says {status.problems}")
        _check_recovery(field)


def file_size(field: Field, chance: Random) -> None:
    """Files may not grow, neither the journal nor those of a member that is started."""
    name = chance.choice(field.names)
    size = max(path.stat().st_size for path in (field.directory.events, *field.directory.nodes.glob("*/etcd.log")))
    with _limited(field.daemon.pid, resource.RLIMIT_FSIZE, size + chance.randrange(4096)):
        field.kill_member(name)
        _await(field, "a file that may not grow ended no member", lambda status: _ended(status, ExitReason.DISK_FULL))
    _check_recovery(field)


def descriptors(field: Field, chance: Random) -> None:
    """The daemon may open no more files, clients come all the same, and a member is killed."""
    name, lasts_s = chance.choice(field.names), chance.uniform(0.2, MOST_S)
    used = [int(entry.name) for entry in Path(f"/proc/{field.daemon.pid}/fd").iterdir()]
    reaches_reserve = chance.random() < 0.5
    with (
        _limited(field.daemon.pid, resource.RLIMIT_NOFILE, max(used) + 1 if reaches_reserve else 3),
        contextlib.ExitStack() as clients,
    ):
        for _ in range(chance.randrange(CLIENTS)):
            clients.enter_context(socket.socket(socket.AF_UNIX)).connect(field.plan.socket)
        field.kill_member(name)
        if reaches_reserve:
            began = time.monotonic()
            with contextlib.suppress(EtcdlabError):
                field.lab.client(timeout_s=2 * PROMPT_S).status()
            if (took_s := time.monotonic() - began) > PROMPT_S:
                field.tally.lost(Loss.WORD, f"the daemon took {took_s:.1f} s to answer, or to refuse to")
        time.sleep(lasts_s)
    _check_recovery(field)


def memory(field: Field, chance: Random) -> None:
    """A member may have no more memory."""
    name = chance.choice(field.names)
    field.changed.add(name)
    field.chronicle.news()
    before = field.members()[name]
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(before.pid, resource.RLIMIT_AS, (2**20, 2**20))
    deadline = time.monotonic() + PATIENCE_S
    while field.members().get(name) == before and time.monotonic() < deadline:
        _put_large(field)
    _check_recovery(field)
    exits = [event for event in field.chronicle.news() if event.kind is EventKind.EXITED and event.node == name]
    if [event.detail["reason"] for event in exits] != [ExitReason.OUT_OF_MEMORY.value]:
        field.tally.lost(Loss.WORD, f"{name} had no memory, and ended so: {exits}")


def ports(field: Field, chance: Random) -> None:
    """Somebody has a port of a member while that is down; it is started when they let go."""
    node, lasts_s = chance.choice(field.plan.nodes), chance.uniform(0, MOST_S)
    client_port = node.links.own_client_port if node.links else node.client_port
    port = chance.choice((client_port, node.peer_port, node.metrics_port))
    field.changed.add(node.name)
    field.lab.client().stop([node.name])
    with socket.create_server((LOOPBACK, port)):
        try:
            field.lab.client().start([node.name])
        except EtcdlabError as error:
            if str(os.getpid()) not in error.message:
                field.tally.lost(Loss.WORD, f"port {port} is held by {os.getpid()}, and it is told: {error.message}")
        else:
            field.tally.lost(Loss.STATUS, f"{node.name} was started though somebody has its port {port}")
        time.sleep(lasts_s)
    _check_recovery(field)


def suspend(field: Field, chance: Random) -> None:
    """The daemon and all members stand still, as when the machine is suspended, and go on one by one."""
    processes = [*field.members().values(), field.daemon]
    lasts_s = chance.uniform(1, LONGEST_STAND_S)
    field.chronicle.news()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in chance.sample(processes, len(processes)):
            send_signal(process, number)
        if number is signal.SIGSTOP:
            time.sleep(lasts_s)
    _check_recovery(field)
    for event in field.chronicle.news():
        if event.kind in (EventKind.EXITED, EventKind.FAILED, EventKind.RESTARTED):
            field.tally.lost(Loss.RESTART, f"all stood still for {lasts_s:.1f} s, and {event}")


# What the machine has, and has not


@contextlib.contextmanager
def _small_disk(field: Field) -> Iterator[None]:
    """While the block runs the lab is on a small disk of its own. It is down at the beginning, and at the end."""
    lab, away = field.directory.path, Path(tempfile.mkdtemp(prefix="etcdlab-torture-disk-"))
    try:
        _mount("-t", "tmpfs", "-o", f"size={DISK},mode=700", "etcdlab-torture", away)
        try:
            with field.down():
                _copy(lab, away)
                _mount("--bind", away, lab)
            try:
                yield
            finally:
                with field.down():
                    _unmount(lab)
                    shutil.rmtree(lab)
                    lab.mkdir(mode=0o700)
                    _copy(away, lab)
        finally:
            _unmount(away)
    finally:
        away.rmdir()


def _mount(*words: str | Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", *words], capture_output=True, check=False).returncode:
        raise Impossible("needs the right to mount")


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", place], check=True)  # a daemon may be ending


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", target], check=True)


@contextlib.contextmanager
def _filled(filler: Path) -> Iterator[None]:
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _limited(pid: int, limit: int, value: int) -> Iterator[None]:
    before = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, limit, before)


def _put_large(field: Field) -> None:
    with contextlib.suppress(EtcdlabError):
        field.lab.etcdctl("--command-timeout=1s", "put", "large", LARGE)


def _await(
    field: Field,
    otherwise: str,
    accept: Callable[[LabStatus], bool],
    *,
    meanwhile: Callable[[], None] = lambda: time.sleep(POLL_S),
) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not accept(status := field.lab.status()):
        if time.monotonic() > deadline:
            field.tally.lost(Loss.STATUS, f"{otherwise}: {_in_short(status)}")
            return
        meanwhile()


def _ended(status: LabStatus, reason: ExitReason) -> bool:
    return any(
        node.state is NodeState.BACKOFF and node.last_exit is not None and node.last_exit.reason is reason
        for node in status.nodes
    )


def _in_short(status: LabStatus | None) -> str:
    nodes = status.nodes if status else ()
    return "; ".join(f"{node.name} is {node.state.value} {node.problem} {node.last_exit}" for node in nodes)


def _check_recovery(field: Field) -> None:
    """Without anybody's help all is as it was: the same daemon, all members healthy, nothing that is wrong."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status = None
        if not field.has_daemon():
            field.tally.lost(Loss.DAEMON, "it ended by itself")
            return
        with contextlib.suppress(EtcdlabError):
            status = field.lab.status()
        if status is not None and status.verdict is ClusterVerdict.HEALTHY and not status.problems:
            break
        if time.monotonic() > deadline:
            field.tally.lost(Loss.RECOVERY, f"when the cause was gone: {_in_short(status)}")
            return
        time.sleep(POLL_S)
    if "Traceback" in (log := field.directory.daemon_log.read_text()):
        field.tally.lost(Loss.WORD, log[log.index("Traceback") :][:2000])


ATTACKS: Final = (
    Attack("disk-full", disk_full),
    Attack("file-size", file_size),
    Attack("descriptors", descriptors),
    Attack("memory", memory),
    Attack("ports", ports),
    Attack("suspend", suspend),
)
