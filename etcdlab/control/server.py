"""Serve the API on the control socket, and end in time."""

import logging
import os
import socket
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

import trio

from etcdlab.control.api import Api
from etcdlab.control.application import Application
from etcdlab.control.connection import ClientGone, Connection, Limits
from etcdlab.control.reserve import Reserve
from etcdlab.control.supervisor import Supervisor
from etcdlab.errors import is_exhaustion
from etcdlab.ownership import is_trusted, user_of_peer

log = logging.getLogger(__name__)
DEFAULT_LIMITS = Limits()
RETRY_S: Final = 0.1
"""Seconds between attempts to take a connection while all of the reserve is used."""
NO_DESCRIPTORS: Final = "the lab's daemon may open no more files, and serves as many clients as it can"


async def serve(
    cluster: Supervisor,
    listener: socket.socket,
    *,
    shutdown: trio.Event,
    limits: Limits = DEFAULT_LIMITS,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the API on `listener`, which becomes this task's, until `shutdown` is set; then remove its file.

    It is left alone if it is another's by then: somebody has taken the lab's directory away and made a lab anew.
    At shutdown streams end at once and other requests have `limits.grace_s`.
    """
    server = _Server(cluster, limits)
    path = Path(listener.getsockname())
    bound = path.stat()  # noqa: ASYNC240 - microseconds
    try:
        async with trio.open_nursery() as handlers:
            async with trio.open_nursery() as acceptor:
                sockets = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
                acceptor.start_soon(server.accept, sockets, handlers)
                task_status.started()
                await shutdown.wait()
                acceptor.cancel_scope.cancel()
            server.interrupt()
            handlers.cancel_scope.deadline = trio.current_time() + limits.grace_s
    finally:
        server.close()
        _remove(path, bound)


def _remove(path: Path, bound: os.stat_result) -> None:
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), bound):
            path.unlink()


class _Server:
    """The connections that are open."""

    def __init__(self, cluster: Supervisor, limits: Limits) -> None:
        self._application = Application(Api(cluster))
        self._limits = limits
        self._connections: set[Connection] = set()
        self._reserve = Reserve()

    async def accept(self, listener: trio.SocketListener, handlers: trio.Nursery) -> None:
        """Take connections, for ever: not as trio's does, which takes none and logs a traceback every 0.1 s while it
        may open no more files.
        """
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if not is_exhaustion(error):
                        raise
                    await trio.lowlevel.wait_readable(listener.socket)  # it is also refused while nobody comes
                    if not self._reserve.give():
                        await trio.sleep(RETRY_S)
                else:
                    handlers.start_soon(self.handle, stream)

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. Whatever a client provokes ends with its connection, in the log."""
        connection = Connection(stream, self._limits)
        self._connections.add(connection)
        try:
            async with stream:
                if not is_trusted(user := user_of_peer(stream)):
                    await connection.refuse(HTTPStatus.FORBIDDEN, f"this lab is not user {user}'s")
                elif self._reserve.is_low:
                    await connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, NO_DESCRIPTORS)
                elif len(self._connections) > self._limits.connections:
                    await connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open")
                else:
                    await connection.serve(self._application.answer)
        except* ClientGone:
            pass
        except* Exception as failure:
            lack, others = failure.split(lambda error: isinstance(error, OSError) and is_exhaustion(error))
            if lack:  # in the middle of a stream
                log.warning("a client could not be answered to the end, for want of descriptors or memory")
            if others:
                log.exception("a connection on the control socket failed")
        finally:
            self._connections.remove(connection)
            self._reserve.fill()

    def close(self) -> None:
        """Let go of what is held."""
        self._reserve.close()

    def interrupt(self) -> None:
        """Let go of clients that wait for something, or are waited for."""
        for connection in self._connections:
            connection.interrupt()
