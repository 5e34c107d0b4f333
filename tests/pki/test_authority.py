import datetime

import pytest
from cryptography import x509

from etcdlab.errors import CertificateError
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, KeyType, Role, Subject, Usage
from etcdlab.pki.authority import Authority, make_authority, make_keys
from tests.pki.tools import openssl, text, verifies

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
DAY = 86400.0


def make_ca(key: KeyType = KeyType.ECDSA_P256, *, cn: str = "Test CA", at: datetime.datetime = NOW):
    plan = AuthorityPlan(subject=Subject(CN=cn, O="Org"), key=key, lifetime_s=100 * DAY)
    return make_authority(plan, make_keys([key])[0], at=at)


def leaf_plan(**changes) -> CertificatePlan:
    fields = {
        "stem": "server",
        "role": Role.SERVER,
        "subject": Subject(CN="etcd-server", C="CN", ST="Shanghai", L="Shanghai", O="ETCD", OU="PaaS"),
        "hosts": ("localhost", "127.0.0.1", "::1"),
        "usages": (Usage.SIGNING, Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
        "key": KeyType.ECDSA_P256,
        "lifetime_s": 10 * DAY,
    }
    return CertificatePlan(**(fields | changes))


def issue(ca, at: datetime.datetime = NOW, **changes):
    plan = leaf_plan(**changes)
    return Authority(ca.certificate, ca.key).issue(plan, make_keys([plan.key])[0], at=at)


def save(tmp_path, name, issued):
    (tmp_path / f"{name}.pem").write_bytes(issued.certificate_pem)
    (tmp_path / f"{name}-key.pem").write_bytes(issued.key_pem)
    (tmp_path / f"{name}.csr").write_bytes(issued.request_pem)
    return tmp_path / f"{name}.pem"


@pytest.mark.parametrize("key", [kind for kind in KeyType if not kind.value.startswith("rsa")])
def test_openssl_accepts_every_kind_of_key(tmp_path, key):
    ca = make_ca(key)
    file, ca_file = save(tmp_path, "server", issue(ca, key=key)), save(tmp_path, "ca", ca)
    at = str(int(NOW.timestamp()))
    for purpose in ("sslserver", "sslclient"):
        assert verifies(file, ca_file, "-purpose", purpose, "-attime", at)
    assert verifies(file, ca_file, "-verify_ip", "127.0.0.1", "-attime", at)
    assert not verifies(file, save(tmp_path, "other", make_ca(key)), "-attime", at)


def test_what_openssl_reads_in_a_leaf(tmp_path):
    read = text(save(tmp_path, "server", issue(make_ca())))
    assert "Issuer: O=Org, CN=Test CA" in read
    assert "Subject: C=CN, ST=Shanghai, L=Shanghai, O=ETCD, OU=PaaS, CN=etcd-server" in read
    assert "Key Usage: critical Digital Signature X509v3" in read
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in read
    assert "Basic Constraints: critical CA:FALSE" in read
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in read
    assert "Not Before: Dec 31 22:00:00 2029 GMT Not After : Jan 10 22:00:00 2030 GMT" in read


def test_what_openssl_reads_in_a_ca(tmp_path):
    read = text(save(tmp_path, "ca", make_ca()))
    assert "Key Usage: critical Certificate Sign, CRL Sign" in read
    assert "Basic Constraints: critical CA:TRUE" in read


def test_the_request_says_the_same(tmp_path):
    save(tmp_path, "server", issue(make_ca()))
    read = openssl("req", "-in", tmp_path / "server.csr", "-noout", "-text", "-verify")
    assert "verify OK" in read
    assert "CN=etcd-server" in read
    assert "DNS:localhost, IP Address:127.0.0.1" in read


def test_a_leaf_points_at_its_ca():
    ca = make_ca()
    leaf = issue(ca).certificate
    identifier = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    pointer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert pointer.key_identifier == identifier.digest


def test_no_two_serials_are_the_same():
    ca = make_ca()
    assert len({issue(ca).certificate.serial_number for _ in range(20)} | {ca.certificate.serial_number}) == 21


@pytest.mark.parametrize(("lifetime_s", "backdate_s"), [(DAY, 7200), (3000, 300), (60, 6), (1, 1)])
def test_the_first_part_of_a_lifetime_lies_in_the_past(lifetime_s, backdate_s):
    leaf = issue(make_ca(), lifetime_s=lifetime_s).certificate
    assert leaf.not_valid_before_utc == NOW - datetime.timedelta(seconds=backdate_s)
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == lifetime_s


def test_a_certificate_can_be_made_that_has_expired():
    leaf = issue(make_ca(), at=NOW - 20 * datetime.timedelta(days=1)).certificate
    assert leaf.not_valid_after_utc < NOW


def test_names_that_cannot_be_written():
    with pytest.raises(CertificateError, match="'ä'"):
        issue(make_ca(), hosts=("ä",))
    with pytest.raises(CertificateError, match="C='China'"):
        issue(make_ca(), subject=Subject(C="China"))
    with pytest.raises(CertificateError, match="year 9999"):
        issue(make_ca(), lifetime_s=9000 * 366 * DAY)


def test_keys_come_in_the_order_asked_for():
    kinds = [KeyType.RSA_2048, KeyType.ECDSA_P256, KeyType.RSA_2048, KeyType.ECDSA_P384]
    assert [key.key_size for key in make_keys(kinds)] == [2048, 256, 2048, 384]


def test_an_existing_ca_is_loaded_and_issues(tmp_path):
    file = save(tmp_path, "ca", make_ca())
    authority = Authority.load(file, tmp_path / "ca-key.pem")
    leaf = authority.issue(leaf_plan(), make_keys([KeyType.ECDSA_P256])[0], at=NOW)
    assert verifies(save(tmp_path, "server", leaf), file, "-attime", str(int(NOW.timestamp())))


def test_a_ca_of_openssls_making_issues_too(tmp_path):
    ca, key = tmp_path / "ca.pem", tmp_path / "ca-key.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=theirs",
            "-days", 1000, "-addext", "keyUsage=critical,keyCertSign", "-keyout", key, "-out", ca)  # fmt: skip
    authority = Authority.load(ca, key)
    leaf = authority.issue(leaf_plan(), make_keys([KeyType.ECDSA_P256])[0], at=datetime.datetime.now(datetime.UTC))
    assert verifies(save(tmp_path, "server", leaf), ca)


def test_in_a_bundle_the_issuer_is_the_one_with_the_key(tmp_path):
    ours, other = make_ca(cn="ours"), make_ca(cn="other")
    save(tmp_path, "ca", ours)
    (tmp_path / "bundle.pem").write_bytes(other.certificate_pem + ours.certificate_pem)
    assert Authority.load(tmp_path / "bundle.pem", tmp_path / "ca-key.pem").certificate == ours.certificate


def test_an_existing_ca_that_cannot_issue(tmp_path):
    ca = make_ca()
    ca_file = save(tmp_path, "ca", ca)
    leaf_file = save(tmp_path, "server", issue(ca))
    with pytest.raises(CertificateError, match=r"server-key\.pem is not the key of .*ca\.pem"):
        Authority.load(ca_file, tmp_path / "server-key.pem")
    with pytest.raises(CertificateError, match="it is no CA"):
        Authority.load(leaf_file, tmp_path / "server-key.pem")
    with pytest.raises(CertificateError, match=r"none\.pem cannot be read: No such file"):
        Authority.load(ca_file, tmp_path / "none.pem")
    with pytest.raises(CertificateError, match="no readable PEM private key"):
        Authority.load(ca_file, ca_file)
    with pytest.raises(CertificateError, match="no readable PEM certificate"):
        Authority.load(tmp_path / "ca-key.pem", tmp_path / "ca-key.pem")


def test_an_encrypted_key_is_refused(tmp_path):
    ca_file = save(tmp_path, "ca", make_ca())
    openssl("pkcs8", "-topk8", "-in", tmp_path / "ca-key.pem", "-out", tmp_path / "locked.pem", "-passout", "pass:x")
    with pytest.raises(CertificateError, match="is encrypted"):
        Authority.load(ca_file, tmp_path / "locked.pem")
