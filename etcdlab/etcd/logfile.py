"""Members' log files: their last lines, all of them merged by time, and what is appended from now on.

A line of more than LONGEST_LINE bytes comes in pieces of about that size: one without an end must not fill the memory.
A log at `etcd.log` may have older parts: `etcd.log.1` is the newest of them, `etcd.log.2` the one before, and so on.
Everything here blocks; nothing here writes.
"""

import contextlib
import heapq
import io
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from etcdlab.etcd.log import Record, parse
from etcdlab.etcd.rotation import older_part

if TYPE_CHECKING:
    from inotify_simple import INotify

POLL_S: Final = 0.1
"""How often files are looked at where there is no inotify."""

LONGEST_LINE: Final = 2 * 2**20
"""Bytes. etcd takes requests of 1.5 MiB, and may tell a key whole."""
LAST_BYTES: Final = 8 * LONGEST_LINE
"""How much the last lines may be together."""

_BLOCK: Final = 64 * 1024
_READ: Final = 4 * _BLOCK
_PROOF: Final = 256
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def last_lines(path: Path, count: int, *, since: int | None = None) -> list[bytes]:
    """The last `count` lines of the log at `path`, oldest first, reading no more than it must. No file: no lines.

    They are fewer if they have more than LAST_BYTES together.

    With `since`, only lines from that byte of the newest part on; all of it when it is shorter, as after a rotation.
    """
    lines = _all_backwards(path) if since is None else _backwards(path, since=since)
    return list(_within(LAST_BYTES, itertools.islice(lines, count)))[::-1]


def read(paths: Mapping[str, Path], count: int | None = None) -> Iterator[tuple[str, Record]]:
    """What the members' logs hold, by time, as (member, record). `count` bounds each member's lines, from the end."""
    return merge({name: _history(path, count) for name, path in paths.items()})


class LogFiles:
    """Members' logs as they are when this is made, and then what is appended to them, without a gap between.

    A context manager, since it keeps the files open.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._tails = {name: Tail(path) for name, path in paths.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for tail in self._tails.values():
            tail.close()

    def history(self, count: int | None = None) -> Iterator[tuple[str, Record]]:
        """As `read`, but without a last line that is not finished: it will be the first to arrive."""
        return merge({name: tail.history(count) for name, tail in self._tails.items()})

    def arrivals(self) -> Iterator[tuple[str, Record]]:
        """What is appended, as it comes. Ends when the logs' directories are gone."""
        for batch in arrivals(self._tails):
            yield from merge(batch)


def arrivals(tails: "Mapping[str, Tail]", *, deadline: float | None = None) -> Iterator[dict[str, list[bytes]]]:
    """Wait, then give the new lines of those that have some, again and again.

    Ends when the files' directories are gone, or with a `deadline` (`time.monotonic`) at that time.
    """
    directories = {tail.path.parent for tail in tails.values()}
    # Watched before the first look, so that what comes in between is not waited for in vain.
    with _watch(directories) as wait:
        while True:
            while batch := {name: lines for name, tail in tails.items() if (lines := tail.new_lines())}:
                yield batch
            if not any(directory.exists() for directory in directories):
                return
            if deadline is None:
                wait(None)
            elif (left := deadline - time.monotonic()) > 0:
                wait(left)
            else:
                return


class Tail:
    """One log: what it held when opened, then what is appended. Survives rotation, renaming and absence.

    A rotation is seen by the log being shorter than what was read of it: one that has grown past that again before it
    was looked at goes unnoticed, and what was rotated away is missed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._last = b""
        self.is_behind = False
        """Whether the last read left something, so that it is worthwhile to read again at once."""
        self._open()
        self.position = self._end = self._last_line_end()

    def history(self, count: int | None = None) -> Iterator[bytes]:
        """The lines from before this object was made, oldest first: all, or the last `count`."""
        return _history(self.path, count, self._end)

    def history_since(self, start: int) -> list[bytes]:
        """Of those lines the ones from byte `start` of the log on; all when it is shorter, as after a rotation."""
        return list(_backwards(self.path, self._end, since=start))[::-1]

    def new_lines(self) -> list[bytes]:
        """Whole lines not given yet, at most one read's worth; none when there are none now."""
        while data := self._read() or self._read_after_change():
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                lines.append(self._rest)
                self._rest = b""
            if lines:
                return lines
        return []

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file = self.path.open("rb", buffering=0)

    def _last_line_end(self) -> int:
        if self._file is None:
            return 0
        end = self._file.seek(0, os.SEEK_END)
        last = next(_backwards(self.path, end), b"")
        return end if last.endswith(b"\n") else end - len(last)

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(self.position)
        data = self._file.read(_READ) or b""
        self.is_behind = len(data) == _READ
        self.position += len(data)
        self._last = data[-_PROOF:] or self._last
        return data

    def _read_after_change(self) -> bytes:
        """The same, after the file was looked at again: what rotation took away unread, then the new start."""
        position = self.position
        if not self._changed():
            return b""
        taken = self._taken_away(position)
        if (taken or self._rest) and not taken.endswith(b"\n"):
            taken += b"\n"  # cut short for good: a line of its own, not the start of the new file's first
        return taken or self._read()

    def _taken_away(self, position: int) -> bytes:
        """What was behind `position` when the log was copied to its first older part and truncated."""
        with contextlib.suppress(OSError), older_part(self.path, 1).open("rb") as file:
            file.seek(max(position - len(self._last), 0))
            # The part is this log's past only if it holds what was read last.
            if self._last and file.read(len(self._last)) == self._last:
                return file.read()
        return b""

    def _changed(self) -> bool:
        """Whether there is another file to read, or this one from its start: it appeared, or was rotated."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            # An open file keeps the kernel from telling that its directory was removed.
            self.close()
            self._file = None
            return False
        if self._file is not None:
            if there.st_size >= self.position and os.path.samestat(there, os.fstat(self._file.fileno())):
                return False
            self._file.close()
        self._open()
        self.position = 0
        return True


def _older(path: Path) -> list[Path]:
    """The older parts of the log at `path`, newest first."""
    return list(itertools.takewhile(Path.exists, (older_part(path, number) for number in itertools.count(1))))


def _history(path: Path, count: int | None, end: int | None = None) -> Iterator[bytes]:
    """A log's lines, oldest first: all, or the last `count`; of the newest part only what is before offset `end`."""
    if count is None:
        for part in reversed(_older(path)):
            yield from _forwards(part)
        yield from _forwards(path, end)
    else:
        yield from reversed(list(itertools.islice(_all_backwards(path, end), count)))


def _all_backwards(path: Path, end: int | None = None) -> Iterator[bytes]:
    """All parts' lines, last first."""
    return itertools.chain(_backwards(path, end), *map(_backwards, _older(path)))


def _within(budget: int, lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        budget -= len(line)
        if budget < 0:
            return
        yield line


def _forwards(path: Path, end: int | None = None) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        position = 0
        while line := file.readline(LONGEST_LINE):
            position += len(line)
            if end is not None and position > end:
                return
            yield line


def _backwards(path: Path, end: int | None = None, since: int = 0) -> Iterator[bytes]:
    """The lines from offset `since` to `end` (default: all), last first, with their newlines. No file: no lines."""
    with contextlib.suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
        start = file.seek(0, os.SEEK_END) if end is None else end
        since = since if since <= start else 0
        first = b""
        while start > since:
            size = min(_BLOCK, start - since)
            start -= size
            first, *lines = io.BytesIO(os.pread(file.fileno(), size, start) + first).readlines()
            yield from reversed(lines)
            if len(first) > LONGEST_LINE:
                yield first
                first = b""
        if first:
            yield first


def merge(logs: Mapping[str, Iterable[bytes]]) -> Iterator[tuple[str, Record]]:
    """Members' lines by time, as (member, record)."""
    groups = (_groups(name, lines) for name, lines in logs.items())
    for _, name, records in heapq.merge(*groups, key=lambda group: group[0]):
        for record in records:
            yield name, record


def _groups(name: str, lines: Iterable[bytes]) -> Iterator[tuple[datetime, str, list[Record]]]:
    """A log's records, each with those behind it that have no time: a Go stack stays with its panic."""
    moment, group, size = _LONG_AGO, list[Record](), 0
    for record in map(parse, lines):
        if record.time is not None:
            if group:
                yield moment, name, group
            moment, group, size = record.time, [], 0
        elif size > LONGEST_LINE:  # no stack: the rest of it comes as another group of the same time
            yield moment, name, group
            group, size = [], 0
        group.append(record)
        size += len(record.raw)
    if group:
        yield moment, name, group


@contextlib.contextmanager
def _watch(directories: Iterable[Path]) -> Iterator[Callable[[float | None], object]]:
    """Gives a function that blocks until something may have changed in one of `directories`, or for so many seconds."""
    inotify = _inotify(directories) if sys.platform == "linux" else None
    if inotify is None:
        yield lambda bound_s: time.sleep(POLL_S if bound_s is None else min(POLL_S, bound_s))
        return
    with inotify:
        yield lambda bound_s: inotify.read(None if bound_s is None else math.ceil(bound_s * 1000))


def _inotify(directories: Iterable[Path]) -> "INotify | None":
    """An inotify instance that watches `directories`; None when out of instances or watches, or one is missing."""
    from inotify_simple import INotify, flags  # exists only on Linux

    with contextlib.ExitStack() as stack:
        try:
            inotify = stack.enter_context(INotify())
            news = flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.DELETE | flags.DELETE_SELF
            for directory in directories:
                inotify.add_watch(str(directory), news)
        except OSError:
            return None
        stack.pop_all()
        return inotify
