"""`etcdlab env`: this lab's connection settings for a shell. Reads plan.json and nothing else, so it is quick."""

from collections.abc import Callable
from typing import Any

import click

from etcdlab.cli.completion import complete_identity
from etcdlab.cli.result import Result
from etcdlab.cli.verb import lab_option, verb
from etcdlab.export.env import Shell, choose_identity, flags, flags_text, variables, variables_text
from etcdlab.prepare import labdir

identity_option = click.option(
    "--identity", metavar="NAME", help="Connect as this client identity.", shell_complete=complete_identity
)


def shell_option(default: Shell) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The notation; `etcdlab env` and `etcdlab export env` differ in its default alone."""
    choices = click.Choice([shell.value for shell in Shell])
    return click.option("--shell", type=choices, default=default.value, show_default=True, help="The notation.")


@verb("env", example='eval "$(etcdlab env)" && etcdctl endpoint health')
@shell_option(Shell.SH)
@click.option("--flags", "as_flags", is_flag=True, help="Print etcdctl's flags instead of variables.")
@identity_option
@lab_option
def env(shell: str, as_flags: bool, identity: str | None, lab: str | None) -> Result:
    """Print the settings that let etcdctl reach a lab.

    Variables, or with --flags the same as flags: never use both, etcdctl refuses a setting given twice.

    \b
    sh, bash, zsh:  eval "$(etcdlab env)"
    fish:           etcdlab env --shell fish | source
    PowerShell:     etcdlab env --shell powershell | Out-String | Invoke-Expression
    """
    plan = labdir.choose(lab).load_plan()
    values = variables(plan, choose_identity(plan, identity))
    if as_flags:
        return Result(view=[flags_text(values, Shell(shell))], data={"lab": plan.lab, "flags": flags(values)})
    return Result(view=[variables_text(values, Shell(shell))], data={"lab": plan.lab, "variables": values})
