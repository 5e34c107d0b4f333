"""Python's TLS, which is OpenSSL's, between two ends in memory: no port, no thread."""

import ssl

import pytest

from etcdlab.model.topology import Topology
from etcdlab.pki import store
from etcdlab.pki.roles import plan_pki


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    made = tmp_path_factory.mktemp("labs")
    for name in ("ours", "foreign"):
        store.create(plan_pki(Topology(nodes=1), made / name, made))
    return made


def context(purpose: int, pki, stem: str | None) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.load_verify_locations(pki / "ca.pem")
    made.verify_mode = ssl.CERT_REQUIRED
    # What Python 3.13 turns on by default: RFC 5280 to the letter.
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    if stem is not None:
        made.load_cert_chain(pki / f"{stem}.pem", pki / f"{stem}-key.pem")
    return made


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Shake hands. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
        if not ends:
            break
    assert not ends


@pytest.mark.parametrize("stem", ["client", "gateway", "server-n1", "peer-n1"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "n1"])
def test_whoever_has_a_leaf_of_the_lab_is_let_in(labs, stem, host):
    server = context(ssl.PROTOCOL_TLS_SERVER, labs / "ours", "server-n1")
    handshake(context(ssl.PROTOCOL_TLS_CLIENT, labs / "ours", stem), server, host)


@pytest.mark.parametrize(("pki", "stem"), [("ours", None), ("foreign", "client")])
def test_whoever_has_none_is_not(labs, pki, stem):
    server = context(ssl.PROTOCOL_TLS_SERVER, labs / "ours", "server-n1")
    client = context(ssl.PROTOCOL_TLS_CLIENT, labs / pki, stem)
    client.load_verify_locations(labs / "ours" / "ca.pem")
    with pytest.raises(ssl.SSLError, match=r"peer did not return a certificate|certificate verify failed"):
        handshake(client, server, "localhost")


def test_a_client_does_not_take_another_host_or_a_clients_leaf(labs):
    client = context(ssl.PROTOCOL_TLS_CLIENT, labs / "ours", "client")
    server = context(ssl.PROTOCOL_TLS_SERVER, labs / "ours", "server-n1")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(client, server, "example.com")
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client, context(ssl.PROTOCOL_TLS_SERVER, labs / "ours", "client"), "localhost")
