"""A run of a scenario: what the journal has of it, read back, and how it came out. Pure."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from etcdlab.model.event import Event, EventKind
from etcdlab.model.healed import Healed
from etcdlab.model.status import LabStatus
from etcdlab.model.units import MOMENT_S, Duration

Lasting = Annotated[float, msgspec.Meta(ge=0, le=10**8)]
LEAST: Final = Duration(0.1)
"""How long a run lasts, and how long it is from one turn of a step to the next."""
RunId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="What tells one run from others.")]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a run has put into the journal."""

    run: RunId


class Began(Entry, frozen=True, tag="began"):
    """It begins."""

    scenario: str
    seed: int
    duration_s: Lasting


class Did(Entry, frozen=True, tag="step"):
    """A step is done, now: as a table of a scenario, with `at` and members' names, and in words."""

    number: int
    text: str
    step: dict[str, Any]


class Refused(Entry, frozen=True, tag="refused"):
    """A step was not done after all, or could not even be told in members' names."""

    number: int
    text: str
    why: str


class Ended(Entry, frozen=True, tag="ended"):
    """No more is done; a run ends when this is told, by whomever. All is healed next."""

    scenario: str
    after_s: Lasting
    done: int
    refused: int


AnyEntry = Began | Did | Refused | Ended
KINDS: Final[dict[type[AnyEntry], EventKind]] = {
    Began: EventKind.CHAOS_BEGAN,
    Did: EventKind.CHAOS_STEP,
    Refused: EventKind.CHAOS_REFUSED,
    Ended: EventKind.CHAOS_ENDED,
}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the journal tells it; `ended` is None for one that goes on, or whose runner was killed."""

    time: str
    began: Began
    steps: tuple[Did, ...] = ()
    refused: tuple[Refused, ...] = ()
    ended: Ended | None = None

    @property
    def done(self) -> tuple[Did, ...]:
        """The steps that were not refused."""
        refused = {one.number for one in self.refused}
        return tuple(did for did in self.steps if did.number not in refused)

    def scenario(self) -> dict[str, Any]:
        """A scenario, as in a file, of what was done: to the same members, at the same times since the beginning."""
        lasted_s = self.began.duration_s if self.ended is None else self.ended.after_s
        return {
            "name": self.began.scenario,
            "seed": self.began.seed,
            "duration": str(Duration(max(LEAST, round(lasted_s + MOMENT_S, 3)))),  # behind the last step
            "step": [did.step for did in self.done],
        }


def runs(events: Iterable[Event]) -> list[Run]:
    """The runs that a journal has whole, the oldest first."""
    found: dict[str, Run] = {}
    for event in events:
        if (entry := _entry(event)) is None:
            continue
        if isinstance(entry, Began):
            found[entry.run] = Run(time=event.time, began=entry)
        elif (run := found.get(entry.run)) is not None:
            found[entry.run] = _with(run, entry)
    return list(found.values())


def _entry(event: Event) -> AnyEntry | None:
    for kind, told in KINDS.items():
        if event.kind is told:
            try:
                return msgspec.convert(event.detail, kind, strict=True)
            except msgspec.ValidationError:
                return None
    return None


def _with(run: Run, entry: Did | Refused | Ended) -> Run:
    match entry:
        case Did():
            return msgspec.structs.replace(run, steps=(*run.steps, entry))
        case Refused():
            return msgspec.structs.replace(run, refused=(*run.refused, entry))
        case Ended():
            return msgspec.structs.replace(run, ended=entry)


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was tried, so many seconds after the beginning; `refused` says why it was not done."""

    at_s: float
    text: str
    refused: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is over, what was undone at its end, and how the lab is then; `problem` is what healing met."""

    run: str
    scenario: str
    seed: int
    after_s: float
    steps: tuple[StepOutcome, ...]
    healed: Healed
    status: LabStatus
    problem: str = ""
    version: int = 1

    @property
    def refused(self) -> int:
        """How many steps were not done."""
        return sum(bool(step.refused) for step in self.steps)
