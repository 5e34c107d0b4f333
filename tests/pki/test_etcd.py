"""Which of the certificates etcd itself can use. Two members, so that peers shake hands as well."""

import contextlib
import json
import shutil
import ssl
import subprocess
import urllib.request

import pytest

from etcdlab.model.certificate import KeyType
from etcdlab.model.topology import TlsTable, Topology
from etcdlab.pki import roles, store
from etcdlab.prepare.ports import LOOPBACK, Ports

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(
        not (shutil.which("etcd") and shutil.which("etcdctl")), reason="etcd or etcdctl is not installed"
    ),
]


@contextlib.contextmanager
def cluster(directory, topology: Topology, ports: Ports):
    """Two real members with the certificates of `topology`; yields their client URLs once both serve."""
    names = ["n1", "n2"]
    clients, peers = [[f"https://{LOOPBACK}:{ports.choose()}" for _ in names] for _ in ("client", "peer")]
    pki = directory / "pki"
    with contextlib.ExitStack() as stack:
        members = []
        for name, client, peer in zip(names, clients, peers, strict=True):
            server_stem, peer_stem = roles.server_stem(topology, name), roles.peer_stem(topology, name)
            argv = [
                "etcd", "--name", name, "--data-dir", directory / name,
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", ",".join(f"{n}={p}" for n, p in zip(names, peers, strict=True)),
                "--cert-file", pki / f"{server_stem}.pem", "--key-file", pki / f"{server_stem}-key.pem",
                "--peer-cert-file", pki / f"{peer_stem}.pem", "--peer-key-file", pki / f"{peer_stem}-key.pem",
                "--trusted-ca-file", pki / "ca.pem", "--client-cert-auth",
                "--peer-trusted-ca-file", pki / "ca.pem", "--peer-client-cert-auth", "--unsafe-no-fsync",
                "--heartbeat-interval", "10", "--election-timeout", "100",
            ]  # fmt: skip
            process = stack.enter_context(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            members.append(process)
        for member in members:
            log = []
            assert any("serving client traffic securely" in (log.append(line) or line) for line in member.stderr), log
        yield clients


def test_etcd_can_use_ed25519_for_clients_peers_and_its_gateway(tmp_path, ports):
    topology = Topology(nodes=2, tls=TlsTable(key=KeyType.ED25519))
    store.create(roles.plan_pki(topology, tmp_path / "pki", tmp_path))
    pki = tmp_path / "pki"
    with cluster(tmp_path, topology, ports) as urls:
        as_client = ["--cacert", pki / "ca.pem", "--cert", pki / "client.pem", "--key", pki / "client-key.pem"]
        etcdctl = ["etcdctl", "--endpoints", ",".join(urls), *as_client, "endpoint", "health", "-w", "json"]
        answers = json.loads(subprocess.run(etcdctl, capture_output=True, check=True).stdout)
        assert [answer["health"] for answer in answers] == [True, True]
        tls = ssl.create_default_context(cafile=pki / "ca.pem")
        tls.load_cert_chain(pki / "gateway.pem", pki / "gateway-key.pem")
        for url in urls:
            with urllib.request.urlopen(f"{url}/v3/maintenance/status", b"{}", context=tls) as answer:
                assert json.load(answer)["raftTerm"]
