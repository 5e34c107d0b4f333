"""Whatever cfssl's files and PEM files hold, they are read or refused, naming the file; nothing waits or traps."""

import datetime
import json
import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from hypothesis import given
from hypothesis import strategies as st

from etcdlab import given as module
from etcdlab.errors import CertificateError, TopologyError
from etcdlab.model.certificate import KeyType, Role, Subject
from etcdlab.model.topology import CaTable, TlsTable, Topology
from etcdlab.pki import cfssl, inspect, roles, store
from etcdlab.pki.authority import Authority, Issued, load_certificates, load_key, make_authority, make_keys
from etcdlab.pki.names import host_problem, subject_problems
from tests import hostile
from tests.damage import cut
from tests.examples import examples
from tests.pki.test_store import existing_plan
from tests.pki.tools import RECIPE, openssl

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ALGORITHMS = st.sampled_from(["rsa", "ecdsa", "ed25519", "dsa", "RSA"]) | hostile.text
DURATIONS = st.sampled_from(["8760h", "0h", "-1h", "1y", "9" * 15 + "h", "876000h"]) | hostile.text
HOSTS = st.sampled_from(["127.0.0.1", "::1", "::1%eth0", "fe80::1%\x1b[1m", "*.a", "a" * 254, "1.2.3"]) | hostile.text
NAMES = st.dictionaries(
    st.sampled_from(["C", "ST", "L", "O", "OU", "CN", "E"]) | hostile.text,
    hostile.text | hostile.json_values,
    max_size=4,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "CN": hostile.text | hostile.json_values,
        "hosts": st.lists(HOSTS, max_size=4) | hostile.json_values,
        "key": st.fixed_dictionaries({"algo": ALGORITHMS}, optional={"size": hostile.numbers | hostile.json_values})
        | hostile.json_values,
        "names": st.lists(NAMES, max_size=3) | hostile.json_values,
        "ca": st.fixed_dictionaries({}, optional={"expiry": DURATIONS, "pathlen": hostile.numbers})
        | hostile.json_values,
        "CA": hostile.json_values,
    },
)
USAGES = st.lists(st.sampled_from(list(cfssl.LEAF_USAGES)) | hostile.text, max_size=4)
profiles = st.fixed_dictionaries(
    {}, optional={"usages": USAGES | hostile.json_values, "expiry": DURATIONS | hostile.json_values, "x": hostile.text}
)
configs = st.fixed_dictionaries(
    {"signing": st.fixed_dictionaries({}, optional={"default": profiles, "profiles": st.dictionaries(
        st.sampled_from(["server", "client"]) | hostile.text, profiles | hostile.json_values, max_size=3)})
     | hostile.json_values}
)  # fmt: skip
json_files = st.tuples(requests.map(json.dumps), configs.map(json.dumps)).map(
    lambda texts: tuple(text.encode() for text in texts)
) | st.tuples(st.binary(max_size=60), st.binary(max_size=60))


@pytest.fixture(scope="module")
def keys():
    return dict(zip(KeyType, make_keys([KeyType.ECDSA_P256] * len(KeyType)), strict=True))


@pytest.fixture(scope="module")
def authority(keys) -> Issued:
    ca = roles.plan_pki(Topology(), Path("/pki"), Path("/")).authority
    return make_authority(ca, keys[KeyType.ECDSA_P256], at=NOW)


@examples(150)
@given(json_files, st.sampled_from(["server", "client", "default", "none"]))
def test_what_cfssls_files_say_is_refused_naming_them_or_can_be_issued(tmp_path, keys, authority, files, profile):
    request, config = tmp_path / "x-csr.json", tmp_path / "ca-config.json"
    request.write_bytes(files[0])
    config.write_bytes(files[1])
    for read in (
        lambda: make_authority(cfssl.authority(request), keys[KeyType.ECDSA_P256], at=NOW),
        lambda: Authority(authority.certificate, authority.key).issue(
            cfssl.leaf(Role.SERVER, request, config, profile), keys[KeyType.ECDSA_P256], at=NOW
        ),
    ):
        try:
            issued = read()
        except TopologyError as error:
            problems = error.problems
            assert all(problem.startswith((f"{request}: ", f"{config}: ")) for problem in problems)
            continue
        assert inspect.text(issued.certificate.subject).isprintable()


@pytest.mark.parametrize("size", [0, 1, -1, 10**9, 10**30, 2.5, "2048", None, True])
def test_a_key_size_that_nobody_makes_names_its_file_and_key(tmp_path, size):
    path = tmp_path / "x-csr.json"
    path.write_text(json.dumps({"CN": "x", "key": {"algo": "rsa", "size": size}}))
    with pytest.raises(TopologyError) as caught:
        cfssl.read_request(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    assert "key" in problem


def test_cfssls_json_may_be_nested_ever_so_deep(tmp_path):
    path = tmp_path / "x-csr.json"
    path.write_bytes(b'{"signing":{"profiles":{"x":{"y":%s}}}}' % hostile.nested(100_000))
    with pytest.raises(TopologyError, match="is not JSON"):
        cfssl.read_profile(path, "x")


@pytest.mark.parametrize("host", ["::1%eth0", "fe80::1%\x1b[1m", "a\0b", "a\nb", "a b", "http://a", "", "-a"])
def test_no_host(host):
    assert host_problem(host)


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "\x1b[1m", "\u202e"])
@pytest.mark.parametrize("part", ["CN", "O"])
def test_no_part_of_a_subject(part, value):
    assert [where for where, _ in subject_problems(Subject(**{part: value}))] == [part]


# PEM files


@pytest.fixture(scope="module")
def ca(tmp_path_factory, authority) -> Path:
    directory = tmp_path_factory.mktemp("ca")
    store.write(directory, "ca", authority)
    return directory


def pem(der: bytes, label: bytes) -> bytes:
    import base64

    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(der), label)


@st.composite
def spoiled(draw, original: bytes) -> bytes:
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(content)


@examples(150)
@given(data=st.data())
def test_any_certificate_is_described_or_refused(tmp_path, authority, data):
    der = data.draw(spoiled(authority.certificate.public_bytes(serialization.Encoding.DER)))
    path = tmp_path / "x.pem"
    path.write_bytes(pem(der, b"CERTIFICATE"))
    store.write(tmp_path, "ca", authority, replace=True)
    (tmp_path / "x-key.pem").write_bytes(authority.key_pem)
    for look in (
        lambda: inspect.describe(path, at=NOW),
        lambda: inspect.verify(path, tmp_path / "ca.pem", at=NOW, host="a", usage=None),
        lambda: inspect.verify(tmp_path / "ca.pem", path, at=NOW),
        lambda: Authority.load(path, tmp_path / "x-key.pem"),
    ):
        try:
            look()
        except CertificateError as refusal:
            assert str(path) in refusal.message  # noqa: PT017


def test_a_negative_serial_number_is_shown_without_a_warning(tmp_path, authority):
    der = bytearray(authority.certificate.public_bytes(serialization.Encoding.DER))
    der[der.index(b"\x02\x01\x02\x02\x14") + 5] |= 0x80
    (tmp_path / "x.pem").write_bytes(pem(bytes(der), b"CERTIFICATE"))
    assert inspect.describe(tmp_path / "x.pem", at=NOW).serial.startswith("-")


@examples(100)
@given(data=st.data())
def test_any_key_is_read_or_refused(tmp_path, authority, data):
    der = authority.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "x-key.pem"
    path.write_bytes(pem(data.draw(spoiled(der)), b"PRIVATE KEY"))
    try:
        load_key(path)
    except CertificateError as refusal:
        assert str(path) in refusal.message  # noqa: PT017


@examples(60)
@given(st.binary(max_size=300) | st.just(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
def test_any_bytes_are_no_authority(tmp_path, ca, content):
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        Authority.load(path, ca / "ca-key.pem")
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        Authority.load(ca / "ca.pem", path)


def test_an_authority_that_is_cut_anywhere_is_refused_or_whole(tmp_path, ca):
    whole = Authority.load(ca / "ca.pem", ca / "ca-key.pem")
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copytree(ca, tmp_path / "cut", dirs_exist_ok=True)
        for content in cut((ca / name).read_bytes()):
            (tmp_path / "cut" / name).write_bytes(content)
            try:
                assert Authority.load(tmp_path / "cut" / "ca.pem", tmp_path / "cut" / "ca-key.pem").end == whole.end
            except CertificateError as refusal:
                assert name in refusal.message  # noqa: PT017


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("ca-csr.json", cfssl.authority),
        ("client-csr.json", lambda path: cfssl.leaf(Role.CLIENT, path, RECIPE / "ca-config.json", "client")),
        ("ca-config.json", lambda path: cfssl.leaf(Role.CLIENT, RECIPE / "client-csr.json", path, "client")),
    ],
)
def test_cfssls_json_that_is_cut_anywhere_is_refused_by_its_name(tmp_path, name, read):
    whole, path = (RECIPE / name).read_bytes().rstrip(), tmp_path / name
    for content in cut(whole):
        path.write_bytes(content)
        with pytest.raises(TopologyError, match=name):
            read(path)


def use(certificate: Path, key: Path, into: Path) -> None:
    """As `up` does with an existing CA."""
    topology = Topology(tls=TlsTable(ca=CaTable(certificate=str(certificate), private_key=str(key))))
    store.create(roles.plan_pki(topology, into, into))


REFUSED = (CertificateError, TopologyError)


def test_the_key_of_another_ca(tmp_path, ca):
    (key,) = make_keys([KeyType.ECDSA_P384])
    other = tmp_path / "other-key.pem"
    other.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(REFUSED, match="is not the key of"):
        use(ca / "ca.pem", other, tmp_path / "pki")
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(tmp_path, ca, authority, form):
    path = tmp_path / "locked.pem"
    secret = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(authority.key.private_bytes(serialization.Encoding.PEM, form, secret))
    with pytest.raises(REFUSED, match="encrypted"):
        use(ca / "ca.pem", path, tmp_path / "pki")


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_pipe_a_device_a_directory_and_ten_megabytes(tmp_path, ca, monkeypatch, which):
    monkeypatch.setattr(module, "PIPE_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes((ca / "ca.pem").read_bytes() + b"\n" * 10 * 2**20)
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "big", tmp_path / "none"):
        certificate, key = (path, ca / "ca-key.pem") if which == "certificate" else (ca / "ca.pem", path)
        with pytest.raises(REFUSED, match=f"{path}.* cannot be read: "):
            use(certificate, key, tmp_path / "pki")
        with pytest.raises(CertificateError, match=f"{path} cannot be read: "):
            Authority.load(certificate, key)


def test_a_chain_and_the_parameters_of_a_curve_before_the_key(tmp_path, ca, monkeypatch):
    monkeypatch.chdir(tmp_path)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", "key.pem")
    assert b"EC PARAMETERS" in (tmp_path / "key.pem").read_bytes()
    openssl(
        "req", "-x509", "-key", "key.pem", "-out", "own.pem", "-subj", "/CN=own", "-days", "2",
        "-addext", "basicConstraints=critical,CA:TRUE",
    )  # fmt: skip
    chain = tmp_path / "chain.pem"
    chain.write_bytes((ca / "ca.pem").read_bytes() + b"# its own\n" + (tmp_path / "own.pem").read_bytes())
    use(chain, tmp_path / "key.pem", tmp_path / "pki")
    assert inspect.text(load_certificates(tmp_path / "pki" / "server-n1.pem")[0].issuer) == "CN=own"


def test_an_expired_ca_and_one_with_a_key_of_another_kind(tmp_path, authority):
    plan = roles.plan_pki(Topology(), Path("/pki"), Path("/")).authority
    expired = make_authority(plan, authority.key, at=NOW - datetime.timedelta(days=20000))
    store.write(tmp_path, "ca", expired)
    with pytest.raises(CertificateError, match="expired at"):
        store.create(existing_plan(tmp_path / "pki", tmp_path))
    key = dsa.generate_private_key(2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dsa")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "dsa.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    assert inspect.describe(tmp_path / "dsa.pem", at=NOW).key
    odd = ec.generate_private_key(ec.SECP256K1())
    (tmp_path / "odd-key.pem").write_bytes(
        odd.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(CertificateError, match="is not the key of"):
        Authority.load(tmp_path / "dsa.pem", tmp_path / "odd-key.pem")
