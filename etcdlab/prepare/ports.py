"""TCP ports on loopback: chosen below the ephemeral range, held until etcd binds them, and who holds a taken one.

A port is held by a socket that is bound but does not listen. The kernel then refuses the port to anyone who binds it
exclusively, as every chooser here does, but not to etcd, which (as all Go listeners) sets SO_REUSEADDR. So a
reservation works across processes and users, and dies with the process that made it, with no file to go stale.

A port that a topology names cannot be bound exclusively: connections in TIME_WAIT of a lab that just stopped would
refuse its own port for a minute. Two labs could then both bind it. So with each port comes a name in the kernel, an
abstract Unix socket, which only one process can have, and of which the kernel tells whose it is (unix(7)).
"""

import contextlib
import errno
import random
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from etcdlab.errors import PortTakenError

LOWEST: Final = 20000
DEFAULT_EPHEMERAL_START: Final = 32768
LOOPBACK: Final = "127.0.0.1"


class Ports:
    """The ports of a lab that is being planned. A context manager: the reservations end with the block."""

    def __init__(self, *, avoid: Collection[int] = ()) -> None:
        self._taken = set(avoid)
        self._candidates = _candidates()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for held in self._sockets:
            held.close()

    def choose(self) -> int:
        """A free port below the ephemeral range, held from now on. Raises PortTakenError when there is none."""
        for port in self._candidates:
            if port not in self._taken and self._hold(port, exclusively=True) is None:
                return port
        raise PortTakenError(
            f"no port between {LOWEST} and {_end() - 1} is free on {LOOPBACK}",
            hint="`etcdlab doctor` lists leftovers of dead labs; or give the ports in the topology.",
        )

    def claim(self, port: int) -> int:
        """Hold a port that the topology names. Raises PortTakenError naming the process that has it."""
        match self._hold(port, exclusively=False):
            case None:
                return port
            case PermissionError():
                raise PortTakenError(
                    f"port {port} on {LOOPBACK} is for privileged users only",
                    hint="Give a port from 1024 on in the topology (or none: then one is chosen).",
                )
            case _:
                raise PortTakenError(
                    f"port {port} on {LOOPBACK} is taken by {holder(port)}",
                    hint="Stop that process, or give another port in the topology (or none: then one is chosen).",
                )

    def _hold(self, port: int, *, exclusively: bool) -> OSError | None:
        """Bind the port until the block ends; the error when that cannot be."""
        held = socket.socket()
        # Where a chosen port is not held (see below), there is no such name either.
        name = socket.socket(socket.AF_UNIX) if sys.platform == "linux" else None
        try:
            if name is not None:
                name.bind(_name(port))
                name.listen()
            if not exclusively:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((LOOPBACK, port))
        except OSError as error:
            for one in filter(None, (held, name)):
                one.close()
            return error
        self._taken.add(port)
        if name is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets += [held, name]
        else:
            held.close()  # elsewhere a bound socket would keep etcd out as well
        return None


def _name(port: int) -> str:
    return f"\0etcdlab-port-{port}"


def _candidates() -> Iterator[int]:
    """Every port once, from a random one on: labs that start together then rarely try the same."""
    ports = range(LOWEST, _end())
    start = random.randrange(len(ports))
    yield from ports[start:]
    yield from ports[:start]


def _end() -> int:
    return max(ephemeral_start(), LOWEST + 1000)


def ephemeral_start() -> int:
    """The first port that the kernel gives out by itself: any below stays free between choosing and binding."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return DEFAULT_EPHEMERAL_START


def is_free(port: int) -> bool:
    """Whether etcd could listen on a port just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # of anything else etcd is to tell
    return True


def holder(port: int) -> str:
    """Who listens on a port, or else uses it, for a message: "etcd (pid 4711)", or why that cannot be told."""
    import psutil  # 25 ms that only this message needs

    pid = _reserver(port)  # first: while all processes are looked through, it may give the port to its etcd
    with contextlib.suppress(psutil.Error, OSError):
        ends = [end for end in psutil.net_connections("tcp") if end.laddr and end.laddr.port == port and end.pid]
        for end in sorted(ends, key=lambda end: end.status != psutil.CONN_LISTEN):
            return f"{psutil.Process(end.pid).name()} (pid {end.pid})"
    if pid is not None:
        return f"another lab that is just being started (pid {pid})"
    return "another process (of another user, or in another container)"


def _reserver(port: int) -> int | None:
    """The process that has reserved a port."""
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_UNIX) as asker:
        asker.setblocking(False)  # its queue is full when many have asked: then it stays unknown
        try:
            asker.connect(_name(port))
            credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid
