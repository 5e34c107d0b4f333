"""`etcdlab status` and `etcdlab ls`: labs as they are now."""

import time
from typing import Any

import click
import msgspec

from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.status_view import status_view, verdict_cell
from etcdlab.cli.stream import stream_verb
from etcdlab.cli.verb import DURATION, lab_option, verb
from etcdlab.errors import EtcdlabError
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import all_labs


@stream_verb("status", example="etcdlab status --watch")
@lab_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--interval", type=DURATION, default="2s", show_default=True, help="Between looks with --watch.")
def status(lab: str | None, watch: bool, interval: float, json_lines: bool) -> Result:
    """Measure a lab now: each member's state, health, place in the cluster and cost.

    Exit status: 0 healthy, 4 degraded (quorum, but not all members, or no space), 5 no quorum, 3 not running.
    """
    chosen = Lab.attach(lab)
    if watch:
        return Result(view=_watch(chosen, interval, json_lines=json_lines))
    measured = chosen.status()
    return Result(view=status_view(measured), data=measured, exit_status=measured.verdict.exit_status)


@verb("ls", example="etcdlab ls")
def ls() -> Result:
    """List the labs there are."""
    rows: list[tuple[str | Cell, ...]] = []
    data: list[dict[str, Any]] = []
    warnings: list[str] = []
    for directory in all_labs():
        found = None
        try:
            found = Lab(directory).status()
        except EtcdlabError as error:  # of one lab: the others are to be listed all the same
            warnings.append(f"{directory.name}: {error.message}")
        members = str(len(found.nodes)) if found else "-"
        verdict = verdict_cell(found) if found else Cell("unknown", "bad")
        rows.append((directory.name, verdict, members, (found and found.leader) or "-", str(directory.path)))
        data.append(
            {
                "lab": directory.name,
                "verdict": found and found.verdict,
                "nodes": len(found.nodes) if found else None,
                "directory": str(directory.path),
            }
        )
    table = Table(header=("LAB", "VERDICT", "MEMBERS", "LEADER", "DIRECTORY"), rows=tuple(rows))
    return Result(view=(table,) if rows else ("there is no lab",), data={"labs": data}, warnings=tuple(warnings))


def _watch(chosen: Lab, interval_s: float, *, json_lines: bool) -> View:
    while True:
        measured = chosen.status()
        if json_lines:
            yield msgspec.json.encode(measured).decode()
        else:
            yield time.strftime("%H:%M:%S")
            yield from status_view(measured)
        time.sleep(interval_s)
