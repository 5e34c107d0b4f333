"""What defects of certificates do to real members and their clients."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdlab.check.report import Port
from etcdlab.errors import LabStateError, ToolError, UsageError
from etcdlab.lab import Lab
from etcdlab.model.certificate import Defect
from etcdlab.model.event import EventKind
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, Profile, Topology
from tests.cli.command import run, run_json
from tests.e2e.labs import enter, shared

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    topology = Topology(name="tls", nodes=3, etcd=EtcdTable(profile=Profile.FAST))
    with shared(topology, tmp_path_factory) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A healthy lab whose certificates are good."""
    enter(_lab, monkeypatch)
    yield _lab
    _lab.certificates.heal()
    _lab.client().start(["all"])
    _lab.wait_ready()


def get(lab: Lab, member: str | None = None) -> str:
    return lab.etcdctl("get", "k", "--command-timeout=2s", "--dial-timeout=1s", member=member)


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (Defect.EXPIRED, "certificate has expired or is not yet valid"),
        (Defect.NOT_YET_VALID, "certificate has expired or is not yet valid"),
        (Defect.WRONG_SAN, "certificate is valid for elsewhere.invalid, not 127.0.0.1|doesn't contain any IP SANs"),
        (Defect.WRONG_EKU, "incompatible key usage"),
        (Defect.UNKNOWN_CA, "certificate signed by unknown authority"),
        (Defect.KEY_MISMATCH, "internal error"),
    ],
)
def test_a_client_refuses_a_server_with(lab: Lab, defect: Defect, words: str) -> None:
    with lab.certificates.spoil("n1", defect, role="server"):
        assert [one.defect for one in lab.certificates.defects()] == [defect]
        with pytest.raises(ToolError, match=words):
            get(lab, "n1")
        get(lab, "n2")
    get(lab, "n1")


@pytest.mark.parametrize("defect", ["expired", "revoked"])
def test_members_refuse_a_client_with_one_that_is(lab: Lab, defect: str) -> None:
    mark = lab.mark()
    with lab.certificates.spoil("client", defect):
        with pytest.raises(ToolError):
            get(lab)
        failing = [one for one in lab.certificates.predict() if one.problem]
        assert {one.source for one in failing} == {"client"}
        assert all(defect in one.problem for one in failing)
        serial = lab.certificates.leaves()["client"].serial
        refused = [one for one in lab.certificates.refusals(since=mark) if one.presenters == ("client",)]
        assert all(one.text.startswith(f"client presented client (serial {serial}), {defect}") for one in refused)
        assert {one.member for one in refused} == {"n1", "n2", "n3"}
        assert serial in run("tls", "refusals", "--since", "1m").output.replace("\n", "")
    get(lab)


def test_a_member_whose_peer_certificate_is_revoked_is_let_in_nowhere(lab: Lab) -> None:
    """Without a restart of those that refuse it. It lets others in, and nobody asks for its server's."""
    mark = lab.mark()
    with lab.certificates.spoil("n1", "revoked"):
        assert {(one.source, one.target) for one in lab.certificates.predict() if one.problem} == {
            ("n1", "n2"), ("n1", "n3"), ("n1's gateway", "n1")
        }  # fmt: skip
        lab.member("n1").kill()
        serial = lab.certificates.leaves()["peer-n1"].serial
        lab.wait_for_log(None, rf"certificate serial 0?{serial} revoked", since=mark)
        told = {one.presenters for one in lab.certificates.refusals(since=mark) if one.port is Port.PEER}
        assert told == {("n1",)}
    lab.wait_ready()
    lab.certificates.spoil("n1", "revoked", role="server")
    assert run("tls", "rotate", "n1").output == "renewed: server-n1, peer-n1\n"
    assert [one for one in lab.certificates.predict() if one.problem] == []


def test_a_member_with_a_bad_peer_certificate_serves_until_it_dials(lab: Lab) -> None:
    """The cluster is green, and the next handshake fails: a restart shows it."""
    mark = lab.mark()
    with lab.certificates.spoil("n1", "expired", role="peer"):
        assert lab.wait_ready(timeout=5).nodes[0].healthy
        lab.member("n1").kill()
        lab.wait_for_log(None, "certificate has expired", since=mark)
        degraded = lab.wait_until(lambda status: bool(status.problems))
        assert "`etcdlab tls refusals` says whose certificates were refused" in degraded.problems[0]
        assert not next(node for node in lab.status().nodes if node.name == "n1").healthy
    assert lab.wait_ready().problems == ()


def test_the_verbs(lab: Lab) -> None:
    shown = run("tls").output.splitlines()
    assert [line.split()[0] for line in shown[1:]] == [
        "server-n1", "peer-n1", "server-n2", "peer-n2", "server-n3", "peer-n3", "client", "gateway"
    ]  # fmt: skip
    assert "-" in {line.split()[-1] for line in shown[1:]}
    assert run("tls", "fault", "n2", "wrong-san").output == (
        "wrong-san: server-n2, peer-n2; `etcdlab tls heal` heals it\n"
    )
    assert "injected: wrong-san certificate peer-n2" in run("status").output
    assert {one["stem"] for one in run_json("tls")["defects"]} == {"server-n2", "peer-n2"}
    assert run("tls", "heal", "n2", "--role", "peer").output == "healed: peer-n2\n"
    assert run("tls", "heal").output == "healed: server-n2\n"
    assert run("tls", "heal").output == "there was nothing to heal\n"
    assert run("tls", "fault", "client", "expired", "--for", "10ms").output == "expired: client, for 0.01 s\n"
    lab.wait_until(lambda status: not status.defects)
    kinds = [event.kind for event in lab.events() if event.detail.get("leaf") == "client"]
    assert kinds[-2:] == [EventKind.FAULT_INJECTED, EventKind.FAULT_HEALED]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "all 15 handshakes succeed"), (["--at", "2030-01-01"], "15 of 15"), (["--at", "+1d"], "all 15")],
)
def test_what_the_next_handshakes_will_be(lab: Lab, arguments: list[str], said: str) -> None:
    assert said in run("tls", "predict", *arguments, status=1 if "of" in said else 0).output


def test_what_fails_though_the_cluster_is_green(lab: Lab) -> None:
    with lab.certificates.spoil("n1", "expired", role="peer"), lab.certificates.spoil("client", "unknown-ca"):
        assert lab.status().verdict is ClusterVerdict.HEALTHY
        told = run_json("tls", "predict", status=1)
        assert not told["passed"]
        failing = {(one["source"], one["target"]): one["problem"] for one in told["handshakes"] if one["problem"]}
        assert set(failing) == {
            ("n1", "n2"), ("n1", "n3"), ("n2", "n1"), ("n3", "n1"), ("client", "n1"), ("client", "n2"), ("client", "n3")
        }  # fmt: skip
        assert "peer-n1.pem, which n1 shows: expired at" in failing["n2", "n1"]
        assert "unknown authority" in failing["client", "n1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fault", "n9", "expired"], "Members: n1, n2, n3; clients: client, gateway."),
        (["fault", "n1", "broken"], "'broken' is not one of"),
        (["fault", "client", "expired", "--role", "peer"], "client has no peer certificate, only client"),
        (["heal", "--role", "peer"], "--role is of a member"),
    ],
)
def test_wrong_usage_is_said(lab: Lab, arguments: list[str], said: str) -> None:
    assert said in run("tls", *arguments, status=2).output


def test_in_python_too(lab: Lab) -> None:
    with pytest.raises(UsageError, match="there is no defect 'broken'"):
        lab.certificates.spoil("n1", "broken")
    with pytest.raises(UsageError, match="too short"):
        lab.certificates.spoil("n1", "expired", for_=0)


def test_all_are_renewed_and_no_request_fails(lab: Lab) -> None:
    """New connections all the while, for each is a handshake, and a watch that stays."""
    before = {stem: leaf.serial for stem, leaf in lab.certificates.leaves().items()}
    failures: list[ToolError] = []
    ended = threading.Event()

    def put() -> None:
        while not ended.is_set():
            try:
                lab.etcdctl("put", "k", "v")
            except ToolError as error:
                failures.append(error)

    clients = [threading.Thread(target=put) for _ in range(2)]
    for client in clients:
        client.start()
    renewed = [lab.certificates.rotate() for _ in range(20)][-1]
    ended.set()
    for client in clients:
        client.join()
    assert failures == []
    after = {stem: leaf.serial for stem, leaf in lab.certificates.leaves().items()}
    assert set(renewed) == set(after)
    assert not set(before.values()) & set(after.values())
    assert run("tls", "rotate", "n1", "--role", "peer").output == "renewed: peer-n1\n"
    for name in ("n1", "n2", "n3"):
        lab.member(name).restart()
    lab.wait_ready()


def test_the_ca_is_rolled_over_and_writes_go_on(lab: Lab) -> None:
    assert lab.plan.pki is not None
    directory = Path(lab.plan.pki.directory)
    before, old = (directory / "ca.pem").read_bytes(), lab.certificates.leaves()
    told = run_json("tls", "rotate-ca")
    after = (directory / "ca.pem").read_bytes()
    assert after.count(b"BEGIN CERTIFICATE") == 1
    assert after != before
    assert not {leaf.serial for leaf in old.values()} & {leaf.serial for leaf in lab.certificates.leaves().values()}
    assert told["writes"] > 10
    assert told["unavailable_s"] < 5
    assert [one for one in lab.certificates.predict() if one.problem] == []
    get(lab)
    assert lab.events()[-1].kind is EventKind.AUTHORITY_ROTATED
    trusting_the_old_one = ssl.create_default_context(cadata=before.decode())
    port = lab.plan.nodes[0].client_port
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        trusting_the_old_one.wrap_socket(plain, server_hostname="127.0.0.1")
    assert lab.wait_ready().is_this_lab


def test_reset_and_down_heal(lab: Lab) -> None:
    lab.certificates.spoil("n1", "key-mismatch")
    lab.reset()
    assert lab.certificates.defects() == ()
    get(lab, "n1")


def test_a_certificate_that_is_not_there_is_named(lab: Lab) -> None:
    with pytest.raises(UsageError, match="has no certificate 'peer-n9'"):
        lab.client().spoil(["peer-n9"], Defect.EXPIRED)


def test_a_lab_without_tls_has_none() -> None:
    without = pytest.raises(LabStateError, match="without TLS has no certificates")
    with Lab.up(nodes=1, tls=False, profile="fast") as plain, without:
        plain.certificates.spoil("n1", "expired")
