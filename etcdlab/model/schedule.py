"""When a scenario's steps are due. Pure; times are in seconds since the run began."""

import math
from collections.abc import Sequence
from typing import Final

from etcdlab.model.event import Event, told
from etcdlab.model.step import Step

DEAF_S: Final = 1.0
"""Seconds after an event for which a step does not hear the next: what it does may cause what it waits for."""


class Schedule:
    """Which steps, by their numbers from 0, are due."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._every = {number: float(step.every) for number, step in enumerate(steps) if step.every is not None}
        at = {number: float(step.at) for number, step in enumerate(steps) if step.at is not None}
        self._due = at | self._every
        self._awaited = {number: told(step.when) for number, step in enumerate(steps) if step.when is not None}
        self._hears_from_s = dict.fromkeys(self._awaited, 0.0)

    @property
    def next_s(self) -> float:
        """When the next one is due that waits for no event."""
        return min(self._due.values(), default=math.inf)

    def due(self, now_s: float) -> list[int]:
        """Those that are due by time, the one that was due first in front. What came and went meanwhile is left out."""
        numbers = sorted((number for number, at_s in self._due.items() if at_s <= now_s), key=self._due.__getitem__)
        for number in numbers:
            at_s = self._due.pop(number)
            if every_s := self._every.get(number):
                turn = max(round(at_s / every_s), math.floor(now_s / every_s))
                self._due[number] = (turn + 1) * every_s
        return numbers

    def due_by(self, event: Event, now_s: float) -> list[int]:
        """Those that waited for this event."""
        numbers = [
            number
            for number, (kind, node) in self._awaited.items()
            if event.kind is kind and node in (None, event.node) and now_s >= self._hears_from_s[number]
        ]
        self._hears_from_s |= dict.fromkeys(numbers, now_s + DEAF_S)
        return numbers
