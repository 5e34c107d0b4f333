"""What happened in a lab against time: how its members were, who led, what was done to it. From the journal. Pure."""

import enum
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec

from etcdlab.model.event import Event, EventKind
from etcdlab.model.exit import ExitReason


class Condition(enum.Enum):
    """How a member was, as far as the journal tells."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    DOWN = "down"
    STOPPED = "stopped"
    FAILED = "failed"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was so from `begin_s` to `end_s`, or (None) still is. Times are of the monotonic clock."""

    text: str
    begin_s: float
    end_s: float | None = None

    def overlaps(self, begin_s: float, end_s: float) -> bool:
        """Whether it was so at any time of these."""
        return self.begin_s < end_s and (self.end_s is None or self.end_s > begin_s)


T = TypeVar("T", bound=Span)


class Leadership(Span, frozen=True, kw_only=True):
    """One member's: `text` is its name. `is_first` where there was none in the journal before it."""

    term: int
    is_first: bool


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """From `begin_s` to `end_s` of the system's monotonic clock, which are `began` and `ended` by the wall clock.

    `members` has the conditions (`Condition` values) of each in their order; `faults` what was injected, in words;
    `without_quorum` when the cluster had none. All that was so at any time between is there, whenever it began.
    """

    begin_s: float
    end_s: float
    began: datetime
    ended: datetime
    members: dict[str, tuple[Span, ...]]
    leaders: tuple[Leadership, ...]
    faults: tuple[Span, ...]
    without_quorum: tuple[Span, ...]
    version: int = 1

    @property
    def leader_changes(self) -> int:
        """How often a leader was elected meanwhile. The first of a lab is no change."""
        return sum(not leader.is_first and leader.begin_s > self.begin_s for leader in self.leaders)

    def condition(self, member: str, at_s: float) -> Condition | None:
        """How a member was at this time; None where the journal does not tell."""
        for span in reversed(self.members.get(member, ())):
            if span.begin_s <= at_s and (span.end_s is None or at_s < span.end_s):
                return Condition(span.text)
        return None


_AFTER: Final = {
    EventKind.SPAWNED: Condition.STARTING,
    EventKind.ADOPTED: Condition.READY,
    EventKind.READY: Condition.READY,
    EventKind.UNHEALTHY: Condition.UNHEALTHY,
    EventKind.HEALTHY: Condition.READY,
    EventKind.PAUSED: Condition.PAUSED,
    EventKind.RESUMED: Condition.READY,
    EventKind.EXITED: Condition.DOWN,
    EventKind.STOPPED: Condition.STOPPED,
    EventKind.FAILED: Condition.FAILED,
}


class _Track(Generic[T]):
    """Spans one after the other: each ends when the next begins."""

    def __init__(self) -> None:
        self.spans: list[T] = []

    def begin(self, span: T) -> None:
        last = self.spans[-1] if self.spans else None
        if last is None or last.end_s is not None or last.text != span.text or isinstance(span, Leadership):
            self.end(span.begin_s)
            self.spans.append(span)

    def end(self, at_s: float) -> None:
        if self.spans and self.spans[-1].end_s is None:
            self.spans[-1] = msgspec.structs.replace(self.spans[-1], end_s=at_s)


def timeline(
    events: Iterable[Event], *, members: Iterable[str], now_s: float, now: datetime, since_s: float | None = None
) -> Timeline:
    """Of a whole journal, from `since_s` (or its first event) to now."""
    told = list(events)
    tracks = {name: _Track[Span]() for name in members}
    leaders, quorum = _Track[Leadership](), _Track[Span]()
    faults: dict[str, list[Span]] = {}
    for event in told:
        at_s = event.monotonic_s
        match event.kind:
            case EventKind.LEADER_CHANGED:
                term, is_first = int(_number(event.detail.get("term"))), not leaders.spans
                leaders.begin(Leadership(text=event.node or "?", begin_s=at_s, term=term, is_first=is_first))
            case EventKind.QUORUM_LOST:
                quorum.begin(Span(text="no quorum", begin_s=at_s))
                leaders.end(at_s)
            case EventKind.QUORUM_REGAINED:
                quorum.end(at_s)
            case EventKind.LAB_STOPPED:
                leaders.end(at_s)
                quorum.end(at_s)
                for text, spans in faults.items():
                    faults[text] = [_ended(span, at_s) for span in spans]
            case EventKind.FAULT_INJECTED:
                text = _fault(event)
                faults.setdefault(text, []).append(Span(text=text, begin_s=at_s))
            case EventKind.FAULT_HEALED:
                text = _fault(event)
                faults[text] = [_ended(span, at_s) for span in faults.get(text, ())]
            case EventKind.CHAOS_BEGAN:
                lasts_s = _number(event.detail.get("duration_s"))  # unless its end is told: its runner may be killed
                text = f"chaos {event.detail.get('scenario')}"
                faults[_run(event)] = [Span(text=text, begin_s=at_s, end_s=at_s + lasts_s)]
            case EventKind.CHAOS_ENDED:
                faults[_run(event)] = [_ended(span, at_s) for span in faults.get(_run(event), ())]
            case EventKind.EXITED if event.detail.get("reason") == ExitReason.REQUESTED.value and event.node in tracks:
                tracks[event.node].begin(Span(text=Condition.STOPPED.value, begin_s=at_s))
            case kind if kind in _AFTER and event.node in tracks:
                tracks[event.node].begin(Span(text=_AFTER[kind].value, begin_s=at_s))
        if event.kind is EventKind.EXITED and leaders.spans and leaders.spans[-1].text == event.node:
            leaders.end(at_s)
    begin_s = since_s if since_s is not None else told[0].monotonic_s if told else now_s

    def shown(spans: Iterable[T]) -> tuple[T, ...]:
        return tuple(span for span in spans if span.overlaps(begin_s, now_s) or span.begin_s == begin_s)

    injected = sorted((span for spans in faults.values() for span in spans), key=lambda span: span.begin_s)
    return Timeline(
        begin_s=begin_s,
        end_s=now_s,
        began=now - timedelta(seconds=now_s - begin_s),
        ended=now,
        members={name: shown(track.spans) for name, track in tracks.items()},
        leaders=shown(leaders.spans),
        faults=shown(injected),
        without_quorum=shown(quorum.spans),
    )


def _fault(event: Event) -> str:
    """What was injected, in the same words when it is healed: those of an injection end with how long it is for."""
    return str(event.detail.get("text", "a fault")).partition(" for ")[0]


def _run(event: Event) -> str:
    return f"run {event.detail.get('run')}"


def _ended(span: Span, at_s: float) -> Span:
    is_over = span.end_s is not None and span.end_s <= at_s
    return span if is_over else msgspec.structs.replace(span, end_s=at_s)


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0
