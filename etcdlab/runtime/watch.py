"""Journaling what happens to the cluster as a whole: leaders change, quorum is lost and regained.

The members' logs say at once that something happened; what it means is then measured. Between news the members are
looked at every two seconds.
"""

import re
from collections.abc import Sequence
from typing import Final

import trio

from etcdlab.model.event import EventKind
from etcdlab.model.quorum import quorum
from etcdlab.model.status import LabStatus
from etcdlab.runtime.health import is_healthy
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.node import Node

WATCH_S: Final = 2.0
"""Seconds between looks at the members' health when their logs report nothing."""
LOST_WATCH_S: Final = 0.2
"""The same while there is no quorum."""
ELECTIONS: Final = 3
"""Election timeouts that a cluster without a leader gets before it counts as one that lost its quorum."""

_LEADER: Final = re.compile(
    rb"raft\.node: \w+ (?P<what>elected leader|changed leader from \w+ to|lost leader) (?P<leader>\w+)"
    rb" at term (?P<term>\d+)"
)


class Watch:
    """Watches the voting members of one lab. `run` is its task; it reports from `begin` to `end`."""

    def __init__(self, voters: Sequence[Node], journal: Journal, *, probe_s: float, election_timeout_s: float) -> None:
        self._voters = voters
        self._journal = journal
        self._probe_s = probe_s
        self._election_timeout_s = election_timeout_s
        self._news = trio.Event()
        self._term = journal.past.term
        self._has_quorum: bool | None = None

    def begin(self) -> None:
        """The cluster is up: from now on a lost quorum is news."""
        self._has_quorum = True

    def end(self) -> None:
        """The cluster is about to be stopped: its end is no news. What begins afterwards may count terms anew."""
        self._has_quorum = None
        self._term = 0

    def wake(self) -> None:
        """Have a look at once."""
        self._news.set()

    def on_line(self, line: bytes) -> None:
        """Take in a line of a member's log."""
        if b"raft.node: " not in line or (found := _LEADER.search(line)) is None:
            return
        term, leader = int(found["term"]), found["leader"].decode().rjust(16, "0")
        if found["what"] != b"lost leader":
            self._on_leader(term, leader)
        self.wake()

    def on_status(self, status: LabStatus) -> None:
        """Take in what was measured: while there was no daemon, nobody read the logs."""
        for node in status.nodes:
            if node.is_leader and node.raft_term is not None and node.member_id is not None:
                self._on_leader(node.raft_term, node.member_id)

    def _on_leader(self, term: int, member_id: str) -> None:
        # Every member reports every election: the first to do so in a newer term makes the event.
        if term > self._term:
            self._term = term
            name = next((node.name for node in self._voters if node.plan.member_id == member_id), None)
            self._journal.emit(EventKind.LEADER_CHANGED, name, term=term, member_id=member_id)

    async def run(self) -> None:
        """Look for ever: in intervals, and when woken."""
        enough = quorum(len(self._voters))
        while True:
            with trio.move_on_after(LOST_WATCH_S if self._has_quorum is False else WATCH_S):
                await self._news.wait()
            self._news = trio.Event()
            if self._has_quorum is None:
                continue
            healthy = await self._count_healthy()
            if self._has_quorum and healthy < enough:
                # An election looks the same while it lasts.
                await trio.sleep(ELECTIONS * self._election_timeout_s)
                healthy = await self._count_healthy()
            self._report(healthy, has_quorum=healthy >= enough)

    def _report(self, healthy: int, *, has_quorum: bool) -> None:
        if self._has_quorum in (None, has_quorum):
            return
        self._has_quorum = has_quorum
        kind = EventKind.QUORUM_REGAINED if has_quorum else EventKind.QUORUM_LOST
        self._journal.emit(kind, healthy=healthy, voters=len(self._voters))

    async def _count_healthy(self) -> int:
        """How many answer a linearizable read within the probe's bound."""
        healthy = 0

        async def look(node: Node) -> None:
            nonlocal healthy
            with trio.move_on_after(self._probe_s):
                answer = await is_healthy(node.metrics)
                healthy += answer  # not `+= await`: that adds to what the sum was before the wait

        async with trio.open_nursery() as nursery:
            for node in self._voters:
                if node.process is not None and not node.paused:
                    nursery.start_soon(look, node)
        return healthy
