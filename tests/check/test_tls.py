"""Each attempt against members that are as they should be, and against such as are not."""

import os
import shutil
import signal

import msgspec
import pytest

from etcdlab.check import attempt
from etcdlab.check.attempt import Answer, Outcome
from etcdlab.check.report import Aspect, Port
from etcdlab.check.tls import Attempt, check_tls
from etcdlab.errors import CertificateError
from etcdlab.model.topology import TlsTable, TlsVersion, Topology
from etcdlab.pki import roles, store
from etcdlab.prepare.process import ProcessRecord
from tests.check.conftest import Server, anything_goes, single_etcd
from tests.plans import make_plan

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")


def by_result(checks):
    """The (aspect, port) pairs that passed and those that did not."""
    passed = {(check.name, check.port) for check in checks if check.passed}
    return passed, {(check.name, check.port) for check in checks if check.passed is False}


def on_both(*aspects):
    return {(aspect, port) for aspect in aspects for port in Port}


@pytest.mark.etcd
def test_a_lab_passes_everywhere_and_its_members_say_why(lab):
    plan = lab.load_plan()
    checks = check_tls(plan, plan.tls)
    assert all(check.passed for check in checks), [check for check in checks if not check.passed]
    assert {(check.name, check.member, check.port) for check in checks} == {
        (aspect, node.name, port)
        for node in plan.nodes
        for aspect, port in {
            (Aspect.CLIENT_CERTIFICATE, Port.CLIENT),
            *on_both(
                Aspect.NO_CERTIFICATE,
                Aspect.FOREIGN_CERTIFICATE,
                Aspect.EXPIRED_CERTIFICATE,
                Aspect.PLAIN_HTTP,
                Aspect.FOREIGN_CA,
                Aspect.TLS_1_1,
            ),
        }
    }
    words = {check.name: check.detail for check in checks}
    assert words[Aspect.CLIENT_CERTIFICATE] == "HTTP/1.1 200 OK"
    assert "certificate required" in words[Aspect.NO_CERTIFICATE]
    assert "unknown ca" in words[Aspect.FOREIGN_CERTIFICATE]
    assert "certificate expired" in words[Aspect.EXPIRED_CERTIFICATE]
    assert "hung up" in words[Aspect.PLAIN_HTTP]
    assert "protocol version" in words[Aspect.TLS_1_1]
    assert "issuer certificate" in words[Aspect.FOREIGN_CA]
    # Written by etcd before it hangs up, unlike what accompanies an alert.
    assert "(tls: first record does not look like a TLS handshake)" in words[Aspect.PLAIN_HTTP]


@pytest.mark.etcd
def test_a_minimum_that_is_not_kept_fails(lab):
    plan = lab.load_plan()
    promised = msgspec.structs.replace(plan.tls, min_version="1.3")
    _, failed = by_result(check_tls(plan, promised))
    assert failed == on_both(Aspect.TLS_1_2)


@pytest.mark.etcd
def test_a_paused_member_refuses_nobody(lab, monkeypatch):
    monkeypatch.setattr(attempt, "TIMEOUT_S", 0.2)
    plan = lab.load_plan()
    paused = plan.nodes[0]
    pid = ProcessRecord.of_living(lab.node(paused.name)).identity.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        checks = check_tls(plan, plan.tls)
    finally:
        os.kill(pid, signal.SIGCONT)
    of_paused = [check for check in checks if check.member == paused.name]
    assert of_paused
    assert all(check.passed is False and "nothing within" in check.detail for check in of_paused)


@needs_etcd
@pytest.mark.etcd
def test_a_kept_minimum_passes(tmp_path):
    with single_etcd(tmp_path, tls=TlsTable(min_version=TlsVersion.TLS_1_3)) as plan:
        passed, failed = by_result(check_tls(plan, plan.tls))
    assert not failed
    assert passed >= on_both(Aspect.TLS_1_1, Aspect.TLS_1_2)


@needs_etcd
@pytest.mark.etcd
@pytest.mark.parametrize(
    ("without", "port"),
    [
        (("--client-cert-auth", "--trusted-ca-file"), Port.CLIENT),
        (("--peer-client-cert-auth", "--peer-trusted-ca-file"), Port.PEER),
    ],
)
def test_an_etcd_that_asks_for_no_certificate_fails(tmp_path, without, port):
    with single_etcd(tmp_path, without=without) as plan:
        checks = check_tls(plan, plan.tls)
    passed, failed = by_result(checks)
    open_ = {Aspect.NO_CERTIFICATE, Aspect.FOREIGN_CERTIFICATE, Aspect.EXPIRED_CERTIFICATE}
    assert failed == {(aspect, port) for aspect in open_}
    assert passed >= on_both(Aspect.PLAIN_HTTP, Aspect.FOREIGN_CA, Aspect.TLS_1_1)
    assert all(check.detail.startswith("was served: HTTP/1.1 200") for check in checks if check.passed is False)


@pytest.fixture
def pretended(tmp_path):
    """The plan of a lab with certificates and without a member."""
    plan = make_plan(tmp_path, nodes=1)
    topology = Topology(nodes=1)
    pki = roles.plan_pki(topology, tmp_path / "demo" / "pki", tmp_path)
    store.create(pki)
    client = tmp_path / "demo" / "pki" / "client"
    identity = msgspec.structs.replace(
        plan.tls.identities[0], certificate=f"{client}.pem", private_key=f"{client}-key.pem"
    )
    return msgspec.structs.replace(plan, tls=msgspec.structs.replace(plan.tls, identities=(identity,)))


def at(plan, port: int):
    node = msgspec.structs.replace(plan.nodes[0], client_port=port, peer_port=port)
    return msgspec.structs.replace(plan, nodes=(node,))


def test_a_server_that_takes_anything_fails(pretended, tmp_path):
    with Server(anything_goes(tmp_path / "demo" / "pki")) as server:
        passed, failed = by_result(check_tls(at(pretended, server.port), pretended.tls))
    assert failed == on_both(
        Aspect.NO_CERTIFICATE, Aspect.FOREIGN_CERTIFICATE, Aspect.EXPIRED_CERTIFICATE, Aspect.TLS_1_1
    )
    assert passed == {(Aspect.CLIENT_CERTIFICATE, Port.CLIENT), *on_both(Aspect.FOREIGN_CA, Aspect.PLAIN_HTTP)}


def test_a_server_that_hangs_up_on_everybody_proves_only_that_plain_http_is_refused(pretended):
    with Server(lambda connection: connection.recv(4096)) as server:
        passed, _ = by_result(check_tls(at(pretended, server.port), pretended.tls))
    assert passed == on_both(Aspect.PLAIN_HTTP)


def test_a_stranger_with_another_certificate_fails(pretended, tmp_path):
    store.create(roles.plan_pki(Topology(nodes=1), tmp_path / "strange", tmp_path))
    with Server(anything_goes(tmp_path / "strange")) as server:
        checks = check_tls(at(pretended, server.port), pretended.tls)
    accepted = next(check for check in checks if check.name is Aspect.CLIENT_CERTIFICATE)
    assert accepted.passed is False
    assert accepted.detail.startswith("this end does not trust the server's certificate: ")


def test_without_the_cas_key_no_expired_certificate_is_tried(pretended, tmp_path):
    (tmp_path / "demo" / "pki" / "ca-key.pem").unlink()
    with Server(lambda connection: None) as server:
        checks = check_tls(at(pretended, server.port), pretended.tls)
    (expired,) = [check for check in checks if check.name is Aspect.EXPIRED_CERTIFICATE]
    assert (expired.passed, expired.detail) == (None, "not tried: the key of the lab's CA is not in the lab")


def test_a_missing_client_key_is_an_error_for_people(pretended, tmp_path):
    (tmp_path / "demo" / "pki" / "client-key.pem").unlink()
    with pytest.raises(CertificateError, match=r"client-key\.pem"):
        check_tls(pretended, pretended.tls)


@pytest.mark.parametrize(
    ("expected", "outcome", "words", "passed"),
    [
        (Outcome.REFUSED, Outcome.REFUSED, "tlsv1 alert unknown ca", True),
        (Outcome.REFUSED, Outcome.REFUSED, "tlsv1 alert internal error", False),
        (Outcome.REFUSED, Outcome.UNKNOWN, "no connection: unknown ca", False),
        (Outcome.REFUSED, Outcome.SERVED, "HTTP/1.1 200 OK", False),
        (Outcome.REFUSED, Outcome.NOT_OFFERED, "no protocols available", None),
        (Outcome.DISTRUSTED, Outcome.SERVED, "HTTP/1.1 200 OK", False),
        (Outcome.DISTRUSTED, Outcome.DISTRUSTED, "certificate has expired", False),
    ],
)
def test_only_the_expected_end_for_the_expected_reason_is_proof(expected, outcome, words, passed):
    made = Attempt(aspect=Aspect.FOREIGN_CERTIFICATE, context=None, expected=expected, words=("unknown ca",))
    assert made.judge(Answer(outcome=outcome, words=words)) is passed
