"""Who knocks at a lab's TLS ports, and what each should be told."""

import datetime
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from etcdlab.check.attempt import Answer, Outcome, in_plain, over_tls
from etcdlab.check.report import Aspect, Check, Port
from etcdlab.errors import CertificateError
from etcdlab.etcd import log, logfile
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, KeyType, Role, Subject, Usage
from etcdlab.model.plan import NodePlan, Plan, TlsPlan
from etcdlab.pki import store
from etcdlab.pki.authority import Authority, make_authority, make_keys
from etcdlab.pki.files import AUTHORITY, certificate_file, key_file

MOST_THREADS: Final = 32
LOG_LINES: Final = 200
"""How far back a member's log is searched for its words: an attempt costs it one line."""

_BOTH: Final = (Port.CLIENT, Port.PEER)
_FOREIGN: Final = "foreign"
_EXPIRED: Final = "expired"
_NAME: Final = Subject(CN="etcdlab-check")
_LIFETIME: Final = datetime.timedelta(hours=1)
_UNKNOWN_ISSUER: Final = "issuer certificate", "self-signed certificate", "self signed certificate"
"""How OpenSSL says "certificate signed by unknown authority", and not that something else is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody who knocks (`context` None: without TLS), and how that should end: as `expected`, with one of `words`.

    An alert with other words is no proof: "internal error", say, is a server that cannot read its own key.
    """

    aspect: Aspect
    context: ssl.SSLContext | None
    expected: Outcome = Outcome.REFUSED
    words: tuple[str, ...] = ("",)
    ports: tuple[Port, ...] = _BOTH

    def make(self, node: NodePlan, port: Port) -> Answer:
        """Knock."""
        number = node.client_port if port is Port.CLIENT else node.peer_port
        if self.context is None:
            return in_plain(number)
        return over_tls(number, self.context, host=urlsplit(node.client_url).hostname or "")

    def judge(self, answer: Answer) -> bool | None:
        """Whether it ended as it should; None when it could not be made."""
        if answer.outcome is Outcome.NOT_OFFERED:
            return None
        return answer.outcome is self.expected and any(word in answer.words for word in self.words)


def check_tls(plan: Plan, tls: TlsPlan) -> list[Check]:
    """Knock at every member's ports, all at once. Raises CertificateError if the lab's own files cannot be used."""
    with tempfile.TemporaryDirectory(prefix="etcdlab-check-") as made:
        cannot_expire = _make_credentials(tls, Path(made))
        attempts = list(_attempts(tls, Path(made), with_expired=not cannot_expire))
    knocks = [(attempt, node, port) for attempt in attempts for node in plan.nodes for port in attempt.ports]
    ends = {node.name: logfile.end(Path(node.log)) for node in plan.nodes}
    with ThreadPoolExecutor(min(len(knocks), MOST_THREADS)) as pool:
        answers = list(pool.map(lambda knock: knock[0].make(knock[1], knock[2]), knocks))
    reasons = {node.name: _logged_reasons(node, ends[node.name]) for node in plan.nodes}
    checks = [
        Check(
            name=attempt.aspect,
            member=node.name,
            port=port,
            passed=attempt.judge(answer),
            detail=_detail(attempt, answer, reasons[node.name]),
        )
        for (attempt, node, port), answer in zip(knocks, answers, strict=True)
    ]
    if cannot_expire:
        checks.append(Check(name=Aspect.EXPIRED_CERTIFICATE, passed=None, detail=f"not tried: {cannot_expire}"))
    return checks


def _attempts(tls: TlsPlan, made: Path, *, with_expired: bool) -> Iterator[Attempt]:
    ca, client = Path(tls.ca), (Path(tls.client.certificate), Path(tls.client.private_key))
    welcome = _context(ca, client)
    welcome.check_hostname = True
    yield Attempt(
        aspect=Aspect.CLIENT_CERTIFICATE,
        context=welcome,
        expected=Outcome.SERVED,
        words=(" 200 ",),
        ports=(Port.CLIENT,),
    )
    # Each with the alerts of new and of old Go, which had only "bad certificate" for all.
    yield Attempt(aspect=Aspect.NO_CERTIFICATE, context=_context(ca), words=("certificate required", "bad certificate"))
    foreign = _context(ca, _pair(made, _FOREIGN))
    yield Attempt(aspect=Aspect.FOREIGN_CERTIFICATE, context=foreign, words=("unknown ca", "bad certificate"))
    if with_expired:
        expired = _context(ca, _pair(made, _EXPIRED))
        yield Attempt(
            aspect=Aspect.EXPIRED_CERTIFICATE, context=expired, words=("certificate expired", "bad certificate")
        )
    yield Attempt(aspect=Aspect.PLAIN_HTTP, context=None)
    yield Attempt(
        aspect=Aspect.FOREIGN_CA,
        context=_context(certificate_file(made, AUTHORITY), client),
        expected=Outcome.DISTRUSTED,
        words=_UNKNOWN_ISSUER,
    )
    versions = {Aspect.TLS_1_1: "TLSv1_1"} | ({Aspect.TLS_1_2: "TLSv1_2"} if tls.min_version == "1.3" else {})
    for aspect, version in versions.items():
        yield Attempt(aspect=aspect, context=_old(_context(ca, client), version), words=("protocol version",))


def _context(ca: Path, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(ca)
        if pair is not None:
            context.load_cert_chain(*pair)
    except OSError as error:  # which ssl.SSLError is
        files = ", ".join(str(path) for path in (ca, *(pair or ())))
        raise CertificateError(f"cannot be used for TLS: {files}: {error.strerror or error}") from None
    return context


def _old(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    """Offer nothing but this version of TLS."""
    # OpenSSL 3 and Debian's policy would not even offer what is to be refused.
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


def _make_credentials(tls: TlsPlan, directory: Path) -> str:
    """Make a CA that nobody knows, a leaf of it, and an expired leaf of the lab's own CA: why not that one, or ""."""
    now = datetime.datetime.now(datetime.UTC)
    lifetime_s = _LIFETIME.total_seconds()
    leaf = CertificatePlan(
        stem=_FOREIGN,
        role=Role.CLIENT,
        subject=_NAME,
        hosts=(),
        usages=(Usage.SIGNING, Usage.CLIENT_AUTH),
        key=KeyType.ECDSA_P256,
        lifetime_s=lifetime_s,
    )
    ca_key, foreign_key, expired_key = make_keys([KeyType.ECDSA_P256] * 3)
    plan = AuthorityPlan(subject=Subject(CN="etcdlab-check foreign CA"), key=leaf.key, lifetime_s=lifetime_s)
    foreign = make_authority(plan, ca_key, at=now)
    store.write(directory, AUTHORITY, foreign)
    store.write(directory, _FOREIGN, Authority(foreign.certificate, foreign.key).issue(leaf, foreign_key, at=now))
    ca = Path(tls.ca)
    if not (own_key := key_file(ca.parent, AUTHORITY)).exists():
        return "the key of the lab's CA is not in the lab"
    try:
        own = Authority.load(ca, own_key)
    except CertificateError as error:
        return error.message
    store.write(directory, _EXPIRED, own.issue(leaf, expired_key, at=now - 2 * _LIFETIME))
    return ""


def _pair(directory: Path, stem: str) -> tuple[Path, Path]:
    return certificate_file(directory, stem), key_file(directory, stem)


def _detail(attempt: Attempt, answer: Answer, reasons: Mapping[int, str]) -> str:
    words = answer.words if answer.outcome is attempt.expected else f"{answer.outcome.value}: {answer.words}"
    reason = reasons.get(answer.source) if answer.outcome is Outcome.REFUSED else None
    return f"{words} ({reason})" if reason else words


def _logged_reasons(node: NodePlan, since: int) -> dict[int, str]:
    """Why the member refused connections, by their port at this end: its log has the words that an alert has not."""
    reasons = {}
    for line in logfile.last_lines(Path(node.log), LOG_LINES, since=since):
        fields = log.parse(line).fields
        source, error = str(fields.get("remote-addr", "")).rpartition(":")[2], fields.get("error")
        if source.isdigit() and error:
            reasons[int(source)] = str(error)
    return reasons
