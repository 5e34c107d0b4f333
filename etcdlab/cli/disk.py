"""`etcdlab disk` and `etcdlab repair`: data that is damaged, and a member that begins anew without it."""

import click

from etcdlab.cli.completion import complete_node
from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import lab_option, verb
from etcdlab.model.disk import Part

one_node = click.argument("node", metavar="NODE", shell_complete=complete_node)


@click.group("disk")
def disk() -> None:
    """Damage what a member keeps on its disk. `etcdlab repair` is the way back."""


@verb("corrupt", example="etcdlab disk corrupt n1 --db")
@one_node
@click.option("--wal", "part", flag_value=Part.WAL.value, default=True, help="Its log of changes. [default]")
@click.option("--db", "part", flag_value=Part.DB.value, help="Its database.")
@lab_option
def corrupt(node: str, part: str, lab: str | None) -> Result:
    """Damage the data of a member that is down, so that it cannot start."""
    attach(lab).member(node).corrupt(Part(part))
    return Result(view=(f"{node}: its {part} is damaged; `etcdlab repair {node}` is the way back",),
                  data={"node": node, "part": part})  # fmt: skip


@verb("repair", example="etcdlab repair n1")
@one_node
@lab_option
def repair(node: str, lab: str | None) -> Result:
    """Make a member anew that cannot start with its data, or has lost it: remove it, add it, start it empty.

    The others must be a quorum; what they have the member gets from them.
    """
    attach(lab).member(node).repair()
    return Result(view=(f"{node}: repaired",), data={"node": node})


disk.add_command(corrupt)
