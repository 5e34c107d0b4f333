"""The daemon of one lab: composition root, signals, boot, shutdown.

Started by `etcdlab.interpreter` as `python -m etcdlab.daemon`, before there is a lab. The nursery tree is the
architecture:

    services: signals, control socket, boot's progress     outlive the members: `status` answers during shutdown
      members: a task for each, their logs, their health

It imports while the plan is still being made. Standard input is a socket: it is told which lab is its own, with the
lab's lock as a descriptor, and then to go. If that input ends before, a lab that was being made is discarded. Its
reports go to standard output until the last word; from then on it is alone, unless it has an owner to look after.
"""

import gc

gc.disable()  # until the imports are over: `up` waits for them, and they make no garbage

import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import setproctitle
import trio

from etcdlab.control.listener import bind
from etcdlab.control.server import serve
from etcdlab.errors import BootError, EtcdlabError
from etcdlab.model.report import Failed, Go, Hold, OwnerEnd, Progress, Ready, Report
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import identify
from etcdlab.prepare.title import title
from etcdlab.runtime.child import AdoptedProcess
from etcdlab.runtime.cluster import Cluster
from etcdlab.runtime.journal import Journal

MESSAGE_BYTES: Final = 65536
"""More than either message of the launcher; the descriptor keeps the kernel from joining the two (unix(7))."""


class Reporter:
    """Tells the launcher what happens, until the last word. A launcher that is gone is not missed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def say(self, report: Report) -> None:
        """Send one line; the last word ends the stream."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, msgspec.json.encode(report) + b"\n")
        except OSError:
            self._close()
        if not isinstance(report, Progress):
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def run(directory: LabDirectory, reporter: Reporter, hold: Hold, *, boot_s: float) -> bool:
    """Boot the lab and keep it until it is asked to end. Whether it booted."""
    plan = directory.load_plan()
    listener = bind(plan.socket)
    journal = Journal(directory.events)
    cluster = Cluster(directory, plan, journal)
    ended = trio.Event()
    async with trio.open_nursery() as services:
        services.start_soon(watch_signals, cluster)
        if hold.owner_end is not OwnerEnd.STAY:
            services.start_soon(partial(watch_owner, cluster, hold.owner, purge=hold.owner_end is OwnerEnd.PURGE))
        services.start_soon(report_progress, journal, reporter)
        async with trio.open_nursery() as control:
            control.start_soon(partial(serve, cluster, listener, shutdown=ended))
            booted = await supervise(cluster, reporter, boot_s=boot_s)
            ended.set()
        services.cancel_scope.cancel()
    journal.close()
    if cluster.purge:
        await trio.to_thread.run_sync(directory.purge, cluster.plan)
    return booted


async def supervise(cluster: Cluster, reporter: Reporter, *, boot_s: float) -> bool:
    """Run the members from boot to the end that somebody asked for. Whether they booted."""
    async with trio.open_nursery() as members:
        await members.start(cluster.run)
        booted = await boot(cluster, reporter, boot_s=boot_s)
        if booted:
            await cluster.shutdown_requested.wait()
        # A boot that failed leaves what was there before it: members that served without a daemon go on serving.
        spare_adopted = not booted and not cluster.purge
        await cluster.stop_all(at_once=cluster.purge or not booted, spare_adopted=spare_adopted)
        members.cancel_scope.cancel()
    return booted


async def boot(cluster: Cluster, reporter: Reporter, *, boot_s: float) -> bool:
    """Boot the members and say the last word; False when that failed or the lab was asked to end meanwhile."""
    booted = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on, cluster.shutdown_requested, nursery.cancel_scope)
        try:
            reporter.say(Ready(status=await cluster.boot(boot_s=boot_s)))
            booted = True
        except EtcdlabError as error:
            reporter.say(failed(error))
        nursery.cancel_scope.cancel()
    if not booted:  # and no word of it yet: somebody asked for the end meanwhile
        reporter.say(failed(BootError("the lab was stopped while it came up")))
    return booted


def failed(error: EtcdlabError) -> Failed:
    """The last word of a boot that this error ended."""
    log_tail = error.log_tail if isinstance(error, BootError) else ()
    return Failed(code=error.code, message=error.message, hint=error.hint, log_tail=log_tail)


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel `scope` when `event` is set."""
    await event.wait()
    scope.cancel()


async def watch_signals(cluster: Cluster) -> None:
    """SIGTERM and SIGINT ask for the end, a second one for a quick end; SIGHUP (a terminal closed) is ignored."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                continue
            if cluster.shutdown_requested.is_set():
                cluster.kill_all()
            cluster.request_shutdown(purge=False)


async def watch_owner(cluster: Cluster, pid: int, *, purge: bool) -> None:
    """Ask for the end when our owner is gone.

    The end of our standard input tells, unless a fork of the owner holds the other end as well and lives on.
    """
    identity = identify(pid)
    async with trio.open_nursery() as nursery:

        async def closed() -> None:
            async with trio.lowlevel.FdStream(os.dup(0)) as channel:
                while await channel.receive_some():
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(closed)
        if identity is not None and pid == os.getppid():
            await AdoptedProcess(identity).wait()
        nursery.cancel_scope.cancel()
    cluster.request_shutdown(purge=purge)


async def report_progress(journal: Journal, reporter: Reporter) -> None:
    """Tell the launcher what the journal is told."""
    async for event in journal.events(since=journal.sequence, follow=True):
        reporter.say(Progress(event=event))


def main() -> None:
    """`python -m etcdlab.daemon`, with a socket for standard input."""
    gc.freeze()
    gc.enable()
    with socket.socket(fileno=os.dup(0)) as launcher:
        first, locks, _, _ = socket.recv_fds(launcher, MESSAGE_BYTES, 1)
        if not first:
            return
        for lock in locks:  # held until this process ends, by this process alone
            os.set_inheritable(lock, False)
        hold = msgspec.json.decode(first, type=Hold)
        directory = LabDirectory(Path(hold.directory))
        setproctitle.setproctitle(title(directory))
        second = launcher.recv(MESSAGE_BYTES)
    if not second:
        if hold.is_draft:
            directory.purge(None)
        return
    go = msgspec.json.decode(second, type=Go)
    reporter = Reporter(os.dup(sys.stdout.fileno()))
    log = os.open(directory.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, descriptor)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        booted = trio.run(lambda: run(directory, reporter, hold, boot_s=go.boot_s))
    except EtcdlabError as error:  # before there was anything to supervise
        reporter.say(failed(error))
        booted = False
    gc.freeze()  # the lab is held until this process is gone, and to collect it all at the end takes 30 ms
    sys.exit(0 if booted else 1)


if __name__ == "__main__":
    main()
