"""Chaos: a scenario that is done to a lab, from beginning to end, and what came of it."""

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec

from etcdlab.errors import EtcdlabError, LabStateError, NotRunningError, ScenarioError, TimedOutError
from etcdlab.etcd.logfile import Tail, arrivals
from etcdlab.model.chaos import AnyEntry, Began, Did, Ended, Outcome, Refused, StepOutcome
from etcdlab.model.event import Event, EventKind, parse
from etcdlab.model.healed import Healed
from etcdlab.model.link import members_of
from etcdlab.model.scenario import Scenario, misfits
from etcdlab.model.schedule import Schedule
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.step import (
    Blackhole,
    Cut,
    Delay,
    DiskFull,
    Flap,
    Heal,
    Isolate,
    Kill,
    LeaderMove,
    Partition,
    Pause,
    Rate,
    Restart,
    Start,
    Step,
    Stop,
    TlsFault,
    in_words,
    resolve,
    to_table,
)
from etcdlab.model.units import MOMENT_S, Duration, lasting

if TYPE_CHECKING:
    from etcdlab.lab import Lab

STEP_S: Final = 2.0
"""Seconds that a step is waited for: what takes longer goes on by itself, and the next is not late for it."""
SEEDS: Final = 2**31


class Chaos:
    """One run. `begin`, `go_on`, `stop` and `heal` it, or have it run beside a `with` block and healed at its end.

    All that it does ends with it, since each thing is asked for with an end: a runner that is killed leaves nothing on
    for longer. What is random follows from the seed: each step draws from its own, so that what one draws does not
    depend on how often others came.
    """

    def __init__(
        self,
        lab: "Lab",
        scenario: Scenario,
        *,
        seed: int | None = None,
        duration_s: float | None = None,
        on_step: Callable[[StepOutcome], None] = lambda _: None,
    ) -> None:
        """`seed` and `duration_s` win over the scenario's. Raises ScenarioError if it does not fit the lab."""
        plan = lab.plan
        if found := list(misfits(scenario, plan)):
            raise ScenarioError(
                [f"{scenario.name or 'scenario'}: {where}: {sentence}" for where, sentence in found],
                hint="For faults on links: `etcdlab up --faults`, in pytest @pytest.mark.etcdlab(faults=True)."
                if not plan.has_fault_network
                else "",
            )
        chosen = scenario.seed if seed is None else seed
        self.seed: Final = secrets.randbelow(SEEDS) if chosen is None else chosen
        self.run: Final = secrets.token_hex(4)
        self.scenario: Final = scenario
        self.duration_s: Final = float(scenario.duration) if duration_s is None else duration_s
        self.steps: list[StepOutcome] = []
        self.outcome: Outcome | None = None
        self._lab = lab
        self._members = [node.name for node in plan.nodes]
        self._boot_s = plan.timeouts.boot_s
        self._schedule = Schedule(scenario.step)
        self._chances = [Random(f"{self.seed}/{number}") for number in range(len(scenario.step))]
        self._on_step = on_step
        self._began_s = 0.0
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="etcdlab-chaos", daemon=True)

    @property
    def name(self) -> str:
        """The scenario's."""
        return self.scenario.name or "scenario"

    def __repr__(self) -> str:
        return f"<Chaos {self.name} of lab {self._lab.name}, seed {self.seed}>"

    def __enter__(self) -> Self:
        self.begin()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(NotRunningError):  # the block has removed the lab
            self.stop()
            self._thread.join()
            self.outcome = outcome = self.heal()
            if kind is None and outcome.status.verdict is not ClusterVerdict.HEALTHY:
                how = f"{outcome.status.verdict.value}: {outcome.problem}".removesuffix(": ")
                raise LabStateError(
                    f"after {self.name}, seed {self.seed}, lab {self._lab.name!r} was healed and is {how}",
                    hint=f"`etcdlab logs --lab {self._lab.name}` shows what the members wait for.",
                )
        self._thread.join()
        if kind is None and self._problem is not None and not isinstance(self._problem, NotRunningError):
            raise self._problem

    def begin(self) -> None:
        """From now on the time counts, and what happens is heard."""
        self._tail = Tail(self._lab.directory.events)
        self._tell(Began(run=self.run, scenario=self.name, seed=self.seed, duration_s=self.duration_s))
        self._began_s = time.monotonic()

    def go_on(self) -> None:
        """Do the steps until the time is over, or the journal tells that the run ended.

        Raises NotRunningError when the lab is stopped meanwhile.
        """
        with contextlib.closing(self._tail):
            while True:
                events = self._wait(min(self._schedule.next_s, self.duration_s))
                if (now_s := self._now()) >= self.duration_s or any(map(self._is_end, events)):
                    return
                due = self._schedule.due(now_s)
                for event in events:
                    due += self._schedule.due_by(event, now_s)
                for number in due:
                    self._do(number)

    def stop(self) -> None:
        """Have the journal tell that it ended: whatever goes on with it hears that."""
        refused = sum(bool(step.refused) for step in self.steps)
        done = len(self.steps) - refused
        after_s = min(self._now(), self.duration_s)
        self._tell(Ended(run=self.run, scenario=self.name, after_s=round(after_s, 3), done=done, refused=refused))

    def heal(self) -> Outcome:
        """Undo all that was done to the lab on purpose, by whomever, and wait until it is ready.

        Not only what this run did: of faults of one kind on one link the last is left, so nobody can tell.
        """
        healed, problem = Healed(), ""
        try:
            healed = self._lab.heal_all()
            status = self._lab.wait_ready(self._boot_s)
        except NotRunningError:
            raise
        except EtcdlabError as error:
            problem = error.message
            status = self._lab.status()
        return Outcome(
            run=self.run,
            scenario=self.name,
            seed=self.seed,
            after_s=round(min(self._now(), self.duration_s), 3),
            steps=tuple(self.steps),
            healed=healed,
            status=status,
            problem=problem,
        )

    def _run(self) -> None:
        try:
            self.go_on()
        except BaseException as error:  # raised where the block ends
            self._problem = error

    def _now(self) -> float:
        return time.monotonic() - self._began_s

    def _tell(self, entry: AnyEntry) -> None:
        self._lab.client().tell_chaos(entry)

    def _wait(self, until_s: float) -> list[Event]:
        """What happens next, or nothing at that time. Raises NotRunningError when the lab is gone or stopped."""
        deadline = self._began_s + until_s
        for batch in arrivals({"": self._tail}, deadline=deadline):
            events = list(filter(None, map(parse, batch[""])))
            if not any(event.kind is EventKind.LAB_STOPPED for event in events):
                return events
            break
        else:
            if time.monotonic() >= deadline:
                return []
        raise NotRunningError(
            f"lab {self._lab.name!r} was stopped while {self.name} was done to it", hint="`etcdlab up` starts it again."
        )

    def _is_end(self, event: Event) -> bool:
        return event.kind is EventKind.CHAOS_ENDED and event.detail.get("run") == self.run

    def _do(self, number: int) -> None:
        at_s = round(self._now(), 3)
        left_s = round(self.duration_s - at_s, 3)
        if left_s < MOMENT_S:
            return
        turn, refused = len(self.steps) + 1, ""
        step: Step = self.scenario.step[number]
        try:
            step = _placed(resolve(step, self._members, self._chances[number], self._lab.status), at_s, left_s)
            self._tell(Did(run=self.run, number=turn, text=in_words(step), step=to_table(step)))
            self._perform(step)
        except TimedOutError:
            pass  # it goes on by itself
        except EtcdlabError as error:
            refused = error.message
            self._tell(Refused(run=self.run, number=turn, text=in_words(step), why=refused))
        self.steps.append(StepOutcome(at_s=at_s, text=in_words(step), refused=refused))
        self._on_step(self.steps[-1])

    def _perform(self, step: Step) -> None:
        lab, client = self._lab, self._lab.client(timeout_s=STEP_S)
        match step:
            case Kill(nodes=nodes, force=force):
                client.kill(nodes, signal=signal.Signals[f"SIG{step.signal.removeprefix('SIG')}"], force=force)
            case Start(nodes=nodes):
                client.start(nodes)
            case Restart(nodes=nodes, force=force):
                client.restart(nodes, force=force)
            case Stop(nodes=nodes, for_=for_, force=force):
                client.stop(nodes, for_s=lasting(for_), force=force)
            case Pause(nodes=nodes, for_=for_, force=force):
                client.pause(nodes, for_s=lasting(for_), force=force)
            case DiskFull(nodes=nodes, for_=for_, force=force):
                client.fill_disks(nodes, for_s=lasting(for_), force=force)
            case LeaderMove(node=node):
                client.move_leader(node)
            case Partition(groups=groups, for_=for_, force=force):
                lab.partition(*map(members_of, groups), for_=for_, force=force)
            case Isolate(node=node, for_=for_, force=force):
                lab.isolate(node, from_clients=step.from_clients, for_=for_, force=force)
            case Cut(source=one, target=other, one_way=one_way, for_=for_, force=force):
                lab.cut(one, other, one_way=one_way, for_=for_, force=force)
            case Blackhole(source=one, target=other, one_way=one_way, for_=for_, force=force):
                lab.blackhole(one, other, one_way=one_way, for_=for_, force=force)
            case Delay(source=one, target=other, one_way=one_way, for_=for_, force=force):
                lab.delay(one, other, step.delay, jitter=step.jitter, one_way=one_way, for_=for_, force=force)
            case Rate(source=one, target=other, one_way=one_way, for_=for_, force=force):
                lab.rate(one, other, step.rate, one_way=one_way, for_=for_, force=force)
            case Flap(source=one, target=other, one_way=one_way, for_=for_, force=force):
                lab.flap(one, other, step.down, step.up, one_way=one_way, for_=for_, force=force)
            case TlsFault(owner=owner, for_=for_):
                lab.certificates.spoil(owner, step.defect, role=step.role, for_=for_)
            case Heal():
                client.heal_all()


def _placed(step: Step, at_s: float, left_s: float) -> Step:
    """The step as it is done at this time, nothing of it lasting longer than the run."""
    changes: dict[str, Duration | None] = {"at": Duration(at_s), "every": None, "when": None}
    if hasattr(step, "for_"):
        changes["for_"] = Duration(left_s if step.for_ is None else min(step.for_, left_s))
    return msgspec.structs.replace(step, **changes)
