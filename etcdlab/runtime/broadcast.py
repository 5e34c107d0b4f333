"""One writer, many followers, none of which can slow the writer down or fill the memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

Item = TypeVar("Item")


class Broadcast(Generic[Item]):
    """Hands each item to every follower; one that falls more than `backlog` items behind is dropped."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._followers: set[trio.MemorySendChannel[Item]] = set()

    def publish(self, item: Item) -> None:
        """Hand `item` to all followers, at once."""
        for follower in list(self._followers):
            try:
                follower.send_nowait(item)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._followers.discard(follower)
                follower.close()

    @contextmanager
    def follow(self) -> Iterator[trio.MemoryReceiveChannel[Item]]:
        """What is published from now on; the channel ends when this follower is dropped or the writer closes."""
        send, receive = trio.open_memory_channel[Item](self._backlog)
        self._followers.add(send)
        try:
            with receive:
                yield receive
        finally:
            self._followers.discard(send)
            send.close()

    def close(self) -> None:
        """End all followers' channels."""
        while self._followers:
            self._followers.pop().close()
