"""A scripted lab behind a real control socket, and a client to speak with it."""

import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing

from etcdlab.control.client import Client
from etcdlab.control.connection import Limits
from etcdlab.control.listener import bind
from etcdlab.control.server import serve
from etcdlab.control.wire import ErrorAnswer, ErrorBody
from etcdlab.errors import EtcdlabError
from etcdlab.model.certificate import Defect
from etcdlab.model.chaos import AnyEntry
from etcdlab.model.disk import Freed, Part, Shortage
from etcdlab.model.event import Event, EventKind
from etcdlab.model.healed import Healed
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.link import AnyFault, Delay, Link, LinkFault
from etcdlab.model.plan import NodePlan, Plan, TimeoutsPlan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.restart import RestartRules
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus

NAMES = ("n1", "n2", "n3")


def node_plan(name: str) -> NodePlan:
    return NodePlan(
        name=name,
        learner=False,
        client_url="https://127.0.0.1:1",
        peer_url="https://127.0.0.1:2",
        metrics_url="http://127.0.0.1:3",
        client_port=1,
        peer_port=2,
        metrics_port=3,
        directory=f"/lab/nodes/{name}",
        data_dir=f"/lab/nodes/{name}/data",
        log=f"/lab/nodes/{name}/etcd.log",
        etcd_version="3.5.16",
        argv=("etcd", "--name", name),
        env={},
        member_id=None,
    )


PLAN = Plan(
    lab="scripted",
    directory="/lab",
    socket="/lab/control.sock",
    token="scripted",
    cluster_id="0000000000000001",
    election_timeout_s=1.0,
    etcdctl=None,
    nodes=tuple(node_plan(name) for name in NAMES),
    tls=None,
    pki=None,
    restart=RestartRules(),
    timeouts=TimeoutsPlan(boot_s=60, stage_s=2, probe_s=1, stop_s=8),
    log_size=1,
    log_count=1,
)


def node_status(name: str) -> NodeStatus:
    return NodeStatus(
        name=name,
        state=NodeState.RUNNING,
        healthy=True,
        paused=False,
        is_leader=name == "n1",
        is_learner=False,
        member_id="00000000000000aa",
        pid=4711,
        restarts=0,
        uptime_s=1.5,
        client_url="https://127.0.0.1:1",
        peer_url="https://127.0.0.1:2",
        metrics_url="http://127.0.0.1:3",
    )


STATUS = LabStatus(
    lab="scripted",
    verdict=ClusterVerdict.HEALTHY,
    cluster_id="0000000000000001",
    is_this_lab=True,
    leader="n1",
    nodes=tuple(node_status(name) for name in NAMES),
)


FAULTS = (LinkFault(link=Link("n1", "n2"), fault=Delay(delay_s=0.03), since_s=1.5),)
HEALED = Healed(faults=FAULTS, resumed=("n2",))
SHORTAGES = (Shortage(node="n1", quota=65536, since_s=1.5),)
FREED = Freed(sizes={"n1": (65536, 20480)}, alarms=1)
RESET = ResetOutcome(rebuilt=True, why="member n2 was removed from the cluster")


def event(seq: int) -> Event:
    return Event(
        seq=seq, time="2026-01-01T00:00:00.000000+00:00", monotonic_s=seq / 10, kind=EventKind.READY, node="n1"
    )


class FakeSupervisor:
    """Records what it is asked; `failure` is raised by the next verb; `gate`, if closed, holds verbs up."""

    def __init__(self) -> None:
        self.plan = PLAN
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.gate = trio.Event()
        self.gate.set()
        self.journal = [event(seq) for seq in range(1, 4)]
        self.grown = trio.Event()
        self.followers = 0
        self.left = trio.Event()
        self.produced = 0
        self.endless = False

    async def status(self) -> LabStatus:
        await self._verb("status")
        return STATUS

    async def start(self, names: Sequence[str]) -> None:
        await self._verb("start", names)

    async def stop(self, names: Sequence[str], *, force: bool, for_s: float | None) -> None:
        await self._verb("stop", names, force, for_s)

    async def restart(self, names: Sequence[str], *, force: bool) -> None:
        await self._verb("restart", names, force)

    async def kill(self, names: Sequence[str], *, signal: signal.Signals, force: bool) -> Sequence[str]:
        await self._verb("kill", names, signal, force)
        return names

    async def pause(self, names: Sequence[str], *, force: bool, for_s: float | None) -> Sequence[str]:
        await self._verb("pause", names, force, for_s)
        return names

    async def resume(self, names: Sequence[str]) -> None:
        await self._verb("resume", names)

    async def move_leader(self, name: str) -> None:
        await self._verb("move_leader", name)

    def faults(self) -> tuple[LinkFault, ...]:
        return FAULTS

    async def inject(self, links: Collection[Link], fault: AnyFault, *, for_s: float | None, force: bool) -> None:
        await self._verb("inject", links, fault, for_s, force)

    async def heal(self, links: Collection[Link] | None, kinds: Collection[str] | None) -> None:
        await self._verb("heal", links, kinds)

    async def damage(self, name: str, part: Part) -> None:
        await self._verb("damage", name, part)

    async def fill_disks(self, names: Sequence[str], *, force: bool, for_s: float | None) -> None:
        await self._verb("fill_disks", names, force, for_s)

    async def limit_databases(self, names: Sequence[str], quota: int, *, force: bool) -> None:
        await self._verb("limit_databases", names, quota, force)

    async def heal_disks(self, names: Collection[str] | None) -> tuple[Shortage, ...]:
        await self._verb("heal_disks", names)
        return SHORTAGES

    async def free_space(self) -> Freed:
        await self._verb("free_space")
        return FREED

    async def repair(self, name: str) -> None:
        await self._verb("repair", name)

    async def heal_all(self) -> Healed:
        await self._verb("heal_all")
        return HEALED

    async def renew(self, stems: Collection[str]) -> None:
        await self._verb("renew", stems)

    async def rotate_authority(self, *, force: bool) -> None:
        await self._verb("rotate_authority", force)

    async def spoil(self, stems: Collection[str], defect: Defect, *, for_s: float | None) -> None:
        await self._verb("spoil", stems, defect, for_s)

    async def heal_leaves(self, stems: Collection[str] | None) -> None:
        await self._verb("heal_leaves", stems)

    def tell_chaos(self, entry: AnyEntry) -> None:
        self.calls.append(("tell_chaos", entry))

    async def reset(self) -> ResetOutcome:
        await self._verb("reset")
        return RESET

    def request_shutdown(self, *, purge: bool) -> None:
        self.calls.append(("shutdown", purge))

    async def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        self.followers += 1
        try:
            while True:
                for one in self.journal:
                    if one.seq > since:
                        since = one.seq
                        self.produced += 1
                        yield one
                if self.endless:
                    self.journal = [event(since + 1)]
                elif follow:
                    await self.grown.wait()
                    self.grown = trio.Event()
                else:
                    return
        finally:
            self.followers -= 1
            self.left.set()

    async def logs(self, names: Sequence[str], *, follow: bool, lines: int) -> AsyncGenerator[bytes, None]:
        await self._verb("logs", names, follow, lines)
        return self._log_lines(names)

    async def _log_lines(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        for name in names:
            yield b'{"node":"%s","msg":"a"}\n{"node":"%s","msg":"b"}\n' % (name.encode(), name.encode())

    async def _verb(self, *call: Any) -> None:
        self.calls.append(call)
        await self.gate.wait()
        if failure := self.failure:
            self.failure = None
            raise failure


@dataclass(frozen=True)
class Answer:
    """A parsed HTTP answer."""

    status: int
    headers: dict[str, str]
    content: bytes

    @classmethod
    def parse(cls, received: bytes) -> "Answer":
        """The first answer in `received`, with its body as Content-Length has it."""
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return cls(int(line.split(" ")[1]), headers, rest[: int(headers.get("content-length", len(rest)))])

    @property
    def error(self) -> ErrorBody:
        """The error that this answer must hold."""
        assert self.headers["content-type"] == "application/json"
        return msgspec.json.decode(self.content, type=ErrorAnswer).error


def request(method: str, target: str, body: bytes = b"", *, headers: str = "connection: close\r\n") -> bytes:
    """A request as bytes."""
    return f"{method} {target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


class ServedLab:
    """A served FakeSupervisor: `run` calls the client in a thread, `exchange` sends raw bytes."""

    def __init__(self, path: Path, supervisor: FakeSupervisor, shutdown: trio.Event, nursery: trio.Nursery) -> None:
        self.path = str(path)
        self.supervisor = supervisor
        self._nursery = nursery
        self.shutdown = shutdown
        self.client = Client(self.path, timeout_s=20)

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await trio.to_thread.run_sync(partial(call, *args, **kwargs))

    async def refused(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> EtcdlabError:
        """Run a call that must raise an EtcdlabError, and return that."""
        try:
            await self.run(call, *args, **kwargs)
        except EtcdlabError as error:
            return error
        raise AssertionError("nothing was raised")

    async def ask(self, method: str, target: str, body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        return Answer.parse(await self.exchange(request(method, target, body)))

    def connections(self) -> int:
        """How many connections the server has a task for."""
        return sum(task.name.endswith("_Server.handle") for task in _tasks(self._nursery))

    async def wait_no_connection(self) -> None:
        """Wait until the server has let go of everybody."""
        while self.connections():
            await trio.testing.wait_all_tasks_blocked(0.005)

    async def exchange(self, sent: bytes, *, eof: bool = False) -> bytes:
        """All that the server says to `sent` until it closes. The client keeps its side open, unless `eof`."""
        received = b""
        async with await trio.open_unix_socket(self.path) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(sent)
                if eof:
                    await stream.send_eof()
            with contextlib.suppress(trio.BrokenResourceError):
                async for chunk in stream:
                    received += chunk
        return received


def _tasks(nursery: trio.Nursery) -> Iterator[trio.lowlevel.Task]:
    for task in nursery.child_tasks:
        yield task
        for child in task.child_nurseries:
            yield from _tasks(child)


@asynccontextmanager
async def served(directory: Path, limits: Limits) -> AsyncIterator[ServedLab]:
    """Serve a FakeSupervisor on a socket in `directory`; at the end the server must leave by itself."""
    path = directory / "control.sock"
    listener = bind(str(path))
    supervisor = FakeSupervisor()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            lab = ServedLab(path, supervisor, trio.Event(), nursery)
            await nursery.start(partial(serve, supervisor, listener, shutdown=lab.shutdown, limits=limits))
            yield lab
            supervisor.gate.set()
            lab.shutdown.set()
    assert not path.exists()
