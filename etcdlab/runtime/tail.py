"""Watching the members' logs as they grow: whole lines, as soon as they are written, at no cost while nothing is."""

import logging
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final, Protocol

import trio

from etcdlab.etcd.logfile import Tail
from etcdlab.etcd.rotation import rotate

logger = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""How often logs are looked at where there is no inotify."""


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
    rotate_at: int,
    keep: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """For ever: call `on_lines(name, lines)` with each batch of new lines. Started once every log is watched.

    A log of more than `rotate_at` bytes is rotated; `keep` older parts of it are kept.
    """
    with ExitStack() as stack:
        for path in logs.values():
            path.touch(mode=0o600)
        tails = {name: stack.enter_context(closing(Tail(path))) for name, path in logs.items()}
        changes = stack.enter_context(closing(changes_of(logs)))
        task_status.started()
        while True:
            for name in await changes.wait():
                await _drain(name, tails[name], on_lines)
                if tails[name].position > rotate_at:
                    await _rotate(logs[name], keep)
                    await _drain(name, tails[name], on_lines)


async def _drain(name: str, tail: Tail, on_lines: Callable[[str, list[bytes]], None]) -> None:
    # A batch at a time: a flood in one log must not keep the loop from everything else. And not until nothing is left:
    # each line wakes us by itself, so that to make sure after each doubles what a boot's lines cost.
    while lines := tail.new_lines():
        on_lines(name, lines)
        if not tail.is_behind:
            return
        await trio.lowlevel.checkpoint()


async def _rotate(path: Path, keep: int) -> None:
    try:
        await trio.to_thread.run_sync(rotate, path, keep)
    except OSError as error:  # a full disk, most likely: the members go on, and so does their supervisor
        logger.warning("%s is not rotated: %s", path, error)
