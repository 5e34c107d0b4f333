"""From topologies to plans: what holds for every one of them, and the rules one by one."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdlab.errors import PortTakenError, UsageError
from etcdlab.etcd import identity
from etcdlab.etcd.binaries import Binary, Origin
from etcdlab.model import rules
from etcdlab.model.certificate import Role
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.topology import (
    CompactionMode,
    EtcdTable,
    Leaves,
    NetworkTable,
    NodeTable,
    Profile,
    RestartTable,
    TimeoutsTable,
    TlsTable,
    TlsVersion,
    Topology,
)
from etcdlab.model.units import Duration, Size
from etcdlab.pki import roles
from etcdlab.prepare import control_socket
from etcdlab.prepare.build import build
from etcdlab.prepare.control_socket import SOCKET_PATH_LIMIT
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import LOWEST, Ports

HOME = Path("/labs")
BASE = Path("/topologies")


class CountedPorts(Ports):
    """Ports from LOWEST up, without sockets."""

    def choose(self) -> int:
        port = next(port for port in range(LOWEST, LOWEST + 1000) if port not in self._taken)
        self._taken.add(port)
        return port

    def claim(self, port: int) -> int:
        self._taken.add(port)
        return port


def find(*, path: str | None, version: str | None) -> Binary:
    """An etcd of whatever version is asked for."""
    etcd = path or f"/cache/{version or '3.5.16'}/etcd"
    return Binary(
        etcd=etcd, version=version or "3.5.16", etcdctl=f"{etcd}ctl", etcdutl=None, origin=Origin.CACHE, warnings=()
    )


def plan(topology: Topology, *, home: Path = HOME, base: Path = BASE, find: Any = find) -> Plan:
    assert rules.problems(topology) + roles.problems(topology) == []
    return build(topology, directory=LabDirectory(home / topology.name), base=base, ports=CountedPorts(), find=find)


def flags(node: NodePlan) -> dict[str, str]:
    """A member's arguments by name; each is given once."""
    pairs = [argument.removeprefix("--").split("=", 1) for argument in node.argv[1:]]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def for_all(strategy: st.SearchStrategy[Topology]) -> Callable[[Callable[[Topology], None]], Callable[[], None]]:
    """As hypothesis' `given`, with few examples, the same each time."""
    return lambda test: settings(max_examples=60, deadline=None, derandomize=True)(given(strategy)(test))


names = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
ports = st.integers(LOWEST, LOWEST + 12)
"""Where chosen ones would be too."""


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Sound topologies of one to five members."""
    members = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    voters = draw(st.integers(1, len(members)))
    named = draw(st.lists(ports, max_size=3 * len(members), unique=True))
    chosen: list[int | None] = [*named, *[None] * (3 * len(members) - len(named))]
    keys = draw(st.permutations(chosen))
    learners = len(members) - voters
    nodes = tuple(
        NodeTable(
            name=name,
            learner=number >= voters,
            client_port=keys[3 * number],
            peer_port=keys[3 * number + 1],
            metrics_port=keys[3 * number + 2],
            data_dir=draw(st.sampled_from([None, f"data/{name}", f"/elsewhere/{name}"])),
            version=draw(st.sampled_from([None, "3.6.14", "3.7.1"])),
            env=draw(st.sampled_from([{}, {"GOGC": "50"}])),
            args=draw(st.sampled_from([(), ("--max-wals=2",)])),
        )
        for number, name in enumerate(members)
    )
    return Topology(
        name=draw(names),
        node=nodes,
        etcd=EtcdTable(
            version=draw(st.sampled_from([None, "3.4.23", "3.5.30"])),
            profile=draw(st.sampled_from(Profile)),
            token=draw(st.sampled_from([None, "token"])),
            advertise_host=draw(st.sampled_from(["127.0.0.1", "localhost"])),
            quota=draw(st.sampled_from([None, Size(2**20)])),
            flags={"max-learners": learners} if learners > 1 else {},
        ),
        tls=TlsTable(enabled=draw(st.booleans()), leaves=draw(st.sampled_from(Leaves))),
    )


@for_all(topologies())
def test_all_ports_differ(topology: Topology) -> None:
    made = plan(topology)
    used = [port for node in made.nodes for port in (node.client_port, node.peer_port, node.metrics_port)]
    assert len(set(used)) == 3 * len(topology.node)
    for table, node in zip(topology.node, made.nodes, strict=True):
        for key in ("client_port", "peer_port", "metrics_port"):
            assert getattr(table, key) in (None, getattr(node, key))


@for_all(topologies())
def test_every_path_is_in_the_lab_or_where_it_was_asked_for(topology: Topology) -> None:
    made = plan(topology)
    lab = HOME / topology.name
    assert (made.directory, made.socket) == (str(lab), str(lab / "control.sock"))
    for table, node in zip(topology.node, made.nodes, strict=True):
        assert node.directory == str(lab / "nodes" / node.name)
        assert node.log == f"{node.directory}/etcd.log"
        assert node.data_dir == (str(BASE / table.data_dir) if table.data_dir else f"{node.directory}/data")
        assert flags(node)["data-dir"] == node.data_dir
    assert (made.pki is not None) is (made.tls is not None) is topology.tls.enabled
    if made.pki and made.tls:
        assert made.pki.directory == str(lab / "pki")
        for one in made.tls.identities:
            assert {Path(one.certificate).parent, Path(one.private_key).parent, Path(made.tls.ca).parent} == {
                lab / "pki"
            }


@for_all(topologies())
def test_every_certificate_that_is_used_is_made_for_it(topology: Topology) -> None:
    made = plan(topology)
    issued = {leaf.stem: leaf for leaf in made.pki.certificates} if made.pki else {}
    for node in made.nodes:
        given_flags = flags(node)
        if made.pki is None or made.tls is None:
            assert not any("cert" in name or "ca-file" in name for name in given_flags)
            continue
        for name, role in (("", Role.SERVER), ("peer-", Role.PEER)):
            certificate, key = Path(given_flags[f"{name}cert-file"]), Path(given_flags[f"{name}key-file"])
            leaf = issued[certificate.stem]
            assert key == certificate.with_name(f"{certificate.stem}-key.pem")
            assert certificate.parent == Path(made.pki.directory)
            assert {topology.etcd.advertise_host, "127.0.0.1", node.name} <= set(leaf.hosts)
            assert leaf.role is (Role.SERVER if topology.tls.leaves is Leaves.SHARED else role)
            assert given_flags[f"{name}trusted-ca-file"] == made.tls.ca == f"{made.pki.directory}/ca.pem"
            assert given_flags[f"{name}client-cert-auth"] == "true"
            assert given_flags[f"{name or 'client-'}crl-file"] == f"{made.pki.directory}/ca.crl"
    if made.tls:
        for one in made.tls.identities:
            assert one.cn == issued[Path(one.certificate).stem].subject.CN
        assert made.tls.gateway.cn == ""


@for_all(topologies())
def test_members_know_each_other(topology: Topology) -> None:
    """A learner starts with the member list as it is when it has been added; voters know no learner."""
    made = plan(topology)
    listed = [f"{node.name}={node.peer_url}" for node in made.nodes]
    voters = len(made.voters)
    for number, node in enumerate(made.nodes):
        known = listed[: number + 1] if node.learner else listed[:voters]
        assert flags(node)["initial-cluster"].split(",") == known
        assert flags(node)["initial-cluster-state"] == ("existing" if node.learner else "new")
        assert flags(node)["initial-cluster-token"] == made.token


@for_all(topologies())
def test_ids_are_foretold_for_those_that_begin(topology: Topology) -> None:
    made = plan(topology)
    assert [node.member_id for node in made.nodes] == [
        None if node.learner else identity.member_id(node.peer_url, made.token) for node in made.nodes
    ]
    assert made.cluster_id == identity.cluster_id(node.member_id or "" for node in made.voters)


@for_all(topologies())
def test_urls_lead_to_the_ports(topology: Topology) -> None:
    scheme = "https" if topology.tls.enabled else "http"
    for node in plan(topology).nodes:
        assert node.client_url == f"{scheme}://{topology.etcd.advertise_host}:{node.client_port}"
        assert node.peer_url == f"{scheme}://{topology.etcd.advertise_host}:{node.peer_port}"
        assert node.metrics_url == f"http://127.0.0.1:{node.metrics_port}"
        assert flags(node) | {
            "listen-client-urls": f"{scheme}://127.0.0.1:{node.client_port}",
            "advertise-client-urls": node.client_url,
            "listen-peer-urls": f"{scheme}://127.0.0.1:{node.peer_port}",
            "initial-advertise-peer-urls": node.peer_url,
            "listen-metrics-urls": node.metrics_url,
        } == flags(node)


@for_all(topologies())
def test_a_plan_is_the_same_after_its_file(topology: Topology) -> None:
    made = plan(topology)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made


@for_all(topologies())
def test_each_member_gets_its_own_etcd(topology: Topology) -> None:
    made = plan(topology)
    for table, node in zip(topology.node, made.nodes, strict=True):
        version = table.version or topology.etcd.version or "3.5.16"
        assert (node.etcd_version, node.argv[0]) == (version, f"/cache/{version}/etcd")
        assert ("logger" in flags(node)) is (version == "3.4.23")
        assert node.env == table.env
        assert node.argv[len(node.argv) - len(table.args) :] == table.args


def test_building_creates_nothing(tmp_path: Path) -> None:
    plan(Topology(), home=tmp_path / "home", base=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_labs_of_one_topology_have_different_tokens() -> None:
    first, second = plan(Topology(name="demo")), plan(Topology(name="demo"))
    assert first.token.startswith("demo-")
    assert first.token != second.token
    assert first.cluster_id != second.cluster_id


# Ports


@pytest.fixture
def real_ports() -> Iterator[Ports]:
    with Ports() as held:
        yield held


def test_a_named_port_is_not_chosen_for_another_member(
    real_ports: Ports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second member names the very port that would be chosen for the first."""
    start = random.randrange(1000)
    monkeypatch.setattr(random, "randrange", lambda _: start)
    with Ports() as ports:
        first = ports.choose()
    topology = Topology(node=(NodeTable(name="a"), NodeTable(name="b", metrics_port=first)))
    made = build(topology, directory=LabDirectory(tmp_path), base=tmp_path, ports=real_ports, find=find)
    used = [port for node in made.nodes for port in (node.client_port, node.peer_port, node.metrics_port)]
    assert len(set(used)) == 6
    assert made.nodes[1].metrics_port == first


def test_a_named_port_that_is_taken_is_refused(real_ports: Ports, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        topology = Topology(node=(NodeTable(name="a", peer_port=server.getsockname()[1]),))
        with pytest.raises(PortTakenError):
            build(topology, directory=LabDirectory(tmp_path), base=tmp_path, ports=real_ports, find=find)


# Paths


def test_paths_are_relative_to_the_topologys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    nodes = tuple(
        NodeTable(name=f"n{number}", path=path, data_dir=f"{path}.data")
        for number, path in enumerate(("bin/etcd", "/opt/etcd", "~/etcd", "../etcd"))
    )
    made = plan(Topology(node=(*nodes, NodeTable(name="last")), etcd=EtcdTable(path="./etcd")))
    assert [node.argv[0] for node in made.nodes] == [
        "/topologies/bin/etcd", "/opt/etcd", f"{tmp_path}/etcd", "/topologies/../etcd", "/topologies/etcd",
    ]  # fmt: skip
    assert [node.data_dir for node in made.nodes[:4]] == [f"{node.argv[0]}.data" for node in made.nodes[:4]]


def test_a_members_version_takes_the_place_of_the_labs_path() -> None:
    nodes = (NodeTable(name="a"), NodeTable(name="b", version="3.6.14"))
    made = plan(Topology(node=nodes, etcd=EtcdTable(path="/opt/etcd")))
    assert [node.argv[0] for node in made.nodes] == ["/opt/etcd", "/cache/3.6.14/etcd"]


def test_the_first_etcdctl_that_there_is_serves_the_lab() -> None:
    def without_tools(*, path: str | None, version: str | None) -> Binary:
        return msgspec.structs.replace(find(path=path, version=version), **({} if version else {"etcdctl": None}))

    nodes = (NodeTable(name="a"), NodeTable(name="b", version="3.6.14"))
    assert plan(Topology(node=nodes), find=without_tools).etcdctl == "/cache/3.6.14/etcdctl"
    assert plan(Topology(node=nodes[:1]), find=without_tools).etcdctl is None


def test_a_socket_with_too_long_a_path_goes_to_the_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "runtime_directory", lambda: Path("/run/user/1000/etcdlab"))
    room = SOCKET_PATH_LIMIT - len("/demo/control.sock")
    fits, too_long = Path("/" + "x" * (room - 1)), Path("/" + "x" * room)
    assert plan(Topology(name="demo"), home=fits).socket == f"{fits}/demo/control.sock"
    sockets = {plan(Topology(name=name), home=too_long).socket for name in ("demo", "dome")}
    assert len(sockets) == 2, "labs do not share one"
    assert all(one.startswith("/run/user/1000/etcdlab/") and len(one) <= SOCKET_PATH_LIMIT for one in sockets)
    assert plan(Topology(name="demo"), home=too_long).socket in sockets, "the same each time"
    in_bytes = Path("/" + "ä" * (room // 2))
    assert plan(Topology(name="demo"), home=in_bytes).socket.startswith("/run/user/")


# Fault network


def test_members_of_a_fault_network_dial_each_other_at_addresses_of_their_own() -> None:
    made = plan(Topology(nodes=3, network=NetworkTable(faults=True)))
    assert made.has_fault_network
    assert made.has_client_links
    assert [node.peer_url for node in made.nodes] == [f"https://192.0.2.{number}:2380" for number in (1, 2, 3)]
    used = [port for node in made.nodes for port in node.ports]
    assert len(set(used)) == 5 * 3
    assert made.pki is not None
    hosts = {leaf.stem: leaf.hosts for leaf in made.pki.certificates}
    for number, node in enumerate(made.nodes, start=1):
        assert node.links is not None
        given = flags(node)
        assert given["initial-advertise-peer-urls"] == node.peer_url
        assert given["listen-peer-urls"] == f"https://127.0.0.1:{node.peer_port}"
        assert given["listen-client-urls"] == node.own_client_url == f"https://127.0.0.1:{node.links.own_client_port}"
        assert given["advertise-client-urls"] == node.client_url == f"https://127.0.0.1:{node.client_port}"
        assert node.env["HTTPS_PROXY"] == f"http://127.0.0.1:{node.links.proxy_port}"
        assert f"192.0.2.{number}" in hosts[f"peer-{node.name}"]
        assert node.member_id == identity.member_id(node.peer_url, made.token)


def test_clients_can_be_left_out_of_the_fault_network() -> None:
    made = plan(Topology(nodes=1, network=NetworkTable(faults=True, clients=False)))
    assert not made.has_client_links
    assert made.nodes[0].own_client_url == made.nodes[0].client_url
    assert len(made.nodes[0].ports) == 4


def test_without_a_fault_network_members_reach_each_other_directly() -> None:
    made = plan(Topology(nodes=1))
    assert not made.has_fault_network
    assert made.nodes[0].env == {}
    assert made.nodes[0].own_client_url == made.nodes[0].client_url


# Settings


def test_the_profiles() -> None:
    realistic, fast = (flags(plan(Topology(etcd=EtcdTable(profile=profile))).nodes[0]) for profile in Profile)
    assert {name: value for name, value in fast.items() if name not in realistic} == {
        "heartbeat-interval": "10",
        "election-timeout": "100",
        "unsafe-no-fsync": "true",
        "strict-reconfig-check": "false",
    }


def test_etcds_settings() -> None:
    etcd = EtcdTable(
        quota=Size.parse("64MiB"),
        snapshot_count=500,
        auto_compaction_mode=CompactionMode.REVISION,
        auto_compaction_retention="1000",
        flags={"max-wals": 2, "experimental-corrupt-check-time": "1s"},
    )
    settings = flags(plan(Topology(etcd=etcd)).nodes[0])
    assert (
        settings
        | {
            "quota-backend-bytes": "67108864",
            "snapshot-count": "500",
            "auto-compaction-mode": "revision",
            "auto-compaction-retention": "1000",
            "max-wals": "2",
            "experimental-corrupt-check-time": "1s",
        }
        == settings
    )


def test_a_members_environment_adds_to_the_labs() -> None:
    nodes = (NodeTable(name="a"), NodeTable(name="b", env={"GOGC": "50"}))
    made = plan(Topology(node=nodes, etcd=EtcdTable(env={"GOGC": "100", "TZ": "UTC"})))
    assert [node.env for node in made.nodes] == [{"GOGC": "100", "TZ": "UTC"}, {"GOGC": "50", "TZ": "UTC"}]


@pytest.mark.parametrize(
    ("etcd", "election_s"),
    [
        (EtcdTable(), 1.0),
        (EtcdTable(profile=Profile.FAST), 0.1),
        (EtcdTable(profile=Profile.FAST, flags={"election-timeout": 500}), 0.5),
    ],
)
def test_a_leader_gets_time_to_hand_over(etcd: EtcdTable, election_s: float) -> None:
    made = plan(Topology(etcd=etcd))
    assert made.election_timeout_s == election_s
    assert made.timeouts.stop_s == 6 + 2 * election_s
    asked = Topology(etcd=etcd, timeouts=TimeoutsTable(stop=Duration(3)))
    assert plan(asked).timeouts.stop_s == 3


def test_restart_rules_are_in_seconds() -> None:
    made = plan(Topology(restart=RestartTable(backoff=Duration.parse("250ms"), window=Duration.parse("5m"), budget=3)))
    assert (made.restart.backoff_s, made.restart.window_s, made.restart.budget) == (0.25, 300, 3)


def test_the_minimum_tls_version() -> None:
    made = plan(Topology(tls=TlsTable(min_version=TlsVersion.TLS_1_3)))
    assert flags(made.nodes[0])["tls-min-version"] == "TLS1.3"
    assert made.tls is not None
    assert made.tls.min_version == "1.3"
    default = plan(Topology())
    assert "tls-min-version" not in flags(default.nodes[0])
    assert default.tls is not None
    assert default.tls.min_version == "1.2"
    with pytest.raises(UsageError, match="--tls-min-version"):
        plan(Topology(tls=TlsTable(min_version=TlsVersion.TLS_1_3), etcd=EtcdTable(version="3.4.23")))
