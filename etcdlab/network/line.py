"""One direction of a connection: a delay line, not a sleep for each chunk.

A sleep before each chunk adds up where many are on their way: 25 ms a way gave 103 ms for a put instead of some 50.
"""

import random
from collections import deque
from typing import Final, NamedTuple

import trio

from etcdlab.model.link import Link
from etcdlab.network.network import Network

CHUNK: Final = 65536
MOST: Final = 2**20
"""Bytes on their way; then nothing more is read, and who sends has to wait as with a full TCP window."""


class _Sent(NamedTuple):
    data: bytes
    at: float
    luck: float


class Line:
    """Carries bytes from `source` to `sink` as the link lets them."""

    def __init__(self, source: trio.SocketStream, sink: trio.SocketStream, link: Link, network: Network) -> None:
        self._source = source
        self._sink = sink
        self._link = link
        self._network = network
        self._on_its_way: deque[_Sent] = deque()
        self._size = 0
        self._changed = trio.Event()

    async def carry(self) -> None:
        """Carry what comes, and last the end of the source. Raises trio.BrokenResourceError."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver)
            while True:
                data = bytes(await self._source.receive_some(CHUNK))
                # Past the queue, where nothing is to be waited for: two switches of tasks less for each chunk.
                if data and not self._on_its_way and not self._network.is_shaped(self._link):
                    await self._sink.send_all(data)
                    continue
                self._on_its_way.append(_Sent(data, trio.current_time(), random.uniform(-1, 1)))
                self._size += len(data)
                self._pulse()
                if not data:
                    return
                while self._size >= MOST:
                    await self._changed.wait()

    async def _deliver(self) -> None:
        while True:
            while not self._on_its_way:
                await self._changed.wait()
            sent = self._on_its_way[0]
            if not sent.data:
                await self._network.wait_passable(self._link)
                await self._sink.send_eof()
                return
            rest = sent.data
            while rest:
                size = self._network.piece(self._link) or len(rest)
                piece, rest = rest[:size], rest[size:]
                await self._network.wait_arrival(self._link, sent.at, sent.luck, len(piece))
                await self._sink.send_all(piece)
            # Only now, so that nothing overtakes it.
            self._on_its_way.popleft()
            self._size -= len(sent.data)
            self._pulse()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
