"""Refused handshakes in words: who presented what to whom, and what was wrong with it.

A member logs each connection that it refuses, or whose dialler refuses what it presents, in the words of Go and with an
address that names nobody: all are on loopback, and the connection is gone. Who it was follows from the certificates.
The journal has what was wrong on purpose with which of them, and when; their files have when they end and their serial
numbers. Where several fit all are named, where none does etcd's words stand alone: what somebody else presents, who
has no certificate of the lab, looks the same.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from etcdlab.check.report import Port
from etcdlab.errors import CertificateError
from etcdlab.etcd import log
from etcdlab.etcd.logfile import Tail
from etcdlab.model.certificate import Defect, LeafDefect, PkiPlan
from etcdlab.model.event import Event, EventKind
from etcdlab.model.plan import Plan
from etcdlab.model.topology import Topology
from etcdlab.pki import roles
from etcdlab.pki.authority import load_certificates, serial
from etcdlab.pki.files import certificate_file

SLACK: Final = timedelta(seconds=1)
"""A handshake may be told a moment before what was done to its certificate, or after that was undone."""
_OF_LEAVES: Final = (EventKind.FAULT_INJECTED, EventKind.FAULT_HEALED)
_MARK: Final = b'"rejected connection'
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_REASONS: Final = (
    (Defect.REVOKED, re.compile(r"certificate serial (?P<serial>[0-9a-f]+) revoked")),
    (Defect.EXPIRED, re.compile(rf"is after (?P<bound>{_TIME})")),
    (Defect.NOT_YET_VALID, re.compile(rf"is before (?P<bound>{_TIME})")),
    (Defect.WRONG_EKU, re.compile(r"incompatible key usage")),
    (Defect.UNKNOWN_CA, re.compile(r"signed by unknown authority")),
    (Defect.WRONG_SAN, re.compile(r"does not match any of DNSNames|doesn't contain any IP SANs|is valid for ")),
)
_OF_TLS: Final = re.compile(r"\b(tls|x509|transport): ")
_BY_DIALLER: Final = "remote error: tls: "
_OWN_KEY: Final = "private key does not match public key"
_WORDS: Final = {
    Defect.EXPIRED: "expired",
    Defect.NOT_YET_VALID: "not valid yet",
    Defect.WRONG_SAN: "for other hosts",
    Defect.WRONG_EKU: "not for this use",
    Defect.UNKNOWN_CA: "of a CA that is not the lab's",
    Defect.KEY_MISMATCH: "for another key",
    Defect.REVOKED: "revoked",
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Handshakes with `member`, whom somebody dialled, that failed for the same reason: `text` says which.

    `presenters` showed the certificate that was refused: one if that is certain, none if it cannot be told. `reason`
    is what was wrong with it, None where only `text` says it.
    """

    member: str
    port: Port | None
    presenters: tuple[str, ...]
    reason: Defect | None
    text: str
    count: int
    first: datetime
    last: datetime


class _Spoiled(NamedTuple):
    """What was wrong on purpose with a leaf, and when."""

    stem: str
    defect: Defect
    serial: str
    begin: datetime
    end: datetime | None


class _Shown(NamedTuple):
    """A certificate and who shows it."""

    who: str
    stem: str


def refusals(
    plan: Plan, topology: Topology, pki: PkiPlan, events: Iterable[Event], *, since: datetime | None
) -> tuple[Refusal, ...]:
    """All that the members' logs tell of, the last first."""
    reader = _Reader(topology, pki, list(_spoiled(events)))
    found: dict[tuple[str, Port | None, str], Refusal] = {}
    for node in plan.nodes:
        with closing(Tail(Path(node.log))) as tail:
            for line in tail.history_since(0):
                if _MARK not in line:
                    continue
                record = log.parse(line)
                error = str(record.fields.get("error", ""))
                if record.time is None or (since is not None and record.time < since) or not _OF_TLS.search(error):
                    continue
                one = reader.read(node.name, _port(record.message), error, record.time)
                key = one.member, one.port, one.text
                before = found.get(key, one)
                count = before.count + 1 if key in found else 1
                found[key] = msgspec.structs.replace(before, count=count, last=record.time)
    return tuple(sorted(found.values(), key=lambda one: one.last, reverse=True))


class _Reader:
    """Knows the certificates of a lab, as they were and are."""

    def __init__(self, topology: Topology, pki: PkiPlan, spoiled: list[_Spoiled]) -> None:
        self._topology = topology
        self._members = [member.name for member in topology.members()]
        self._spoiled = spoiled
        self._leaves = dict(_load(pki))

    def read(self, member: str, port: Port | None, error: str, time: datetime) -> Refusal:
        """What a line says."""
        own = self._own(member, port)
        if error.startswith(_BY_DIALLER):
            wrong = self._wrong(own.stem, time)
            reason, why = (None, "") if wrong is None else (wrong.defect, f", {_WORDS[wrong.defect]},")
            other = {Port.PEER: "another member", Port.CLIENT: "a client", None: "somebody"}[port]
            text = f"{member} presented {self._named(own.stem, wrong)}{why} to {other}: "
            return _refusal(member, port, (member,), reason, text + error.removeprefix(_BY_DIALLER), time)
        if _OWN_KEY in error:
            text = f"{member} could not present {own.stem}: it is for another key"
            return _refusal(member, port, (member,), Defect.KEY_MISMATCH, text, time)
        for reason, pattern in _REASONS:
            if match := pattern.search(error):
                suspects = self._suspects(member, port, reason, match.groupdict(), time)
                why = _WORDS[reason]
                if bound := match.groupdict().get("bound"):
                    why = f"{'expired at' if reason is Defect.EXPIRED else 'not valid before'} {bound}"
                presenters = tuple(dict.fromkeys(who for who, _ in suspects))
                who = " or ".join(presenters) or "somebody"
                what = " or ".join(dict.fromkeys(named for _, named in suspects)) or "a certificate"
                return _refusal(member, port, presenters, reason, f"{who} presented {what}, {why}, to {member}", time)
        return _refusal(member, port, (), None, f"somebody dialled {member}: {error}", time)

    def _own(self, member: str, port: Port | None) -> _Shown:
        stem = roles.peer_stem if port is Port.PEER else roles.server_stem
        return _Shown(member, stem(self._topology, member))

    def _diallers(self, member: str, port: Port | None) -> Iterator[_Shown]:
        """Who dials this port, with what."""
        if port is not Port.CLIENT:
            yield from (self._own(other, Port.PEER) for other in self._members if other != member)
        if port is not Port.PEER:
            yield from (_Shown(name, name) for name, _ in roles.identities(self._topology))
            yield _Shown(f"{member}'s gateway", roles.server_stem(self._topology, member))

    def _suspects(
        self, member: str, port: Port | None, reason: Defect, said: Mapping[str, str], time: datetime
    ) -> list[tuple[str, str]]:
        """Who may have presented which certificate, in words, that was refused for this reason."""
        found = []
        for who, stem in self._diallers(member, port):
            wrong = self._wrong(stem, time)
            is_on_purpose = wrong is not None and wrong.defect is reason
            if reason is Defect.REVOKED:
                number = said["serial"].lstrip("0")
                is_it = number in (self._serial(stem), wrong.serial if wrong is not None else None)
            else:
                is_it = is_on_purpose or self._ends_at(stem, reason, said.get("bound"))
            if is_it:
                found.append((who, self._named(stem, wrong if is_on_purpose else None)))
        return found

    def _ends_at(self, stem: str, reason: Defect, bound: str | None) -> bool:
        leaf = self._leaves.get(stem)
        if leaf is None or bound is None:
            return False
        moment = leaf.not_valid_after_utc if reason is Defect.EXPIRED else leaf.not_valid_before_utc
        return moment == datetime.fromisoformat(bound)

    def _wrong(self, stem: str, time: datetime) -> _Spoiled | None:
        """What was wrong with it on purpose then."""
        for one in reversed(self._spoiled):
            if one.stem == stem and one.begin - SLACK <= time and (one.end is None or time <= one.end + SLACK):
                return one
        return None

    def _serial(self, stem: str) -> str | None:
        leaf = self._leaves.get(stem)
        return None if leaf is None else serial(leaf)

    def _named(self, stem: str, wrong: _Spoiled | None) -> str:
        number = wrong.serial if wrong is not None else self._serial(stem)
        return f"{stem} (serial {number})" if number else stem


def _spoiled(events: Iterable[Event]) -> Iterator[_Spoiled]:
    begun: dict[str, _Spoiled] = {}
    for event in events:
        defect = LeafDefect.told(event.detail) if event.kind in _OF_LEAVES else None
        if defect is None and event.kind is not EventKind.LAB_STOPPED:
            continue
        time = datetime.fromisoformat(event.time)
        for stem in [defect.stem] if defect is not None else list(begun):
            if (known := begun.pop(stem, None)) is not None:
                yield known._replace(end=time)
        if defect is not None and event.kind is EventKind.FAULT_INJECTED:
            begun[defect.stem] = _Spoiled(defect.stem, defect.defect, defect.serial, time, None)
    yield from begun.values()


def _load(pki: PkiPlan) -> Iterator[tuple[str, x509.Certificate]]:
    for leaf in pki.certificates:
        try:
            yield leaf.stem, load_certificates(certificate_file(Path(pki.directory), leaf.stem))[0]
        except CertificateError:
            continue  # then it cannot be told by what is in it


def _port(message: str) -> Port | None:
    """Which port a line is about; etcd 3.4 and early 3.5 do not say."""
    return next((port for port in Port if f" {port.value} endpoint" in message), None)


def _refusal(
    member: str, port: Port | None, presenters: tuple[str, ...], reason: Defect | None, text: str, time: datetime
) -> Refusal:
    moment = time.astimezone(UTC)
    return Refusal(
        member=member, port=port, presenters=presenters, reason=reason, text=text, count=1, first=moment, last=moment
    )
