"""What each client is given; that they work with it is proven by the clients themselves (tests/clients)."""

import ssl
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import CertificateError, UsageError
from etcdlab.export.clients import CA_VARIABLES, kwargs_for
from tests.plans import make_plan

CLIENTS = (
    "aetcd", "async-etcd3gw", "etcd-client-py", "etcd-sdk-python", "etcd3", "etcd3-py", "etcd3aio", "etcd3gw", "httpx",
    "requests",
)  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for variable in CA_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def plan(tmp_path):
    """Of an identity "client" without a CN, and "root", whose files say which they are."""
    made = make_plan(tmp_path)
    pki = tmp_path / "demo" / "pki"
    pki.mkdir()
    for name in ("ca", "client", "client-key", "root", "root-key"):
        (pki / f"{name}.pem").write_text(name)
    return made


def test_one_address_is_the_first_voters_or_the_chosen_members(plan):
    assert kwargs_for(plan, "etcd3")["port"] == 1179
    assert kwargs_for(plan, "etcd3", node=plan.nodes[2])["port"] == 1379


def test_who_takes_many_gets_all_voters_or_the_chosen_member(tmp_path):
    plan = make_plan(tmp_path, learners=1, tls=False)
    assert kwargs_for(plan, "etcd-client-py") == {"endpoints": ["http://localhost:1179", "http://localhost:1279"]}
    assert kwargs_for(plan, "etcd3aio") == {"endpoints": ["127.0.0.1:1179", "127.0.0.1:1279"]}
    assert kwargs_for(plan, "etcd3aio", node=plan.nodes[2]) == {"endpoints": ["127.0.0.1:1379"]}


def test_files_go_by_the_clients_names(plan):
    pki = Path(plan.directory) / "pki"
    assert kwargs_for(plan, "etcd3gw") == {
        "host": "localhost",
        "port": 1179,
        "protocol": "https",
        "ca_cert": str(pki / "ca.pem"),
        "cert_cert": str(pki / "client.pem"),
        "cert_key": str(pki / "client-key.pem"),
    }
    assert kwargs_for(plan, "requests") == {
        "verify": str(pki / "ca.pem"),
        "cert": (str(pki / "client.pem"), str(pki / "client-key.pem")),
    }


def test_contents_go_by_the_clients_names(plan):
    assert kwargs_for(plan, "grpc") == {
        "root_certificates": b"ca",
        "certificate_chain": b"client",
        "private_key": b"client-key",
    }
    assert kwargs_for(plan, "etcd3aio") == {
        "endpoints": ["127.0.0.1:1179", "127.0.0.1:1279", "127.0.0.1:1379"],
        "tls_server_name": "localhost",
        "ca_cert": b"ca",
        "cert_chain": b"client",
        "cert_key": b"client-key",
    }


class TestIdentity:
    @pytest.fixture
    def plan(self, plan):
        """Of the default identity "root", whose CN the gateway refuses, and "client" without one."""
        return msgspec.structs.replace(
            plan, tls=msgspec.structs.replace(plan.tls, identities=plan.tls.identities[::-1])
        )

    @pytest.mark.parametrize("client", ["etcd3", "etcd-sdk-python"])
    def test_grpc_clients_are_the_default_client(self, plan, client):
        assert kwargs_for(plan, client)["cert_key"].endswith("/root-key.pem")

    @pytest.mark.parametrize("client", ["etcd3gw", "async-etcd3gw"])
    def test_gateway_clients_are_the_one_without_a_cn(self, plan, client):
        assert kwargs_for(plan, client)["cert_key"].endswith("/client-key.pem")

    def test_a_chosen_one_is_taken(self, plan):
        assert kwargs_for(plan, "etcd3gw", identity=plan.tls.client)["cert_key"].endswith("/root-key.pem")
        assert kwargs_for(plan, "etcd3", identity=plan.tls.gateway)["cert_key"].endswith("/client-key.pem")

    def test_there_is_none_without_tls(self, plan, tmp_path):
        plain = make_plan(tmp_path, tls=False, lab="plain")
        with pytest.raises(UsageError, match="no identity 'root'"):
            kwargs_for(plain, "etcd3", identity=plan.tls.client)


@pytest.mark.parametrize("client", CLIENTS)
def test_without_tls_there_are_no_files(tmp_path, client):
    arguments = kwargs_for(make_plan(tmp_path, nodes=1, tls=False), client)
    assert not {name for name in arguments if "cert" in name or "verify" in name}
    assert "https" not in str(arguments)


@pytest.mark.parametrize("client", ["aetcd", "etcd-client-py"])
def test_a_client_without_tls_is_refused_by_a_lab_with_it(plan, client):
    with pytest.raises(UsageError, match=f"{client} has no TLS, and lab 'demo'"):
        kwargs_for(plan, client)


def test_credentials_for_nothing_are_refused(tmp_path):
    with pytest.raises(UsageError) as refused:
        kwargs_for(make_plan(tmp_path, tls=False), "grpc")
    assert "insecure_channel" in refused.value.hint


def test_an_unknown_client_is_refused_with_the_nearest_and_all(plan):
    with pytest.raises(UsageError, match="no client 'etcd4gw'") as refused:
        kwargs_for(plan, "etcd4gw")
    assert "Did you mean etcd3gw?" in refused.value.hint
    assert all(client in refused.value.hint for client in (*CLIENTS, "grpc"))
    with pytest.raises(UsageError) as refused:
        kwargs_for(plan, "zookeeper")
    assert refused.value.hint.startswith("Known: ")


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_etcd3gw_gets_a_session_where_the_environment_would_choose_the_ca(plan, monkeypatch, variable):
    pytest.importorskip("requests")
    monkeypatch.setenv(variable, "/etc/ssl/company.pem")
    session = kwargs_for(plan, "etcd3gw")["session"]
    assert session.verify == plan.tls.ca
    assert session.merge_environment_settings("https://localhost:1179", {}, None, None, None)["verify"] == plan.tls.ca


@pytest.mark.parametrize("client", ["grpc", "etcd3aio", "httpx"])
def test_files_that_cannot_be_read(plan, client):
    Path(plan.tls.client.certificate).unlink()
    with pytest.raises(CertificateError, match=r"cannot use .*client\.pem"):
        kwargs_for(plan, client)


@pytest.mark.etcd
def test_httpx_gets_a_context_that_verifies(shared_lab):
    arguments = kwargs_for(shared_lab.plan, "httpx")
    assert arguments["verify"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["base_url"] == shared_lab.endpoints[0]
