"""One request to a member's port, by somebody who may or may not be let in: what came of it, in the words that came."""

import enum
import select
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from etcdlab.prepare.ports import LOOPBACK

TIMEOUT_S: Final = 3.0
"""Bound of each wait for the member."""
SPEAKS_FIRST_S: Final = 1.0
"""How long a server is given to speak before the request is sent; see `over_tls`."""

_REQUEST: Final = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_NOT_OFFERED: Final = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE")


class Outcome(enum.Enum):
    """How an attempt ended."""

    SERVED = "was served"
    REFUSED = "was refused"
    DISTRUSTED = "this end does not trust the server's certificate"
    NOT_OFFERED = "the TLS library here cannot make this attempt"
    UNKNOWN = "was neither served nor refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`words` are those of the refusal or of the answer; `source` is this end's port, by which the member's log calls
    the connection (0: there was none)."""

    outcome: Outcome
    words: str
    source: int = 0


def over_tls(port: int, context: ssl.SSLContext, *, host: str) -> Answer:
    """Ask for the version over TLS, the server being `host`.

    With TLS 1.3 the handshake succeeds at this end before the server has judged the certificate, and its alert comes
    after. A request that crosses the alert would be answered by a reset, which takes the alert's words away. So the
    server goes first: it sends its alert, or a session ticket, which every Go server does at once.
    """
    try:
        raw = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S)
    except OSError as error:
        return Answer(outcome=Outcome.UNKNOWN, words=f"no connection: {_reason(error)}")
    source = raw.getsockname()[1]
    try:
        with closing(raw), context.wrap_socket(raw, server_hostname=host) as connection:
            if connection.version() == "TLSv1.3":
                first = select.poll()
                first.register(connection, select.POLLIN)
                first.poll(SPEAKS_FIRST_S * 1000)
            connection.sendall(_REQUEST)
            return _http(connection.recv(4096), source)
    except ssl.SSLCertVerificationError as error:
        return Answer(outcome=Outcome.DISTRUSTED, words=error.verify_message, source=source)
    except ssl.SSLError as error:
        reason = error.reason or ""
        words = reason.lower().replace("_", " ") or str(error)
        if "_ALERT_" in reason:
            return Answer(outcome=Outcome.REFUSED, words=words, source=source)
        outcome = Outcome.NOT_OFFERED if reason in _NOT_OFFERED else Outcome.UNKNOWN
        return Answer(outcome=outcome, words=words, source=source)
    except OSError as error:
        return Answer(outcome=Outcome.UNKNOWN, words=_reason(error), source=source)


def in_plain(port: int) -> Answer:
    """Ask for the version without TLS. To be hung up on is a refusal: etcd has no words for such a client."""
    try:
        raw = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S)
    except OSError as error:
        return Answer(outcome=Outcome.UNKNOWN, words=f"no connection: {_reason(error)}")
    source = raw.getsockname()[1]
    with closing(raw):
        try:
            raw.sendall(_REQUEST)
            answer = raw.recv(4096)
        except ConnectionError:
            answer = b""
        except OSError as error:
            return Answer(outcome=Outcome.UNKNOWN, words=_reason(error), source=source)
    if not answer:
        return Answer(outcome=Outcome.REFUSED, words="hung up without an answer", source=source)
    if b"HTTP request to an HTTPS server" in answer:  # Go's net/http, where it does the handshake itself
        words = answer.decode(errors="replace").strip().splitlines()[-1]
        return Answer(outcome=Outcome.REFUSED, words=words, source=source)
    return _http(answer, source)


def _http(answer: bytes, source: int) -> Answer:
    """Whoever gets any HTTP answer was let in."""
    line = answer.partition(b"\r\n")[0].decode(errors="replace")
    if line.startswith("HTTP/"):
        return Answer(outcome=Outcome.SERVED, words=line, source=source)
    return Answer(outcome=Outcome.UNKNOWN, words=f"answered {line!r}" if line else "hung up", source=source)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {TIMEOUT_S:g} s"
    return error.strerror or str(error)
