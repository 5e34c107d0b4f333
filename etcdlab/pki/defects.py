"""Leaves with a defect on purpose, and their way back: the good one is kept beside it.

One that is revoked stays where it is, and its serial number is on the CA's list. etcd looks at that when somebody dials
it, for what they present: clients and peers, and the member itself, whose JSON gateway presents the server's leaf. A
client looks at no list, so it goes on trusting a server whose leaf is revoked. (With client URLs for HTTP apart from
those for gRPC, which a lab has not, the latter ignored the list until etcd 3.5.32 and 3.6.13.)
"""

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from etcdlab.errors import CertificateError, LabStateError
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, Defect, PkiPlan, Role, Subject, Usage
from etcdlab.pki import store
from etcdlab.pki.authority import Authority, PrivateKey, load_certificates, load_key, make_authority, make_keys, serial
from etcdlab.pki.files import AUTHORITY, certificate_file, kept_file, key_file, revocation_file

LIFETIME_S: Final = 3600.0
DAY: Final = datetime.timedelta(days=1)
WRONG_HOST: Final = "elsewhere.invalid"
"""A name that no member has: .invalid is reserved for that (RFC 2606)."""


def inject(plan: PkiPlan, stem: str, defect: Defect) -> str:
    """Give a leaf this defect, in place of any that it has: another is put in its place, or it is revoked.

    Returns the serial number of what is presented from now on.

    Raises LabStateError where the lab's CA cannot issue one, or nobody would look whether it is revoked,
    CertificateError if a file cannot be read or written.
    """
    directory, authority = Path(plan.directory), store.own_authority(plan)
    if defect is Defect.REVOKED:
        _revoke(directory, authority, stem)
        _put_back(directory, stem)
        return serial(load_certificates(certificate_file(directory, stem))[0])
    leaf = next(leaf for leaf in plan.certificates if leaf.stem == stem)
    now = datetime.datetime.now(datetime.UTC)
    spoiled = _SPOILED[defect](leaf, authority, load_key(key_file(directory, stem)), now)
    good, kept = certificate_file(directory, stem), kept_file(directory, stem)
    try:
        if not kept.exists():
            kept.hardlink_to(good)
    except OSError as error:
        raise CertificateError(f"{good} cannot be kept as {kept}: {error.strerror}") from None
    store.replace_certificate(directory, stem, spoiled)
    _reinstate(directory, stem)
    return serial(spoiled)


def heal(plan: PkiPlan, stem: str) -> bool:
    """Have the leaf as it was; whether it was not. Raises CertificateError if that cannot be done."""
    directory = Path(plan.directory)
    was_spoiled = _put_back(directory, stem)
    return _reinstate(directory, stem) or was_spoiled


def _put_back(directory: Path, stem: str) -> bool:
    try:
        kept_file(directory, stem).replace(certificate_file(directory, stem))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CertificateError(f"{certificate_file(directory, stem)} cannot be replaced: {error.strerror}") from None
    return True


def _revoke(directory: Path, authority: Authority, stem: str) -> None:
    if not revocation_file(directory).exists():
        raise LabStateError(
            "nobody would look whether a certificate is revoked: this lab was made by an older etcdlab",
            hint="`etcdlab down --purge`, then `etcdlab up`, makes one whose members do.",
        )
    store.write_revocations(directory, authority, store.revocations(directory) | {_serial(directory, stem)})


def _reinstate(directory: Path, stem: str) -> bool:
    revoked = store.revocations(directory)
    if not revoked or (number := _serial(directory, stem)) not in revoked:
        return False
    authority = Authority.load(certificate_file(directory, AUTHORITY), key_file(directory, AUTHORITY))
    store.write_revocations(directory, authority, revoked - {number})
    return True


def _serial(directory: Path, stem: str) -> int:
    """The good leaf's."""
    kept = kept_file(directory, stem)
    return load_certificates(kept if kept.exists() else certificate_file(directory, stem))[0].serial_number


Spoil = Callable[[CertificatePlan, Authority, PrivateKey, datetime.datetime], x509.Certificate]


def _expired(leaf: CertificatePlan, ca: Authority, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    short = msgspec.structs.replace(leaf, lifetime_s=LIFETIME_S)
    return ca.issue(short, key, at=now - DAY).certificate


def _not_yet_valid(leaf: CertificatePlan, ca: Authority, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    return ca.issue(leaf, key, at=now + DAY).certificate


def _wrong_san(leaf: CertificatePlan, ca: Authority, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    return ca.issue(msgspec.structs.replace(leaf, hosts=(WRONG_HOST,)), key, at=now).certificate


def _wrong_eku(leaf: CertificatePlan, ca: Authority, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    lacking = Usage.CLIENT_AUTH if leaf.role is Role.CLIENT else Usage.SERVER_AUTH
    other = Usage.SERVER_AUTH if leaf.role is Role.CLIENT else Usage.CLIENT_AUTH
    usages = (*(usage for usage in leaf.usages if usage not in (lacking, other)), other)
    return ca.issue(msgspec.structs.replace(leaf, usages=usages), key, at=now).certificate


def _unknown_ca(leaf: CertificatePlan, _ca: Authority, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    plan = AuthorityPlan(subject=Subject(CN="etcdlab unknown CA"), key=leaf.key, lifetime_s=leaf.lifetime_s)
    made = make_authority(plan, *make_keys([leaf.key]), at=now)
    return Authority(made.certificate, made.key).issue(leaf, key, at=now).certificate


def _key_mismatch(leaf: CertificatePlan, ca: Authority, _key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    return ca.issue(leaf, *make_keys([leaf.key]), at=now).certificate


_SPOILED: Final[Mapping[Defect, Spoil]] = {
    Defect.EXPIRED: _expired,
    Defect.NOT_YET_VALID: _not_yet_valid,
    Defect.WRONG_SAN: _wrong_san,
    Defect.WRONG_EKU: _wrong_eku,
    Defect.UNKNOWN_CA: _unknown_ca,
    Defect.KEY_MISMATCH: _key_mismatch,
}
