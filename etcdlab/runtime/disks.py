"""What members' disks lack on purpose: put there, healed in its time, journalled."""

import math
import time
from collections.abc import Collection, Mapping

import msgspec
import trio

from etcdlab.model.disk import Shortage
from etcdlab.model.event import EventKind
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.node import Node


class Disks:
    """The shortages of a lab's members. `run` is its task. Those of an earlier daemon are in the journal."""

    def __init__(self, nodes: Mapping[str, Node], journal: Journal) -> None:
        self.shortages: tuple[Shortage, ...] = journal.past.shortages
        self._nodes = nodes
        self._journal = journal
        self._changed = trio.Event()
        for shortage in self.shortages:
            if shortage.node in nodes:
                self._have(shortage, is_so=True)

    @property
    def full(self) -> tuple[str, ...]:
        """The members whose disks are full."""
        return tuple(shortage.node for shortage in self.shortages if shortage.quota is None)

    async def run(self) -> None:
        """Heal each when its time is over. For ever."""
        while True:
            changed = self._changed
            ends = (shortage.until_s for shortage in self.shortages if shortage.until_s is not None)
            with trio.move_on_after(max(0.0, min(ends, default=math.inf) - time.monotonic())):
                await changed.wait()
            now = time.monotonic()
            for shortage in self.shortages:
                if shortage.until_s is not None and shortage.until_s <= now:
                    self._heal(shortage)

    def begin(self, names: Collection[str], *, quota: int | None, for_s: float | None) -> None:
        """Have disks full at once, or (`quota`) databases limited from their members' next start on.

        Raises LabStateError where a disk cannot be full.
        """
        since_s = time.monotonic()
        until_s = None if for_s is None else since_s + for_s
        for name in names:
            shortage = Shortage(node=name, quota=quota, since_s=since_s, until_s=until_s)
            self._have(shortage, is_so=True)
            self.shortages = (*(other for other in self.shortages if other.place != shortage.place), shortage)
            self._tell(EventKind.FAULT_INJECTED, shortage)
        self._pulse()

    def heal(self, names: Collection[str]) -> tuple[Shortage, ...]:
        """Have disks of these members as they were; a quota is theirs from the next start on. What they lacked."""
        healed = tuple(shortage for shortage in self.shortages if shortage.node in names)
        for shortage in healed:
            self._heal(shortage)
        return healed

    def _heal(self, shortage: Shortage) -> None:
        self._have(shortage, is_so=False)
        self.shortages = tuple(other for other in self.shortages if other is not shortage)
        self._tell(EventKind.FAULT_HEALED, shortage)
        self._pulse()

    def _have(self, shortage: Shortage, *, is_so: bool) -> None:
        node = self._nodes[shortage.node]
        if shortage.quota is None:
            node.have_disk_full(is_so)
        else:
            node.quota = shortage.quota if is_so else None

    def _tell(self, kind: EventKind, shortage: Shortage) -> None:
        text = str(shortage)
        if kind is EventKind.FAULT_INJECTED and shortage.until_s is not None:
            text += f" for {shortage.until_s - shortage.since_s:g} s"
        self._journal.emit(kind, shortage.node, text=text, shortage=msgspec.to_builtins(shortage))

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
