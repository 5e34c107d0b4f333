"""`etcdlab events`: what happened in a lab, from its journal. Reads the file, so it works with the daemon dead."""

import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import click
import msgspec

from etcdlab.cli.result import Cell, Result
from etcdlab.cli.stream import LINE_COUNT, stream_verb
from etcdlab.cli.verb import lab_option
from etcdlab.etcd.logfile import Tail, arrivals
from etcdlab.model.event import Event, EventKind, describe, parse
from etcdlab.model.text import printable
from etcdlab.prepare import labdir

EVENTS: Final = 200
"""How many are shown unless told otherwise: some screenfuls."""

_STYLES: Final = {
    EventKind.READY: "good",
    EventKind.LAB_READY: "good",
    EventKind.LAB_RESET: "good",
    EventKind.QUORUM_REGAINED: "good",
    EventKind.EXITED: "warning",
    EventKind.PAUSED: "warning",
    EventKind.FAILED: "bad",
    EventKind.QUORUM_LOST: "bad",
}

_NO_NODE: Final = "-"


@stream_verb("events", example="etcdlab events -f")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("-n", "--lines", type=LINE_COUNT, default=EVENTS, show_default=True, help="Only the last N.")
@lab_option
def events(follow: bool, lines: int, lab: str | None, json_lines: bool) -> Result:
    """Show what happened: members spawned, exited, restarted, failed; leaders and quorum changing."""
    directory = labdir.choose(lab)
    width = max(len(node.name) for node in directory.load_plan().nodes)
    journal = _journal(Tail(directory.events), follow=follow, count=lines)
    if json_lines:
        return Result(view=(msgspec.json.encode(event).decode() for event in journal))
    return Result(view=(_for_people(event, width) for event in journal))


def _journal(tail: Tail, *, follow: bool, count: int) -> Iterator[Event]:
    with contextlib.closing(tail):
        lines = tail.history(count)
        if follow:
            lines = itertools.chain(lines, (line for batch in arrivals({"": tail}) for line in batch[""]))
        yield from filter(None, map(parse, lines))


def _for_people(event: Event, width: int) -> str | Cell:
    node = printable(event.node or _NO_NODE).ljust(width)
    text = f"{_clock(event.time)}  {node}  {event.kind.value:<15}  {printable(describe(event))}".rstrip()
    style = _STYLES.get(event.kind)
    return Cell(text, style) if style else text


def _clock(time: str) -> str:
    try:
        local = datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError):
        return printable(time)
    return local.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
