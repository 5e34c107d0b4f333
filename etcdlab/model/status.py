"""The frozen views of a lab: what `status` shows and the control API returns. Field names are a public contract."""

import enum

import msgspec

from etcdlab.errors import ExitStatus
from etcdlab.model.certificate import LeafDefect
from etcdlab.model.disk import Shortage
from etcdlab.model.exit import Exit
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.link import LinkFault

SCHEMA_VERSION = 1


class ClusterVerdict(enum.Enum):
    """The lab in one word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    NO_QUORUM = "no-quorum"
    STOPPED = "stopped"

    @property
    def exit_status(self) -> ExitStatus:
        """What `etcdlab status` returns to the shell for this verdict."""
        return _EXIT_STATUS[self]


_EXIT_STATUS = {
    ClusterVerdict.HEALTHY: ExitStatus.DONE,
    ClusterVerdict.DEGRADED: ExitStatus.DEGRADED,
    ClusterVerdict.NO_QUORUM: ExitStatus.NO_QUORUM,
    ClusterVerdict.STOPPED: ExitStatus.NOT_RUNNING,
}


class LabPhase(enum.Enum):
    """Where a lab is between `up` and `down`, however its members are."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One member, as measured when asked. Sizes in bytes; what could not be measured is None."""

    name: str
    state: NodeState
    healthy: bool
    paused: bool
    is_leader: bool
    is_learner: bool
    member_id: str | None
    pid: int | None
    restarts: int
    uptime_s: float | None
    client_url: str
    peer_url: str
    metrics_url: str
    raft_term: int | None = None
    raft_index: int | None = None
    applied_index: int | None = None
    db_size: int | None = None
    etcd_version: str | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    last_exit: Exit | None = None
    problem: str = ""


class LabStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A lab, as measured when asked.

    `cluster_id` is what the members answer (16 hex digits); `is_this_lab` says whether it and the members' ids are the
    ones that this lab created: a stranger's cluster on the same ports answers "healthy" just as well. `faults` are what
    somebody has put on links, `defects` what is wrong with leaves on purpose, `shortages` what disks lack on purpose;
    `problems` are, in words, what the supervisor itself lacks (space on the disk, descriptors), an alarm for which
    members that are healthy refuse to write, and handshakes that are refused while the lab is not whole.
    """

    lab: str
    verdict: ClusterVerdict
    cluster_id: str | None
    is_this_lab: bool
    leader: str | None
    nodes: tuple[NodeStatus, ...]
    phase: LabPhase = LabPhase.UP
    faults: tuple[LinkFault, ...] = ()
    defects: tuple[LeafDefect, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    problems: tuple[str, ...] = ()
    version: int = SCHEMA_VERSION
