"""Which handshakes would fail: of every member with every other, and of every client with every member.

A cluster whose certificates have expired is green as long as its connections stay open. Whether a handshake succeeds
now is tried; why not, and what will be at another time, is judged from the certificates by Go's rules.
"""

import datetime
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from etcdlab.check.attempt import Outcome, over_tls
from etcdlab.check.report import Port
from etcdlab.errors import CertificateError
from etcdlab.model.certificate import PkiPlan, Usage
from etcdlab.model.plan import Plan
from etcdlab.model.topology import Topology
from etcdlab.pki import inspect, roles
from etcdlab.pki.files import AUTHORITY, certificate_file, key_file
from etcdlab.prepare.ports import LOOPBACK

MOST_THREADS: Final = 16


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """One that `source`, a member or a client, begins with `target`, and why it would fail: "" if it would not."""

    source: str
    target: str
    port: Port
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dial:
    """`own` and `their` are the file stems of what the two show; `host` is whom `source` takes the other for.

    Without `their` it takes anybody: etcd's gateway dials its own member so (etcd 3.5 server/embed).
    """

    source: str
    target: str
    port: Port
    number: int
    host: str
    own: str
    their: str | None


def predict(plan: Plan, pki: PkiPlan, topology: Topology, *, at: datetime.datetime | None) -> tuple[Handshake, ...]:
    """All handshakes, tried now or (`at`) judged for another time. Raises CertificateError for the lab's CA."""
    directory, dials = Path(pki.directory), list(_dials(plan, topology))
    moment = at or datetime.datetime.now(datetime.UTC)
    judged = [_judge(dial, directory, moment) for dial in dials]
    if at is None:
        with ThreadPoolExecutor(min(len(dials), MOST_THREADS)) as pool:
            tried = list(pool.map(lambda dial: _try(dial, directory), dials))
        judged = [(reason or words) if words else "" for reason, words in zip(judged, tried, strict=True)]
    return tuple(
        Handshake(source=dial.source, target=dial.target, port=dial.port, problem=problem)
        for dial, problem in zip(dials, judged, strict=True)
    )


def _dials(plan: Plan, topology: Topology) -> Iterator[_Dial]:
    for target in plan.nodes:
        for source in plan.nodes:
            if source is not target:
                yield _Dial(
                    source=source.name,
                    target=target.name,
                    port=Port.PEER,
                    number=target.peer_port,
                    host=urlsplit(target.peer_url).hostname or "",
                    own=roles.peer_stem(topology, source.name),
                    their=roles.peer_stem(topology, target.name),
                )
        server = roles.server_stem(topology, target.name)
        clients = [(name, name, server) for name, _ in roles.identities(topology)]
        for name, own, their in [*clients, (f"{target.name}'s gateway", server, None)]:
            yield _Dial(
                source=name,
                target=target.name,
                port=Port.CLIENT,
                number=target.client_port,
                host=urlsplit(target.client_url).hostname or "",
                own=own,
                their=their,
            )


def _judge(dial: _Dial, directory: Path, at: datetime.datetime) -> str:
    """Why it fails by the certificates, or ""."""
    # A peer's listener looks for the address that it is dialled from, too (etcd 3.5 client/pkg/transport).
    own_host = LOOPBACK if dial.port is Port.PEER else None
    sides = (
        (dial.target, dial.their, Usage.SERVER_AUTH, dial.host),
        (dial.source, dial.own, Usage.CLIENT_AUTH, own_host),
    )
    for who, stem, usage, host in sides:
        if stem is None:
            continue
        file = certificate_file(directory, stem)
        try:
            checks = inspect.verify(file, certificate_file(directory, AUTHORITY), at=at, host=host, usage=usage)
            checks += (inspect.check_key(file, key_file(directory, stem)),)
            if usage is Usage.CLIENT_AUTH:  # nobody looks whether a server's is
                checks += (inspect.check_revocation(file),)
        except CertificateError as error:
            return error.message
        for check in checks:
            if not check.ok:
                return f"{file.name}, which {who} shows: {check.detail}"
    return ""


def _try(dial: _Dial, directory: Path) -> str:
    """What was said to a handshake that failed, or ""."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if dial.their is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.load_verify_locations(certificate_file(directory, AUTHORITY))
        context.load_cert_chain(certificate_file(directory, dial.own), key_file(directory, dial.own))
    except OSError as error:  # which ssl.SSLError is
        return f"{dial.own}.pem and its key cannot be used: {error.strerror or error}"
    answer = over_tls(dial.number, context, host=dial.host)
    return "" if answer.outcome is Outcome.SERVED else f"{answer.outcome.value}: {answer.words}"
