"""The faults of a lab while they act: the connections that they end, and the bytes that wait for them."""

import math
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from etcdlab.model.link import AnyFault, Link, LinkFault
from etcdlab.network.rules import Faults

_RESET: Final = struct.pack("ii", 1, 0)


class Network:
    """All links of a lab. `run` is its task; `changed` is the next change of what is on them."""

    def __init__(self) -> None:
        self.changed = trio.Event()
        self._faults = Faults()
        self._dialled: dict[Link, set[Dialled]] = {}
        self._free_at: dict[Link, float] = {}

    @property
    def faults(self) -> tuple[LinkFault, ...]:
        """What is on the links."""
        return tuple(self._faults)

    async def run(self) -> None:
        """Heal what is over and turn what flaps, for ever."""
        while True:
            changed, now = self.changed, trio.current_time()
            with trio.move_on_at(self._faults.next_change(now)) as waited:
                await changed.wait()
            if waited.cancelled_caught:
                self._faults.expire(trio.current_time())
                self._apply()

    def inject(self, links: Collection[Link], fault: AnyFault, *, for_s: float | None) -> None:
        """Put a fault on links, for so many seconds or (None) until it is healed."""
        now = trio.current_time()
        self._faults.inject(links, fault, now=now, until=None if for_s is None else now + for_s)
        self._apply()

    def restore(self, faults: Collection[LinkFault]) -> None:
        """Put back what was on the links."""
        for active in faults:
            self._faults.restore(active)
        self._faults.expire(trio.current_time())
        self._apply()

    def heal(self, links: Collection[Link] | None, kinds: Collection[str] | None) -> None:
        """Take away what is on these links (None: on all), or only these kinds of it."""
        self._faults.heal(links, kinds)
        self._apply()

    def _apply(self) -> None:
        now = trio.current_time()
        for link, dialled in self._dialled.items():
            if self._faults.is_cut(link, now):
                for connection in dialled:
                    connection.reset()
        self.changed.set()
        self.changed = trio.Event()

    # What connections ask

    def is_cut(self, link: Link) -> bool:
        """Whether what the link's source dials is refused now."""
        return self._faults.is_cut(link, trio.current_time())

    def is_shaped(self, link: Link) -> bool:
        """Whether bytes on the link are not passed on at once."""
        return self._faults.is_shaped(link)

    async def wait_passable(self, link: Link) -> None:
        """Wait while the link holds everything."""
        while self._faults.is_held(link):
            await self.changed.wait()

    async def wait_arrival(self, link: Link, sent_at: float, luck: float, size: int) -> None:
        """Wait until so many bytes that were sent then have arrived."""
        while True:
            await self.wait_passable(link)
            changed = self.changed
            with trio.move_on_at(sent_at + self._faults.delay_s(link, luck)) as waited:
                await changed.wait()
            if waited.cancelled_caught and not self._faults.is_held(link):
                break
        if rate := self._faults.rate(link):
            begins = max(trio.current_time(), self._free_at.get(link, -math.inf))
            self._free_at[link] = begins + size / rate
            await trio.sleep_until(self._free_at[link])

    def piece(self, link: Link) -> int | None:
        """How many bytes are passed on at a time where the rate is bounded: 20 pieces a second."""
        rate = self._faults.rate(link)
        return max(1, rate // 20) if rate else None

    @contextmanager
    def dialled(self, link: Link, *ends: trio.SocketStream) -> Iterator[None]:
        """The link's source has dialled, and the block carries what is sent; a cut ends it, and resets both ends."""
        connection = Dialled(ends)
        self._dialled.setdefault(link, set()).add(connection)
        try:
            with connection.scope:
                yield
        finally:
            self._dialled[link].remove(connection)


class Dialled:
    """A connection of which both ends are ours."""

    def __init__(self, ends: tuple[trio.SocketStream, ...]) -> None:
        self.scope = trio.CancelScope()
        self._ends = ends

    def reset(self) -> None:
        """End it; whoever closes the ends resets them."""
        for end in self._ends:
            reset_at_close(end)
        self.scope.cancel()


def reset_at_close(stream: trio.SocketStream) -> None:
    """Have its other end see a reset, not an end, when the stream is closed."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
