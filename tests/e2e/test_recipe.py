"""configs/secure-three.toml is the cluster that the recipe makes by hand with cfssl and three etcd commands."""

import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from etcdlab.errors import PortTakenError
from etcdlab.lab import Lab
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import CfsslTable, EtcdTable, Leaves, NodeTable, Profile, TlsTable, Topology
from etcdlab.prepare.config import load, override
from tests.e2e.labs import etcdctl, running
from tests.pki.test_recipe import facts
from tests.pki.tools import cfssl_gencert, small_recipe, verifies

pytestmark = pytest.mark.etcd

SECURE_THREE = Path(__file__).parents[2] / "configs" / "secure-three.toml"
NAMES = ["node1", "node2", "node3"]
URLS = [f"https://localhost:1{number}79" for number in (1, 2, 3)]


def test_the_recipes_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in one test: the ports are fixed, and tests may run side by side."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    loaded = load(SECURE_THREE)
    with contextlib.ExitStack() as stack:
        try:
            lab, status = stack.enter_context(
                running(override(loaded.topology, profile=Profile.FAST), base=loaded.base)
            )
        except PortTakenError as error:
            pytest.skip(f"the recipe's ports are taken here: {error.message}")
        assert status.verdict is ClusterVerdict.HEALTHY
        assert [(node.name, node.client_url) for node in status.nodes] == list(zip(NAMES, URLS, strict=True))
        assert_files_have_the_recipes_names(lab)
        assert_members_get_the_recipes_flags(lab)
        assert_the_client_is_let_in(lab)
        assert_who_does_not_know_the_ca_does_not_trust_it(lab)
        assert_nobody_is_let_in_without_a_certificate(lab)
        assert_certificates_are_those_that_cfssl_makes(lab, by_hand(tmp_path))


def assert_files_have_the_recipes_names(lab: Lab) -> None:
    files = {f"{stem}{suffix}" for stem in ("ca", "server", "client") for suffix in (".pem", "-key.pem", ".csr")}
    made = {path.name for path in lab.directory.pki.iterdir()}
    assert files | {"ca.crl"} == {name for name in made if not name.startswith("gateway")}
    assert [node.data_dir for node in lab.plan.nodes] == [f"{lab.directory.path}/nodes/{name}/data" for name in NAMES]


def assert_members_get_the_recipes_flags(lab: Lab) -> None:
    """And no other flag that has to do with security, but for a list of revoked certificates."""
    pki = lab.directory.pki
    for number, node in enumerate(lab.plan.nodes, start=1):
        flags = dict(argument.removeprefix("--").split("=", 1) for argument in node.argv[1:])
        words = ("cert", "key", "ca-file", "tls", "cipher", "crl", "auth")
        assert {name: value for name, value in flags.items() if any(word in name for word in words)} == {
            "cert-file": f"{pki}/server.pem",
            "key-file": f"{pki}/server-key.pem",
            "peer-cert-file": f"{pki}/server.pem",
            "peer-key-file": f"{pki}/server-key.pem",
            "trusted-ca-file": f"{pki}/ca.pem",
            "peer-trusted-ca-file": f"{pki}/ca.pem",
            "client-crl-file": f"{pki}/ca.crl",
            "peer-crl-file": f"{pki}/ca.crl",
            "peer-client-cert-auth": "true",
            "client-cert-auth": "true",
        }
        assert flags["advertise-client-urls"] == f"https://localhost:1{number}79"
        assert flags["initial-advertise-peer-urls"] == f"https://localhost:1{number}80"
        assert flags["initial-cluster-token"] == "etcd-cluster-token"
        assert flags["initial-cluster-state"] == "new"
        assert flags["initial-cluster"] == ",".join(f"node{n}=https://localhost:1{n}80" for n in (1, 2, 3))


def assert_the_client_is_let_in(lab: Lab) -> None:
    answer = etcdctl(lab, "endpoint", "health")
    assert answer.returncode == 0
    lines = sorted((answer.stdout + answer.stderr).splitlines())
    assert len(lines) == 3
    assert all(line.startswith(f"{url} is healthy: ") for url, line in zip(URLS, lines, strict=True))


def assert_who_does_not_know_the_ca_does_not_trust_it(lab: Lab) -> None:
    answer = etcdctl(lab, "--command-timeout=500ms", "endpoint", "health", identity=False, ca=False)
    assert answer.returncode != 0
    assert answer.stderr.count("certificate signed by unknown authority") >= 3
    assert "is healthy" not in answer.stdout + answer.stderr


def assert_nobody_is_let_in_without_a_certificate(lab: Lab) -> None:
    answer = etcdctl(lab, "--command-timeout=500ms", "endpoint", "health", identity=False)
    assert answer.returncode != 0
    assert answer.stderr.count("is unhealthy") == 3
    assert lab.plan.tls is not None
    tls = ssl.create_default_context(cafile=lab.plan.tls.ca)
    for node in lab.plan.nodes:
        for port in (node.client_port, node.peer_port):
            # Nothing is sent: the words of a refusal may get lost when etcd closes before it has read all.
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
                tls.wrap_socket(connection, server_hostname="localhost") as wrapped,
                pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
            ):
                wrapped.recv(1)


def by_hand(directory: Path) -> Path:
    """What cfssl makes of the recipe's files, with smaller keys."""
    recipe, made = small_recipe(directory / "recipe"), directory / "by-hand"
    made.mkdir()
    cfssl_gencert(made, "ca", "-initca", recipe / "ca-csr.json")
    for profile in ("server", "client"):
        cfssl_gencert(
            made, profile, "-ca=ca.pem", "-ca-key=ca-key.pem", f"-config={recipe / 'ca-config.json'}",
            f"-profile={profile}", recipe / f"{profile}-csr.json",
        )  # fmt: skip
    return made


def assert_certificates_are_those_that_cfssl_makes(lab: Lab, by_hand: Path) -> None:
    for stem in ("ca", "server", "client"):
        ours, theirs = facts(lab.directory.pki / f"{stem}.pem"), facts(by_hand / f"{stem}.pem")
        assert ours.pop("key") == "rsa-4096"
        assert theirs.pop("key") == "rsa-2048", "its stand-in's"
        if stem == "ca":
            # cfssl's authority lives 5 years and so ends before its leaves; the example's lives as long as they do.
            assert ours.pop("lifetime") > theirs.pop("lifetime")
        if stem == "server":
            assert set(ours.pop("hosts")) >= set(theirs.pop("hosts"))
        if stem == "client":
            # The recipe lets a client's certificate serve as well; nothing needs that.
            assert set(theirs.pop("usages")) - set(ours.pop("usages")) == {"server auth"}
        assert ours == theirs
        assert verifies(lab.directory.pki / f"{stem}.pem", lab.directory.pki / "ca.pem")


def test_cfssls_own_files_make_a_cluster_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    small_recipe(tmp_path / "recipe")
    files = CfsslTable(config="ca-config.json", ca="ca-csr.json", server="server-csr.json", client="client-csr.json")
    topology = Topology(
        name="cfssl",
        etcd=EtcdTable(profile=Profile.FAST, advertise_host="localhost"),
        tls=TlsTable(leaves=Leaves.SHARED, cfssl=files),
        node=tuple(NodeTable(name=f"node{number}") for number in (1, 2, 3)),
    )
    with running(topology, base=tmp_path / "recipe") as (lab, status):
        assert status.verdict is ClusterVerdict.HEALTHY
        assert lab.plan.tls is not None
        assert lab.plan.tls.client.cn == "etcd-client"
        assert etcdctl(lab, "endpoint", "health").returncode == 0
