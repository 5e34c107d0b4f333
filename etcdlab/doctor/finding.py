"""What the doctor found, and what can be done about it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from etcdlab.errors import EtcdlabError


class Topic(enum.Enum):
    """What a finding is about."""

    ETCD = "etcd"
    PORTS = "ports"
    LIMITS = "limits"
    DISK = "disk"
    SOCKET = "socket"
    CLOCK = "clock"
    LAB = "lab"
    PROCESS = "process"


class Level(enum.Enum):
    """How bad it is: as it should be; works but may surprise; something to put right."""

    GOOD = "good"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`where` is a path, a lab, a process or a limit; `remedy` says what to do.

    `repair` is set for leftovers that can be removed without losing anything; it says what it did, and raises
    EtcdlabError or OSError if it could not.
    """

    topic: Topic
    where: str
    level: Level = Level.GOOD
    what: str
    remedy: str = ""
    repair: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A finding and what was done about it: `words` is empty when nothing was tried."""

    finding: Finding
    fixed: bool = False
    words: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether there is still something to put right."""
        return self.finding.level is Level.WRONG and not self.fixed


def treat(finding: Finding, *, fix: bool) -> Treatment:
    """Repair what can be, if `fix`. One failure does not keep the others from being repaired."""
    if not fix or finding.repair is None:
        return Treatment(finding=finding)
    try:
        return Treatment(finding=finding, fixed=True, words=finding.repair())
    except (EtcdlabError, OSError) as error:
        return Treatment(finding=finding, words=f"could not be fixed: {error}")
