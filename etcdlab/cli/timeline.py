"""`etcdlab timeline`: members, leaders and faults against time, from the journal. Works with the daemon dead."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import click

from etcdlab.cli.moment import Moment
from etcdlab.cli.result import Cell, Result, View
from etcdlab.cli.verb import lab_option, verb
from etcdlab.errors import EtcdlabError
from etcdlab.export.timeline_page import page
from etcdlab.lab import Lab
from etcdlab.model.text import printable
from etcdlab.model.timeline import Condition, Span, Timeline
from etcdlab.prepare import labdir

WIDTH: Final = 60
"""Columns of the chart beside the names: a terminal of 80 has them."""
LONGEST_NAME: Final = 40
LEADS: Final = "L"
_MARKS: Final = {
    Condition.READY: "=",
    Condition.STARTING: "-",
    Condition.UNHEALTHY: "u",
    Condition.PAUSED: "p",
    Condition.DOWN: ".",
    Condition.STOPPED: "s",
    Condition.FAILED: "x",
}
_WORST_FIRST: Final = (
    Condition.FAILED, Condition.DOWN, Condition.STOPPED, Condition.PAUSED, Condition.UNHEALTHY, Condition.STARTING,
)  # fmt: skip
_LEGEND: Final = (
    "L leads  = ready  - starting  u unhealthy  p paused  . down  s stopped  x failed",
    "~ injected  ! no quorum",
)


@verb("timeline", example="etcdlab timeline --since 5m")
@click.option("--since", type=Moment(), metavar="TIME", help='Only from then on: "5m" ago, or an ISO time.')
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as one web page instead."
)
@lab_option
def timeline(since: datetime | None, html: Path | None, lab: str | None) -> Result:
    """Show how members were, who led and what was injected, against time."""
    chosen = Lab(labdir.choose(lab))
    shown = chosen.timeline(since=since)
    if html is None:
        return Result(view=_chart(shown), data=shown)
    try:
        html.write_text(page(chosen.name, shown, chosen.events()), encoding="utf-8")
    except OSError as error:
        raise EtcdlabError(f"{html} cannot be written: {error.strerror}", hint="Name another file.") from None
    return Result(view=[html.resolve().as_uri()], data=shown)


def _chart(shown: Timeline) -> View:
    length_s = max(shown.end_s - shown.begin_s, 0.001)
    edges = [shown.begin_s + length_s * number / WIDTH for number in range(WIDTH + 1)]
    rows = list(_rows(shown, list(pairwise(edges))))
    width = max(len(name) for name, _, _ in rows) if rows else 0
    head, tail = _clock(shown.began), _clock(shown.ended)
    yield f"{'':{width}}  {head}{tail:>{WIDTH - len(head)}}"
    for name, line, style in rows:
        text = f"{name:{width}}  {line}".rstrip()
        yield Cell(text, style) if style else text
    for line in _LEGEND:
        yield Cell(line, "quiet")


def _rows(shown: Timeline, slots: list[tuple[float, float]]) -> Iterator[tuple[str, str, str]]:
    for name, spans in shown.members.items():
        yield name, "".join(_mark(shown, name, spans, *slot) for slot in slots), ""
    if shown.without_quorum:
        yield "quorum", _line(shown.without_quorum, slots, "!"), "bad"
    for text in dict.fromkeys(span.text for span in shown.faults):
        spans = tuple(span for span in shown.faults if span.text == text)
        yield printable(text)[:LONGEST_NAME], _line(spans, slots, "~"), "warning"


def _mark(shown: Timeline, name: str, spans: tuple[Span, ...], begin_s: float, end_s: float) -> str:
    """What is worst of a slot is shown: a moment that a member was down is what people look for."""
    found = {Condition(span.text) for span in spans if span.overlaps(begin_s, end_s)}
    for condition in _WORST_FIRST:
        if condition in found:
            return _MARKS[condition]
    if any(leader.text == name and leader.overlaps(begin_s, end_s) for leader in shown.leaders):
        return LEADS
    return _MARKS[Condition.READY] if found else " "


def _line(spans: tuple[Span, ...], slots: list[tuple[float, float]], mark: str) -> str:
    return "".join(mark if any(span.overlaps(*slot) for span in spans) else " " for slot in slots)


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")
