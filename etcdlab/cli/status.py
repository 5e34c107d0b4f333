"""`etcdlab status` and `etcdlab ls`: labs as they are now."""

import time

import click

from etcdlab.cli.result import Result, Table, View
from etcdlab.cli.status_view import status_view, verdict_cell
from etcdlab.cli.verb import DURATION, lab_option, verb
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import all_labs


@verb("status", example="etcdlab status --watch")
@lab_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--interval", type=DURATION, default="2s", show_default=True, help="Between looks with --watch.")
def status(lab: str | None, watch: bool, interval: float) -> Result:
    """Measure a lab now: each member's state, health, place in the cluster and cost.

    Exit status: 0 healthy, 4 degraded (quorum, but not all members), 5 no quorum, 3 not running.
    """
    chosen = Lab.attach(lab)
    if watch:
        return Result(view=_watch(chosen, interval))
    measured = chosen.status()
    return Result(view=status_view(measured), data=measured, exit_status=measured.verdict.exit_status)


@verb("ls", example="etcdlab ls")
def ls() -> Result:
    """List the labs there are."""
    labs = [(directory, Lab(directory).status()) for directory in all_labs()]
    rows = tuple(
        (directory.name, verdict_cell(found), str(len(found.nodes)), found.leader or "-", str(directory.path))
        for directory, found in labs
    )
    table = Table(header=("LAB", "VERDICT", "MEMBERS", "LEADER", "DIRECTORY"), rows=rows)
    data = [
        {"lab": directory.name, "verdict": found.verdict, "nodes": len(found.nodes), "directory": str(directory.path)}
        for directory, found in labs
    ]
    return Result(view=(table,) if labs else ("there is no lab",), data={"labs": data})


def _watch(chosen: Lab, interval_s: float) -> View:
    while True:
        yield time.strftime("%H:%M:%S")
        yield from status_view(chosen.status())
        time.sleep(interval_s)
