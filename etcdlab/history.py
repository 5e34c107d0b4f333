"""What happened in a lab and what its members logged, since a moment that was marked. Reads files: no daemon needed."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from etcdlab.errors import TimedOutError
from etcdlab.etcd import logfile
from etcdlab.etcd.log import Record
from etcdlab.etcd.logfile import Tail, arrivals, merge
from etcdlab.model.event import Event, parse


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in the life of a lab: where its journal and its members' logs ended, by the monotonic clock `at_s`."""

    journal: int
    logs: Mapping[str, int]
    at_s: float


def mark(journal: Path, logs: Mapping[str, Path]) -> Mark:
    """This moment."""
    ends = {name: logfile.end(path) for name, path in logs.items()}
    return Mark(journal=logfile.end(journal), logs=ends, at_s=time.monotonic())


def events(journal: Path, since: Mark | None) -> list[Event]:
    """The events after `since`, or all of them."""
    with closing(Tail(journal)) as tail:
        return list(filter(None, map(parse, tail.history_since(since.journal if since else 0))))


def wait_for_event(
    journal: Path, accept: Callable[[Event], bool], *, since: Mark | None, timeout: float, what: str
) -> Event:
    """The first event that `accept` takes after `since`, or from now on. Raises TimedOutError after `timeout` s."""
    for line in _lines({"": journal}, {"": since.journal if since else None}, timeout):
        event = parse(line)
        if event is not None and accept(event):
            return event
    raise TimedOutError(f"no {what} within {timeout:g} s", hint=f"{journal} has what happened instead.")


def log_lines(log: Path, name: str, since: Mark | None) -> list[str]:
    """The lines of a member's log after `since`, or all of it that is kept."""
    with closing(Tail(log)) as tail:
        return [_text(line) for line in tail.history_since(since.logs.get(name, 0) if since else 0)]


def log_records(logs: Mapping[str, Path], since: Mark | None) -> list[tuple[str, Record]]:
    """What all members logged after `since`, by time, as (member, record)."""
    with ExitStack() as stack:
        tails = {name: stack.enter_context(closing(Tail(path))) for name, path in logs.items()}
        starts = since.logs if since else {}
        return list(merge({name: tail.history_since(starts.get(name, 0)) for name, tail in tails.items()}))


def wait_for_line(
    logs: Mapping[str, Path], pattern: "str | re.Pattern[str]", *, since: Mark | None, timeout: float
) -> str:
    """The first line with `pattern` (`re.search`) after `since`, or from now on. Raises TimedOutError."""
    starts = {name: since.logs.get(name, 0) if since else None for name in logs}
    for line in map(_text, _lines(logs, starts, timeout)):
        if re.search(pattern, line):
            return line
    shown = pattern if isinstance(pattern, str) else pattern.pattern
    have = "has" if len(logs) == 1 else "have"
    raise TimedOutError(
        f"{', '.join(logs)} {have} logged nothing like {shown!r} within {timeout:g} s",
        hint=f"What there is: {', '.join(map(str, logs.values()))}.",
    )


def _lines(paths: Mapping[str, Path], starts: Mapping[str, int | None], timeout: float) -> Iterator[bytes]:
    """The lines of each from its place on (None: from now on), as they come, for `timeout` seconds."""
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        tails = {name: stack.enter_context(closing(Tail(path))) for name, path in paths.items()}
        for name, tail in tails.items():
            if (start := starts[name]) is not None:
                yield from tail.history_since(start)
        for batch in arrivals(tails, deadline=deadline):
            yield from (line for lines in batch.values() for line in lines)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\n")
