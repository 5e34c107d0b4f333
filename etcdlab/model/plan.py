"""What will run, decided before it runs: every port, path, certificate and argument. This is `plan.json`."""

import difflib
from collections.abc import Iterable
from typing import Annotated

import msgspec

from etcdlab.errors import UnknownMemberError
from etcdlab.model.certificate import PkiPlan
from etcdlab.model.restart import RestartRules

PLAN_VERSION = 1
"""The format of `plan.json`: one more whenever an earlier etcdlab could not use what is written."""


class IdentityPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A client identity's files; `cn` is empty for the one that etcd's JSON gateway accepts."""

    name: str
    cn: str
    certificate: str
    private_key: str


class TlsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The files that clients of this lab need. `identities[0]` is the default client."""

    ca: str
    identities: Annotated[tuple[IdentityPlan, ...], msgspec.Meta(min_length=1)]
    min_version: str

    @property
    def client(self) -> IdentityPlan:
        """The identity that verbs and exports use unless told otherwise."""
        return self.identities[0]

    @property
    def gateway(self) -> IdentityPlan:
        """The identity without a CN: etcd's JSON gateway answers 400 to any CN (etcd 3.5 serve.go)."""
        return next(identity for identity in self.identities if not identity.cn)


class LinksPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A member's part of the fault network.

    It dials its peers through `proxy_port`, they dial it at `address`, which leads nowhere else, and its clients reach
    it through the member's `client_port`; etcd itself listens for them at `own_client_port`, the same if client links
    are left out.
    """

    address: str
    proxy_port: int
    own_client_port: int


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One member. `member_id` is 16 hex digits; a learner gets its own only when it is added, so None until then."""

    name: str
    learner: bool
    client_url: str
    peer_url: str
    metrics_url: str
    client_port: int
    peer_port: int
    metrics_port: int
    directory: str
    data_dir: str
    log: str
    etcd_version: str
    argv: tuple[str, ...]
    env: dict[str, str]
    member_id: str | None
    links: LinksPlan | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """All its ports, each once."""
        own = (self.links.proxy_port, self.links.own_client_port) if self.links else ()
        return tuple(dict.fromkeys((self.client_port, self.peer_port, self.metrics_port, *own)))

    @property
    def own_client_url(self) -> str:
        """Where etcd itself serves clients: past the fault network, if there is one."""
        if self.links is None:
            return self.client_url
        return f"{self.client_url.partition(':')[0]}://127.0.0.1:{self.links.own_client_port}"


class TimeoutsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds in seconds; see `etcdlab.model.topology.TimeoutsTable`."""

    boot_s: float
    stage_s: float
    probe_s: float
    stop_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A lab, decided. `cluster_id` (16 hex digits) follows from the initial members' URLs and the token.

    `made_by` is the version of etcdlab that decided it, for one that cannot read it any more.
    """

    lab: str
    directory: str
    socket: str
    token: str
    cluster_id: str
    election_timeout_s: float
    etcdctl: str | None
    nodes: Annotated[tuple[NodePlan, ...], msgspec.Meta(min_length=1)]
    tls: TlsPlan | None
    pki: PkiPlan | None
    restart: RestartRules
    timeouts: TimeoutsPlan
    log_size: int
    log_count: int
    made_by: str = ""
    version: int = PLAN_VERSION

    def select(self, names: Iterable[str]) -> tuple[NodePlan, ...]:
        """The members with these names, each once, in the order given. Raises UnknownMemberError."""
        known = {node.name: node for node in self.nodes}
        unknown = [name for name in names if name not in known]
        if unknown:
            close = difflib.get_close_matches(unknown[0], known, n=1)
            raise UnknownMemberError(
                f"lab {self.lab!r} has no member {', '.join(map(repr, unknown))}; its members are {', '.join(known)}",
                hint=f"Did you mean {close[0]}?" if close else "",
            )
        return tuple(known[name] for name in dict.fromkeys(names))

    @property
    def has_fault_network(self) -> bool:
        """Whether members' links can have faults."""
        return any(node.links for node in self.nodes)

    @property
    def has_client_links(self) -> bool:
        """Whether the links with clients can have faults, too."""
        return any(node.links and node.links.own_client_port != node.client_port for node in self.nodes)

    @property
    def network_socket(self) -> str:
        """Where the fault network's process listens for the daemon."""
        return f"{self.socket.removesuffix('.sock')}.net"

    @property
    def voters(self) -> tuple[NodePlan, ...]:
        """The initial members: those that vote from the start."""
        return tuple(node for node in self.nodes if not node.learner)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The client URLs of the voting members, in plan order."""
        return tuple(node.client_url for node in self.voters)
