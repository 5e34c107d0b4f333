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
    "leader": "leader:leader",
    "net": "net:net",
    "tls": "tls:tls",
    "disk": "disk:disk",
    "repair": "disk:repair",
    "chaos": "chaos:chaos",
    "heal": "heal:heal",
    "reset": "reset:reset",
    "logs": "logs:logs",
    "events": "events:events",
    "timeline": "timeline:timeline",
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and for a word that is no verb name the nearest one."""
        if args[0] not in VERBS and not ctx.resilient_parsing:
            import difflib  # 3 ms that only a slip pays

            if close := difflib.get_close_matches(args[0], VERBS, n=1):
                ctx.fail(f"there is no command {args[0]!r}; did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="etcdlab")
def etcdlab() -> None:
    """Real, secure, multi-member etcd clusters on your own machine."""
