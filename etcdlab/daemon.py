"""The daemon of one lab: composition root, signals, boot, shutdown.

Started by `etcdlab.interpreter` as `python -m etcdlab.daemon`, before there is a lab. The nursery tree is the
architecture:

    reporter: to the launcher, until the last word
      services: signals, launcher, control socket            outlive the members: `status` answers during shutdown
        members: a task for each, their logs, their health

It imports while the plan is still being made. Standard input is a socket: it is told which lab is to be made, which
is its own, with the lab's lock as a descriptor, then to go, and when it is ready that the lab is wanted. If that input
ends before, whatever was made or started is undone: so an `up` that is interrupted or killed leaves nothing, wherever
it was. Its reports go to standard output until the last word; from then on it is alone, unless it has an owner to look
after.
"""

import gc

gc.disable()  # until the imports are over: `up` waits for them, and they make no garbage

import logging
import math
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import setproctitle
import trio

from etcdlab.control.listener import bind
from etcdlab.control.server import serve
from etcdlab.daemon_log import DaemonLog
from etcdlab.descriptors import ensure_standard
from etcdlab.errors import BootError, EtcdlabError, LabStateError
from etcdlab.model.report import Failed, Go, Hold, OwnerEnd, Progress, Reach, Ready, Report
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import identify
from etcdlab.prepare.title import title
from etcdlab.runtime.child import AdoptedProcess
from etcdlab.runtime.cluster import Cluster
from etcdlab.runtime.journal import Journal

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Seconds between looks whether the lab's directory is still there."""
LAST_WORD_S: Final = 1.0
"""Seconds that a launcher which reads nothing (it is stopped) may delay the daemon's end."""
MESSAGE_BYTES: Final = 65536
"""More than any message of the launcher; the descriptor ends what the kernel joins of them to one (unix(7))."""


class Reporter:
    """Tells the launcher what happens, until the last word. One that is gone, or is stopped, holds nothing up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._told, self._reports = trio.open_memory_channel[Report](math.inf)

    def say(self, report: Report) -> None:
        """Have one line sent; the last word ends the stream, and what comes after it is nobody's business."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            self._told.send_nowait(report)
            if not isinstance(report, Progress):
                self._told.close()

    async def run(self) -> None:
        """Send, up to the last word."""
        async with trio.lowlevel.FdStream(self._descriptor) as launcher, self._reports:
            with suppress(trio.BrokenResourceError):
                async for report in self._reports:
                    await launcher.send_all(msgspec.json.encode(report) + b"\n")


async def run(directory: LabDirectory, lock: os.stat_result, reporter: Reporter, hold: Hold, *, boot_s: float) -> bool:
    """Boot the lab and keep it until it is asked to end, telling the launcher. Whether it booted."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporter.run)
        try:
            booted = await keep_lab(directory, lock, reporter, hold, boot_s=boot_s)
        except EtcdlabError as error:  # before there was anything to supervise
            reporter.say(failed(error))
            booted = False
        nursery.cancel_scope.deadline = trio.current_time() + LAST_WORD_S
    return booted


async def keep_lab(
    directory: LabDirectory, lock: os.stat_result, reporter: Reporter, hold: Hold, *, boot_s: float
) -> bool:
    """Boot the lab and keep it until it is asked to end. Whether it booted and was wanted. Raises EtcdlabError."""
    plan = directory.load_plan()
    listener = bind(plan.socket)
    journal = Journal(directory.events)
    cluster = Cluster(directory, plan, journal)
    kept = trio.Event()
    ended = trio.Event()
    async with trio.open_nursery() as services:
        services.start_soon(watch_signals, cluster)
        services.start_soon(watch_launcher, cluster, hold, kept)
        services.start_soon(watch_directory, cluster, directory, lock)
        services.start_soon(journal.run)
        services.start_soon(report_progress, journal, reporter)
        async with trio.open_nursery() as control:
            control.start_soon(partial(serve, cluster, listener, shutdown=ended))
            booted = await supervise(cluster, reporter, kept, boot_s=boot_s)
            ended.set()
        services.cancel_scope.cancel()
    journal.close()
    if (cluster.purge or (hold.is_draft and not booted)) and directory.is_still(lock):
        await trio.to_thread.run_sync(directory.purge, cluster.plan)
    return booted


async def supervise(cluster: Cluster, reporter: Reporter, kept: trio.Event, *, boot_s: float) -> bool:
    """Run the members from boot to the end that somebody asked for. Whether they booted and were wanted."""
    async with trio.open_nursery() as members:
        await members.start(cluster.run)
        booted = await boot(cluster, reporter, kept, boot_s=boot_s)
        if booted:
            await cluster.shutdown_requested.wait()
        # A boot that came to nothing leaves what was there before: members that served without a daemon go on serving.
        spare_adopted = not booted and not cluster.purge
        await cluster.stop_all(at_once=cluster.purge or not booted, spare_adopted=spare_adopted)
        members.cancel_scope.cancel()
    return booted


async def boot(cluster: Cluster, reporter: Reporter, kept: trio.Event, *, boot_s: float) -> bool:
    """Boot the members, say the last word and wait until the lab is `kept`; False when something came between."""
    booted = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on, cluster.shutdown_requested, nursery.cancel_scope)
        try:
            reporter.say(Ready(status=await cluster.boot(boot_s=boot_s)))
            await kept.wait()  # no longer than the launcher lives
            cluster.keep()
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
                cluster.members.kill_all()
            cluster.request_shutdown(purge=False)


async def watch_launcher(cluster: Cluster, hold: Hold, kept: trio.Event) -> None:
    """Hear that the lab is wanted, and ask for the end when our owner is gone: before that, or if it is tied to it.

    The end of our standard input tells, unless a fork of the owner holds the other end as well and lives on.
    """
    identity = identify(hold.owner)
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            async with trio.lowlevel.FdStream(os.dup(0)) as channel:
                while await channel.receive_some():
                    kept.set()
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        if identity is not None and hold.owner == os.getppid():
            await AdoptedProcess(identity).wait()
        nursery.cancel_scope.cancel()
    if not kept.is_set() or hold.owner_end is OwnerEnd.STOP:
        cluster.request_shutdown(purge=False)
    elif hold.owner_end is OwnerEnd.PURGE:
        cluster.request_shutdown(purge=True)


async def watch_directory(cluster: Cluster, directory: LabDirectory, lock: os.stat_result) -> None:
    """Ask for the end when the lab's directory was removed or moved: nobody could find the lab, or end it, any more.

    By looking, since the kernel tells of a file that is gone, but not of a directory above it that was moved.
    """
    while directory.is_still(lock):  # noqa: ASYNC110
        await trio.sleep(LOOK_S)
    logger.error("%s was removed or moved: the lab is stopped", directory.path)
    cluster.request_shutdown(purge=False)


async def report_progress(journal: Journal, reporter: Reporter) -> None:
    """Tell the launcher what the journal is told."""
    async for event in journal.events(since=journal.sequence, follow=True):
        reporter.say(Progress(event=event))


def hear_signals() -> None:
    """Leave nothing of what our launcher did with its signals: it may be anybody's program, and members inherit it.

    Blocked, SIGTERM stops no member. With SIGCHLD ignored the kernel reaps them, and their exit codes are lost.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def hear_hold(launcher: socket.socket) -> tuple[Hold, os.stat_result] | None:
    """Hear which lab is ours, with its lock; None when the launcher has ended, and what it may have left is removed."""
    words, locks = b"", list[int]()
    while not locks:
        told, locks, _, _ = socket.recv_fds(launcher, MESSAGE_BYTES, 1)
        if not told:
            if words:
                LabDirectory(Path(msgspec.json.decode(words, type=Reach).directory)).discard_vacant()
            return None
        words += told
    os.set_inheritable(locks[0], False)  # held until this process ends, by this process alone
    return msgspec.json.decode(words.splitlines()[-1], type=Hold), os.fstat(locks[0])


def main() -> None:
    """`python -m etcdlab.daemon`, with a socket for standard input."""
    os.umask(0o077)  # nobody else has any business with what a daemon or a member makes
    hear_signals()
    ensure_standard()  # standard error may be closed, and would become the lab's lock
    gc.freeze()
    gc.enable()
    with socket.socket(fileno=os.dup(0)) as launcher:
        if (held := hear_hold(launcher)) is None:
            return
        hold, lock = held
        directory = LabDirectory(Path(hold.directory))
        setproctitle.setproctitle(title(directory))
        second = launcher.recv(MESSAGE_BYTES)
    if not second:
        if hold.is_draft:
            directory.discard()
        return
    go = msgspec.json.decode(second, type=Go)
    launcher_hears = os.dup(1)
    try:
        log = DaemonLog(directory.daemon_log)
    except OSError as error:
        unwritable = LabStateError(f"{directory.daemon_log} cannot be written: {error.strerror}")
        os.write(launcher_hears, msgspec.json.encode(failed(unwritable)) + b"\n")
        sys.exit(1)
    reporter = Reporter(launcher_hears)
    logging.basicConfig(level=logging.INFO, handlers=[log])
    booted = trio.run(partial(run, directory, lock, reporter, hold, boot_s=go.boot_s))
    gc.freeze()  # the lab is held until this process is gone, and to collect it all at the end takes 30 ms
    sys.exit(0 if booted else 1)


if __name__ == "__main__":
    main()
