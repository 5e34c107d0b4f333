"""The lab's journal: events appended to `events.jsonl` as they happen, and handed to whoever follows.

It is bounded: a full file becomes an older part (`etcdlab.etcd.parts`), and the next one begins with an event that has
the past in short, so that the oldest part can go.
"""

import errno
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from etcdlab.errors import LabStateError
from etcdlab.etcd import logfile
from etcdlab.etcd.parts import older_part, older_parts
from etcdlab.model.event import Event, EventKind, parse
from etcdlab.model.past import Past
from etcdlab.runtime.broadcast import Broadcast

logger = logging.getLogger(__name__)

FOLLOWER_BACKLOG: Final = 1000
"""Events that a follower may fall behind before it is dropped; it can come back with the last `seq` it saw."""
SIZE: Final = 2**20
"""Bytes of a file, some 5,000 events."""
COUNT: Final = 3
"""Older files that are kept."""
UNWRITTEN: Final = 10_000
"""Events that are held while the disk is full; then the oldest are lost."""
RETRY_S: Final = 1.0
"""Seconds between attempts to write them."""


def now_text() -> str:
    """The wall clock as the journal writes it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Journal:
    """The only writer of a lab's events; `sequence` is the last one's `seq`, `past` what earlier daemons wrote.

    `run` is its task: it writes what could not be written when it happened. Raises LabStateError if the journal cannot
    be opened.

    Events are not waited for until they are on the disk: a crash of the machine costs the last of them, and no member.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            events = read(path)
            # After a line that a crash cut short, the next begins on a line of its own.
            self._is_torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
            self._descriptor = _open(path)
        except OSError as error:
            raise LabStateError(
                f"{path} cannot be read or written: {error.strerror}",
                hint="It is a file of the lab's owner, mode 0600.",
            ) from error
        self.past = Past(events)
        self.sequence = self.past.sequence
        self.problem = ""
        """Why the last event could not be written yet."""
        self._present = Past(events)
        self._unwritten = deque[Event](maxlen=UNWRITTEN)
        self._held_up = trio.Event()
        self._live = Broadcast[Event](FOLLOWER_BACKLOG)

    async def run(self) -> None:
        """Write what the disk had no space for, as soon as it has. For ever."""
        while True:
            await self._held_up.wait()
            await trio.sleep(RETRY_S)
            self._write()

    def emit(self, kind: EventKind, node: str | None = None, **detail: Any) -> Event:
        """Append an event and hand it to the followers. A line is one write, so that a reader sees no half of it."""
        self.sequence += 1
        event = Event(
            seq=self.sequence, time=now_text(), monotonic_s=time.monotonic(), kind=kind, node=node, detail=detail
        )
        self._present.take_in(event)
        self._unwritten.append(event)
        self._write()
        self._live.publish(event)
        if not self.problem and os.fstat(self._descriptor).st_size > SIZE:
            self._begin_file()
        return event

    async def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        """Events with `seq` above `since`: those written, then (`follow`) those to come, without a gap."""
        with self._live.follow() as live:
            unwritten = tuple(self._unwritten)
            for events in (_read(self._path), unwritten):
                for event in events:
                    if event.seq > since:
                        since = event.seq
                        yield event
            if follow:
                async for event in live:
                    if event.seq > since:
                        yield event

    def close(self) -> None:
        """End all followers and close the file."""
        self._live.close()
        self._write()
        os.close(self._descriptor)

    def _write(self) -> None:
        """Write what is not written, in its order, as far as the disk has space: that must not end the supervisor."""
        try:
            while self._unwritten:
                self._append(msgspec.json.encode(self._unwritten[0]) + b"\n")
                self._unwritten.popleft()
        except OSError as error:
            if not self.problem:
                logger.warning("events cannot be written to %s: %s", self._path, error)
            self.problem = f"{self._path} cannot be written: {error.strerror}"
            self._held_up.set()
            return
        if self.problem:
            self.problem, self._held_up = "", trio.Event()
            logger.warning("events can be written to %s again", self._path)

    def _append(self, line: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        data = b"\n" + line if self._is_torn else line
        if os.write(self._descriptor, data) < len(data):  # there was space for a part of it
            os.ftruncate(self._descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_torn = False

    def _begin_file(self) -> None:
        """Go on in a new file, which tells first what the older ones have told."""
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = _open(new)
            self._path.replace(older_part(self._path, logfile.end(self._path)))
            new.replace(self._path)
        except OSError as error:
            logger.warning("%s is not rotated: %s", self._path, error)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.emit(EventKind.JOURNAL_ROTATED, past=self._present.summary())
        for _, part in older_parts(self._path)[:-COUNT]:
            part.unlink(missing_ok=True)


def read(path: Path) -> list[Event]:
    """The events of a journal that are kept; a line that is none is left out."""
    return list(_read(path))


def _read(path: Path) -> Iterator[Event]:
    return filter(None, map(parse, logfile.lines(path)))


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
