"""The verbs that act on members: start, stop, restart, kill, pause, resume."""

import signal as signals
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from etcdlab.cli.completion import complete_node
from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import lab_option, verb
from etcdlab.control.client import Client

node_argument = click.argument("nodes", nargs=-1, required=True, metavar="NODE...", shell_complete=complete_node)
force_option = click.option("--force", is_flag=True, help="Even if the cluster loses its quorum.")


class SignalType(click.ParamType[signals.Signals]):
    """A signal by name, with or without SIG."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> signals.Signals:
        """The signal. A click usage error for a name that this system does not know."""
        if isinstance(value, signals.Signals):
            return value
        name = str(value).upper()
        try:
            return signals.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        except KeyError:
            self.fail(f"{value!r} is no signal; `kill -l` lists them", param, ctx)


def _act(lab: str | None, nodes: tuple[str, ...], action: Callable[[Client, list[str]], None], done: str) -> Result:
    names = list(dict.fromkeys(nodes))
    action(attach(lab).client(), names)
    return Result(view=[f"{name}: {done}" for name in names], data={"nodes": names, "done": done})


@verb("start", example="etcdlab start n1")
@lab_option
@node_argument
def start(lab: str | None, nodes: tuple[str, ...]) -> Result:
    """Start members that are stopped or failed, and wait until they run."""
    return _act(lab, nodes, Client.start, "started")


@verb("stop", example="etcdlab stop n1")
@lab_option
@node_argument
@force_option
def stop(lab: str | None, nodes: tuple[str, ...], force: bool) -> Result:
    """Stop members; they stay stopped until they are started."""
    return _act(lab, nodes, partial(Client.stop, force=force), "stopped")


@verb("restart", example="etcdlab restart n1 n2")
@lab_option
@node_argument
@force_option
def restart(lab: str | None, nodes: tuple[str, ...], force: bool) -> Result:
    """Stop and start members, one after the other."""
    return _act(lab, nodes, partial(Client.restart, force=force), "restarted")


@verb("kill", example="etcdlab kill n1 --signal TERM")
@lab_option
@node_argument
@click.option("--signal", "signal", type=SignalType(), default="KILL", show_default=True, help="Which signal.")
@force_option
def kill(lab: str | None, nodes: tuple[str, ...], signal: signals.Signals, force: bool) -> Result:
    """Send members a signal, behind the supervisor's back: what dies of it is started again as after a crash."""
    return _act(lab, nodes, partial(Client.kill, signal=signal, force=force), f"sent {signal.name}")


@verb("pause", example="etcdlab pause n1")
@lab_option
@node_argument
@force_option
def pause(lab: str | None, nodes: tuple[str, ...], force: bool) -> Result:
    """Freeze members: their processes exist and do nothing, connections stay open."""
    return _act(lab, nodes, partial(Client.pause, force=force), "paused")


@verb("resume", example="etcdlab resume n1")
@lab_option
@node_argument
def resume(lab: str | None, nodes: tuple[str, ...]) -> Result:
    """Let paused members go on."""
    return _act(lab, nodes, Client.resume, "resumed")
