"""Watching the members' logs as they grow: whole lines, as soon as they are written, at no cost while nothing is."""

import logging
import math
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from etcdlab.etcd.logfile import Tail
from etcdlab.etcd.parts import part_being_cut
from etcdlab.etcd.rotation import rotate

logger = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""How often logs are looked at where there is no inotify."""
RETRY_S: Final = 10.0
"""Seconds after which a rotation that the disk had no space for is tried again: it copies a whole log's worth."""


class Changes(Protocol):
    """Tells which files may have changed."""

    async def wait(self) -> Collection[str]:
        """Wait until there are some; their names."""

    def close(self) -> None:
        """Stop watching."""


class Inotify:
    """Linux tells: nothing is done while nothing is written."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        import inotify_simple  # there is none elsewhere

        self._inotify = inotify_simple.INotify()
        self._names = {
            self._inotify.add_watch(str(path), inotify_simple.flags.MODIFY): name for name, path in files.items()
        }

    async def wait(self) -> Collection[str]:
        """Wait for the kernel's word."""
        await trio.lowlevel.wait_readable(self._inotify.fd)
        return {self._names[event.wd] for event in self._inotify.read(timeout=0) if event.wd in self._names}

    def close(self) -> None:
        """Close the descriptor."""
        self._inotify.close()


class Polling:
    """Elsewhere all of them are looked at, every POLL_S seconds."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._names = tuple(files)

    async def wait(self) -> Collection[str]:
        """Wait for the next look."""
        await trio.sleep(POLL_S)
        return self._names

    def close(self) -> None:
        """Nothing is held."""


def changes_of(files: Mapping[str, Path]) -> Changes:
    """The best way that this system has: a user may have no inotify instances left (128 by default)."""
    if sys.platform == "linux":
        with suppress(OSError):
            return Inotify(files)
    return Polling(files)


async def watch_lines(
    logs: Mapping[str, Path],
    on_lines: Callable[[str, list[bytes]], None],
    *,
    size: int,
    count: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """For ever: call `on_lines(name, lines)` with each batch of new lines. Started once every log is watched.

    A log of more than `size` bytes is rotated; `count` older parts of it are kept.
    """
    with ExitStack() as stack:
        for path in logs.values():
            path.touch(mode=0o600)
        watched = {
            name: _Watched(stack.enter_context(closing(Tail(path))), size=size, count=count)
            for name, path in logs.items()
        }
        changes = stack.enter_context(closing(changes_of(logs)))
        async with trio.open_nursery() as nursery:
            for name, log in watched.items():
                nursery.start_soon(log.follow, partial(on_lines, name))
            task_status.started()
            while True:
                for name in await changes.wait():
                    watched[name].news.set()


class _Watched:
    """One of the logs. Each has a task, so that a flood in one holds up no other."""

    def __init__(self, tail: Tail, *, size: int, count: int) -> None:
        self.news = trio.Event()
        self._tail = tail
        self._size = size
        self._count = count
        self._rotate_at = -math.inf

    async def follow(self, on_lines: Callable[[list[bytes]], None]) -> None:
        """Read what is new, a batch at a time, and rotate. For ever."""
        if self._tail.newest_size > self._size or part_being_cut(self._tail.path).exists():
            await self._rotate()  # what members wrote without a daemon, or what one was killed at
        while True:
            await self.news.wait()
            self.news = trio.Event()
            while lines := await self._read():
                on_lines(lines)
                if self._tail.newest_size > self._size:
                    await self._rotate()
                if not self._tail.is_behind:
                    break  # each line wakes us by itself: to make sure would double what a boot's lines cost
                await trio.lowlevel.checkpoint()

    async def _read(self) -> list[bytes]:
        """New lines; tried again while they cannot be read, most likely since this process may open no more files."""
        is_told = False
        while True:
            try:
                return self._tail.new_lines()
            except OSError as error:
                if not is_told:
                    logger.warning("%s cannot be read, and is tried again: %s", self._tail.path, error)
                is_told = True
                await trio.sleep(POLL_S)

    async def _rotate(self) -> None:
        if trio.current_time() < self._rotate_at:
            return
        try:
            await trio.to_thread.run_sync(partial(rotate, self._tail.path, size=self._size, count=self._count))
        except OSError as error:  # a full disk, most likely: the members go on, and so does their supervisor
            self._rotate_at = trio.current_time() + RETRY_S
            logger.warning("%s is not rotated: %s", self._tail.path, error)
