"""Journaling what no member's process tells: leaders change, voters stop to answer, quorum is lost and regained.

The members' logs say at once that something happened; what it means is then measured. Between news the members are
looked at every two seconds.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import trio

from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.quorum import quorum
from etcdlab.model.status import LabStatus
from etcdlab.runtime.child import MemberProcess
from etcdlab.runtime.health import is_healthy
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.node import Node

WATCH_S: Final = 2.0
"""Seconds between looks at the members' health when their logs report nothing."""
LOST_WATCH_S: Final = 0.2
"""The same while a voter that runs is not healthy, or there is no quorum."""
ELECTIONS: Final = 3
"""Election timeouts that voters without a leader get before they count as unhealthy."""

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
        self._unhealthy: dict[str, MemberProcess] = {}

    @property
    def unhealthy(self) -> set[str]:
        """The voters that run and are known not to answer."""
        return {name for name, process in self._running().items() if self._unhealthy.get(name) is process}

    def begin(self) -> None:
        """The cluster is up: from now on a lost quorum is news."""
        self._has_quorum = True

    def end(self) -> None:
        """The cluster is about to be stopped: its end is no news. What begins afterwards may count terms anew."""
        self._has_quorum = None
        self._unhealthy = {}
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
            is_whole = self._has_quorum is not False and not self._unhealthy
            with trio.move_on_after(WATCH_S if is_whole else LOST_WATCH_S):
                await self._news.wait()
            self._news = trio.Event()
            if self._has_quorum is None:
                continue
            asked = self._running()
            healthy = await self._find_healthy()
            if self._has_quorum and (len(healthy) < enough or asked.keys() - healthy - self.unhealthy):
                # An election looks the same while it lasts.
                await trio.sleep(ELECTIONS * self._election_timeout_s)
                healthy |= await self._find_healthy()
            self._report(asked, healthy, has_quorum=len(healthy) >= enough)

    def _report(self, asked: Mapping[str, MemberProcess], healthy: Collection[str], *, has_quorum: bool) -> None:
        if self._has_quorum is None:  # its end began meanwhile
            return
        before, running = self._unhealthy, self._running()
        self._unhealthy = {}
        for name, process in asked.items():
            if running.get(name) is not process:  # who was started anew tells so itself
                continue
            was_told = before.get(name) is process
            if name not in healthy:
                self._unhealthy[name] = process
                if not was_told:
                    self._journal.emit(EventKind.UNHEALTHY, name)
            elif was_told:
                self._journal.emit(EventKind.HEALTHY, name)
        if has_quorum != self._has_quorum:
            self._has_quorum = has_quorum
            kind = EventKind.QUORUM_REGAINED if has_quorum else EventKind.QUORUM_LOST
            self._journal.emit(kind, healthy=len(healthy), voters=len(self._voters))

    def _running(self) -> dict[str, MemberProcess]:
        """Those that were healthy once and ought to be: not while they start, end or are paused."""
        return {
            node.name: node.process
            for node in self._voters
            if node.process is not None and node.state is NodeState.RUNNING and not node.paused
        }

    async def _find_healthy(self) -> set[str]:
        """Those that answer a linearizable read within the probe's bound."""
        healthy: set[str] = set()

        async def look(node: Node) -> None:
            with trio.move_on_after(self._probe_s):
                if await is_healthy(node.metrics):
                    healthy.add(node.name)

        async with trio.open_nursery() as nursery:
            for node in self._voters:
                if node.process is not None and not node.paused:
                    nursery.start_soon(look, node)
        return healthy
