"""The verbs that act on members: start, stop, restart, kill, pause, resume."""

import signal as signals
from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

import click

from etcdlab.cli.completion import complete_meant
from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import for_option, lab_option, verb
from etcdlab.cli.when import WhenOptions, wait, when_options
from etcdlab.control.client import Client
from etcdlab.model.units import Duration

node_argument = click.argument("nodes", nargs=-1, required=True, metavar="NODE...", shell_complete=complete_meant)
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


Action = Callable[[Client, list[str]], tuple[str, ...]]


def _act(lab: str | None, nodes: tuple[str, ...], action: Action, done: str, when: WhenOptions | None = None) -> Result:
    attached = attach(lab)
    if when is not None:
        wait(attached, **when)
    names = action(attached.client(), list(dict.fromkeys(nodes)))
    return Result(view=[f"{name}: {done}" for name in names], data={"nodes": names, "done": done})


@verb("start", example="etcdlab start n1")
@lab_option
@node_argument
def start(lab: str | None, nodes: tuple[str, ...]) -> Result:
    """Start members that are stopped or failed, and wait until they run.

    NODE is a member, here and in the other verbs, or who is so now: leader, followers, quorum (as many as the cluster
    cannot spare), all.
    """
    return _act(lab, nodes, Client.start, "started")


@verb("stop", example="etcdlab stop leader --for 10s")
@lab_option
@node_argument
@when_options
@for_option("Start them again after that time.")
@force_option
def stop(
    lab: str | None, nodes: tuple[str, ...], for_: float | None, force: bool, **when: Unpack[WhenOptions]
) -> Result:
    """Stop members; they stay stopped until they are started."""
    action = partial(Client.stop, force=force, for_s=for_)
    return _act(lab, nodes, action, f"stopped{_for(for_)}", when)


@verb("restart", example="etcdlab restart n1 n2")
@lab_option
@node_argument
@when_options
@force_option
def restart(lab: str | None, nodes: tuple[str, ...], force: bool, **when: Unpack[WhenOptions]) -> Result:
    """Stop and start members, one after the other."""
    return _act(lab, nodes, partial(Client.restart, force=force), "restarted", when)


@verb("kill", example="etcdlab kill leader --when leader-changed:n2")
@lab_option
@node_argument
@click.option("--signal", "signal", type=SignalType(), default="KILL", show_default=True, help="Which signal.")
@when_options
@force_option
def kill(
    lab: str | None, nodes: tuple[str, ...], signal: signals.Signals, force: bool, **when: Unpack[WhenOptions]
) -> Result:
    """Send members a signal. What dies of it is started again at once, and at no cost to its restart budget.

    Those that have no process get none. For a crash that counts, signal the pid that `status` shows.
    """
    return _act(lab, nodes, partial(Client.kill, signal=signal, force=force), f"sent {signal.name}", when)


@verb("pause", example="etcdlab pause n1 --for 10s")
@lab_option
@node_argument
@when_options
@for_option("Let them go on after that time.")
@force_option
def pause(
    lab: str | None, nodes: tuple[str, ...], for_: float | None, force: bool, **when: Unpack[WhenOptions]
) -> Result:
    """Freeze members: their processes exist and do nothing, connections stay open."""
    action = partial(Client.pause, force=force, for_s=for_)
    return _act(lab, nodes, action, f"paused{_for(for_)}", when)


@verb("resume", example="etcdlab resume n1")
@lab_option
@node_argument
def resume(lab: str | None, nodes: tuple[str, ...]) -> Result:
    """Let paused members go on."""
    return _act(lab, nodes, Client.resume, "resumed")


def _for(for_s: float | None) -> str:
    return "" if for_s is None else f" for {Duration(for_s)}"
