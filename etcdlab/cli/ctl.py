"""`etcdlab ctl`: this lab's etcdctl or etcdutl, in this process's place."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from etcdlab.cli import render
from etcdlab.cli.completion import complete_node
from etcdlab.cli.env import identity_option
from etcdlab.cli.verb import Verb, lab_option
from etcdlab.errors import UsageError
from etcdlab.etcd.environment import clean
from etcdlab.etcd.tools import tool
from etcdlab.export.env import choose_identity, flag, variables
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.prepare import labdir


class Passthrough(Verb):
    """A verb whose words after its own options belong to another program, options and all.

    Sets `literal` in the callback's arguments: whether "--" came before the first word. click drops that "--", and
    with it the difference between `ctl get foo` and `ctl -- get foo` for a member called "get".
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_interspersed_args = False
        # The output is the other program's, so there is no JSON object to promise.
        self.params = [param for param in self.params if param.name != "as_json"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse etcdlab's own options; all that follows them is left as it is."""
        given = tuple(args)  # click empties its list
        rest = super().parse_args(ctx, args)
        words = ctx.params.get("words", ())
        ctx.params["literal"] = given[: len(given) - len(words)][-1:] == ("--",)
        return rest


def complete_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The members for the first word; the words after it are the other program's."""
    if ctx.params.get("words") or ctx.params.get("literal") or ctx.params.get("utl"):
        return []
    return complete_node(ctx, param, incomplete)


@click.command("ctl", cls=Passthrough, example="etcdlab ctl n1 -- endpoint status -w table")
@click.option("--utl", is_flag=True, help="Run etcdutl, which works on files and takes no NODE.")
@identity_option
@lab_option
@click.argument("words", metavar="[NODE] [--] ARGS...", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_words)
def ctl(words: tuple[str, ...], literal: bool, utl: bool, identity: str | None, lab: str | None) -> NoReturn:
    """Run etcdctl with a lab's endpoints and certificates.

    All voting members are the endpoints, or only NODE. The settings go through the environment; one that ARGS give
    themselves (--endpoints, --cacert, --cert, --key) is left to them.

    What follows "--" is etcdctl's as it is. Without "--", the first word is NODE if a member has that name, and
    etcdctl's otherwise.
    """
    directory = labdir.choose(lab)
    plan = directory.load_plan()
    if utl:
        if identity is not None:
            raise UsageError("etcdutl works on files: it takes no --identity", hint="Leave out one of the two.")
        execute(tool(plan, "etcdutl"), words, clean(os.environ))
    node, arguments = split(plan, words, literal=literal)
    settings = {
        variable: value
        for variable, value in variables(plan, choose_identity(plan, identity), node=node).items()
        if not is_given(flag(variable), arguments)
    }
    if not directory.is_running():
        # Members outlive their daemon, so this may still work; if not, etcdctl says nothing for 5 s.
        render.message(f"warning: the daemon of lab {plan.lab!r} is not running", style="warning")
    execute(tool(plan, "etcdctl"), arguments, clean(os.environ) | settings)


def split(plan: Plan, words: Sequence[str], *, literal: bool) -> tuple[NodePlan | None, tuple[str, ...]]:
    """Tell NODE from etcdctl's arguments. Raises UsageError for a word before "--" that is no member."""
    if literal or not words:
        return None, tuple(words)
    separated = tuple(words[1:2]) == ("--",)
    for node in plan.nodes:
        if node.name == words[0]:
            return node, tuple(words[2:] if separated else words[1:])
    if separated:
        members = ", ".join(node.name for node in plan.nodes)
        raise UsageError(
            f"lab {plan.lab!r} has no member {words[0]!r}; its members are {members}",
            hint=f"If {words[0]!r} is meant for etcdctl: `etcdlab ctl -- {words[0]} ...`.",
        )
    return None, tuple(words)


def is_given(name: str, arguments: Sequence[str]) -> bool:
    """Whether the flag `name` is among etcdctl's arguments (before a "--" of its own)."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(word == name or word.startswith(f"{name}=") for word in options)


def execute(program: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become `program`: signals and the exit status are its own from here on."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores SIGPIPE and exec hands that on: `etcdlab ctl -- watch … | head -1` would not end.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(program, [program.name, *arguments], environment)
