"""`etcdlab chaos`: do a scenario of faults to a lab, from a file or as it was done before."""

import contextlib
from functools import partial
from pathlib import Path

import click
import msgspec

from etcdlab.chaos import Chaos
from etcdlab.cli import render
from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.status_view import verdict_cell
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import ShowingGroup, Verb, lab_option, verb
from etcdlab.errors import EtcdlabError, UsageError
from etcdlab.history import events
from etcdlab.interruption import Interrupted, end_by, undoable, uninterrupted
from etcdlab.lab import Lab
from etcdlab.model.chaos import Outcome, Run, StepOutcome, runs
from etcdlab.model.step import forced
from etcdlab.model.units import Duration
from etcdlab.prepare import labdir, scenario

MINUTES = click.FloatRange(min=0, min_open=True, max=60 * 24 * 365)
SEED = click.IntRange(0, 2**63 - 1)


@click.group("chaos", cls=ShowingGroup)
def chaos() -> None:
    """Do a scenario to a lab: faults in time, when something happens, or left to chance, and healed at the end."""


@verb("run", example="etcdlab chaos run storm.toml --minutes 5 --seed 7")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--minutes", type=MINUTES, help="How long, instead of what the file says.")
@click.option("--seed", type=SEED, help="What chance follows from, instead of what the file says.")
@lab_option
def run(file: Path, minutes: float | None, seed: int | None, lab: str | None) -> Result:
    """Do what a scenario file says. Ctrl-C ends it early.

    Then everything is healed, and what was done is summed up. What would cost the quorum is left out, and told, unless
    the step says `force = true`. Exit status: as `status` has it for the lab at the end.
    """
    loaded = scenario.load(file)
    duration_s = None if minutes is None else minutes * 60
    return _run(Chaos(attach(lab), loaded, seed=seed, duration_s=duration_s, on_step=_tell))


@verb("replay", example="etcdlab chaos replay")
@click.argument("run", required=False, metavar="[RUN]")
@lab_option
def replay(run: str | None, lab: str | None) -> Result:
    """Do again what the last run did, or the one named: to the same members, at the same times from the beginning.

    It is read from the journal. What had waited for an event is done at its time. What was refused is left out, and the
    rest is done even if the cluster loses its quorum this time.
    """
    attached = attach(lab)
    found = _chosen(_runs(attached), run)
    done = scenario.parse(found.scenario(), f"run {found.began.run}")
    again = msgspec.structs.replace(done, step=tuple(map(forced, done.step)))
    return _run(Chaos(attached, again, on_step=_tell))


@verb("show", example="etcdlab chaos")
@lab_option
def show(lab: str | None) -> Result:
    """Show the runs that the journal has. `etcdlab chaos` alone does so, too."""
    found = _runs(Lab(labdir.choose(lab)))
    header = ("RUN", "SCENARIO", "SEED", "BEGAN", "LASTED", "DONE", "REFUSED")
    table = Table(header=header, rows=tuple(map(_row, found)))
    return Result(view=(table,) if found else ("the journal has no run of a scenario",), data={"runs": found})


for command in (run, replay, show):
    assert isinstance(command, Verb)
    chaos.add_command(command)


def _run(run: Chaos) -> Result:
    """Do it and heal it, also when it is interrupted: then what interrupted it ends this process, after all is told."""
    number = None
    with undoable():
        render.message(f"{run.name}, seed {run.seed}, for {Duration(run.duration_s)}: run {run.run}")
        try:
            run.begin()
            run.go_on()
        except Interrupted as interrupted:
            number = interrupted.number
        except EtcdlabError:
            with uninterrupted(), contextlib.suppress(EtcdlabError):
                run.heal()
            raise
        with uninterrupted():
            render.message("healing ...")
            run.stop()
            outcome = run.heal()
    then = None if number is None else partial(end_by, number)
    return Result(view=_view(outcome), data=outcome, exit_status=outcome.status.verdict.exit_status, then=then)


def _tell(step: StepOutcome) -> None:
    refused = f": refused: {step.refused}" if step.refused else ""
    render.message(f"{step.at_s:7.1f} s  {step.text}{refused}", style="warning" if refused else "quiet")


def _view(outcome: Outcome) -> View:
    done = len(outcome.steps) - outcome.refused
    yield (
        f"{outcome.scenario}, seed {outcome.seed}: {done} steps done, {outcome.refused} refused, "
        f"in {outcome.after_s:.1f} s"
    )
    if outcome.problem:
        yield Cell(outcome.problem, "bad")
    verdict, leader = verdict_cell(outcome.status), outcome.status.leader
    yield Cell(f"healed: {verdict.text}" + (f", leader {leader}" if leader else ""), verdict.style)
    yield f"Again: etcdlab chaos replay {outcome.run}"


def _runs(lab: Lab) -> list[Run]:
    return runs(events(lab.directory.events, None))


def _chosen(found: list[Run], name: str | None) -> Run:
    for run in reversed(found):
        if name in (None, run.began.run):
            return run
    raise UsageError(
        "the journal has no run of a scenario" if name is None else f"the journal has no run {name!r}",
        hint="`etcdlab chaos show` lists those that it has; `etcdlab chaos run FILE` makes one.",
    )


def _row(run: Run) -> tuple[str | Cell, ...]:
    began, ended = run.began, run.ended
    lasted = Cell("no end told", "warning") if ended is None else str(Duration(ended.after_s))
    counts = (str(len(run.done)), str(len(run.refused)))
    return (began.run, began.scenario, str(began.seed), run.time, lasted, *counts)
