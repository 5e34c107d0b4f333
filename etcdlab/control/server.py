"""Serve the API on the control socket, and end in time. Slow to import (0.1 s): the daemon does so once members run."""

import http
import logging
import socket
from functools import partial
from pathlib import Path
from typing import cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from etcdlab.control.api import Api
from etcdlab.control.application import application
from etcdlab.control.connection import BoundedStream, Limits
from etcdlab.control.supervisor import Supervisor

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

    At shutdown streams end at once and other requests have `limits.grace_s`.
    """
    server = _Server(cluster, shutdown, limits)
    path = listener.getsockname()
    try:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as acceptor:
                listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
                accept = partial(trio.serve_listeners, server.serve, listeners, handler_nursery=connections)
                await acceptor.start(accept)
                task_status.started()
                await shutdown.wait()
                acceptor.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + limits.grace_s
    finally:
        Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - microseconds, and at the end


class _Server:
    """Serves connections: how many there are, and Hypercorn's settings."""

    def __init__(self, cluster: Supervisor, shutdown: trio.Event, limits: Limits) -> None:
        app = application(Api(cluster), limits=limits, shutdown=shutdown)
        self._app = ASGIWrapper(cast("ASGIFramework", app))
        self._config = _hypercorn_config(limits)
        self._shutdown = shutdown
        self._limits = limits
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. Whatever a client provokes ends with its connection, in the log."""
        bounded = BoundedStream(stream, self._limits)
        self._open += 1
        try:
            if self._open > self._limits.connections:
                await bounded.refuse(http.HTTPStatus.SERVICE_UNAVAILABLE)
                return
            # Hypercorn's contexts are for all connections. With one each, a connection can be told that it is the last.
            context = WorkerContext(max_requests=None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bounded.watch_close, nursery.cancel_scope)
                nursery.start_soon(_terminate_after, context, self._shutdown)
                nursery.start_soon(_terminate_after, context, bounded.left)
                # Not hypercorn.trio.serve: there, one connection's failure ends the server.
                await TCPServer(self._app, self._config, context, ConnectionState({}), bounded)  # type: ignore[arg-type]
                nursery.cancel_scope.cancel()
        except* Exception:
            log.exception("a connection on the control socket failed")
        finally:
            self._open -= 1


async def _terminate_after(context: WorkerContext, event: trio.Event) -> None:
    await event.wait()
    await context.terminated.set()


def _hypercorn_config(limits: Limits) -> Config:
    config = Config()
    # As many messages as a request can have: when the queue is full, Hypercorn deadlocks between reader and answer.
    config.max_app_queue_size = limits.request_bytes + 2
    # Runs from the connection's start or the last answer to the end of the next request's head. (read_timeout would
    # also cut off a follower of events, who says nothing by right.)
    config.keep_alive_timeout = limits.head_s
    config.include_server_header = False
    config.errorlog = log
    return config
