import datetime
import os
import ssl
import stat

import pytest

from etcdlab.errors import CertificateError, LabStateError
from etcdlab.model.certificate import AuthorityPlan, KeyType, PkiPlan, Subject
from etcdlab.model.topology import Topology
from etcdlab.pki import inspect, store
from etcdlab.pki.authority import load_certificates
from etcdlab.pki.roles import plan_pki
from tests.pki.test_authority import leaf_plan
from tests.pki.tools import openssl, verifies


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def default_plan(directory) -> PkiPlan:
    return plan_pki(Topology(nodes=1), directory, directory)


def existing_plan(directory, source, *, lifetime_s=86400.0) -> PkiPlan:
    authority = AuthorityPlan(
        subject=Subject(),
        key=KeyType.ECDSA_P256,
        lifetime_s=0,
        existing_certificate=str(source / "ca.pem"),
        existing_key=str(source / "ca-key.pem"),
    )
    leaves = (leaf_plan(lifetime_s=lifetime_s),)
    return PkiPlan(directory=str(directory), authority=authority, certificates=leaves)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_keys_are_secret_whatever_the_umask(tmp_path, umask, mask):
    umask(mask)
    directory = tmp_path / "pki"
    store.create(default_plan(directory))
    assert mode(directory) == 0o700
    keys = list(directory.glob("*-key.pem"))
    assert len(keys) == 5
    assert {mode(key) for key in keys} == {0o600}
    assert {mode(file) for file in directory.iterdir() if file not in keys} == {0o644 & ~mask}


def test_keys_are_secret_from_their_first_moment(tmp_path, umask, monkeypatch):
    umask(0)
    modes = []
    real = os.open

    def spy(path, flags, wanted=0o777, **rest):
        descriptor = real(path, flags, wanted, **rest)
        if str(path).endswith("-key.pem"):
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    monkeypatch.setattr(os, "chmod", None)
    store.create(default_plan(tmp_path / "pki"))
    assert modes == [0o600] * 5


def test_the_files_are_named_as_cfssljson_names_them(tmp_path):
    store.create(default_plan(tmp_path / "pki"))
    stems = ("ca", "client", "gateway", "peer-n1", "server-n1")
    assert {path.name for path in (tmp_path / "pki").iterdir()} == {
        "ca.crl",
        *(f"{stem}{end}" for stem in stems for end in (".pem", "-key.pem", ".csr")),
    }


def test_every_leaf_verifies_and_matches_its_key(tmp_path):
    directory = tmp_path / "pki"
    store.create(default_plan(directory))
    for stem in ("client", "gateway", "peer-n1", "server-n1"):
        assert verifies(directory / f"{stem}.pem", directory / "ca.pem")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            directory / f"{stem}.pem", directory / f"{stem}-key.pem"
        )


def test_nothing_is_overwritten(tmp_path):
    plan = default_plan(tmp_path / "pki")
    store.create(plan)
    before = {path: path.read_bytes() for path in (tmp_path / "pki").iterdir()}
    with pytest.raises(CertificateError, match=r"already there: .*ca\.pem, .*ca-key\.pem"):
        store.create(plan)
    assert {path: path.read_bytes() for path in (tmp_path / "pki").iterdir()} == before


def test_a_key_is_not_written_through_a_link_that_someone_left(tmp_path):
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca-key.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(CertificateError, match=r"ca-key\.pem cannot be written: File exists"):
        store.create(default_plan(tmp_path / "pki"))
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_replacement_leaves_nothing_else_behind(tmp_path):
    plan = AuthorityPlan(subject=Subject(CN="x"), key=KeyType.ECDSA_P256, lifetime_s=1000)
    first = store.make_ca(tmp_path / "pki", plan)
    second = store.make_ca(tmp_path / "pki", plan, replace=True)
    assert (tmp_path / "pki" / "ca.pem").read_bytes() == second.certificate_pem != first.certificate_pem
    assert mode(tmp_path / "pki" / "ca-key.pem") == 0o600
    assert len(list((tmp_path / "pki").iterdir())) == 3


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CertificateError, match="cannot be made"):
        store.create(default_plan(tmp_path / "file" / "pki"))


def test_of_an_existing_ca_only_the_certificate_is_copied(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    store.make_ca(theirs, AuthorityPlan(subject=Subject(CN="theirs"), key=KeyType.ECDSA_P256, lifetime_s=9e6))
    store.create(existing_plan(ours, theirs))
    assert {path.name for path in ours.iterdir()} == {"ca.pem", "ca.crl", "server.pem", "server-key.pem", "server.csr"}
    assert (ours / "ca.pem").read_bytes() == (theirs / "ca.pem").read_bytes()
    assert verifies(ours / "server.pem", theirs / "ca.pem")


def test_a_leaf_ends_with_an_existing_ca(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    ca = store.make_ca(theirs, AuthorityPlan(subject=Subject(CN="theirs"), key=KeyType.ECDSA_P256, lifetime_s=86400))
    store.create(existing_plan(ours, theirs, lifetime_s=9e6))
    end = openssl("x509", "-in", ours / "server.pem", "-noout", "-enddate").strip().removeprefix("notAfter=")
    leaf_end = datetime.datetime.strptime(end, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=datetime.UTC)
    assert leaf_end <= ca.certificate.not_valid_after_utc
    assert ca.certificate.not_valid_after_utc - leaf_end <= datetime.timedelta(hours=2, minutes=1)


def test_an_existing_ca_that_is_of_no_use_leaves_no_directory(tmp_path):
    theirs = tmp_path / "theirs"
    store.make_ca(theirs, AuthorityPlan(subject=Subject(CN="x"), key=KeyType.ECDSA_P256, lifetime_s=9e6))
    (theirs / "ca-key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(CertificateError, match="no readable PEM private key"):
        store.create(existing_plan(tmp_path / "ours", theirs))
    assert not (tmp_path / "ours").exists()


def test_no_keys_where_others_can_put_theirs(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(CertificateError, match="can be written by everybody"):
        store.create(default_plan(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_renewed_leaf_is_another_on_the_same_key(tmp_path):
    plan = default_plan(tmp_path / "pki")
    store.create(plan)
    key = (tmp_path / "pki" / "peer-n1-key.pem").read_bytes()
    [before] = load_certificates(tmp_path / "pki" / "peer-n1.pem")
    store.renew(plan, "peer-n1")
    [after] = load_certificates(tmp_path / "pki" / "peer-n1.pem")
    assert after.serial_number != before.serial_number
    assert (after.public_key(), after.subject, inspect.hosts(after), inspect.usages(after)) == (
        before.public_key(),
        before.subject,
        inspect.hosts(before),
        inspect.usages(before),
    )
    assert (
        after.not_valid_after_utc - after.not_valid_before_utc
        == before.not_valid_after_utc - before.not_valid_before_utc
    )
    assert (tmp_path / "pki" / "peer-n1-key.pem").read_bytes() == key
    assert mode(tmp_path / "pki" / "peer-n1.pem") & 0o133 == 0


def test_a_ca_is_followed_by_another_in_two_steps(tmp_path):
    directory = tmp_path / "pki"
    plan = default_plan(directory)
    store.create(plan)
    old = load_certificates(directory / "ca.pem")
    store.add_authority(plan)
    both = load_certificates(directory / "ca.pem")
    assert both[1:] == old
    assert verifies(directory / "peer-n1.pem", directory / "ca.pem")
    store.renew(plan, "peer-n1")
    assert verifies(directory / "peer-n1.pem", directory / "ca.pem")
    store.drop_authorities(plan)
    assert load_certificates(directory / "ca.pem") == both[:1]
    assert verifies(directory / "peer-n1.pem", directory / "ca.pem")
    assert not verifies(directory / "server-n1.pem", directory / "ca.pem")
    assert mode(directory / "ca-key.pem") == 0o600


def test_a_ca_that_was_there_before_cannot_be_followed(tmp_path):
    store.make_ca(tmp_path / "own", default_plan(tmp_path).authority)
    plan = existing_plan(tmp_path / "pki", tmp_path / "own")
    store.create(plan)
    with pytest.raises(LabStateError, match="nothing can be issued"):
        store.add_authority(plan)
