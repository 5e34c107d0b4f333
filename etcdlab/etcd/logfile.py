"""Members' log files: their last lines, all of them merged by time, and what is appended from now on.

A line of more than LONGEST_LINE bytes comes in pieces of about that size: one without an end must not fill the memory.
A log that was rotated is read with its older parts, and places in it are as in `etcdlab.etcd.parts`.
Everything here blocks; nothing here writes.
"""

import contextlib
import heapq
import io
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from etcdlab.etcd.log import Record, parse
from etcdlab.etcd.parts import LogParts

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
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def last_lines(path: Path, count: int, *, since: int | None = None) -> list[bytes]:
    """The last `count` lines of the log at `path`, oldest first, reading no more than it must. No file: no lines.

    They are fewer if they have more than LAST_BYTES together.

    With `since`, only lines from that place on; all when the log ends before it, since somebody has emptied it.
    """
    with LogParts(path) as parts:
        lines = _backwards(parts, parts.end(), since=since or 0)
        return list(_within(LAST_BYTES, itertools.islice(lines, count)))[::-1]


def end(path: Path) -> int:
    """The place behind the last byte of the log at `path`: what is written from now on is behind it."""
    with LogParts(path) as parts:
        return parts.end()


def read(paths: Mapping[str, Path], count: int | None = None) -> Iterator[tuple[str, Record]]:
    """What the members' logs hold, by time, as (member, record). `count` bounds each member's lines, from the end."""
    return merge({name: lines(path, count) for name, path in paths.items()})


def lines(path: Path, count: int | None = None) -> Iterator[bytes]:
    """The lines of the log at `path`, oldest first: all that are kept, or the last `count`."""
    with LogParts(path) as parts:
        yield from _history(parts, parts.end(), count)


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
    """One log: what it held when opened, then what is appended. Survives rotation, absence, and being replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = LogParts(path)
        self._rest = b""
        self.is_behind = False
        """Whether the last read left something, so that it is worthwhile to read again at once."""
        self.position = self._end = self._last_line_end()

    @property
    def newest_size(self) -> int:
        """How much was read of the newest part."""
        return self.position - self._parts.newest_start

    def history(self, count: int | None = None) -> Iterator[bytes]:
        """The lines from before this object was made, oldest first: all, or the last `count`."""
        return _history(self._parts, self._end, count)

    def history_since(self, place: int) -> Iterator[bytes]:
        """Of those lines the ones from `place` on; all when they end before it, since somebody has emptied the log."""
        return _forwards(self._parts, place if place <= self._end else 0, self._end)

    def new_lines(self) -> list[bytes]:
        """Whole lines not given yet, at most one read's worth; none when there are none now."""
        while data := self._read():
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                lines.append(self._rest)
                self._rest = b""
            if lines:
                return lines
        return []

    def close(self) -> None:
        """Close the file."""
        self._parts.close()

    def _last_line_end(self) -> int:
        end = self._parts.end()
        last = next(_backwards(self._parts, end), b"")
        return end if last.endswith(b"\n") else end - len(last)

    def _read(self) -> bytes:
        place, data = self._parts.read(self.position, _READ)
        self.is_behind = len(data) == _READ
        is_gap, self.position = place != self.position, place + len(data)
        # What was cut short for good is a line of its own, not the start of another.
        return b"\n" + data if is_gap and self._rest else data


def _history(parts: LogParts, end: int, count: int | None) -> Iterator[bytes]:
    """A log's lines before `end`, oldest first: all, or the last `count`."""
    if count is None:
        return _forwards(parts, 0, end)
    return reversed(list(itertools.islice(_backwards(parts, end), count)))


def _within(budget: int, lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        budget -= len(line)
        if budget < 0:
            return
        yield line


def _forwards(parts: LogParts, place: int, end: int) -> Iterator[bytes]:
    """The lines from `place` to `end`, with their newlines."""
    rest = b""
    while place < end:
        start, data = parts.read(place, min(_READ, end - place))
        if not data or start < place:  # somebody has emptied it meanwhile
            break
        place = start + len(data)
        *lines, rest = _lines(rest + data)
        yield from lines
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _backwards(parts: LogParts, end: int, since: int = 0) -> Iterator[bytes]:
    """The lines from `since` to `end`, last first, with their newlines; all when `since` is behind `end`."""
    since = max(since if since <= end else 0, parts.start())
    first = b""
    while end > since:
        start = max(end - _BLOCK, since)
        block = _between(parts, start, end)
        if len(block) < end - start:
            since = start  # what was there is no longer kept
        end = start
        first, *lines = _lines(block + first) or [b""]
        yield from reversed(lines)
        if len(first) > LONGEST_LINE:
            yield first
            first = b""
    if first:
        yield first


def _between(parts: LogParts, start: int, end: int) -> bytes:
    """What is there from `start` to `end`; if not all of it is kept any more, the last of it."""
    found = b""
    while start < end:
        place, data = parts.read(start, end - start)
        if not data or place < start or place >= end:
            break
        found = found + data if place == start else data[: end - place]
        start = place + len(data)
    return found


def _lines(data: bytes) -> list[bytes]:
    return io.BytesIO(data).readlines()


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
