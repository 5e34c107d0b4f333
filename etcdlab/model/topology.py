"""What the user asked for: the TOML file's tables as frozen values, every key with its default.

Field names are the file's keys. This file knows no paths of this machine and chooses nothing: see plan.py for that.
"""

import enum

import msgspec

from etcdlab.model.certificate import KeyType, Subject
from etcdlab.model.restart import RestartPolicy
from etcdlab.model.units import Duration, Size


class Profile(enum.Enum):
    """How etcd is tuned: with its own ticks and fsync, or for tests that want speed."""

    REALISTIC = "realistic"
    FAST = "fast"


class Leaves(enum.Enum):
    """Which members share a server pair."""

    PER_MEMBER = "per-member"
    SHARED = "shared"


class TlsVersion(enum.Enum):
    """Minimum TLS versions that etcd can be told."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class CompactionMode(enum.Enum):
    """etcd's `--auto-compaction-mode`."""

    PERIODIC = "periodic"
    REVISION = "revision"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables of the file."""


class EtcdTable(Table, frozen=True):
    """`[etcd]`: which etcd, and how all members are set. `flags` is for any flag without a key of its own."""

    version: str | None = None
    path: str | None = None
    profile: Profile = Profile.REALISTIC
    token: str | None = None
    advertise_host: str = "127.0.0.1"
    quota: Size | None = None
    snapshot_count: int | None = None
    auto_compaction_mode: CompactionMode | None = None
    auto_compaction_retention: str | None = None
    flags: dict[str, str | int | bool] = {}
    env: dict[str, str] = {}


class CaTable(Table, frozen=True):
    """`[tls.ca]`: the authority; `certificate` and `private_key` together name an existing one to issue from."""

    cn: str | None = None
    lifetime: Duration | None = None
    key: KeyType | None = None
    certificate: str | None = None
    private_key: str | None = None


class LeafTable(Table, frozen=True):
    """`[tls.server]`, `[tls.peer]`, `[tls.client]`: one role's leaves. `hosts` are added to what the role needs."""

    cn: str | None = None
    hosts: tuple[str, ...] = ()
    lifetime: Duration | None = None
    key: KeyType | None = None


class IdentityTable(Table, frozen=True):
    """`[[tls.identity]]`: one more client certificate, `<name>.pem`, whose CN is etcd's user name under auth.

    The CN is `name` unless said otherwise; "" leaves it out.
    """

    name: str
    cn: str | None = None
    lifetime: Duration | None = None


class CfsslTable(Table, frozen=True):
    """`[tls.cfssl]`: cfssl's own JSON files, read as they are; paths are relative to the topology file.

    `ca` is left out when `[tls.ca]` names an existing CA. Without `peer`, peers get their leaves from `server`.
    """

    config: str
    server: str
    client: str
    ca: str | None = None
    peer: str | None = None
    server_profile: str = "server"
    peer_profile: str | None = None
    client_profile: str = "client"


class TlsTable(Table, frozen=True):
    """`[tls]`: certificates and what members demand of them."""

    enabled: bool = True
    key: KeyType = KeyType.ECDSA_P256
    leaves: Leaves = Leaves.PER_MEMBER
    min_version: TlsVersion | None = None
    subject: Subject = Subject()
    ca: CaTable = CaTable()
    server: LeafTable = LeafTable()
    peer: LeafTable = LeafTable()
    client: LeafTable = LeafTable()
    identity: tuple[IdentityTable, ...] = ()
    cfssl: CfsslTable | None = None


class RestartTable(Table, frozen=True):
    """`[restart]`: see `etcdlab.model.restart.RestartRules` for what the numbers mean."""

    policy: RestartPolicy = RestartPolicy.ON_FAILURE
    backoff: Duration = Duration(0.5)
    backoff_max: Duration = Duration(30)
    healthy_after: Duration = Duration(10)
    budget: int = 10
    window: Duration = Duration(300)


class TimeoutsTable(Table, frozen=True):
    """`[timeouts]`: bounds on what the lab waits for.

    `boot`: `up` until ready. `stage`: how long one member that is slow to serve its peers may hold up the next.
    `probe`: one health request. `stop`: SIGTERM to SIGKILL; None is 6 s + 2 election timeouts, since a leader waits
    up to 5 s + 2 election timeouts for a peer to take over (etcd 3.5 server.go, TryTransferLeadershipOnShutdown).
    """

    boot: Duration = Duration(60)
    stage: Duration = Duration(2)
    probe: Duration = Duration(1)
    stop: Duration | None = None


class LogsTable(Table, frozen=True):
    """`[logs]`: a member's log is rotated at `size` and `count` old files are kept."""

    size: Size = Size(10 * 2**20)
    count: int = 3


class NetworkTable(Table, frozen=True):
    """`[network]`: whether links between members can have faults, and (`clients`) links with clients, too."""

    faults: bool = False
    clients: bool = True


class NodeTable(Table, frozen=True):
    """`[[node]]`: one member; what is left out is chosen (ports), derived (directory) or the lab's (`[etcd]`)."""

    name: str
    client_port: int | None = None
    peer_port: int | None = None
    metrics_port: int | None = None
    data_dir: str | None = None
    learner: bool = False
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    version: str | None = None
    path: str | None = None


class Topology(Table, frozen=True):
    """A whole lab. `nodes = N` is a shorthand for N `[[node]]` tables named n1 to nN; the default is three."""

    name: str = "default"
    nodes: int | None = None
    node: tuple[NodeTable, ...] = ()
    etcd: EtcdTable = EtcdTable()
    tls: TlsTable = TlsTable()
    restart: RestartTable = RestartTable()
    timeouts: TimeoutsTable = TimeoutsTable()
    logs: LogsTable = LogsTable()
    network: NetworkTable = NetworkTable()

    def members(self) -> tuple[NodeTable, ...]:
        """The `[[node]]` tables, written out when the shorthand (or nothing) was given."""
        if self.node:
            return self.node
        count = DEFAULT_NODES if self.nodes is None else self.nodes
        return tuple(NodeTable(name=f"n{number}") for number in range(1, count + 1))

    def peer_host(self, member: NodeTable) -> str:
        """What members dial a member at.

        With link faults an address of its own from TEST-NET-1 (RFC 5737), which leads nowhere but through the fault
        network: Go passes no proxy by for an address that is not loopback (golang.org/x/net/http/httpproxy), and what
        would pass it by all the same reaches nothing. No name, since etcd 3.5.1 looks every one up.
        """
        if not self.network.faults:
            return self.etcd.advertise_host
        return f"192.0.2.{self.members().index(member) + 1}"


DEFAULT_NODES = 3
