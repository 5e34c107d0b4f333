"""`etcdlab doctor`: is this machine fit for labs, and what did dead ones leave on it?"""

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from etcdlab.cli import render
from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.verb import verb
from etcdlab.errors import ExitStatus
from etcdlab.prepare.labdir import home

if TYPE_CHECKING:
    from etcdlab.doctor.finding import Finding, Treatment

_STYLES: Final = {"good": "good", "warning": "warning", "wrong": "bad"}


@verb("doctor", example="etcdlab doctor --fix")
@click.option("--fix", is_flag=True, help="Remove the leftovers that can be, without asking.")
def doctor(fix: bool) -> Result:
    """Look at etcd, ports, limits and disk, and for leftovers of dead labs; on a terminal, offer to remove those.

    A lab that runs is never touched, nor is data. Exit status: 0 nothing is wrong (any more), 1 something is.
    """
    from etcdlab.doctor import labs, machine  # psutil, which `--help` does not pay for
    from etcdlab.doctor.finding import treat

    findings = [*machine.examine(home()), *labs.examine(home())]
    leftovers = sum(finding.repair is not None for finding in findings)
    asked = bool(leftovers) and not fix and _can_ask()
    if asked:
        render.show(_view(findings))
        try:
            fix = click.confirm(f"Remove {leftovers} leftover{'s' if leftovers > 1 else ''}?")
        except click.Abort:  # Ctrl-D: no answer is no
            render.show([""])
    treatments = [treat(finding, fix=fix) for finding in findings]
    passed = not any(treatment.is_wrong for treatment in treatments)
    return Result(
        view=[*(() if asked else _view(findings)), *_outcome(treatments)],
        data={"passed": passed, "findings": [_entry(treatment) for treatment in treatments]},
        exit_status=ExitStatus.DONE if passed else ExitStatus.FAILED,
    )


def _can_ask() -> bool:
    """Whether a person is there to answer: with --json or in a pipe it is a program."""
    as_json = click.get_current_context().get_parameter_source("as_json")
    return as_json is not click.core.ParameterSource.COMMANDLINE and sys.stdin.isatty() and sys.stdout.isatty()


def _view(findings: "list[Finding]") -> View:
    rows = tuple(
        (Cell(finding.level.value, _STYLES[finding.level.value]), finding.topic.value, finding.where, finding.what)
        for finding in findings
    )
    yield Table(header=("", "TOPIC", "WHERE", "WHAT"), rows=rows)
    for finding in findings:
        if finding.remedy:
            yield f"{finding.where}: {finding.remedy}"


def _outcome(treatments: "list[Treatment]") -> View:
    for treatment in treatments:
        if treatment.words:
            text = f"{treatment.finding.where}: {treatment.words}"
            yield Cell(text, "good" if treatment.fixed else "bad")
    wrong = sum(treatment.is_wrong for treatment in treatments)
    yield Cell(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong", "bad") if wrong else Cell("all is well", "good")


def _entry(treatment: "Treatment") -> dict[str, Any]:
    finding = treatment.finding
    return {
        "topic": finding.topic,
        "where": finding.where,
        "level": finding.level,
        "what": finding.what,
        "remedy": finding.remedy,
        "fixable": finding.repair is not None,
        "fixed": treatment.fixed,
        "outcome": treatment.words,
    }
