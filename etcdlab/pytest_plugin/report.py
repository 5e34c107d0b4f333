"""What a failed test's report says about its lab: how it is, what happened, what the members complained of."""

import shlex
from typing import Final

from etcdlab.chaos import Chaos
from etcdlab.errors import BootError, EtcdlabError
from etcdlab.etcd.log import Level, parse, render
from etcdlab.history import Mark
from etcdlab.lab import Lab, condition
from etcdlab.model.event import Event, describe
from etcdlab.model.text import printable

LINES: Final = 30
"""Of each part the last so many: a test that runs long enough fills any screen."""


def section(lab: Lab, since: Mark | None) -> str:
    """The text of the section about one lab, for what came after `since`."""
    try:
        return "\n".join([*_state(lab), *_part("events", _events(lab, since)), *_part("log", _complaints(lab, since))])
    except EtcdlabError as error:  # the test may have removed the lab
        return f"{error.message}"


def chaos_section(chaos: Chaos, test: str) -> str:
    """The text of the section about what was done to the lab, until the test failed."""
    steps = [
        printable(f"{step.at_s:7.1f} s  {step.text}" + (f": refused: {step.refused}" if step.refused else ""))
        for step in chaos.steps
    ]
    again = f"again: pytest --etcdlab-seed={chaos.seed} {shlex.quote(test)}"
    return "\n".join([printable(f"{chaos.name}, seed {chaos.seed}, run {chaos.run}"), *_part("done", steps), again])


def boot_section(error: EtcdlabError, advice: str = "") -> str:
    """What to do about a lab that did not come up, and the last that the member said that is to blame."""
    tail = error.log_tail if isinstance(error, BootError) else ()
    lines = [render(parse(line.encode())) for line in tail]
    return "\n".join(filter(None, [error.hint, advice, *_part("log", lines)]))


def _state(lab: Lab) -> list[str]:
    status = lab.status()
    yes = "" if status.is_this_lab else "; the cluster that answers is not this lab's"
    lines = [f"{status.verdict.value}, leader {status.leader or 'none'}{yes}"]
    return lines + [f"  {node.name} {condition(node)}, {node.restarts} restarts" for node in status.nodes]


def _events(lab: Lab, since: Mark | None) -> list[str]:
    return [_event(event) for event in lab.events(since=since)]


def _event(event: Event) -> str:
    return printable(f"{event.time[11:23]}  {event.node or '-'}  {event.kind.value}  {describe(event)}".rstrip())


def _complaints(lab: Lab, since: Mark | None) -> list[str]:
    told = lab.log_records(since=since)
    return [f"{name}  {render(record)}" for name, record in told if record.level.rank >= Level.WARNING.rank]


def _part(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    left_out = [f"  … {len(lines) - LINES} more before these"] if len(lines) > LINES else []
    return [f"{title}:", *left_out, *(f"  {line}" for line in lines[-LINES:])]
