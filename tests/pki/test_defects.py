"""Each defect is the one thing that is wrong with a leaf, and what was there comes back."""

import datetime
import stat

import msgspec
import pytest
from cryptography import x509

from etcdlab.errors import CertificateError, LabStateError
from etcdlab.model.certificate import (
    AUTHENTICATION,
    AuthorityPlan,
    CertificatePlan,
    Defect,
    KeyType,
    PkiPlan,
    Role,
    Subject,
    Usage,
)
from etcdlab.pki import defects, inspect, store
from etcdlab.pki.authority import load_certificates, load_key
from etcdlab.pki.files import certificate_file, kept_file, key_file, revocation_file

WRONG = {
    Defect.EXPIRED: {"validity": "expired at"},
    Defect.NOT_YET_VALID: {"validity": "not valid before"},
    Defect.WRONG_SAN: {"host": "is not for 127.0.0.1, only for elsewhere.invalid"},
    Defect.WRONG_EKU: {"usage": "lacks "},
    Defect.UNKNOWN_CA: {"chain": "signed by an unknown authority", "authority": "there is no CA"},
    Defect.KEY_MISMATCH: {},
    Defect.REVOKED: {"revocation": "is revoked by its CA"},
}


def leaf(role: Role) -> CertificatePlan:
    return CertificatePlan(
        stem=role.value,
        role=role,
        subject=Subject(CN="n1"),
        hosts=() if role is Role.CLIENT else ("127.0.0.1",),
        usages=(Usage.SIGNING, *AUTHENTICATION[role]),
        key=KeyType.ECDSA_P256,
        lifetime_s=86400.0,
    )


@pytest.fixture
def plan(tmp_path) -> PkiPlan:
    ca = AuthorityPlan(subject=Subject(CN="CA"), key=KeyType.ECDSA_P256, lifetime_s=7 * 86400.0)
    leaves = tuple(leaf(role) for role in AUTHENTICATION)
    plan = PkiPlan(directory=str(tmp_path / "pki"), authority=ca, certificates=leaves)
    store.create(plan)
    return plan


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "pki"


def problems(directory, role: Role) -> dict[str, str]:
    file, ca = certificate_file(directory, role.value), certificate_file(directory, "ca")
    usage = Usage.CLIENT_AUTH if role is Role.CLIENT else Usage.SERVER_AUTH
    host = None if role is Role.CLIENT else "127.0.0.1"
    checks = inspect.verify(file, ca, at=datetime.datetime.now(datetime.UTC), host=host, usage=usage)
    return {check.name: check.detail for check in (*checks, inspect.check_revocation(file)) if not check.ok}


def belongs(directory, role: Role) -> bool:
    key = load_key(key_file(directory, role.value))
    return key.public_key() == load_certificates(certificate_file(directory, role.value))[0].public_key()


@pytest.mark.parametrize("role", AUTHENTICATION)
@pytest.mark.parametrize("defect", Defect)
def test_each_is_the_one_thing_that_is_wrong(plan, directory, defect, role):
    key = key_file(directory, role.value).read_bytes()
    defects.inject(plan, role.value, defect)
    wrong = {} if defect is Defect.WRONG_SAN and role is Role.CLIENT else WRONG[defect]
    found = problems(directory, role)
    assert found.keys() == wrong.keys()
    assert all(found[name].startswith(words) for name, words in wrong.items())
    assert belongs(directory, role) is (defect is not Defect.KEY_MISMATCH)
    assert key_file(directory, role.value).read_bytes() == key
    assert stat.S_IMODE(certificate_file(directory, role.value).stat().st_mode) & 0o133 == 0


def test_what_was_there_comes_back_whatever_came_between(plan, directory):
    before = certificate_file(directory, "peer").read_bytes()
    defects.inject(plan, "peer", Defect.EXPIRED)
    defects.inject(plan, "peer", Defect.WRONG_SAN)
    assert problems(directory, Role.PEER).keys() == {"host"}
    assert defects.heal(plan, "peer")
    assert certificate_file(directory, "peer").read_bytes() == before
    assert not kept_file(directory, "peer").exists()
    assert not defects.heal(plan, "peer")


def test_one_takes_the_place_of_another_and_no_other_leaf_is_concerned(plan, directory):
    before = certificate_file(directory, "peer").read_bytes()
    defects.inject(plan, "client", Defect.REVOKED)
    for defect in (Defect.REVOKED, Defect.EXPIRED, Defect.REVOKED):
        defects.inject(plan, "peer", defect)
        assert problems(directory, Role.PEER).keys() == WRONG[defect].keys()
        assert problems(directory, Role.CLIENT).keys() == {"revocation"}
    assert certificate_file(directory, "peer").read_bytes() == before
    assert "and is revoked by its CA" in described(directory, "peer").chain.detail
    assert defects.heal(plan, "peer")
    assert not defects.heal(plan, "peer")
    assert (problems(directory, Role.PEER).keys(), problems(directory, Role.CLIENT).keys()) == (set(), {"revocation"})
    assert described(directory, "peer").chain.ok


def described(directory, stem):
    return inspect.describe(certificate_file(directory, stem), at=datetime.datetime.now(datetime.UTC))


def test_the_list_of_revoked_ones_is_the_cas(plan, directory):
    for step in (lambda: defects.inject(plan, "peer", Defect.REVOKED), lambda: store.add_authority(plan)):
        step()
        revoked = x509.load_der_x509_crl(revocation_file(directory).read_bytes())
        ca = load_certificates(certificate_file(directory, "ca"))[0]
        assert revoked.is_signature_valid(ca.public_key())
        assert revoked.issuer == ca.subject
        assert revoked.next_update_utc == ca.not_valid_after_utc
    assert list(revoked) == []


def test_in_an_older_lab_nobody_would_look(plan, directory):
    revocation_file(directory).unlink()
    store.add_authority(plan)
    with pytest.raises(LabStateError, match="made by an older etcdlab"):
        defects.inject(plan, "peer", Defect.REVOKED)
    assert problems(directory, Role.PEER) == {}
    assert not defects.heal(plan, "peer")


def test_a_list_that_is_none_is_named(plan, directory):
    revocation_file(directory).write_bytes(b"-----BEGIN X509 CRL-----")
    with pytest.raises(CertificateError, match=r"ca.crl holds no readable list of revoked certificates"):
        defects.inject(plan, "peer", Defect.REVOKED)


def test_without_the_key_of_the_ca_it_says_so(plan, directory):
    key_file(directory, "ca").unlink()
    with pytest.raises(LabStateError, match=r"nothing can be issued: .*ca-key.pem is not there"):
        defects.inject(plan, "peer", Defect.EXPIRED)
    assert problems(directory, Role.PEER) == {}


def test_what_cannot_be_written_leaves_the_leaf_as_it_was(plan, directory):
    elsewhere = msgspec.structs.replace(plan, directory=str(directory / "none"))
    with pytest.raises(LabStateError):
        defects.inject(elsewhere, "peer", Defect.EXPIRED)
    certificate_file(directory, "ca").write_text("nothing")
    with pytest.raises(CertificateError, match="no readable PEM"):
        defects.inject(plan, "peer", Defect.EXPIRED)
    assert not kept_file(directory, "peer").exists()
