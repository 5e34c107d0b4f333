"""A certificate authority: made new or loaded, it signs itself and issues leaves. Touches no file but an existing CA's.

A certificate is valid for exactly its lifetime. The first part of that lies in the past, so that a clock which is
behind, or is set back by an hour, accepts it: 2 hours, or a tenth of a lifetime shorter than 20.
"""

import datetime
import ipaddress
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from etcdlab import given
from etcdlab.errors import CertificateError
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, KeyType, Subject, Usage

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

BACKDATE: Final = datetime.timedelta(hours=2)
ATTRIBUTES: Final = {
    # In the order in which cfssl and openssl write a name.
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
EXTENDED_USAGES: Final = {
    Usage.SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH,
    Usage.CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH,
}
_RSA_BITS: Final = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}
_CURVES: Final[dict[KeyType, type[ec.EllipticCurve]]] = {
    KeyType.ECDSA_P256: ec.SECP256R1,
    KeyType.ECDSA_P384: ec.SECP384R1,
    KeyType.ECDSA_P521: ec.SECP521R1,
}
_CURVE_HASHES: Final[dict[str, Hash]] = {"secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its private key and the request it answers."""

    certificate: x509.Certificate
    key: PrivateKey
    request: x509.CertificateSigningRequest

    @property
    def certificate_pem(self) -> bytes:
        """What goes into `<stem>.pem`."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """What goes into `<stem>-key.pem`: PKCS #8, which also Java and ed25519 keys want."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def request_pem(self) -> bytes:
        """What goes into `<stem>.csr`."""
        return self.request.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA's certificate and key."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def load(cls, certificate: Path, private_key: Path) -> "Authority":
        """Read an existing CA. In a bundle, the issuer is the certificate that `private_key` belongs to.

        Raises CertificateError if a file cannot be read, the two do not belong together, or it is no CA.
        """
        key = load_key(private_key)
        for candidate in load_certificates(certificate):
            if candidate.public_key() == key.public_key():
                break
        else:
            raise CertificateError(
                f"{private_key} is not the key of {certificate}",
                hint="Name the certificate and the private key of the same CA.",
            )
        if why := no_authority(candidate):
            raise CertificateError(f"{certificate} cannot issue certificates: {why}")
        return cls(candidate, key)

    @property
    def end(self) -> datetime.datetime:
        """When the CA's own certificate expires."""
        return self.certificate.not_valid_after_utc

    def issue(self, plan: CertificatePlan, key: PrivateKey, *, at: datetime.datetime) -> Issued:
        """Sign a leaf for `key`, valid around `at`. Raises CertificateError if a name cannot be written."""
        name = distinguished_name(plan.subject)
        names = alternative_names(plan.hosts)
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        builder = _builder(name, self.certificate.subject, key, at=at, lifetime_s=plan.lifetime_s)
        builder = (
            builder.add_extension(_key_usage(plan.usages), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_authority_key_identifier(self.certificate), critical=False)
        )
        if extended := [EXTENDED_USAGES[usage] for usage in plan.usages if usage in EXTENDED_USAGES]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            request = request.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Issued(
            certificate=builder.sign(self.key, _hash(self.key)), key=key, request=request.sign(key, _hash(key))
        )

    def revoke(self, serials: Iterable[int], *, at: datetime.datetime) -> x509.CertificateRevocationList:
        """The list of all that it has revoked, which is good as long as itself."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at)
            .next_update(max(self.end, at + BACKDATE))
            .add_extension(_authority_key_identifier(self.certificate), critical=False)
            .add_extension(x509.CRLNumber(int(at.timestamp() * 1e6)), critical=False)
        )
        for number in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(at).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, _hash(self.key))


def make_authority(plan: AuthorityPlan, key: PrivateKey, *, at: datetime.datetime) -> Issued:
    """A new self-signed CA, valid around `at`. Raises CertificateError if its name cannot be written."""
    name = distinguished_name(plan.subject)
    certificate = (
        _builder(name, name, key, at=at, lifetime_s=plan.lifetime_s)
        .add_extension(_key_usage((Usage.CERT_SIGN, Usage.CRL_SIGN)), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, _hash(key))
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, _hash(key))
    return Issued(certificate=certificate, key=key, request=request)


def make_keys(kinds: Sequence[KeyType]) -> list[PrivateKey]:
    """One new private key for each kind, in that order.

    An RSA-4096 key takes 0.35 to 1.1 s, so RSA keys are made in parallel: OpenSSL works without the interpreter's lock
    (8 RSA-3072 on two cores: 0.98 s instead of 1.45 s). A P-256 key takes 30 µs, less than handing it to a thread.
    """
    rsa_kinds = [kind for kind in kinds if kind in _RSA_BITS]
    if not rsa_kinds:
        return [_make_key(kind) for kind in kinds]
    with ThreadPoolExecutor(min(len(rsa_kinds), os.cpu_count() or 1)) as pool:
        made = pool.map(_make_key, rsa_kinds)
        return [next(made) if kind in _RSA_BITS else _make_key(kind) for kind in kinds]


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises CertificateError."""
    content = _read(path)
    try:
        with _any_serial():
            certificates = x509.load_pem_x509_certificates(content)
        for one in certificates:
            # Parsed when first looked at: here, where the file can be named.
            _ = one.subject, one.issuer, one.public_key(), one.extensions, one.signature_algorithm_oid
            _ = one.not_valid_before_utc, one.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion):
        raise CertificateError(f"{path} holds no readable PEM certificate") from None
    return certificates


def serial(certificate: x509.Certificate) -> str:
    """The serial number, in hexadecimal."""
    with _any_serial():
        return f"{certificate.serial_number:x}"


@contextmanager
def _any_serial() -> Iterator[None]:
    """Without what is said of a negative serial number, when it is read and whenever it is looked at: that is for who
    made it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load_key(path: Path) -> PrivateKey:
    """The private key in a PEM file. Raises CertificateError."""
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise CertificateError(
            f"{path} is encrypted, and etcdlab cannot ask for its password", hint="Give it a decrypted copy."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} holds no readable PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise CertificateError(f"{path} holds a key that cannot be used for TLS", hint="Use RSA, ECDSA or ed25519.")
    return key


def no_authority(certificate: x509.Certificate) -> str:
    """Why `certificate` may not issue others, or ""."""
    extensions = certificate.extensions
    try:
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "it is no CA (BasicConstraints says CA:FALSE)"
    except x509.ExtensionNotFound:
        return "it is no CA (it has no BasicConstraints)"
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            return "its key usage lacks certificate signing"
    except x509.ExtensionNotFound:
        pass  # then every usage is allowed (RFC 5280, 4.2.1.3)
    return ""


def signed_by(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """The one of `issuers` that signed `certificate`, by name and by signature."""
    for issuer in issuers:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return issuer
    return None


def distinguished_name(subject: Subject) -> x509.Name:
    """A subject as X.509 has it. Raises CertificateError, naming the part that cannot be written."""
    attributes = []
    for part, oid in ATTRIBUTES.items():
        if value := getattr(subject, part):
            try:
                attributes.append(x509.NameAttribute(oid, value))
            except ValueError as error:
                raise CertificateError(f"{part}={value!r} cannot be part of a subject: {error}") from None
    return x509.Name(attributes)


def alternative_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    """Hosts as SANs: an IP address is one, anything else is a DNS name. Raises CertificateError."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            try:
                names.append(x509.DNSName(host))
            except ValueError as error:
                raise CertificateError(f"{host!r} cannot be a DNS name in a certificate: {error}") from None
    return names


def _make_key(kind: KeyType) -> PrivateKey:
    if kind in _RSA_BITS:
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[kind])
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return ed25519.Ed25519PrivateKey.generate()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, *, at: datetime.datetime, lifetime_s: float
) -> x509.CertificateBuilder:
    lifetime = datetime.timedelta(seconds=lifetime_s)
    start = (at - min(BACKDATE, lifetime / 10)).replace(microsecond=0)  # X.509 counts whole seconds
    try:
        end = start + max(lifetime, datetime.timedelta(seconds=1))
    except OverflowError:
        raise CertificateError(f"a lifetime of {lifetime.days} days ends after the year 9999") from None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(usages: Iterable[Usage]) -> x509.KeyUsage:
    wanted = frozenset(usages)
    return x509.KeyUsage(
        digital_signature=Usage.SIGNING in wanted,
        content_commitment=False,
        key_encipherment=Usage.KEY_ENCIPHERMENT in wanted,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=Usage.CERT_SIGN in wanted,
        crl_sign=Usage.CRL_SIGN in wanted,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _hash(key: PrivateKey) -> Hash | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    return _CURVE_HASHES.get(key.curve.name, hashes.SHA256())


def _read(path: Path) -> bytes:
    try:
        return given.read(path)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
