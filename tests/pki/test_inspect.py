import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from etcdlab.errors import CertificateError
from etcdlab.model.certificate import KeyType, Subject, Usage
from etcdlab.pki import inspect
from etcdlab.pki.authority import Issued, make_keys
from tests.pki.test_authority import NOW, issue, make_ca, save

DAY = datetime.timedelta(days=1)


def failed(checks) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


@pytest.fixture
def ca(tmp_path):
    made = make_ca()
    save(tmp_path, "ca", made)
    return made


def verify(tmp_path, issued, **wanted):
    file = save(tmp_path, "server", issued)
    return inspect.verify(file, tmp_path / "ca.pem", **({"at": NOW} | wanted))


def intermediate(ca: Issued, *, usages: tuple[x509.ObjectIdentifier, ...] = (), is_ca: bool = True) -> Issued:
    """A CA below `ca`, which etcdlab itself never makes."""
    key = make_keys([KeyType.ECDSA_P256])[0]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "between")]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 50 * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Issued(certificate=builder.sign(ca.key, hashes.SHA256()), key=key, request=ca.request)


def test_a_good_certificate_passes_every_check(tmp_path, ca):
    checks = verify(tmp_path, issue(ca), host="127.0.0.1", usage=Usage.SERVER_AUTH)
    assert [check.name for check in checks] == ["chain", "authority", "validity", "usage", "host"]
    assert failed(checks) == {}


def test_hosts_and_usages_are_checked_only_when_asked(tmp_path, ca):
    assert [check.name for check in verify(tmp_path, issue(ca))] == ["chain", "authority", "validity"]


def test_another_ca(tmp_path, ca):
    found = failed(verify(tmp_path, issue(make_ca(cn="foreign"))))
    assert found["chain"] == "signed by an unknown authority: issued by O=Org, CN=foreign, the CA is O=Org, CN=Test CA"
    assert "authority" in found


def test_another_ca_of_the_same_name(tmp_path, ca):
    assert "another key than that of the CA named" in failed(verify(tmp_path, issue(make_ca())))["chain"]


def test_expired_and_not_yet_valid(tmp_path, ca):
    leaf = issue(ca)
    assert failed(verify(tmp_path, leaf, at=NOW + 11 * DAY)).keys() == {"validity"}
    late = failed(verify(tmp_path, leaf, at=NOW + 200 * DAY))
    assert late["validity"] == "expired at 2030-01-10T22:00:00Z, and it is 2030-07-20T00:00:00Z"
    assert late["authority"].startswith("O=Org, CN=Test CA: expired at")
    assert failed(verify(tmp_path, leaf, at=NOW - DAY)).keys() == {"validity", "authority"}


def test_a_usage_that_is_not_there(tmp_path, ca):
    client = issue(ca, usages=(Usage.SIGNING, Usage.CLIENT_AUTH))
    assert failed(verify(tmp_path, client, usage=Usage.CLIENT_AUTH)) == {}
    assert failed(verify(tmp_path, client, usage=Usage.SERVER_AUTH)) == {
        "usage": "lacks server auth; it is for signing, client auth"
    }
    unsigning = issue(ca, usages=(Usage.KEY_ENCIPHERMENT, Usage.SERVER_AUTH))
    assert "lacks signing" in failed(verify(tmp_path, unsigning, usage=Usage.SERVER_AUTH))["usage"]


def test_a_host_that_is_not_there(tmp_path, ca):
    assert failed(verify(tmp_path, issue(ca), host="10.0.0.1"))["host"].startswith("is not for 10.0.0.1, only for")
    assert "no SAN" in failed(verify(tmp_path, issue(ca, hosts=()), host="etcd-server"))["host"]


def test_a_leaf_is_no_ca(tmp_path, ca):
    leaf = issue(ca)
    save(tmp_path, "ca", leaf)
    forged = failed(verify(tmp_path, issue(leaf)))
    assert "it is no CA" in forged["authority"]


def test_a_chain_over_an_intermediate(tmp_path, ca):
    between = intermediate(ca)
    leaf = issue(between)
    file = save(tmp_path, "server", leaf)
    assert "unknown authority" in failed(inspect.verify(file, tmp_path / "ca.pem", at=NOW))["chain"]
    file.write_bytes(leaf.certificate_pem + between.certificate_pem)
    assert failed(inspect.verify(file, tmp_path / "ca.pem", at=NOW, usage=Usage.SERVER_AUTH)) == {}
    # An intermediate in the CA's file is trusted as it is, as in Go.
    (tmp_path / "ca.pem").write_bytes(between.certificate_pem)
    assert failed(inspect.verify(save(tmp_path, "server", leaf), tmp_path / "ca.pem", at=NOW)) == {}


def test_what_an_intermediate_may_not_do(tmp_path, ca):
    between = intermediate(ca, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    leaf = issue(between)
    file = save(tmp_path, "server", leaf)
    file.write_bytes(leaf.certificate_pem + between.certificate_pem)
    found = failed(inspect.verify(file, tmp_path / "ca.pem", at=NOW, usage=Usage.SERVER_AUTH))
    assert found == {"usage": "CN=between lacks server auth; it is for client auth"}


def test_a_description(tmp_path, ca):
    file = save(tmp_path, "server", issue(ca))
    described = inspect.describe(file, at=NOW)
    assert described.subject == "C=CN, ST=Shanghai, L=Shanghai, O=ETCD, OU=PaaS, CN=etcd-server"
    assert described.issuer == "O=Org, CN=Test CA"
    assert described.hosts == ("localhost", "127.0.0.1", "::1")
    assert described.usages == ("signing", "server auth", "client auth")
    assert described.key == "ecdsa-p256"
    assert (described.not_before, described.not_after) == ("2029-12-31T22:00:00Z", "2030-01-10T22:00:00Z")
    assert described.chain.ok
    assert described.key_match.ok
    assert not described.is_ca
    assert inspect.describe(tmp_path / "ca.pem", at=NOW).is_ca


def test_a_description_without_neighbours(tmp_path):
    file = save(tmp_path, "server", issue(make_ca()))
    (tmp_path / "server-key.pem").unlink()
    described = inspect.describe(file, at=NOW)
    assert described.chain is None
    assert described.key_match is None


def test_what_is_worth_a_warning(tmp_path, ca):
    def warnings(at=NOW):
        return list(inspect.describe(tmp_path / "server.pem", at=at).warnings())

    save(tmp_path, "server", issue(ca, lifetime_s=50 * 86400))
    assert warnings() == []
    assert warnings(NOW + 25 * DAY) == ["server.pem expires in 24 days, at 2030-02-19T22:00:00Z"]
    assert warnings(NOW + 51 * DAY) == ["server.pem expired at 2030-02-19T22:00:00Z"]
    save(tmp_path, "server", issue(make_ca(), lifetime_s=50 * 86400))
    save(tmp_path, "other", issue(ca))
    (tmp_path / "other-key.pem").rename(tmp_path / "server-key.pem")
    assert warnings() == [
        "server.pem: signed by another key than that of the CA named O=Org, CN=Test CA",
        "server.pem: server-key.pem is the key of another certificate",
    ]


@pytest.mark.parametrize("key", [kind for kind in KeyType if kind is not KeyType.RSA_4096])  # too slow to make
def test_each_kind_of_key_has_its_name(key):
    assert inspect.key_name(issue(make_ca(), key=key).certificate) == key.value


def test_files_that_hold_no_certificate(tmp_path, ca):
    with pytest.raises(CertificateError, match="no readable PEM certificate"):
        inspect.describe(tmp_path / "ca-key.pem", at=NOW)
    with pytest.raises(CertificateError, match="cannot be read"):
        inspect.describe(tmp_path / "none.pem", at=NOW)


def test_a_subject_without_a_name_is_empty_text():
    assert inspect.text(issue(make_ca(), subject=Subject()).certificate.subject) == ""
