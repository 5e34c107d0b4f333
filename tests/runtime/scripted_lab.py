"""A lab whose members' processes and answers are the test's, in virtual time."""

import signal
from pathlib import Path

import trio

from etcdlab.etcd import api
from etcdlab.model.event import EventKind
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime import boot, measure, watch
from etcdlab.runtime import node as nodes
from etcdlab.runtime.cluster import Cluster
from etcdlab.runtime.health import Measurement
from etcdlab.runtime.journal import Journal, read
from tests.plans import make_plan
from tests.runtime.scripted import ScriptedProcess, inline

OBEYS = frozenset({signal.SIGTERM, signal.SIGKILL})
STUBBORN = frozenset({signal.SIGKILL})


class ScriptedLab:
    """A cluster of scripted members that are healthy as long as enough of them run; n1 leads while it does."""

    def __init__(self, tmp_path: Path) -> None:
        self.plan = make_plan(tmp_path, nodes=3, tls=False)
        for node in self.plan.nodes:
            Path(node.directory).mkdir(parents=True)
        self.directory = LabDirectory(tmp_path / "demo")
        self.begin()
        self.spawned: list[tuple[str, ScriptedProcess]] = []
        self.obeys = OBEYS
        self.sick: set[str] = set()
        self.term = 2

    def begin(self) -> None:
        """A daemon begins, as the only one or after another."""
        self.journal = Journal(self.directory.events)
        self.cluster = Cluster(self.directory, self.plan, self.journal)
        self.members = self.cluster.members
        self.nodes = self.cluster.nodes

    async def spawn(self, argv, *, env, directory: Path, log: Path) -> ScriptedProcess:
        await trio.lowlevel.checkpoint()
        process = ScriptedProcess(len(self.spawned), log, obeys=self.obeys)
        self.spawned.append((directory.name, process))
        return process

    def process(self, name: str) -> ScriptedProcess:
        """The newest one of a member."""
        return next(process for owner, process in reversed(self.spawned) if owner == name)

    def _name(self, metrics) -> str:
        return next(name for name, node in self.nodes.items() if node.metrics is metrics)

    async def is_healthy(self, metrics) -> bool:
        await trio.lowlevel.checkpoint()
        up = [node for node in self.nodes.values() if node.process is not None and not node.paused]
        return len(up) >= 2 and self._name(metrics) not in self.sick

    async def wait_healthy(self, metrics, serving) -> None:
        while self._name(metrics) in self.sick:  # noqa: ASYNC110 - virtual time
            await trio.sleep(1)

    async def connect(self, client) -> None:
        await trio.lowlevel.checkpoint()

    async def measure(self, metrics, client, *, probe_s: float) -> Measurement:
        name = self._name(metrics)
        header = api.Header(cluster_id=0x0123456789ABCDEF, member_id=int(name[1:]))
        leader = 1 if self.nodes["n1"].process is not None else 2
        status = api.MemberStatus(header=header, leader=leader, raft_term=self.term, version="3.5.16")
        return Measurement(healthy=await self.is_healthy(metrics), status=status)

    def patch(self, monkeypatch) -> None:
        monkeypatch.setattr(nodes, "spawn", self.spawn)
        monkeypatch.setattr(nodes, "wait_healthy", self.wait_healthy)
        monkeypatch.setattr(watch, "is_healthy", self.is_healthy)
        monkeypatch.setattr(measure, "measure", self.measure)
        monkeypatch.setattr(boot, "connect", self.connect)
        monkeypatch.setattr(trio.to_thread, "run_sync", inline)
        first_ids = {node.peer_url: node.member_id for node in self.plan.nodes}  # simple ones, and not etcd's
        monkeypatch.setattr("etcdlab.etcd.identity.member_id", lambda peer_url, _: first_ids[peer_url])

    def kinds(self) -> list[tuple[EventKind, str | None]]:
        return [(event.kind, event.node) for event in read(self.directory.events)]
