"""Topology to Plan: everything that is decided before anything runs. Creates nothing on disk."""

import secrets
from pathlib import Path
from typing import Final, Protocol

import msgspec

from etcdlab import __version__
from etcdlab.etcd import flags, identity
from etcdlab.etcd.binaries import Binary
from etcdlab.model.certificate import PkiPlan
from etcdlab.model.plan import IdentityPlan, LinksPlan, NodePlan, Plan, TimeoutsPlan, TlsPlan
from etcdlab.model.restart import RestartRules
from etcdlab.model.topology import EtcdTable, NodeTable, Profile, Topology
from etcdlab.pki import roles
from etcdlab.pki.files import revocation_file
from etcdlab.prepare.control_socket import socket_path
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import LOOPBACK, Ports

FAST_HEARTBEAT_MS: Final = 10
FAST_ELECTION_MS: Final = 100
DEFAULT_ELECTION_MS: Final = 1000
"""etcd's own `--election-timeout`."""


PEER_PORT: Final = 2380
"""At the address that a member has in the fault network alone, so it can be etcd's own."""


class FindBinary(Protocol):
    """What `etcdlab.etcd.binaries.find` does."""

    def __call__(self, *, path: str | None, version: str | None) -> Binary: ...


class _Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and URLs of one member."""

    client_port: int
    peer_port: int
    metrics_port: int
    client_url: str
    peer_url: str
    metrics_url: str
    links: LinksPlan | None


def build(topology: Topology, *, directory: LabDirectory, base: Path, ports: Ports, find: FindBinary) -> Plan:
    """Decide a lab. `base` is the folder that relative paths of the topology are relative to.

    Raises PortTakenError, BinaryError, CertificateError, or UsageError for a flag that a member's etcd lacks.
    """
    token = topology.etcd.token or f"{topology.name}-{secrets.token_hex(4)}"
    members = topology.members()
    binaries = [_find(find, member, topology.etcd, base) for member in members]
    # First what is named, for all members: else a port chosen for one could be the one that another names.
    for port in (port for member in members for port in _named_ports(member) if port is not None):
        ports.claim(port)
    endpoints = [_endpoints(topology, member, ports) for member in members]
    pki = roles.plan_pki(topology, directory.pki, base) if topology.tls.enabled else None
    voters = [place for member, place in zip(members, endpoints, strict=True) if not member.learner]
    nodes = tuple(
        _node(topology, member, place, binary, directory=directory, base=base, token=token, pki=pki, all_=endpoints)
        for member, place, binary in zip(members, endpoints, binaries, strict=True)
    )
    election_s = _election_ms(topology.etcd) / 1000
    return Plan(
        lab=topology.name,
        directory=str(directory.path),
        socket=str(socket_path(directory.path)),
        token=token,
        cluster_id=identity.cluster_id(identity.member_id(place.peer_url, token) for place in voters),
        election_timeout_s=election_s,
        etcdctl=next((binary.etcdctl for binary in binaries if binary.etcdctl), None),
        nodes=nodes,
        tls=_tls(topology, pki),
        pki=pki,
        restart=RestartRules(
            policy=topology.restart.policy,
            backoff_s=float(topology.restart.backoff),
            backoff_max_s=float(topology.restart.backoff_max),
            healthy_after_s=float(topology.restart.healthy_after),
            budget=topology.restart.budget,
            window_s=float(topology.restart.window),
        ),
        timeouts=TimeoutsPlan(
            boot_s=float(topology.timeouts.boot),
            stage_s=float(topology.timeouts.stage),
            probe_s=float(topology.timeouts.probe),
            stop_s=6 + 2 * election_s if topology.timeouts.stop is None else float(topology.timeouts.stop),
        ),
        log_size=int(topology.logs.size),
        log_count=topology.logs.count,
        made_by=__version__,
    )


def _find(find: FindBinary, member: NodeTable, etcd: EtcdTable, base: Path) -> Binary:
    """The member's own etcd where it names one, else the lab's."""
    table = member if member.path or member.version else etcd
    return find(path=str(_resolve(base, table.path)) if table.path else None, version=table.version)


def _resolve(base: Path, path: str) -> Path:
    """A path as a topology writes it."""
    return base / Path(path).expanduser()


def _named_ports(member: NodeTable) -> tuple[int | None, int | None, int | None]:
    return member.client_port, member.peer_port, member.metrics_port


def _endpoints(topology: Topology, member: NodeTable, ports: Ports) -> _Endpoints:
    client, peer, metrics = (ports.choose() if port is None else port for port in _named_ports(member))
    scheme = "https" if topology.tls.enabled else "http"
    peer_host = topology.peer_host(member)
    links = None
    if topology.network.faults:
        own_client = ports.choose() if topology.network.clients else client
        links = LinksPlan(address=f"{peer_host}:{PEER_PORT}", proxy_port=ports.choose(), own_client_port=own_client)
    return _Endpoints(
        client_port=client,
        peer_port=peer,
        metrics_port=metrics,
        client_url=f"{scheme}://{topology.etcd.advertise_host}:{client}",
        peer_url=f"{scheme}://{links.address if links else f'{peer_host}:{peer}'}",
        metrics_url=f"http://{LOOPBACK}:{metrics}",
        links=links,
    )


def _node(
    topology: Topology,
    member: NodeTable,
    place: _Endpoints,
    binary: Binary,
    *,
    directory: LabDirectory,
    base: Path,
    token: str,
    pki: PkiPlan | None,
    all_: list[_Endpoints],
) -> NodePlan:
    home = directory.node(member.name)
    data_dir = _resolve(base, member.data_dir) if member.data_dir else home / "data"
    fast = topology.etcd.profile is Profile.FAST
    scheme = "https" if topology.tls.enabled else "http"
    # A learner starts with the member list as it is once it was added: the voters, and the learners before it.
    members = topology.members()
    learners_in_place = members[: members.index(member) + 1]
    known = [
        f"{other.name}={url.peer_url}"
        for other, url in zip(members, all_, strict=True)
        if not other.learner or (member.learner and other in learners_in_place)
    ]
    arguments = flags.MemberFlags(
        name=member.name,
        data_dir=str(data_dir),
        listen_client_url=f"{scheme}://{LOOPBACK}:{place.links.own_client_port if place.links else place.client_port}",
        advertise_client_url=place.client_url,
        listen_peer_url=f"{scheme}://{LOOPBACK}:{place.peer_port}",
        advertise_peer_url=place.peer_url,
        metrics_url=place.metrics_url,
        initial_cluster=",".join(known),
        initial_cluster_token=token,
        joins_existing=member.learner,
        tls=_member_tls(topology, member, pki),
        heartbeat_ms=FAST_HEARTBEAT_MS if fast else None,
        election_ms=FAST_ELECTION_MS if fast else None,
        no_fsync=fast,
        # A new cluster refuses member changes for its first 5 s (etcd 3.5 server.go, HealthInterval): not in tests.
        strict_reconfig_check=not fast,
        extra=_extra(topology.etcd),
        args=member.args,
    )
    return NodePlan(
        name=member.name,
        learner=member.learner,
        client_url=place.client_url,
        peer_url=place.peer_url,
        metrics_url=place.metrics_url,
        client_port=place.client_port,
        peer_port=place.peer_port,
        metrics_port=place.metrics_port,
        directory=str(home),
        data_dir=str(data_dir),
        log=str(home / "etcd.log"),
        etcd_version=binary.version,
        argv=flags.argv(binary.etcd, arguments, binary.version),
        env=topology.etcd.env | member.env | (_proxy(place.links) if place.links else {}),
        member_id=None if member.learner else identity.member_id(place.peer_url, token),
        links=place.links,
    )


def _proxy(links: LinksPlan) -> dict[str, str]:
    """What makes etcd dial its peers through its listener. Its own endpoints are on loopback, which Go leaves out."""
    return {"HTTPS_PROXY": f"http://{LOOPBACK}:{links.proxy_port}", "NO_PROXY": "", "no_proxy": ""}


def _member_tls(topology: Topology, member: NodeTable, pki: PkiPlan | None) -> flags.TlsFlags | None:
    if pki is None:
        return None
    directory = Path(pki.directory)
    server, peer = roles.server_stem(topology, member.name), roles.peer_stem(topology, member.name)
    minimum = topology.tls.min_version
    return flags.TlsFlags(
        ca=str(directory / "ca.pem"),
        revocations=str(revocation_file(directory)),
        server_certificate=str(directory / f"{server}.pem"),
        server_key=str(directory / f"{server}-key.pem"),
        peer_certificate=str(directory / f"{peer}.pem"),
        peer_key=str(directory / f"{peer}-key.pem"),
        min_version=minimum.value if minimum else None,
    )


def _tls(topology: Topology, pki: PkiPlan | None) -> TlsPlan | None:
    if pki is None:
        return None
    directory = Path(pki.directory)
    minimum = topology.tls.min_version
    common_names = {leaf.stem: leaf.subject.CN for leaf in pki.certificates}
    return TlsPlan(
        ca=str(directory / "ca.pem"),
        identities=tuple(
            IdentityPlan(
                name=name,
                cn=common_names[name],  # of the plan, since with cfssl's files only they know it
                certificate=str(directory / f"{name}.pem"),
                private_key=str(directory / f"{name}-key.pem"),
            )
            for name, _ in roles.identities(topology)
        ),
        min_version=minimum.value if minimum else "1.2",
    )


def _extra(etcd: EtcdTable) -> dict[str, str | int | bool]:
    own = {
        "quota-backend-bytes": etcd.quota,
        "snapshot-count": etcd.snapshot_count,
        "auto-compaction-mode": etcd.auto_compaction_mode and etcd.auto_compaction_mode.value,
        "auto-compaction-retention": etcd.auto_compaction_retention,
    }
    chosen: dict[str, str | int | bool] = {name: value for name, value in own.items() if value is not None}
    if "quota-backend-bytes" in chosen:
        chosen["quota-backend-bytes"] = int(chosen["quota-backend-bytes"])
    return chosen | etcd.flags


def _election_ms(etcd: EtcdTable) -> int:
    given = etcd.flags.get("election-timeout")
    if isinstance(given, int):
        return given
    return FAST_ELECTION_MS if etcd.profile is Profile.FAST else DEFAULT_ELECTION_MS
