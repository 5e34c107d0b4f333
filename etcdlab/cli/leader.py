"""`etcdlab leader`: which member leads, and having another one lead."""

import click

from etcdlab.cli.completion import complete_node
from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import ShowingGroup, Verb, lab_option, verb
from etcdlab.model.selection import require_leader


@click.group("leader", cls=ShowingGroup)
def leader() -> None:
    """Show which member leads, and have another one lead."""


@verb("show", example="etcdlab leader")
@lab_option
def show(lab: str | None) -> Result:
    """Show which member leads, and in which term. `etcdlab leader` alone does so, too."""
    status = attach(lab).status()
    name = require_leader(status)
    term = next(node.raft_term for node in status.nodes if node.name == name)
    return Result(view=(f"{name} leads in term {term}",), data={"leader": name, "term": term})


@verb("move", example="etcdlab leader move n2")
@click.argument("node", metavar="NODE", shell_complete=complete_node)
@lab_option
def move(node: str, lab: str | None) -> Result:
    """Have a member lead: the one that does hands over, without an election timeout."""
    attach(lab).move_leader(node)
    return Result(view=(f"{node} leads",), data={"leader": node})


for command in (show, move):
    assert isinstance(command, Verb)
    leader.add_command(command)
