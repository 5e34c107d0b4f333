"""`--when`, `--when-log` and `--within`: verbs that act at the moment in which something happens."""

import re
from collections.abc import Callable
from typing import Any, TypedDict

import click

from etcdlab.cli import render
from etcdlab.cli.result import Result
from etcdlab.cli.verb import DURATION
from etcdlab.errors import UsageError
from etcdlab.lab import Lab
from etcdlab.model.event import Told, told


class WhenOptions(TypedDict):
    """What `when_options` adds to the arguments of a verb; `within` is in seconds."""

    when: Told | None
    when_log: str | None
    within: float


class ToldType(click.ParamType[Told]):
    """A kind of events, of all members or one: `ready`, `leader-changed:n2`."""

    name = "event"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Told:
        """Kind and member. A click usage error lists the kinds."""
        if isinstance(value, tuple):
            return value
        try:
            return told(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def when_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a verb these options; its callback takes them on to `wait`."""
    for option in (
        click.option(
            "--within", type=DURATION, default="1m", show_default=True, metavar="DURATION", help="Wait no longer."
        ),
        click.option("--when-log", metavar="[NODE:]REGEX", help="Do it when a member logs such a line."),
        click.option("--when", type=ToldType(), metavar="EVENT[:NODE]", help="Do it when that happens."),
    ):
        command = option(command)
    return command


def wait(lab: Lab, *, when: Told | None, when_log: str | None, within: float) -> None:
    """Wait for what the options say, if they do. Raises TimedOutError, UsageError for what can never be."""
    if when is not None and when_log is not None:
        raise UsageError("--when and --when-log wait for different things", hint="Leave out one of the two.")
    since = lab.mark()  # what happens from the message on is heard
    if when is not None:
        kind, member = when
        if member is not None:
            lab.member(member)
        _tell(f"{kind.value} of {member}" if member else kind.value, within)
        lab.wait_for_event(kind, member, since=since, timeout=within)
    elif when_log is not None:
        member, pattern = _of_member(when_log, [member.name for member in lab.members])
        _tell(f"{pattern.pattern!r} in the log of {member or 'a member'}", within)
        lab.wait_for_log(member, pattern, since=since, timeout=within)


def _of_member(text: str, members: list[str]) -> tuple[str | None, re.Pattern[str]]:
    name, _, rest = text.partition(":")
    member, pattern = (name, rest) if name in members and rest else (None, text)
    try:
        return member, re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from None


def _tell(what: str, within_s: float) -> None:
    render.message(f"waiting for {what}, at most {within_s:g} s")
