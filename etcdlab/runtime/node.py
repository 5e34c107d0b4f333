"""One member over its incarnations: spawn, wait, judge, back off, again.

The member's task is the only writer of its state. What was asked (`start`, `stop`) and what happened (the process
ended) meet here and nowhere else.
"""

import contextlib
import math
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from etcdlab.etcd import death, logfile
from etcdlab.etcd.flags import with_quota
from etcdlab.model.event import EventKind
from etcdlab.model.exit import Exit, ExitReason
from etcdlab.model.lifecycle import NodeEvent, NodeState, next_state
from etcdlab.model.past import Life
from etcdlab.model.plan import NodePlan
from etcdlab.model.restart import History, RestartRules, judge
from etcdlab.prepare import ports, space
from etcdlab.prepare.process import Announcement, ProcessRecord, is_stopped
from etcdlab.runtime.child import AdoptedProcess, MemberProcess, have_disk_full, spawn
from etcdlab.runtime.health import wait_healthy
from etcdlab.runtime.http import Endpoint
from etcdlab.runtime.journal import Journal, now_text
from etcdlab.runtime.usage import UsageMeter

LOOK_S: Final = 1.0
"""Seconds between looks whether there is space again, or a port is free: the system has nothing to wait for."""
AFTERMATH_S: Final = 5.0
"""Seconds after a full disk was healed in which an end without last words is still its doing: etcd ends at once, but
that may be heard when the healing is done.
"""
_DOWN: Final = (NodeState.STOPPED, NodeState.FAILED)


class Node:
    """A member's supervisor. `run` is its task; everything else may be called from other tasks.

    `staged` is set when all members of the boot have been spawned: until then none is asked for its health.
    """

    def __init__(
        self,
        plan: NodePlan,
        *,
        rules: RestartRules,
        stop_s: float,
        journal: Journal,
        context: ssl.SSLContext | None,
        staged: trio.Event,
        life: Life,
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.state = NodeState.STOPPED
        self.last_exit: Exit | None = None
        self.restarts = life.restarts
        self.process: MemberProcess | None = None
        self.paused = False
        self.quota: int | None = None  # bytes; in place of the plan's from the next incarnation on
        self.metrics = Endpoint(plan.metrics_url)
        self.client = Endpoint(plan.own_client_url, context)
        self._context = context
        self.meter = UsageMeter()
        self.serving_peers = trio.Event()
        self.serving_clients = trio.Event()
        self._rules = rules
        self._stop_s = stop_s
        self._grace_s = stop_s
        self._staged = staged
        self._journal = journal
        self._life = life
        self._history = History()
        self._healthy_at: float | None = None
        self._record: ProcessRecord | None = None
        self._wanted = False
        self._asked_s = -math.inf  # when it was asked to start
        self._ended_s = -math.inf  # when its last process ended, or could not be started
        self._is_disk_full = False  # on purpose
        self._has_space_since_s = -math.inf  # of this incarnation
        self._sent: list[signal.Signals] = []  # to this incarnation
        self._taken: int | None = None  # the port for want of which it ended
        self._changed = trio.Event()  # pulsed when `state` or `_wanted` may have changed
        self._directory = Path(plan.directory)

    @property
    def uptime_s(self) -> float | None:
        """Seconds since this incarnation was spawned, by whichever daemon; None when there is none."""
        if self.process is None or self._record is None:
            return None
        return time.monotonic() - self._record.spawned_s

    @property
    def is_adopted(self) -> bool:
        """Whether it runs since before this daemon."""
        return isinstance(self.process, AdoptedProcess)

    @property
    def _was_healed(self) -> bool:
        """Whether this incarnation's full disk was healed, so late that its end may still be the disk's doing."""
        return self._ended_s < self._has_space_since_s + AFTERMATH_S

    # What others ask for

    def start(self) -> None:
        """Ask for the member to run; FAILED and backing off members start at once. No effect when it runs."""
        self._wanted = True
        self._asked_s = trio.current_time()
        self._pulse()

    def stop(self, *, grace_s: float | None = None) -> None:
        """Ask for the member to stop; `wait_down` tells when it has.

        `grace_s` is how long it gets between SIGTERM and SIGKILL, by default the plan's bound; 0 is SIGKILL at once.
        """
        self._grace_s = self._stop_s if grace_s is None else grace_s
        self._wanted = False
        self._pulse()

    async def wait_down(self) -> NodeState:
        """Wait until a member that was asked to stop is down, or was asked to start again; return its state."""
        return await self.wait_state(lambda state: state in _DOWN or self._wanted)

    async def wait_settled(self) -> NodeState:
        """Wait until the member is RUNNING, or down with nobody asking for more; return that state.

        One that has ended since it was asked to start, for a reason that passes, is settled too: it is tried again, and
        who knows when.
        """

        def is_settled(state: NodeState) -> bool:
            if state is NodeState.BACKOFF and self.last_exit is not None and self._ended_s >= self._asked_s:
                return self.last_exit.reason.passes
            if state is NodeState.RUNNING:
                return self.process is not None  # else its end is just being explained
            return state in _DOWN and not self._wanted

        return await self.wait_state(is_settled)

    async def wait_state(self, accept: Callable[[NodeState], bool]) -> NodeState:
        """Wait until `accept(state)`; return that state."""
        while not accept(self.state):
            await self._changed.wait()
        return self.state

    def signal(self, number: signal.Signals) -> None:
        """Signal the member's process, if there is one, and keep `paused` true to what the signal does."""
        if self.process is None:
            return
        self._sent.append(number)
        self.process.signal(number)
        if number is signal.SIGSTOP and not self.paused:
            self.paused = True
            self._journal.emit(EventKind.PAUSED, self.name)
        elif number is signal.SIGCONT and self.paused:
            self.paused = False
            self._journal.emit(EventKind.RESUMED, self.name)

    def have_disk_full(self, is_full: bool) -> None:
        """Have its disk be full, or not, for this incarnation and those to come.

        Raises LabStateError where the system cannot do that.
        """
        have_disk_full(self.process.identity if self.process is not None else None, is_full)
        if self._is_disk_full and not is_full:
            self._has_space_since_s = trio.current_time()
        self._is_disk_full = is_full
        self._pulse()

    def another_connection(self) -> Endpoint:
        """For a request that takes long: on `client`, the member's measurements would wait for it."""
        return Endpoint(self.plan.own_client_url, self._context)

    def replace_plan(self, plan: NodePlan) -> None:
        """Take a changed plan; it is used from the next incarnation on."""
        self.plan = plan

    # The member's task

    async def run(self) -> None:
        """Supervise for ever: adopt what an earlier daemon left, then follow what is asked for."""
        adopted = ProcessRecord.of_living(self._directory)
        if adopted is not None:
            self.start()
        is_owed = await self._take_over(adopted)
        async with self.metrics, self.client:
            while True:
                await self.wait_state(lambda _: self._wanted)
                if is_owed:
                    self._history = History((*self._history.restarts, trio.current_time()), self._history.failures + 1)
                    self._restarted(delay_s=0.0, is_free=False)
                await self._keep_running(adopted)
                adopted, is_owed = None, False

    async def _take_over(self, adopted: ProcessRecord | None) -> bool:
        """Go on where an earlier daemon was killed; whether it left a restart to us."""
        past_s, now_s = trio.current_time() - time.monotonic(), time.monotonic()
        # Times to come are those of another boot of the machine.
        restarts = tuple(at + past_s for at in self._life.history.restarts if at <= now_s)
        self._history = History(restarts, self._life.history.failures if restarts else 0)
        if adopted is not None and adopted.identity.pid == self._life.pid:
            if self._life.ready_s is not None:
                self._healthy_at = self._life.ready_s + past_s
            return False
        last = ProcessRecord.last(self._directory)
        was_ended = last is not None and last.was_ended
        if self._life.pid is not None:
            self._record = last if last is not None and last.identity.pid == self._life.pid else None
            self._ended(await trio.to_thread.run_sync(self._explain, None, was_ended, self._is_disk_full))
        return adopted is None and not was_ended and (self._life.pid is not None or self._life.is_owed)

    async def _keep_running(self, adopted: ProcessRecord | None) -> None:
        """Run incarnations until the member is stopped, gives up, or stays down by policy."""
        while True:
            self._apply(NodeEvent.START)
            exit_ = await self._incarnation(adopted)
            adopted = None
            self._ended(exit_)
            if exit_.reason is ExitReason.REQUESTED:
                self._apply(NodeEvent.EXITED)
                self._journal.emit(EventKind.STOPPED, self.name)
                return
            now = trio.current_time()
            healthy_for_s = 0.0 if self._healthy_at is None else now - self._healthy_at
            verdict = judge(self._rules, self._history, exit_, now=now, healthy_for_s=healthy_for_s)
            self._history = verdict.history
            if verdict.delay_s is None:
                self._stay_down(exit_, verdict.why_not, failed=verdict.failed)
                return
            self._apply(NodeEvent.RETRY)
            delay_s = 0.0 if exit_.reason is ExitReason.DISK_FULL and self._was_healed else verdict.delay_s
            if not await self._back_off(delay_s, exit_.reason):
                self._apply(NodeEvent.STOP)
                self._journal.emit(EventKind.STOPPED, self.name)
                return
            self._restarted(delay_s=delay_s, is_free=exit_.reason.is_free)

    def _ended(self, exit_: Exit) -> None:
        self.last_exit = exit_
        self._journal.emit(EventKind.EXITED, self.name, code=exit_.code, reason=exit_.reason.value, detail=exit_.detail)

    def _restarted(self, *, delay_s: float, is_free: bool) -> None:
        """`is_free`: it does not count against the budget."""
        self.restarts += 1
        self._journal.emit(
            EventKind.RESTARTED,
            self.name,
            restarts=self.restarts,
            delay_s=delay_s,
            failures=self._history.failures,
            **({"is_free": True} if is_free else {}),
        )

    def _stay_down(self, exit_: Exit, why_not: str, *, failed: bool) -> None:
        # An operator's `start` begins with a clean slate: otherwise a spent budget would fail it again at once.
        self._history = History()
        self._wanted = False
        self._apply(NodeEvent.GIVE_UP if failed else NodeEvent.EXITED)
        kind = EventKind.FAILED if failed else EventKind.STOPPED
        self._journal.emit(kind, self.name, why=why_not, reason=exit_.reason.value, remedy=exit_.remedy)

    async def _back_off(self, delay_s: float, reason: ExitReason) -> bool:
        """Wait before a restart: so long, and until it can be of use. False when it is not to happen.

        No longer than until `start` or `stop` is called, which may have been while its end was explained.
        """
        if self._wanted and self._ended_s >= self._asked_s:
            changed = self._changed
            with trio.move_on_after(delay_s):
                await changed.wait()
            while not changed.is_set() and self._is_hopeless(reason):
                with trio.move_on_after(LOOK_S):
                    await changed.wait()
        return self._wanted

    def _is_hopeless(self, reason: ExitReason) -> bool:
        """Whether what ended the member is still there, as far as one can see without starting it."""
        if reason is ExitReason.DISK_FULL:
            return self._is_disk_full or space.is_full(Path(self.plan.data_dir))
        return reason is ExitReason.PORT_TAKEN and self._taken is not None and not ports.is_free(self._taken)

    async def _incarnation(self, adopted: ProcessRecord | None) -> Exit:
        """One process from start to end, explained."""
        self._sent = []
        if adopted is None:
            self._healthy_at = None
            self._has_space_since_s = -math.inf
        try:
            process = await self._process(adopted)
        except OSError as error:
            self._ended_s = trio.current_time()
            explanation = death.not_started(self.plan.argv[0], error, node=self.name)
            return Exit(
                code=None,
                reason=explanation.reason,
                at=now_text(),
                detail=explanation.detail,
                remedy=explanation.remedy,
            )
        self.process = process
        if adopted is not None and is_stopped(adopted.identity):
            self.paused = True
            self.signal(signal.SIGCONT)  # else the lab, which is to come up whole, would wait for it in vain
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_unwanted, process)
            nursery.start_soon(self._become_running)
            code = await process.wait()
            nursery.cancel_scope.cancel()
        self.process = None
        self._ended_s = trio.current_time()
        self.paused = False
        self.serving_peers = trio.Event()
        self.serving_clients = trio.Event()
        # A member may end in the very tick in which it is asked to stop, before the task above has run.
        if not self._wanted and self.state is not NodeState.STOPPING:
            self._apply(NodeEvent.STOP)
        await self.metrics.aclose()
        await self.client.aclose()
        was_full = self._is_disk_full or self._was_healed
        return await trio.to_thread.run_sync(self._explain, code, self.state is NodeState.STOPPING, was_full)

    async def _process(self, adopted: ProcessRecord | None) -> MemberProcess:
        if adopted is not None:
            self._record = adopted
            with contextlib.suppress(OSError):  # it may have been known by its announcement alone
                adopted.save(self._directory)
            self._journal.emit(EventKind.ADOPTED, self.name, pid=adopted.identity.pid)
            return AdoptedProcess(adopted.identity)
        argv = self.plan.argv if self.quota is None else with_quota(self.plan.argv, self.quota)
        announcement = self._announce(argv)
        child = await spawn(argv, env=self.plan.env, directory=Path(self.plan.directory), log=Path(self.plan.log))
        if self._is_disk_full:
            have_disk_full(child.identity, is_full=True)  # etcd opens its first file after 10 ms
        self._record = ProcessRecord(
            identity=child.identity, spawned_s=announcement.spawned_s, log_start=announcement.log_start
        )
        try:
            self._record.save(self._directory)
        except OSError:  # the disk is full: it runs all the same
            ProcessRecord.forget(self._directory)
        self._journal.emit(EventKind.SPAWNED, self.name, pid=child.identity.pid)
        return child

    def _announce(self, argv: tuple[str, ...]) -> Announcement:
        log_start = logfile.end(Path(self.plan.log))
        announcement = Announcement(argv=argv, spawned_s=time.monotonic(), log_start=log_start)
        with contextlib.suppress(OSError):  # as with the record
            announcement.save(self._directory)
        return announcement

    async def _become_running(self) -> None:
        # Asked while others are still being spawned, the first ones slow those down: 0.1 s of nine members' boot.
        await self._staged.wait()
        await wait_healthy(self.metrics, self.serving_clients)
        if self.state is not NodeState.STARTING:
            return  # asked to stop meanwhile
        if self._healthy_at is None:
            self._healthy_at = trio.current_time()
        self._apply(NodeEvent.HEALTHY)
        self._journal.emit(EventKind.READY, self.name)

    async def _stop_when_unwanted(self, process: MemberProcess) -> None:
        """SIGTERM, time to hand over leadership, then SIGKILL; a paused member is resumed so that it can obey."""
        await self.wait_state(lambda _: not self._wanted)
        self._apply(NodeEvent.STOP)
        if self._grace_s:
            process.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            await trio.sleep(self._grace_s)
        process.signal(signal.SIGKILL)

    def _explain(self, code: int | None, requested: bool, was_full: bool) -> Exit:
        lines: Sequence[bytes] = ()
        if self._record is not None:
            with contextlib.suppress(OSError):  # then its exit code must do
                lines = logfile.last_lines(Path(self.plan.log), death.lines_wanted(code), since=self._record.log_start)
        is_full = space.is_full(Path(self.plan.data_dir)) or not space.has_last_words(Path(self.plan.log))
        why = death.why(code=code, lines=lines, requested=requested, node=self.name, is_disk_full=was_full or is_full)
        if was_full and why.reason is ExitReason.DISK_FULL:
            why = death.disk_full_on_purpose(code, node=self.name)
        if why.reason in (ExitReason.SIGNALLED, ExitReason.UNKNOWN) and (number := self._killer(code)) is not None:
            why = death.killed_on_purpose(number, node=self.name)
        detail, self._taken = why.detail, why.port
        if why.port is not None:
            detail = f"{detail}: port {why.port} is held by {ports.holder(why.port)}"
        return Exit(code=code, reason=why.reason, at=now_text(), detail=detail, remedy=why.remedy)

    def _killer(self, code: int | None) -> int | None:
        """Which of the signals that it was sent has ended it."""
        deadly = (number for number in self._sent if number not in (signal.SIGSTOP, signal.SIGCONT))
        return next((number for number in deadly if code in (-number, None)), None)

    def _apply(self, event: NodeEvent) -> None:
        self.state = next_state(self.state, event)
        self._pulse()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
