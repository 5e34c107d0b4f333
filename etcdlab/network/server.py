"""The fault network's own socket: the daemon of now gives orders and is told what is on the links."""

import logging
import socket
from typing import Final

import msgspec
import trio

from etcdlab.network.network import Network
from etcdlab.network.wire import End, Heal, Inject, Order, Restore, State
from etcdlab.ownership import is_trusted, user_of_peer

logger = logging.getLogger(__name__)

CHUNK: Final = 65536
MOST: Final = 2**22
"""Bytes of one order: a partition of fifty members is 200 kB."""


async def serve(listener: socket.socket, network: Network, ended: trio.Event) -> None:
    """Serve on `listener`, which becomes this task's; `ended` is set when an order says so."""
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            if not is_trusted(user_of_peer(stream.socket)):
                return
            try:
                await _Session(stream, network, ended).run()
            except* (trio.BrokenResourceError, OSError):
                pass
            except* msgspec.DecodeError as error:
                logger.error("an order that is none: %s", error.exceptions[0])  # noqa: TRY400

    await trio.serve_listeners(handle, listeners)


class _Session:
    def __init__(self, stream: trio.SocketStream, network: Network, ended: trio.Event) -> None:
        self._stream = stream
        self._network = network
        self._ended = ended
        self._carried_out = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            await self._obey()
            nursery.cancel_scope.cancel()

    async def _tell(self) -> None:
        while True:
            changed = self._network.changed
            state = State(carried_out=self._carried_out, faults=self._network.faults)
            await self._stream.send_all(msgspec.json.encode(state) + b"\n")
            await changed.wait()

    async def _obey(self) -> None:
        rest = b""
        async for data in self._stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._carried_out += 1  # first: what is carried out is told of with this number
                self._carry_out(msgspec.json.decode(line, type=Order))
            if len(rest) > MOST:
                return

    def _carry_out(self, order: Order) -> None:
        match order:
            case Inject():
                self._network.inject(order.links, order.fault, for_s=order.for_s)
            case Heal():
                self._network.heal(order.links, order.kinds)
            case Restore():
                self._network.restore(order.faults)
            case End():
                self._ended.set()
