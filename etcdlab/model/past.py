"""What the journal tells a daemon of those before it, which may have been killed at any moment. Pure.

Who follows one that died goes on where that one was: no end untold, no leader told twice, no restart forgotten.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec

from etcdlab.model.certificate import LeafDefect
from etcdlab.model.disk import Shortage
from etcdlab.model.event import Event, EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.link import AnyFault, Link, LinkFault
from etcdlab.model.restart import History


class Life(msgspec.Struct, kw_only=True):
    """A member so far: `pid` is that of a process whose end was not told yet.

    `is_owed` says that its end was told, which nobody had asked for, and nothing that followed from it. Times are of
    the system's monotonic clock; `ready_s` is when this process was healthy first.
    """

    pid: int | None = None
    ready_s: float | None = None
    is_owed: bool = False
    restarts: int = 0
    history: History = History()

    def take_in(self, event: Event) -> None:
        """What happened next."""
        match event.kind:
            case EventKind.SPAWNED:
                self.pid, self.ready_s, self.is_owed = _number(event.detail.get("pid")), None, False
            case EventKind.ADOPTED:
                self.pid, self.is_owed = _number(event.detail.get("pid")), False
            case EventKind.READY if self.ready_s is None:
                self.ready_s = event.monotonic_s
            case EventKind.EXITED:
                self.pid, self.ready_s = None, None
                self.is_owed = event.detail.get("reason") != ExitReason.REQUESTED.value
            case EventKind.RESTARTED:
                self.is_owed = False
                self.restarts = _number(event.detail.get("restarts")) or 0
                failures = _number(event.detail.get("failures")) or 0
                spent = () if event.detail.get("is_free") is True else (event.monotonic_s,)
                self.history = History((*self.history.restarts, *spent), failures)
            case EventKind.FAILED | EventKind.STOPPED:
                self.is_owed = False
                if "why" in event.detail:  # by its own doing, not because it was asked to
                    self.history = History()

    def end(self) -> None:
        """The lab was stopped, and this member with it unless it still runs."""
        if self.pid is None:
            self.is_owed, self.restarts, self.history = False, 0, History()


class Past:
    """The journal in short: its last number, the last term whose leader was told, members' lives, what was injected."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.sequence = 0
        self.term = 0
        self.lives: dict[str, Life] = {}
        self.faults: tuple[LinkFault, ...] = ()
        self.defects: tuple[LeafDefect, ...] = ()
        self.shortages: tuple[Shortage, ...] = ()
        for event in events:
            self.take_in(event)

    def take_in(self, event: Event) -> None:
        """What happened next."""
        self.sequence = event.seq
        match event.kind:
            case EventKind.LEADER_CHANGED:
                self.term = _number(event.detail.get("term")) or 0
            case EventKind.LAB_STOPPED:
                self.faults = self.defects = self.shortages = ()
                for life in self.lives.values():
                    life.end()
            case EventKind.JOURNAL_ROTATED:
                self._go_on(event.detail.get("past"))
            case EventKind.FAULT_INJECTED | EventKind.FAULT_HEALED if "leaf" in event.detail:
                others = tuple(defect for defect in self.defects if defect.stem != event.detail["leaf"])
                told = LeafDefect.told(event.detail) if event.kind is EventKind.FAULT_INJECTED else None
                self.defects = others if told is None else (*others, told)
            case EventKind.FAULT_INJECTED | EventKind.FAULT_HEALED if "shortage" in event.detail:
                self._take_in_shortages(_shortages(event.detail), injected=event.kind is EventKind.FAULT_INJECTED)
            case EventKind.FAULT_INJECTED | EventKind.FAULT_HEALED:
                changed = _faults(event.detail)
                places = {(active.link, type(active.fault)) for active in changed}
                kept = (active for active in self.faults if (active.link, type(active.fault)) not in places)
                self.faults = (*kept, *(changed if event.kind is EventKind.FAULT_INJECTED else ()))
            case _ if event.node is not None:
                self.lives.setdefault(event.node, Life()).take_in(event)

    def _take_in_shortages(self, told: list[Shortage], *, injected: bool) -> None:
        places = {one.place for one in told}
        self.shortages = tuple(one for one in self.shortages if one.place not in places)
        if injected:
            self.shortages += tuple(told)

    def summary(self) -> Any:
        """It as JSON, for a journal that begins anew."""
        summary = _Summary(
            term=self.term, lives=self.lives, faults=self.faults, defects=self.defects, shortages=self.shortages
        )
        return msgspec.to_builtins(summary)

    def _go_on(self, summary: Any) -> None:
        with contextlib.suppress(msgspec.ValidationError):
            told = msgspec.convert(summary, _Summary)
            self.term, self.lives = told.term, told.lives
            self.faults, self.defects, self.shortages = told.faults, told.defects, told.shortages


class _Summary(msgspec.Struct, frozen=True):
    term: int
    lives: dict[str, Life]
    faults: tuple[LinkFault, ...] = ()
    defects: tuple[LeafDefect, ...] = ()
    shortages: tuple[Shortage, ...] = ()


def _faults(detail: dict[str, Any]) -> list[LinkFault]:
    try:
        links = msgspec.convert(detail.get("links"), list[Link])
        fault: AnyFault = msgspec.convert(detail.get("fault"), AnyFault)
        since_s = msgspec.convert(detail.get("since_s"), float)
        until_s = msgspec.convert(detail.get("until_s"), float | None)
    except msgspec.ValidationError:
        return []
    return [LinkFault(link=link, fault=fault, since_s=since_s, until_s=until_s) for link in links]


def _shortages(detail: dict[str, Any]) -> list[Shortage]:
    with contextlib.suppress(msgspec.ValidationError):
        return [msgspec.convert(detail["shortage"], Shortage)]
    return []


def _number(value: Any) -> int | None:
    """A number in an event's detail; the journal may have been written by another etcdlab, or by hand."""
    return value if isinstance(value, int) else None
