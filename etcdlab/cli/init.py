"""`etcdlab init`: a topology file to start from, with every key, its default and what it means."""

import os
from importlib import resources
from pathlib import Path

import click

from etcdlab.cli.result import Result
from etcdlab.cli.verb import verb
from etcdlab.errors import UsageError
from etcdlab.model.rules import MOST_NODES
from etcdlab.model.topology import DEFAULT_NODES
from etcdlab.prepare.config import load


@verb("init", example="etcdlab init --nodes 5 && etcdlab up etcdlab.toml")
@click.option(
    "--nodes", type=click.IntRange(1, MOST_NODES), default=DEFAULT_NODES, show_default=True, help="How many members."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.argument("file", default="etcdlab.toml", type=click.Path(path_type=Path))
def init(nodes: int, force: bool, file: Path) -> Result:
    """Write a commented topology to FILE (etcdlab.toml)."""
    try:
        # Through no link: in a directory as /tmp it may be somebody else's.
        new = os.O_TRUNC | os.O_NOFOLLOW if force else os.O_EXCL
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | new, 0o666), "w") as output:  # noqa: PTH123
            output.write(template(nodes))
    except FileExistsError:
        raise UsageError(f"{file} is there already", hint="`--force` replaces it.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    return Result(
        view=[f"Wrote {file}. `etcdlab up {file}` starts it."],
        data={"file": str(file), "nodes": nodes},
        warnings=load(file).warnings,
    )


def template(nodes: int) -> str:
    """The commented topology for that many members."""
    text = resources.files("etcdlab.prepare").joinpath("template.toml").read_text()
    return text.replace(f"\nnodes = {DEFAULT_NODES}\n", f"\nnodes = {nodes}\n")
