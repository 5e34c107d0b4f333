"""A member whose process and health are the test's: for the restart loop in virtual time.

Never mix this with real processes: an autojumped clock would run through a real one's hours in no time.
"""

import inspect
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio
import trio.testing

from etcdlab.model.event import Event, EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.past import Life
from etcdlab.model.plan import NodePlan
from etcdlab.model.restart import RestartRules
from etcdlab.prepare.process import ProcessIdentity
from etcdlab.runtime import journal as journals
from etcdlab.runtime import node as nodes
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.node import Node
from tests.plans import make_plan

STOP_S = 8.0
BAD_FLAG = b"flag provided but not defined: -no-such-flag\n"
NO_PORT = b'{"level":"fatal","msg":"x","error":"listen tcp 127.0.0.1:1: bind: address already in use"}\n'
DATA_GONE = b'{"level":"fatal","msg":"member has already been bootstrapped"}\n'
NO_SPACE = b'{"level":"fatal","msg":"failed to save WAL","error":"write /d/wal: no space left on device"}\n'


class ScriptedProcess:
    """A process that ends when the test says so, or when a signal that it obeys reaches it."""

    def __init__(self, number: int, log: Path, *, obeys: frozenset[signal.Signals]) -> None:
        self.identity = ProcessIdentity(pid=1000 + number, start_time=0, boot="scripted")
        self.healthy = trio.Event()
        self.signals: list[signal.Signals] = []
        self.spawned_at = trio.current_time()
        self._log = log
        self._obeys = obeys
        self._code = 0
        self._ended = trio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        return self._code

    def end(self, code: int, log: bytes = b"") -> None:
        """End with an exit code, after some last words."""
        if not self._ended.is_set():
            with self._log.open("ab") as file:
                file.write(log)
            self._code = code
            self._ended.set()

    def signal(self, number: signal.Signals) -> None:
        if not self._ended.is_set():
            self.signals.append(number)
            if number in self._obeys:
                self.end(-number)


class Member:
    """A Node over scripted processes. `spawn` may raise `spawn_error` instead, or wait for `may_spawn`."""

    def __init__(self, directory: Path, rules: RestartRules, *, ignores_sigterm: bool) -> None:
        plan = make_plan(directory, nodes=1, tls=False)
        self.plan: NodePlan = msgspec.structs.replace(plan.nodes[0], argv=("/opt/etcd", "--name", "n1"))
        Path(self.plan.directory).mkdir(parents=True)
        self.journal = Journal(directory / "events.jsonl")
        staged = trio.Event()
        staged.set()
        self.node = Node(
            self.plan,
            rules=rules,
            stop_s=STOP_S,
            journal=self.journal,
            context=None,
            staged=staged,
            life=self.journal.past.lives.get("n1", Life()),
        )
        self.processes: list[ScriptedProcess] = []
        self.spawn_error: OSError | None = None
        self.may_spawn = trio.Event()
        self.may_spawn.set()
        self._spawned = trio.Event()
        self._obeys = frozenset({signal.SIGKILL} if ignores_sigterm else {signal.SIGKILL, signal.SIGTERM})
        self._journal_path = directory / "events.jsonl"

    @property
    def process(self) -> ScriptedProcess:
        """The newest one."""
        return self.processes[-1]

    async def spawn(self, *args: object, **kwargs: object) -> ScriptedProcess:
        await self.may_spawn.wait()
        if self.spawn_error is not None:
            raise self.spawn_error
        self.processes.append(ScriptedProcess(len(self.processes), Path(self.plan.log), obeys=self._obeys))
        self._spawned.set()
        self._spawned = trio.Event()
        return self.process

    async def wait_healthy(self, metrics: object, serving: trio.Event) -> None:
        await self.process.healthy.wait()

    async def settle(self) -> NodeState:
        """Let everything happen that happens without time passing; the state then."""
        await trio.testing.wait_all_tasks_blocked()
        return self.node.state

    async def start(self) -> None:
        """Start, become healthy, and stay so for a second."""
        self.node.start()
        await self.settle()
        self.process.healthy.set()
        await trio.sleep(1)
        assert self.node.state is NodeState.RUNNING

    async def wait_spawned(self, count: int) -> None:
        """Wait until `count` processes have been spawned in all."""
        while len(self.processes) < count:
            await self._spawned.wait()
        await self.settle()

    def events(self) -> list[Event]:
        return journals.read(self._journal_path)

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events()]


async def inline(call: Callable[..., object], *args: object) -> object:
    """A worker thread's work, here: the clock would jump while a thread is waited for."""
    await trio.lowlevel.checkpoint()
    assert not inspect.iscoroutinefunction(call)
    return call(*args)


@asynccontextmanager
async def supervised(
    directory: Path, monkeypatch, rules: RestartRules | None = None, *, ignores_sigterm: bool = False
) -> AsyncIterator[Member]:
    """A member whose task runs, with scripted processes; within an hour of virtual time."""
    member = Member(directory, rules or RestartRules(), ignores_sigterm=ignores_sigterm)
    monkeypatch.setattr(nodes, "spawn", member.spawn)
    monkeypatch.setattr(nodes, "wait_healthy", member.wait_healthy)
    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.node.run)
            yield member
            nursery.cancel_scope.cancel()
    member.journal.close()
