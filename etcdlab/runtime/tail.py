"""Watching the members' logs as they grow: whole lines, as soon as they are written, at no cost while nothing is.

On Linux inotify says when there is something to read; elsewhere the files are looked at every 100 ms.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import trio

POLL_S: Final = 0.1
CHUNK: Final = 256 * 1024
"""Bytes read at once: a flood in one log must not keep the loop from anything else."""
MAX_LINE: Final = 2**20
"""Bytes after which a line is handed on in pieces: a line that never ends must not fill the memory."""


class LogTail:
    """One member's log, from where it stands when opened. Survives truncation."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._position = self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def read_lines(self) -> list[bytes]:
        """The lines completed in the next CHUNK bytes; an unfinished line waits for its end, or for MAX_LINE."""
        size = os.fstat(self._file.fileno()).st_size
        if size < self._position:
            self._position, self._rest = self._file.seek(0), b""
        data = self._file.read(CHUNK)
        self._position += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def is_behind(self) -> bool:
        """Whether the file has bytes, or was truncated to bytes, that were not read yet."""
        return os.fstat(self._file.fileno()).st_size != self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()


async def watch_lines(
    logs: Mapping[str, Path],
    on_lines: Callable[[str, list[bytes]], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """For ever: call `on_lines(name, lines)` with each batch of new lines. Started once every log is open."""
    tails = {name: LogTail(path) for name, path in logs.items()}
    try:
        if sys.platform == "linux":
            await _watch_inotify(logs, tails, on_lines, task_status)
        else:
            task_status.started()
            while True:
                await trio.sleep(POLL_S)
                for name, tail in tails.items():
                    await _drain(name, tail, on_lines)
    finally:
        for tail in tails.values():
            tail.close()


async def _watch_inotify(
    logs: Mapping[str, Path],
    tails: Mapping[str, LogTail],
    on_lines: Callable[[str, list[bytes]], None],
    task_status: trio.TaskStatus[None],
) -> None:
    import inotify_simple

    with inotify_simple.INotify() as inotify:
        names = {inotify.add_watch(str(path), inotify_simple.flags.MODIFY): name for name, path in logs.items()}
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(inotify.fd)
            for watch in {event.wd for event in inotify.read(timeout=0)}:
                if name := names.get(watch):
                    await _drain(name, tails[name], on_lines)


async def _drain(name: str, tail: LogTail, on_lines: Callable[[str, list[bytes]], None]) -> None:
    while tail.is_behind():
        on_lines(name, tail.read_lines())
        await trio.lowlevel.checkpoint()
