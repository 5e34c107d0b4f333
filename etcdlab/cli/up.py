"""`etcdlab up`: bring a lab up, showing how it gets there."""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Unpack

import click

from etcdlab import up as lab_up
from etcdlab.cli import render
from etcdlab.cli.result import Result, View
from etcdlab.cli.status_view import status_view
from etcdlab.cli.topology import TopologyOptions, read, topology_options
from etcdlab.cli.verb import DURATION, verb
from etcdlab.interpreter import Interpreter
from etcdlab.interruption import heed, hold_off, undoable, wait_for
from etcdlab.launch import Daemon
from etcdlab.model.event import Event, EventKind
from etcdlab.model.report import OwnerEnd
from etcdlab.up import Outcome, Request, Started, Watcher

if TYPE_CHECKING:
    from etcdlab.etcd.install import Progress

TELL_S: Final = 1
"""Seconds that a signal waits for a ready lab to be told of."""
_TOLD = {
    EventKind.SPAWNED: "started, pid {pid}",
    EventKind.ADOPTED: "still running, adopted, pid {pid}",
    EventKind.READY: "ready",
    EventKind.EXITED: "ended: {detail}",
    EventKind.RESTARTED: "started again",
    EventKind.FAILED: "failed: {why}",
}
"""What a person is told of each event during boot."""


@verb("up", example="etcdlab up three.toml --profile fast --timeout 30s")
@topology_options
@click.option("--timeout", type=DURATION, metavar="DURATION", help="Until ready.  [default: the topology's, 60s]")
@click.option("--foreground", is_flag=True, help="Stay, and stop the lab on Ctrl-C or when this process ends.")
@click.option("--keep", is_flag=True, help="If it fails, leave what was made for a look at it.")
@click.pass_obj
def up(
    interpreter: Interpreter | None,
    timeout: float | None,
    foreground: bool,
    keep: bool,
    **options: Unpack[TopologyOptions],
) -> Result:
    """Start a lab and wait until it is ready: without FILE, three members with mutual TLS, called "default".

    A lab that was stopped starts again as it was; one that runs is reported.
    """
    began = time.monotonic()
    loaded = read(options)
    request = Request(
        topology=loaded.topology,
        base=loaded.base,
        explicit=any(options[name] for name in ("file", "nodes", "profile", "no_tls", "etcd", "faults")),
        boot_s=timeout,
        keep=keep,
        owner_end=OwnerEnd.STOP if foreground else OwnerEnd.STAY,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(undoable())
        on_ready = partial(hold_off, TELL_S)  # a lab that stays is told of
        watcher = Watcher(on_event=tell, on_install=installation_display(stack), on_ready=on_ready)
        started = lab_up.up(request, watcher, interpreter)
    stay = started.daemon if foreground else None
    return Result(
        view=_view(started, began),
        data=started.status,
        exit_status=started.status.verdict.exit_status,
        warnings=loaded.warnings,
        then=partial(_stay, stay, started.status.lab) if stay else heed,
    )


def _view(started: Started, began: float) -> View:
    name = started.status.lab
    if started.outcome is Outcome.ALREADY_RUNNING:
        yield f"lab {name} is running already"
    else:
        yield f"lab {name} is ready in {time.monotonic() - began:.2f} s"
    yield from status_view(started.status)
    yield f'Use it:  etcdlab ctl --lab {name} -- member list   or   eval "$(etcdlab env --lab {name})"'
    yield f"Stop it: etcdlab down --lab {name}"


def _stay(daemon: Daemon, lab: str) -> None:
    """Wait for a lab in the foreground: Ctrl-C or SIGTERM stops it, a second time at once."""
    render.message("In the foreground: Ctrl-C stops the lab.")

    def stop() -> None:
        render.message("stopping ...")
        daemon.stop()

    wait_for(lambda: daemon.has_ended, stop)
    daemon.wait()
    render.message(f"lab {lab} is stopped")


def installation_display(stack: contextlib.ExitStack) -> Callable[["Progress"], None]:
    """Show an installation from when there is one: the display costs an import that most boots have no use for."""
    show: Callable[[Progress], None] | None = None

    def on_install(progress: "Progress") -> None:
        nonlocal show
        if show is None:
            from etcdlab.cli.etcd import show_progress

            show = stack.enter_context(show_progress())
        show(progress)

    return on_install


def tell(event: Event) -> None:
    """Show what happens to a member during boot."""
    if event.node is not None and (text := _TOLD.get(event.kind)):
        bad = event.kind in (EventKind.EXITED, EventKind.FAILED)
        render.message(f"{event.node}: {text.format_map(event.detail)}", style="bad" if bad else "quiet")
