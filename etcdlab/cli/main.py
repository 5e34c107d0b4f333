"""The table of verbs. A verb's module is imported when the verb is used: `status` must not pay for `up`."""

import importlib
from collections.abc import Mapping
from typing import Final

import click

from etcdlab import __version__

VERBS: Final[Mapping[str, str]] = {
    "init": "init:init",
    "plan": "plan:plan",
    "up": "up:up",
    "status": "status:status",
    "ls": "status:ls",
    "start": "nodes:start",
    "stop": "nodes:stop",
    "restart": "nodes:restart",
    "kill": "nodes:kill",
    "pause": "nodes:pause",
    "resume": "nodes:resume",
    "reset": "reset:reset",
    "logs": "logs:logs",
    "events": "events:events",
    "ctl": "ctl:ctl",
    "exec": "exec:exec_",
    "env": "env:env",
    "export": "export:export",
    "check": "check:check",
    "pki": "pki:pki",
    "etcd": "etcd:etcd",
    "doctor": "doctor:doctor",
    "down": "down:down",
    "completion": "completion_script:completion",
}
"""Verb -> "module:attribute" in this package, in the order of `--help`."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"etcdlab.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="etcdlab")
def etcdlab() -> None:
    """Real, secure, multi-member etcd clusters on your own machine."""
