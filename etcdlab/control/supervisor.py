"""What the control API needs of a running lab. The runtime has it; tests script it."""

import signal
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol

from etcdlab.model.certificate import Defect
from etcdlab.model.chaos import AnyEntry
from etcdlab.model.disk import Freed, Part, Shortage
from etcdlab.model.event import Event
from etcdlab.model.healed import Healed
from etcdlab.model.link import AnyFault, Link, LinkFault
from etcdlab.model.plan import Plan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.status import LabStatus


class Supervisor(Protocol):
    """A running lab.

    Each verb returns when it is done. It is not cancelled when the client that asked for it goes away. Names given to
    it are names of members in `plan`, each once. Refusals are EtcdlabErrors; anything else is a bug.
    """

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""

    async def status(self) -> LabStatus:
        """Measure the lab."""

    async def start(self, names: Sequence[str]) -> None:
        """Start members; also leaves FAILED."""

    async def stop(self, names: Sequence[str], *, force: bool, for_s: float | None = None) -> None:
        """Stop members, for so many seconds or until they are started. Raises QuorumError unless `force`."""

    async def restart(self, names: Sequence[str], *, force: bool) -> None:
        """Stop and start members. Raises QuorumError unless `force`."""

    async def kill(self, names: Sequence[str], *, signal: signal.Signals, force: bool) -> Sequence[str]:
        """Send a signal to members; returns those that got it. Raises QuorumError unless `force`."""

    async def pause(self, names: Sequence[str], *, force: bool, for_s: float | None = None) -> Sequence[str]:
        """Freeze members, for so many seconds or until they are resumed; returns those that are.

        Raises QuorumError unless `force`.
        """

    async def resume(self, names: Sequence[str]) -> None:
        """Let paused members go on."""

    async def move_leader(self, name: str) -> None:
        """Have a member lead. Raises QuorumError when nobody leads now, LabStateError when it cannot."""

    def faults(self) -> tuple[LinkFault, ...]:
        """What is on the links. This and the next two raise LabStateError where no link can have faults."""

    async def inject(self, links: Collection[Link], fault: AnyFault, *, for_s: float | None, force: bool) -> None:
        """Put a fault on links, for so many seconds or until it is healed. Raises QuorumError unless `force`."""

    async def heal(self, links: Collection[Link] | None, kinds: Collection[str] | None) -> None:
        """Take faults away: those of these links and kinds, None for all."""

    async def damage(self, name: str, part: Part) -> None:
        """Damage the data of a member that is down. Raises LabStateError."""

    async def fill_disks(self, names: Sequence[str], *, force: bool, for_s: float | None) -> None:
        """Have members' disks full, for so many seconds or until they are healed. Raises QuorumError unless `force`."""

    async def limit_databases(self, names: Sequence[str], quota: int, *, force: bool) -> None:
        """Restart members with another quota, theirs until it is healed. Raises QuorumError unless `force`."""

    async def heal_disks(self, names: Collection[str] | None) -> tuple[Shortage, ...]:
        """Have disks as they were, these or (None) all. What they lacked."""

    async def free_space(self) -> Freed:
        """Forget the history of keys, defragment each voting member, disarm NOSPACE. Raises LabStateError."""

    async def repair(self, name: str) -> None:
        """Make a member anew whose data is lost or damaged. Raises LabStateError."""

    async def heal_all(self) -> Healed:
        """Undo all that was done on purpose: to links, certificates and members."""

    async def renew(self, stems: Collection[str]) -> None:
        """Replace leaves by ones that are valid from now on. Raises LabStateError."""

    async def rotate_authority(self, *, force: bool) -> None:
        """Have another CA in place of the lab's. Raises QuorumError unless `force`, LabStateError."""

    async def spoil(self, stems: Collection[str], defect: Defect, *, for_s: float | None) -> None:
        """Give leaves a defect, for so many seconds or until they are healed. Raises LabStateError."""

    async def heal_leaves(self, stems: Collection[str] | None) -> None:
        """Have leaves as they were, these or (None) all."""

    def tell_chaos(self, entry: AnyEntry) -> None:
        """Have the journal tell of a run of a scenario."""

    async def reset(self) -> ResetOutcome:
        """Make the lab pristine, whatever was done to it."""

    def request_shutdown(self, *, purge: bool) -> None:
        """Have the daemon stop the lab and end; returns at once."""

    def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        """The journal after `since`, then (`follow`) what comes.

        What waits for a slow follower must be bounded: one that falls behind has its stream ended. It can resume from
        the last `seq` that it saw.
        """

    async def logs(self, names: Sequence[str], *, follow: bool, lines: int) -> AsyncGenerator[bytes, None]:
        """The last `lines` log lines of each member as NDJSON, one chunk of whole lines at a time, then what comes."""
