"""A lab at run time: its members together, what can be asked of them, and what is known about them."""

import re
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio

from etcdlab.errors import QuorumError, TimedOutError
from etcdlab.model.event import Event, EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import Plan
from etcdlab.model.quorum import keeps_quorum, quorum
from etcdlab.model.status import LabStatus
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime import boot
from etcdlab.runtime.broadcast import Broadcast
from etcdlab.runtime.health import add_learner, is_healthy
from etcdlab.runtime.http import client_context
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.measure import measure_lab
from etcdlab.runtime.node import Node
from etcdlab.runtime.tail import watch_lines

WATCH_S: Final = 2.0
"""Seconds between looks at the members' health when their logs report nothing."""

LOG_BACKLOG: Final = 1000
"""Batches of lines that a follower of the logs may fall behind."""

_SERVING_PEERS: Final = b'"serving peer traffic"'
_LEADER_NEWS: Final = re.compile(
    rb"raft\.node: \w+ (?:elected leader|changed leader from \w+ to|lost leader) (\w+) at term (\d+)"
)


class Cluster:
    """The members of one lab and their journal. `run` is its task; it implements `control.supervisor.Supervisor`."""

    def __init__(self, directory: LabDirectory, plan: Plan, journal: Journal) -> None:
        self._directory = directory
        self._plan = plan
        self._journal = journal
        gateway = plan.tls and plan.tls.gateway
        context = (
            client_context(plan.tls.ca, gateway.certificate, gateway.private_key) if plan.tls and gateway else None
        )
        self.nodes = {
            node.name: Node(node, rules=plan.restart, stop_s=plan.timeouts.stop_s, journal=journal, context=context)
            for node in plan.nodes
        }
        self._lines = Broadcast[tuple[str, list[bytes]]](LOG_BACKLOG)
        self._news = trio.Event()
        self._term = 0
        self._has_quorum: bool | None = None
        self.shutdown_requested = trio.Event()
        self.purge = False

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self._plan

    # Tasks

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the members for ever. Started once every member has its task and its log is watched."""
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_lines, {node.name: Path(node.log) for node in self._plan.nodes}, self._on_lines)
            for node in self.nodes.values():
                nursery.start_soon(node.run)
            nursery.start_soon(self._watch_health)
            task_status.started()

    def _on_lines(self, name: str, lines: list[bytes]) -> None:
        """React to a member's log: its peers can connect, or the leader changed."""
        for line in lines:
            if _SERVING_PEERS in line:
                self.nodes[name].serving_peers.set()
            elif b"raft.node: " in line and (news := _LEADER_NEWS.search(line)):
                self._on_leader_news(line, leader=news[1].decode(), term=int(news[2]))
        self._lines.publish((name, lines))

    def _on_leader_news(self, line: bytes, *, leader: str, term: int) -> None:
        # Every member reports every election: the first to do so in a newer term makes the event.
        if b"lost leader" not in line and term > self._term:
            self._term = term
            name = next((node.name for node in self._plan.nodes if node.member_id == leader.rjust(16, "0")), None)
            self._journal.emit(EventKind.LEADER_CHANGED, name, term=term, member_id=leader.rjust(16, "0"))
        self._news.set()

    async def _watch_health(self) -> None:
        """Journal when quorum is lost and regained: looked at in intervals, and at once when a log has news."""
        while True:
            with trio.move_on_after(WATCH_S):
                await self._news.wait()
            self._news = trio.Event()
            if self._has_quorum is None:
                continue  # not booted yet
            healthy = await self._healthy_voters()
            has_quorum = healthy >= quorum(len(self._plan.voters))
            if has_quorum != self._has_quorum:
                self._has_quorum = has_quorum
                kind = EventKind.QUORUM_REGAINED if has_quorum else EventKind.QUORUM_LOST
                self._journal.emit(kind, healthy=healthy, voters=len(self._plan.voters))

    async def _healthy_voters(self) -> int:
        """How many voting members answer a linearizable read within the probe's bound."""
        healthy = 0

        async def look(node: Node) -> None:
            nonlocal healthy
            with trio.move_on_after(self._plan.timeouts.probe_s):
                healthy += await is_healthy(node.metrics)

        async with trio.open_nursery() as nursery:
            for plan in self._plan.voters:
                if self.nodes[plan.name].process is not None:
                    nursery.start_soon(look, self.nodes[plan.name])
        return healthy

    # Boot and shutdown

    async def boot(self, *, boot_s: float) -> LabStatus:
        """Start all members and wait until the lab is ready. Raises BootError, or TimedOutError after `boot_s`."""
        try:
            with trio.fail_after(boot_s):
                status = await self._boot()
        except trio.TooSlowError as error:
            raise boot.boot_timeout(self.nodes, boot_s) from error
        self._has_quorum = True
        self._journal.emit(EventKind.LAB_READY, leader=status.leader, cluster_id=status.cluster_id)
        return status

    async def _boot(self) -> LabStatus:
        members = [node for node in self.nodes.values() if node.plan.member_id is not None]
        newcomers = [node for node in self.nodes.values() if node.plan.member_id is None]
        await boot.start_staged(members, stage_s=self._plan.timeouts.stage_s)
        await boot.wait_running(members)
        for node in newcomers:
            client = self.nodes[self._plan.voters[0].name].client
            known = [member.plan.member_id for member in self.nodes.values() if member.plan.member_id is not None]
            self._learn_member_id(node, await add_learner(client, node.plan.peer_url, known=known))
            node.start()
            await boot.wait_running([node])
        return await boot.wait_agreed(self.status)

    def _learn_member_id(self, node: Node, member_id: str) -> None:
        node.replace_plan(msgspec.structs.replace(node.plan, member_id=member_id))
        nodes = tuple(node.plan if node.name == other.name else other for other in self._plan.nodes)
        self._plan = msgspec.structs.replace(self._plan, nodes=nodes)
        self._directory.save_plan(self._plan)

    def request_shutdown(self, *, purge: bool) -> None:
        """Have the daemon stop the lab and end; returns at once."""
        self.purge = self.purge or purge
        self.shutdown_requested.set()

    async def stop_all(self, *, at_once: bool) -> None:
        """Stop every member: with SIGKILL when `at_once`, else followers first and the leader last.

        A leader that goes first waits up to 5 s + 2 election timeouts to hand over to peers that are leaving too:
        7.0 s for three members, against 1.05 s in this order (etcd 3.5 server.go, TryTransferLeadershipOnShutdown).
        """
        self._has_quorum = None  # from here on its loss is no news
        grace_s = 0.0 if at_once else None
        leader = None if at_once else (await self.status()).leader
        followers = [node for node in self.nodes.values() if node.name != leader]
        await self._stop(followers, grace_s=grace_s)
        await self._stop([self.nodes[leader]] if leader else [], grace_s=grace_s)
        self._journal.emit(EventKind.LAB_STOPPED)

    def kill_all(self) -> None:
        """End every member at once."""
        self._signal(list(self.nodes), signal.SIGKILL)

    # Verbs

    async def status(self) -> LabStatus:
        """Measure the lab."""
        return await measure_lab(self._plan, self.nodes)

    async def start(self, names: Sequence[str]) -> None:
        """Start members; also leaves FAILED. Waits until they run, unless too few are up for a quorum."""
        nodes = [self.nodes[name] for name in names]
        for node in nodes:
            node.start()
        up = sum(self.nodes[plan.name].state.alive or plan.name in names for plan in self._plan.voters)
        if up >= quorum(len(self._plan.voters)):
            await self._wait_running(nodes)
        self._news.set()

    async def stop(self, names: Sequence[str], *, force: bool) -> None:
        """Stop members. Raises QuorumError unless `force`."""
        self._require_quorum("stopping", names, force=force)
        await self._stop([self.nodes[name] for name in names], grace_s=None)
        self._news.set()

    async def restart(self, names: Sequence[str], *, force: bool) -> None:
        """Stop and start members, one after the other. Raises QuorumError unless `force`."""
        for name in names:
            self._require_quorum("restarting", [name], force=force)
            await self._stop([self.nodes[name]], grace_s=None)
            await self.start([name])

    async def kill(self, names: Sequence[str], *, signal: signal.Signals, force: bool) -> None:
        """Send a signal to members. Raises QuorumError unless `force`."""
        self._require_quorum(f"sending {signal.name} to", names, force=force)
        self._signal(names, signal)

    async def pause(self, names: Sequence[str], *, force: bool) -> None:
        """Freeze members. Raises QuorumError unless `force`."""
        self._require_quorum("pausing", names, force=force)
        self._signal(names, signal.SIGSTOP)

    async def resume(self, names: Sequence[str]) -> None:
        """Let paused members go on."""
        self._signal(names, signal.SIGCONT)

    def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        """The journal after `since`, then (`follow`) what comes."""
        return self._journal.events(since=since, follow=follow)

    def _signal(self, names: Sequence[str], number: signal.Signals) -> None:
        for name in names:
            self.nodes[name].signal(number)
        self._news.set()

    async def _stop(self, nodes: Sequence[Node], *, grace_s: float | None) -> None:
        running = [node for node in nodes if node.state not in (NodeState.STOPPED, NodeState.FAILED)]
        for node in running:
            node.stop(grace_s=grace_s)
        for node in running:
            await node.wait_state(lambda state: state is NodeState.STOPPED)

    async def _wait_running(self, nodes: Sequence[Node]) -> None:
        boot_s = self._plan.timeouts.boot_s
        try:
            with trio.fail_after(boot_s):
                await boot.wait_running(nodes)
        except trio.TooSlowError as error:
            late = ", ".join(
                f"{node.name} is {node.state.value}" for node in nodes if node.state is not NodeState.RUNNING
            )
            raise TimedOutError(
                f"not running after {boot_s:g} s: {late}", hint="`etcdlab logs` shows what they wait for."
            ) from error

    def _require_quorum(self, action: str, names: Sequence[str], *, force: bool) -> None:
        voters = [self.nodes[plan.name] for plan in self._plan.voters]
        serving = [node for node in voters if node.state is NodeState.RUNNING and not node.paused]
        leaving = sum(node.name in names for node in serving)
        if force or not leaving or len(serving) < quorum(len(voters)):
            return
        if not keeps_quorum(voters=len(voters), healthy=len(serving), leaving=leaving):
            raise QuorumError(
                f"{action} {', '.join(names)} would leave {len(serving) - leaving} of {len(voters)} voting members, "
                f"and a quorum is {quorum(len(voters))}: the cluster would stop serving",
                hint="`--force` does it all the same.",
            )
