"""The lab's journal: events appended to `events.jsonl` as they happen, and handed to whoever follows."""

import logging
import os
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from etcdlab.errors import LabStateError
from etcdlab.model.event import Event, EventKind, parse
from etcdlab.model.past import Past
from etcdlab.runtime.broadcast import Broadcast

logger = logging.getLogger(__name__)

FOLLOWER_BACKLOG: Final = 1000
"""Events that a follower may fall behind before it is dropped; it can come back with the last `seq` it saw."""


def now_text() -> str:
    """The wall clock as the journal writes it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Journal:
    """The only writer of a lab's events; `sequence` is the last one's `seq`, `past` what earlier daemons wrote.

    Raises LabStateError if it cannot be.

    Events are not waited for until they are on the disk: a crash of the machine costs the last of them, and no member.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.past = Past(read(path) if path.exists() else ())
            self.sequence = self.past.sequence
            # After a line that a crash or a full disk cut short, the next begins on a line of its own.
            self._torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LabStateError(
                f"{path} cannot be read or written: {error.strerror}",
                hint="It is a file of the lab's owner, mode 0600.",
            ) from error
        self._live = Broadcast[Event](FOLLOWER_BACKLOG)

    def emit(self, kind: EventKind, node: str | None = None, **detail: Any) -> Event:
        """Append an event and hand it to the followers. A line is one write, so that a reader sees no half of it."""
        self.sequence += 1
        event = Event(
            seq=self.sequence, time=now_text(), monotonic_s=time.monotonic(), kind=kind, node=node, detail=detail
        )
        self._append(msgspec.json.encode(event) + b"\n")
        self._live.publish(event)
        return event

    def _append(self, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        try:
            self._torn = os.write(self._descriptor, data) < len(data)
        except OSError as error:  # a full disk must not take the supervisor down
            self._torn = True
            logger.warning("event not written to %s: %s", self._path, error)

    async def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        """Events with `seq` above `since`: those written, then (`follow`) those to come, without a gap."""
        with self._live.follow() as live:
            for event in read(self._path):
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
        os.close(self._descriptor)


def read(path: Path) -> list[Event]:
    """The events of a journal file; a line that is none is left out."""
    with path.open("rb") as file:
        return list(filter(None, map(parse, file)))
