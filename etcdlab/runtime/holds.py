"""Members that are stopped or paused for a time, and what lets them go on when it is over."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class _Hold:
    for_s: float
    let_go: Callable[[], None]
    scope: trio.CancelScope

    async def run(self) -> None:
        with self.scope:
            await trio.sleep(self.for_s)
            if not self.scope.cancel_called:  # it may be, in the very tick in which the time was over
                self.let_go()


class Holds:
    """One hold for each member at most. `run` is its task.

    They end with the daemon: the next one starts and resumes all members as it takes the lab over.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, trio.CancelScope] = {}
        self._begun, self._beginning = trio.open_memory_channel[_Hold](math.inf)

    async def run(self) -> None:
        """Let members go on, each in its time. For ever."""
        async with trio.open_nursery() as nursery:
            async for hold in self._beginning:
                nursery.start_soon(hold.run)

    def begin(self, name: str, for_s: float, let_go: Callable[[], None]) -> None:
        """Have `let_go` called in `for_s` seconds, unless something else is asked of this member meanwhile."""
        self.drop([name])
        hold = _Hold(for_s, let_go, trio.CancelScope())
        self._scopes[name] = hold.scope
        self._begun.send_nowait(hold)

    def drop(self, names: Iterable[str]) -> None:
        """Something else was asked of these members: what was to happen does not."""
        for name in names:
            if (scope := self._scopes.pop(name, None)) is not None:
                scope.cancel()
