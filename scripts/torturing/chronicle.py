"""The journal as it grows, read by somebody who believes nothing: whole lines, numbers in order, no end untold."""

from pathlib import Path

from etcdlab.etcd.parts import LogParts
from etcdlab.model.event import Event, EventKind, parse
from torturing.tally import Loss, Tally

READ = 2**20
_BEGINNINGS = (EventKind.SPAWNED, EventKind.ADOPTED)


class Chronicle:
    """Reads what is new and tells the tally what is wrong with it. `term` is the last whose leader was told.

    `may_begin_anew` says that the members' data may be discarded: terms then count from the beginning, perhaps twice.
    `torn` is the one line that an attack has left torn.
    """

    def __init__(self, path: Path, tally: Tally) -> None:
        self._path = path
        self._tally = tally
        self._place = 0
        self._rest = b""
        self._sequence = 0
        self.term = 0
        self.may_begin_anew = False
        self.torn = b""
        self._running: dict[str, int] = {}

    def news(self) -> list[Event]:
        """The events since the last time. While the daemon may be writing, the last line may be one that is not whole
        yet: it is left for the next time.
        """
        events = []
        for line in self._lines():
            event = parse(line)
            if event is None and line != self.torn:
                self._tally.lost(Loss.LINE, f"{line[:200]!r}")
            elif event is not None:
                self._check(event)
                events.append(event)
        return events

    def _lines(self) -> list[bytes]:
        with LogParts(self._path) as parts:
            while (found := parts.read(self._place, READ))[1]:
                place, data = found
                if place != self._place:
                    self._tally.lost(Loss.LINE, f"the journal went from byte {self._place} to {place}")
                self._rest += data
                self._place = place + len(data)
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def _check(self, event: Event) -> None:
        if event.seq != self._sequence + 1:
            self._tally.lost(Loss.ORDER, f"{event.seq} after {self._sequence}")
        self._sequence = event.seq
        if event.kind is EventKind.LEADER_CHANGED:
            term = int(event.detail["term"])
            if term <= self.term and not self.may_begin_anew:
                self._tally.lost(Loss.EVENT, f"the leader of term {term} was told after that of term {self.term}")
            self.term = term
        elif event.node is not None:
            self._check_life(event, event.node)

    def _check_life(self, event: Event, node: str) -> None:
        if event.kind in _BEGINNINGS:
            pid = int(event.detail["pid"])
            if (before := self._running.get(node)) not in (None, pid):
                self._tally.lost(Loss.EVENT, f"{node} runs as {pid}, and the end of {before} was not told")
            self._running[node] = pid
        elif event.kind is EventKind.EXITED and self._running.pop(node, None) is None and not _never_began(event):
            self._tally.lost(Loss.EVENT, f"{node} ended twice: {event.detail}")


def _never_began(event: Event) -> bool:
    """For want of resources, or of a directory: a lab may be moved while its members are being started."""
    return event.detail.get("code") is None and str(event.detail.get("detail")).startswith("cannot run ")
