"""The example topologies: each loads without a warning and can be planned."""

from pathlib import Path

import pytest

from etcdlab.etcd.binaries import Binary, Origin
from etcdlab.model.certificate import KeyType, Role, Subject
from etcdlab.model.plan import Plan
from etcdlab.model.scenario import misfits
from etcdlab.model.topology import Topology
from etcdlab.prepare.build import build
from etcdlab.prepare.config import load
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.scenario import load as load_scenario

CONFIGS = Path(__file__).parent.parent / "configs"
NAMES = {"single", "three", "secure-three", "five", "learner", "plain"}


class CountedPorts:
    """Ports that nobody is asked for: those that the recipe names may be taken on this machine."""

    def __init__(self):
        self.next = 20000

    def choose(self) -> int:
        self.next += 1
        return self.next

    def claim(self, port: int) -> int:
        return port


def find(*, path: str | None, version: str | None) -> Binary:
    assert path is None
    assert version is None
    return Binary(etcd="/usr/bin/etcd", version="3.5.16", etcdctl=None, etcdutl=None, origin=Origin.PATH)


def plan(name: str, home: Path) -> Plan:
    loaded = load(CONFIGS / f"{name}.toml")
    directory = LabDirectory(home / loaded.topology.name)
    return build(loaded.topology, directory=directory, base=loaded.base, ports=CountedPorts(), find=find)


def test_the_promised_examples_are_there():
    assert {path.stem for path in CONFIGS.glob("*.toml")} >= NAMES


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_each_loads_without_a_warning_and_is_planned(path, tmp_path):
    assert load(path).warnings == ()
    planned = plan(path.stem, tmp_path)
    assert len(planned.nodes) == len(load(path).topology.members())
    assert list(tmp_path.iterdir()) == [], "planning creates nothing"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("chaos/*.toml")), ids=lambda path: path.stem)
def test_each_scenario_fits_a_lab_with_faults(path, tmp_path):
    scenario = load_scenario(path)
    assert list(misfits(scenario, plan("faults", tmp_path))) == []
    assert list(misfits(scenario, plan("plain", tmp_path))) != []


def test_three_is_the_default_written_out():
    topology = load(CONFIGS / "three.toml").topology
    assert topology.nodes == len(Topology().members())
    assert topology == Topology(nodes=topology.nodes)


def test_plain_has_no_certificates(tmp_path):
    planned = plan("plain", tmp_path)
    assert planned.pki is None
    assert all(node.client_url.startswith("http://") for node in planned.nodes)


def test_the_learner_is_not_counted_for_quorum(tmp_path):
    planned = plan("learner", tmp_path)
    assert [node.name for node in planned.nodes if node.learner] == ["catching-up"]
    assert len(planned.voters) == 3


def test_secure_three_is_the_recipes_cluster(tmp_path):
    planned = plan("secure-three", tmp_path)
    assert planned.token == "etcd-cluster-token"
    assert [(node.name, node.client_url, node.peer_url) for node in planned.nodes] == [
        (f"node{n}", f"https://localhost:1{n}79", f"https://localhost:1{n}80") for n in (1, 2, 3)
    ]
    pki = tmp_path / "secure-three/pki"
    for node in planned.nodes:
        assert {
            f"--cert-file={pki}/server.pem",
            f"--key-file={pki}/server-key.pem",
            f"--peer-cert-file={pki}/server.pem",
            f"--peer-key-file={pki}/server-key.pem",
            f"--trusted-ca-file={pki}/ca.pem",
            f"--peer-trusted-ca-file={pki}/ca.pem",
            "--client-cert-auth=true",
            "--peer-client-cert-auth=true",
            f"--listen-client-urls=https://127.0.0.1:{node.client_port}",
            "--initial-cluster-state=new",
        } <= set(node.argv)


def test_secure_three_has_the_recipes_certificates(tmp_path):
    pki = plan("secure-three", tmp_path).pki
    assert pki is not None
    shared = {"C": "CN", "L": "Shanghai", "O": "ETCD", "OU": "PaaS", "ST": "Shanghai"}
    assert pki.authority.subject == Subject(CN="Etcd", **shared)
    assert {pki.authority.key, *(leaf.key for leaf in pki.certificates)} == {KeyType.RSA_4096}
    leaves = {leaf.stem: leaf for leaf in pki.certificates}
    assert set(leaves) == {"server", "client", "gateway"}
    server, client = leaves["server"], leaves["client"]
    assert server.role is Role.SERVER
    assert server.subject == Subject(CN="etcd-server", **shared)
    assert server.lifetime_s == 100_000 * 3600
    assert {"localhost", "0.0.0.0", "127.0.0.1", "etcd1.master.com", "etcd2.master.com"} <= set(server.hosts)
    assert client.subject == Subject(CN="etcd-client", **shared)
    assert client.hosts == ()
    assert client.lifetime_s == 8760 * 3600
