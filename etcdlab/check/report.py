"""What was looked at and what came of it. Field names and values are a public contract (`check --json`)."""

import enum

import msgspec


class Port(enum.Enum):
    """Which of a member's ports that speak TLS."""

    CLIENT = "client"
    PEER = "peer"


class Aspect(enum.Enum):
    """What is to be so, as a statement."""

    CLIENT_CERTIFICATE = "client-certificate-accepted"
    NO_CERTIFICATE = "no-certificate-refused"
    FOREIGN_CERTIFICATE = "foreign-certificate-refused"
    EXPIRED_CERTIFICATE = "expired-certificate-refused"
    PLAIN_HTTP = "plain-http-refused"
    FOREIGN_CA = "server-untrusted-by-foreign-ca"
    TLS_1_1 = "tls-1.1-refused"
    TLS_1_2 = "tls-1.2-refused"
    KEY_MODES = "key-modes"
    DIRECTORY_MODES = "directory-modes"
    SOCKET_MODE = "socket-mode"
    LOOPBACK = "loopback-only"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `member` and `port` are None for what concerns the whole lab.

    `passed` is None when it could not be made or does not apply; `detail` has the words that were said, or the reason.
    """

    name: Aspect
    member: str | None = None
    port: Port | None = None
    passed: bool | None
    detail: str


class SecurityReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of a lab; `passed` when none failed."""

    lab: str
    passed: bool
    checks: tuple[Check, ...]
