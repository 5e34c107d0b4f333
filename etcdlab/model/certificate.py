"""What certificates a lab has: roles, usages, subjects and the plan of what to issue. Knows no cryptography."""

import contextlib
import enum
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec


class KeyType(enum.Enum):
    """Private key algorithms that a topology can ask for."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    ECDSA_P521 = "ecdsa-p521"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


class Role(enum.Enum):
    """What a certificate is for; also the name of its table under `[tls]`."""

    CA = "ca"
    SERVER = "server"
    PEER = "peer"
    CLIENT = "client"


class Usage(enum.Enum):
    """Key usages, with cfssl's words as values (its `usages` list in a signing profile)."""

    SIGNING = "signing"
    KEY_ENCIPHERMENT = "key encipherment"
    SERVER_AUTH = "server auth"
    CLIENT_AUTH = "client auth"
    CERT_SIGN = "cert sign"
    CRL_SIGN = "crl sign"


AUTHENTICATION: Final[Mapping[Role, tuple[Usage, ...]]] = {
    # A server leaf must also do as a client's: etcd's JSON gateway dials its own member with it (etcd 3.5 etcd.go).
    Role.SERVER: (Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
    Role.PEER: (Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
    Role.CLIENT: (Usage.CLIENT_AUTH,),
}
"""What etcd demands of each role's leaf."""


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A distinguished name; a part left empty is not written into the certificate."""

    CN: str = ""
    C: str = ""
    ST: str = ""
    L: str = ""
    O: str = ""  # noqa: E741 - X.520's own attribute name
    OU: str = ""


class AuthorityPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The CA: one to make, or (both paths set) an existing one to issue from, which `subject` and the rest then do not
    describe. Lifetime in seconds."""

    subject: Subject
    key: KeyType
    lifetime_s: float
    existing_certificate: str | None = None
    existing_key: str | None = None


class CertificatePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One leaf to issue into `<stem>.pem`, `<stem>-key.pem` and `<stem>.csr`. Lifetime in seconds."""

    stem: str
    role: Role
    subject: Subject
    hosts: tuple[str, ...]
    usages: tuple[Usage, ...]
    key: KeyType
    lifetime_s: float


class Defect(enum.Enum):
    """What can be wrong with a leaf on purpose: another is in its place, with the same key, or it is revoked."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    WRONG_SAN = "wrong-san"
    WRONG_EKU = "wrong-eku"
    UNKNOWN_CA = "unknown-ca"
    KEY_MISMATCH = "key-mismatch"
    REVOKED = "revoked"


class LeafDefect(msgspec.Struct, frozen=True, kw_only=True):
    """A defect that the leaf with this stem has since `since_s`, until `until_s` or (None) until it is healed.

    Times are of the system's monotonic clock. `serial` is the number, in hexadecimal, of what is presented meanwhile.
    """

    stem: str
    defect: Defect
    serial: str = ""
    since_s: float
    until_s: float | None = None

    @classmethod
    def told(cls, detail: Mapping[str, Any]) -> Self | None:
        """The one that an event of the journal is about, if it is about one."""
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert({**detail, "stem": detail.get("leaf")}, cls)
        return None


class PkiPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is issued for one lab, into one directory."""

    directory: str
    authority: AuthorityPlan
    certificates: tuple[CertificatePlan, ...]
