"""What a certificate says, and whether it is good for a purpose: each check by itself, with its reason.

The rules are Go's, since etcd is what has to accept the certificate. `cryptography.x509.verification` is not used: it
says yes or no for the whole, and refuses a client's leaf without a SAN, which is what etcd's clients have.
Name constraints are not looked at.
"""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from etcdlab.errors import CertificateError
from etcdlab.model.certificate import Usage
from etcdlab.model.text import printable
from etcdlab.pki import store
from etcdlab.pki.authority import EXTENDED_USAGES, load_certificates, load_key, no_authority, serial, signed_by
from etcdlab.pki.files import AUTHORITY, certificate_file, key_file
from etcdlab.pki.names import covers

EXPIRY_WARNING: Final = datetime.timedelta(days=30)

_KEY_USAGES: Final = {
    "digital_signature": Usage.SIGNING.value,
    "content_commitment": "content commitment",
    "key_encipherment": Usage.KEY_ENCIPHERMENT.value,
    "data_encipherment": "data encipherment",
    "key_agreement": "key agreement",
    "key_cert_sign": Usage.CERT_SIGN.value,
    "crl_sign": Usage.CRL_SIGN.value,
}
_EXTENDED_NAMES: Final = {oid: usage.value for usage, oid in EXTENDED_USAGES.items()} | {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
    ExtendedKeyUsageOID.CODE_SIGNING: "code signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email protection",
}
_CURVE_NAMES: Final = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}

E = TypeVar("E", bound=x509.ExtensionType)


class Check(msgspec.Struct, frozen=True):
    """One check: what was looked at, whether it is good, and why (not)."""

    name: str
    ok: bool
    detail: str


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate in words. Times are ISO 8601 in UTC; `usages` has cfssl's words.

    `chain` is None when there is no CA to check against, `key_match` when there is no private key beside it.
    """

    file: str
    subject: str
    issuer: str
    serial: str
    hosts: tuple[str, ...]
    usages: tuple[str, ...]
    key: str
    is_ca: bool
    not_before: str
    not_after: str
    days_left: int
    chain: Check | None
    key_match: Check | None

    def warnings(self) -> Iterator[str]:
        """What someone who reads this should act on."""
        name = Path(self.file).name
        if self.days_left < 0:
            yield f"{name} expired at {self.not_after}"
        elif self.days_left < EXPIRY_WARNING.days:
            yield f"{name} expires in {self.days_left} days, at {self.not_after}"
        for check in (self.chain, self.key_match):
            if check is not None and not check.ok:
                yield f"{name}: {check.detail}"


def describe(file: Path, *, at: datetime.datetime) -> Description:
    """Describe the first certificate of a PEM file, with the `ca.pem` and the key that are beside it.

    Raises CertificateError if the file cannot be read.
    """
    certificates = load_certificates(file)
    first = certificates[0]
    ca, private_key = certificate_file(file.parent, AUTHORITY), key_file(file.parent, file.stem)
    chain = check_chain(certificates, load_certificates(ca)) if ca.exists() else None
    if chain is not None and chain.ok and not (revocation := check_revocation(file)).ok:
        chain = Check("chain", False, f"{chain.detail}, and {revocation.detail}")
    return Description(
        file=str(file),
        subject=text(first.subject),
        issuer=text(first.issuer),
        serial=serial(first),
        hosts=hosts(first),
        usages=usages(first),
        key=key_name(first),
        is_ca=not no_authority(first),
        not_before=_time(first.not_valid_before_utc),
        not_after=_time(first.not_valid_after_utc),
        days_left=(first.not_valid_after_utc - at).days,
        chain=chain,
        key_match=_check_key(first, private_key) if private_key.exists() else None,
    )


def verify(
    file: Path, ca: Path, *, at: datetime.datetime, host: str | None = None, usage: Usage | None = None
) -> tuple[Check, ...]:
    """Check a certificate (with the intermediates after it in its file) against the CAs in `ca`.

    `usage` is Usage.SERVER_AUTH or CLIENT_AUTH; it and `host` are checked if given. Raises CertificateError if a file
    cannot be read.
    """
    certificates, anchors = load_certificates(file), load_certificates(ca)
    leaf = certificates[0]
    checks = [check_chain(certificates, anchors), _check_authorities(certificates, anchors, at), _check_time(leaf, at)]
    if usage is not None:
        checks.append(_check_usage([leaf, *_signers(certificates, anchors)], usage))
    if host is not None:
        checks.append(_check_host(leaf, host))
    return tuple(checks)


def check_chain(certificates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> Check:
    """Whether signatures lead from the first certificate, over the others, to one of `anchors`."""
    leaf = certificates[0]
    signers = list(_signers(certificates, anchors))
    if signers and signers[-1] in anchors:
        return Check("chain", True, f"signed by {text(signers[0].subject)}")
    last = signers[-1] if signers else leaf
    issuer = text(last.issuer)
    if any(anchor.subject == last.issuer for anchor in anchors):
        return Check("chain", False, f"signed by another key than that of the CA named {issuer}")
    there = "; ".join(text(anchor.subject) for anchor in anchors)
    return Check("chain", False, f"signed by an unknown authority: issued by {issuer}, the CA is {there}")


def text(name: x509.Name) -> str:
    """A distinguished name as openssl prints it: in order, "CN=a, O=b", and control characters escaped."""
    return printable(", ".join(f"{attribute.rfc4514_attribute_name}={attribute.value!s}" for attribute in name))


def hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses that a certificate is for."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress)))


def usages(certificate: x509.Certificate) -> tuple[str, ...]:
    """Key usages, then extended ones, in cfssl's words; an unknown one as its OID."""
    words: list[str] = []
    if (usage := _extension(certificate, x509.KeyUsage)) is not None:
        words += [word for attribute, word in _KEY_USAGES.items() if getattr(usage, attribute)]
    if (extended := _extension(certificate, x509.ExtendedKeyUsage)) is not None:
        words += [_EXTENDED_NAMES.get(oid, oid.dotted_string) for oid in extended]
    return tuple(words)


def key_name(certificate: x509.Certificate) -> str:
    """The kind of key, in etcdlab's words."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVE_NAMES.get(key.curve.name, key.curve.name)
    return "ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else type(key).__name__


def _signers(
    certificates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Who signed the first certificate, who signed that one, and so on, to an anchor if there is a way to one."""
    current, others = certificates[0], list(certificates[1:])
    while True:
        if (anchor := signed_by(current, anchors)) is not None:
            yield anchor
            return
        if (signer := signed_by(current, others)) is None:
            return
        yield signer
        others.remove(signer)
        current = signer


def _check_authorities(
    certificates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime.datetime
) -> Check:
    signers = list(_signers(certificates, anchors))
    for signer in signers:
        name = text(signer.subject)
        if why := no_authority(signer):
            return Check("authority", False, f"{name}: {why}")
        if not (timely := _check_time(signer, at)).ok:
            return Check("authority", False, f"{name}: {timely.detail}")
    if not signers:
        return Check("authority", False, "there is no CA that signed it")
    return Check("authority", True, f"is a CA, {_check_time(signers[-1], at).detail}")


def _check_time(certificate: x509.Certificate, at: datetime.datetime) -> Check:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < start:
        return Check("validity", False, f"not valid before {_time(start)}, and it is {_time(at)}")
    if at > end:
        return Check("validity", False, f"expired at {_time(end)}, and it is {_time(at)}")
    return Check("validity", True, f"valid until {_time(end)}")


def _check_usage(path: Sequence[x509.Certificate], usage: Usage) -> Check:
    leaf = path[0]
    for certificate in path:
        # A certificate without the extension is good for all; an authority's limits what it issues (as in Go).
        extended = _extension(certificate, x509.ExtendedKeyUsage)
        if extended is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in extended:
            continue
        if EXTENDED_USAGES[usage] not in extended:
            whose = "" if certificate is leaf else f"{text(certificate.subject)} "
            return Check("usage", False, f"{whose}lacks {usage.value}; it is for {', '.join(usages(certificate))}")
    key_usage = _extension(leaf, x509.KeyUsage)
    if key_usage is not None and not key_usage.digital_signature:
        return Check("usage", False, f"lacks {Usage.SIGNING.value}, without which TLS 1.3 cannot use it")
    return Check("usage", True, f"good for {usage.value}")


def _check_host(certificate: x509.Certificate, host: str) -> Check:
    names = hosts(certificate)
    if covers(names, host):
        return Check("host", True, f"is for {host}")
    if not names:
        return Check("host", False, f"is for no host: it has no SAN (a CN does not count), so not for {host}")
    return Check("host", False, f"is not for {host}, only for {', '.join(names)}")


def check_key(file: Path, private_key: Path) -> Check:
    """Whether a certificate is for this key. Raises CertificateError if the certificate cannot be read."""
    return _check_key(load_certificates(file)[0], private_key)


def check_revocation(file: Path) -> Check:
    """Whether a certificate is on the list beside it of what its CA has revoked. Raises CertificateError."""
    if load_certificates(file)[0].serial_number in store.revocations(file.parent):
        return Check("revocation", False, "is revoked by its CA")
    return Check("revocation", True, "is not revoked")


def _check_key(certificate: x509.Certificate, private_key: Path) -> Check:
    try:
        key = load_key(private_key)
    except CertificateError as error:
        return Check("key", False, error.message)
    if key.public_key() == certificate.public_key():
        return Check("key", True, f"matches {private_key.name}")
    return Check("key", False, f"{private_key.name} is the key of another certificate")


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise CertificateError(f"the extensions of {text(certificate.subject)} cannot be read: {error}") from None


def _time(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
