"""`etcdlab logs`: the members' logs, merged by time, readable. Reads only files, so it works with the daemon dead."""

import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from etcdlab.cli.completion import complete_node
from etcdlab.cli.moment import Moment
from etcdlab.cli.result import Cell, Result
from etcdlab.cli.stream import LINE_COUNT, stream_verb
from etcdlab.cli.verb import lab_option
from etcdlab.etcd.log import Level, LogLine, Record, render
from etcdlab.etcd.logfile import LogFiles, read
from etcdlab.model.plan import Plan
from etcdlab.prepare import labdir

LINES: Final = 200
"""How many are shown unless told otherwise: some screenfuls."""

_STYLES: Final = {
    Level.DEBUG: "quiet",
    Level.WARNING: "warning",
    Level.ERROR: "bad",
    Level.PANIC: "bad",
    Level.FATAL: "bad",
}

Told = tuple[str, Record]
"""A member's name and what its log says."""


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression."""

    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        """The expression, compiled. A click usage error says what is wrong with it."""
        try:
            return re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)


class Sieve:
    """Which lines are wanted. A line without a time or level of its own goes with the one before it."""

    def __init__(self, *, level: Level, since: datetime | None, grep: re.Pattern[str] | None) -> None:
        self._level = level
        self._since = since
        self._grep = grep
        self._late: dict[str, bool] = {}
        self._grave: dict[str, bool] = {}

    @property
    def is_open(self) -> bool:
        """Whether every line is wanted."""
        return self._level is Level.DEBUG and self._since is None and self._grep is None

    def __call__(self, told: Iterable[Told]) -> Iterator[Told]:
        """The wanted ones of `told`."""
        return ((node, record) for node, record in told if self._wants(node, record))

    def _wants(self, node: str, record: Record) -> bool:
        if record.time is not None:
            self._late[node] = self._since is None or record.time >= self._since
        if not record.continues:
            self._grave[node] = record.level.rank >= self._level.rank
        if not (self._late.get(node, self._since is None) and self._grave.get(node, self._level is Level.DEBUG)):
            return False
        # As shown or as written: people copy from either.
        return self._grep is None or bool(self._grep.search(render(record)) or self._grep.search(_raw(record)))


@stream_verb("logs", example="etcdlab logs n2 -f --level warning")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("-n", "--lines", type=LINE_COUNT, help=f"Only the last N lines; default {LINES}, or all with --since.")
@click.option(
    "--level", type=click.Choice([level.value for level in Level]), default="debug", help="Only so grave or graver."
)
@click.option("--since", type=Moment(), metavar="TIME", help='Only from then on: "5m" ago, or an ISO time.')
@click.option("--grep", type=Pattern(), metavar="REGEX", help="Only lines in which it is found.")
@click.option(
    "--raw", is_flag=True, help="Print the lines as etcd wrote them; on a terminal, control characters are escaped."
)
@lab_option
@click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=complete_node)
def logs(
    nodes: tuple[str, ...],
    follow: bool,
    lines: int | None,
    level: str,
    since: datetime | None,
    grep: re.Pattern[str] | None,
    raw: bool,
    lab: str | None,
    json_lines: bool,
) -> Result:
    """Show the members' logs, merged by time; of all members unless some are named."""
    paths = log_paths(labdir.choose(lab).load_plan(), nodes)
    sieve = Sieve(level=Level(level), since=since, grep=grep)
    if lines is None and since is None:
        lines = LINES
    told = follow_logs(paths, sieve, lines) if follow else last_told(paths, sieve, lines)
    if json_lines:
        return Result(view=map(_json, told))
    if raw:
        return Result(view=(_raw(record) for _, record in told))
    width = max(map(len, paths))
    return Result(view=(_for_people(node.ljust(width), record) for node, record in told))


def log_paths(plan: Plan, names: tuple[str, ...]) -> dict[str, Path]:
    """The logs of the members called `names`, of all when there are none. Raises UnknownMemberError."""
    return {node.name: Path(node.log) for node in (plan.select(names) if names else plan.nodes)}


def last_told(paths: Mapping[str, Path], sieve: Sieve, count: int | None) -> Iterable[Told]:
    """What the logs hold: the last `count` wanted lines of all members together, or all."""
    return _last(sieve(read(paths, _needed(sieve, count))), count)


def follow_logs(paths: Mapping[str, Path], sieve: Sieve, count: int | None) -> Iterator[Told]:
    """As `last_told`, then whatever wanted lines are written."""
    with LogFiles(paths) as logs:
        history = _last(sieve(logs.history(_needed(sieve, count))), count)
        yield from itertools.chain(history, sieve(logs.arrivals()))


def _needed(sieve: Sieve, count: int | None) -> int | None:
    """How many lines of each member hold the last `count` wanted ones; None for all."""
    return count if sieve.is_open or count == 0 else None


def _last(told: Iterable[Told], count: int | None) -> Iterable[Told]:
    return told if count is None else deque(told, maxlen=count)


def _for_people(node: str, record: Record) -> str | Cell:
    text = f"{node}  {render(record)}".rstrip()
    style = _STYLES.get(record.level)
    return Cell(text, style) if style else text


def _raw(record: Record) -> str:
    return record.raw.decode("utf-8", "backslashreplace")


def _json(told: Told) -> str:
    return msgspec.json.encode(LogLine.of(*told)).decode()
