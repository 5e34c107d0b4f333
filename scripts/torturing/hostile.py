"""Garbage and strangers at the control socket, at the members' ports and in a log: none of it may cost anything."""

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

from etcdlab.prepare.ports import LOOPBACK
from torturing.attack import Attack, Impossible
from torturing.field import Field
from torturing.stranger import as_stranger
from torturing.tally import Loss

PATIENCE_S: Final = 5.0
"""Seconds that a connection may be kept waiting."""
CLIENTS: Final = 200
OPEN: Final = 80
"""How many clients of the socket stay connected, more than the daemon takes."""
KNOCKS: Final = 20
LINES: Final = 2000
LONG_LINE: Final = 4 * 2**20
"""Bytes. Twice what the daemon reads of a line."""


def at_socket(field: Field, chance: Random) -> None:
    """Many clients at once that send the daemon half requests, too much, or what is no HTTP, and read nothing."""
    _throw([field.plan.socket] * CLIENTS, lambda: _request(chance), kept=OPEN)
    _check_daemon(field)


def at_ports(field: Field, chance: Random) -> None:
    """What is neither TLS nor HTTP, to all ports of all members."""
    ports = [port for node in field.plan.nodes for port in (node.client_port, node.peer_port, node.metrics_port)]
    _throw([port for port in ports for _ in range(KNOCKS)], lambda: _knock(chance), kept=KNOCKS)
    _check_daemon(field)


def in_log(field: Field, chance: Random) -> None:
    """A member's log has lines that etcd does not write: binary, escapes, near JSON, and one that is far too long."""
    log = Path(chance.choice(field.plan.nodes).log)
    with log.open("ab", buffering=0) as file:
        for _ in range(LINES):
            file.write(_line(chance) + b"\n")
        file.write(b"x" * LONG_LINE)
        file.write(b"\n")
    _check_daemon(field)


def stranger(field: Field, _chance: Random) -> None:
    """Another user finds the directories and the socket open, and asks the daemon to remove the lab."""
    if os.geteuid() != 0:
        raise Impossible("only root can become another user")
    place = Path(field.plan.socket)
    with _opened(place, 0o666), _opened(place.parent, 0o755), _opened(place.parents[1], 0o755):
        told = as_stranger(lambda: _ask_shutdown(field.plan.socket, b'{"purge":true}'))
    if not told.startswith(b"HTTP/1.1 403 "):
        field.tally.lost(Loss.WORD, f"a stranger was told {told!r}")
    _check_daemon(field)


def _check_daemon(field: Field) -> None:
    if not field.has_daemon():
        field.tally.lost(Loss.DAEMON, "it ended by itself")


def _throw(targets: Sequence[str | int], draw: Callable[[], bytes], *, kept: int) -> None:
    """Connect to each target, a path or a port, and send something; so many connections stay open meanwhile."""
    with contextlib.ExitStack() as stack:
        connections: list[socket.socket] = []
        for target in targets:
            connection = stack.enter_context(
                socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
            )
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(OSError):
                connection.connect(target if isinstance(target, str) else (LOOPBACK, target))
                connection.sendall(draw())
            connections.append(connection)
            if len(connections) > kept:
                connections.pop(0).close()


def _request(chance: Random) -> bytes:
    body = chance.randbytes(chance.randrange(100))
    path = chance.choice(("status", "stop", "reset", "shutdown", "events?follow=true", "logs?lines=-1", "%00"))
    whole = b"POST /v1/%s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body)
    return chance.choice((
        chance.randbytes(chance.randrange(1, 5000)),
        whole[: chance.randrange(1, len(whole))],
        b"GET /v1/status HTTP/1.1\r\n" + b"x: y\r\n" * 10_000,
        b"GET /v1/events?follow=true HTTP/1.1\r\nhost: x\r\n\r\n" * 20,
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n" + body,
    ))  # fmt: skip


def _knock(chance: Random) -> bytes:
    garbage = chance.randbytes(chance.randrange(1, 2000))
    return chance.choice((
        garbage,
        b"\x16\x03\x01" + len(garbage).to_bytes(2) + b"\x01" + garbage,  # the beginning of a TLS handshake
        b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n" * 3,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage,
        b"POST /raft HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n" + garbage,
    ))  # fmt: skip


def _line(chance: Random) -> bytes:
    garbage = chance.randbytes(chance.randrange(200)).replace(b"\n", b"")
    return chance.choice((
        garbage,
        b"\x1b]0;owned\x07\x1b[2J" + garbage,
        b'{"level":"warn","ts":"2026-01-01T00:00:00Z","msg":"' + garbage,
        b'{"level":' + b"[" * 5000,
        b'{"level":"\xff","ts":1e999,"caller":null,"msg":{}}',
        b"",
    ))  # fmt: skip


@contextlib.contextmanager
def _opened(path: Path, mode: int) -> Iterator[None]:
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode)
    try:
        yield
    finally:
        if path.exists():
            path.chmod(before)


def _ask_shutdown(place: str, body: bytes) -> bytes:
    """The answer to a request that the daemon at this socket stop its lab."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(place)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(
                b"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )
        return connection.recv(4096)


ATTACKS: Final = (
    Attack("hostile-socket", at_socket),
    Attack("hostile-ports", at_ports),
    Attack("hostile-log", in_log),
    Attack("hostile-stranger", stranger),
)
