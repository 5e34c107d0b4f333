"""Serve the API on the control socket, and end in time."""

import logging
import os
import socket
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path

import trio

from etcdlab.control.api import Api
from etcdlab.control.application import Application
from etcdlab.control.connection import ClientGone, Connection, Limits
from etcdlab.control.supervisor import Supervisor
from etcdlab.ownership import is_trusted, user_of_peer

log = logging.getLogger(__name__)
DEFAULT_LIMITS = Limits()


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
                listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
                await acceptor.start(partial(trio.serve_listeners, server.handle, listeners, handler_nursery=handlers))
                task_status.started()
                await shutdown.wait()
                acceptor.cancel_scope.cancel()
            server.interrupt()
            handlers.cancel_scope.deadline = trio.current_time() + limits.grace_s
    finally:
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

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. Whatever a client provokes ends with its connection, in the log."""
        connection = Connection(stream, self._limits)
        self._connections.add(connection)
        try:
            async with stream:
                if not is_trusted(user := user_of_peer(stream)):
                    await connection.refuse(HTTPStatus.FORBIDDEN, f"this lab is not user {user}'s")
                elif len(self._connections) > self._limits.connections:
                    await connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open")
                else:
                    await connection.serve(self._application.answer)
        except* ClientGone:
            pass
        except* Exception:
            log.exception("a connection on the control socket failed")
        finally:
            self._connections.remove(connection)

    def interrupt(self) -> None:
        """Let go of clients that wait for something, or are waited for."""
        for connection in self._connections:
            connection.interrupt()
