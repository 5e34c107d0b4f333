"""The members of a lab together: what can be asked of some of them, and what that does to the others."""

import signal
import ssl
from collections.abc import Sequence
from functools import partial

import msgspec
import trio

from etcdlab.errors import LabStateError, TimedOutError
from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.past import Life
from etcdlab.model.plan import Plan
from etcdlab.model.quorum import quorum
from etcdlab.model.status import LabStatus
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime import boot
from etcdlab.runtime.holds import Holds
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.measure import measure_lab
from etcdlab.runtime.node import Node
from etcdlab.runtime.watch import Watch


class Members:
    """The members of one lab, by name, with the plan that knows their ids. `run` is their task."""

    def __init__(
        self,
        directory: LabDirectory,
        plan: Plan,
        journal: Journal,
        *,
        context: ssl.SSLContext | None,
        staged: trio.Event,
    ) -> None:
        self.plan = plan
        self.nodes = {
            node.name: Node(
                node,
                rules=plan.restart,
                stop_s=plan.timeouts.stop_s,
                journal=journal,
                context=context,
                staged=staged,
                life=journal.past.lives.get(node.name, Life()),
            )
            for node in plan.nodes
        }
        self.watch = Watch(
            [self.nodes[node.name] for node in plan.voters],
            journal,
            probe_s=plan.timeouts.probe_s,
            election_timeout_s=plan.election_timeout_s,
        )
        self.holds = Holds()
        self._directory = directory
        self._journal = journal

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise them for ever. Started once every member has its task."""
        async with trio.open_nursery() as nursery:
            for node in self.nodes.values():
                nursery.start_soon(node.run)
            nursery.start_soon(self.watch.run)
            nursery.start_soon(self.holds.run)
            task_status.started()

    async def measure(self) -> LabStatus:
        """Ask all of them how they are."""
        return await measure_lab(self.plan, self.nodes)

    def learn_id(self, node: Node, member_id: str | None) -> None:
        """Have the plan say that the cluster knows a member by that id."""
        node.replace_plan(msgspec.structs.replace(node.plan, member_id=member_id))
        nodes = tuple(node.plan if node.name == other.name else other for other in self.plan.nodes)
        self.plan = msgspec.structs.replace(self.plan, nodes=nodes)
        self._directory.save_plan(self.plan)

    def serving(self) -> list[Node]:
        """The voters that run."""
        voters = [self.nodes[node.name] for node in self.plan.voters]
        return [node for node in voters if node.state is NodeState.RUNNING and not node.paused]

    # What can be asked of them

    async def start(self, names: Sequence[str]) -> None:
        """Start members; also leaves FAILED. Waits until they run, unless too few are up for a quorum.

        Raises BootError for one that is down for good, TimedOutError after the boot's bound.
        """
        self.holds.drop(names)
        nodes = [self.nodes[name] for name in names]
        for node in nodes:
            node.start()
        up = sum(self.nodes[plan.name].state.alive or plan.name in names for plan in self.plan.voters)
        if up >= quorum(len(self.plan.voters)):
            await self._wait_running(nodes)
        self.watch.wake()

    async def stop(self, names: Sequence[str], *, for_s: float | None = None) -> None:
        """Stop members, for so many seconds or until they are started."""
        self.holds.drop(names)
        await self.end([self.nodes[name] for name in names], grace_s=None)
        if for_s is not None:
            for name in names:
                self.holds.begin(name, for_s, self.nodes[name].start)
        self.watch.wake()

    def kill(self, names: Sequence[str], number: signal.Signals) -> Sequence[str]:
        """Send members a signal; returns those that got it, the ones that have a process.

        Raises LabStateError when none has one.
        """
        running = self._require_processes(names, f"send {number.name} to")
        for name in running:
            self._journal.emit(EventKind.SIGNAL_SENT, name, signal=number.name)
        self._signal(running, number)
        return running

    def pause(self, names: Sequence[str], *, for_s: float | None = None) -> Sequence[str]:
        """Freeze members, for so many seconds or until they are resumed; returns them, the ones that have a process.

        Raises LabStateError when none has one.
        """
        running = self._require_processes(names, "freeze")
        self.holds.drop(running)
        self._signal(running, signal.SIGSTOP)
        if for_s is not None:
            for name in running:
                self.holds.begin(name, for_s, partial(self._signal, [name], signal.SIGCONT))
        return running

    def resume(self, names: Sequence[str]) -> None:
        """Let paused members go on."""
        running = self._running(names)
        self.holds.drop(running)
        self._signal(running, signal.SIGCONT)

    async def end(self, nodes: Sequence[Node], *, grace_s: float | None) -> None:
        """Stop followers first, the leader last. `grace_s` is as of `Node.stop`.

        A leader that goes first waits up to 5 s + 2 election timeouts to hand over to peers that are leaving too:
        7.0 s for three members, against 1.05 s in this order (etcd 3.5 server.go, TryTransferLeadershipOnShutdown).
        """
        leader = None if grace_s == 0 or len(nodes) == 1 else (await self.measure()).leader
        followers = [node for node in nodes if node.name != leader]
        for group in (followers, [node for node in nodes if node.name == leader]):
            for node in group:
                node.stop(grace_s=grace_s)
            for node in group:
                await node.wait_down()

    def kill_all(self) -> None:
        """End every member at once."""
        for node in self.nodes.values():
            node.stop(grace_s=0)  # else one that was not asked to stop yet is started again
            node.signal(signal.SIGKILL)

    def _running(self, names: Sequence[str]) -> list[str]:
        """Those that can be paused: one that is stopped for a time is started in its time all the same."""
        return [name for name in names if self.nodes[name].process is not None]

    def _require_processes(self, names: Sequence[str], action: str) -> list[str]:
        """Those that have a process. Raises LabStateError when none has: nothing would come of it, as if it had."""
        if running := self._running(names):
            return running
        states = ", ".join(f"{name} is {self.nodes[name].state.value}" for name in names)
        raise LabStateError(
            f"there is no process to {action}: {states}", hint=f"`etcdlab start {' '.join(names)}` starts one."
        )

    def _signal(self, names: Sequence[str], number: signal.Signals) -> None:
        for name in names:
            self.nodes[name].signal(number)
        self.watch.wake()

    async def _wait_running(self, nodes: Sequence[Node]) -> None:
        boot_s = self.plan.timeouts.boot_s
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
