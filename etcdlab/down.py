"""From a lab in any state to nothing that runs of it, and to no lab at all if asked."""

import os
import signal
import time
from typing import Final

from etcdlab.control.client import Client
from etcdlab.errors import ControlError, LabStateError, NotRunningError, TimedOutError
from etcdlab.launch import end_members, end_network
from etcdlab.model.plan import Plan
from etcdlab.prepare.control_socket import socket_path
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import send_signal
from etcdlab.prepare.title import process_of

STOP_TIMEOUT_S: Final = 60.0
ANSWER_TIMEOUT_S: Final = 10.0
STOP_S: Final = 10.0
"""Seconds that a member gets to stop when there is no plan to say how many."""
DEAF_S: Final = 2.0
"""Seconds after which a daemon that cannot be reached over its socket gets a signal."""
POLL_S: Final = 0.02


def down(directory: LabDirectory, *, purge: bool) -> bool:
    """Stop the lab, whether or not its daemon lives, and (`purge`) remove it. False when it was down already.

    Who starts it meanwhile has it, unless it is to be purged: then that one is ended as well, and one that is just
    being made. Raises NotRunningError when there is no lab, TimedOutError when its daemon does not end in time,
    LabStateError when it cannot be removed.
    """
    deadline, was_up = time.monotonic() + STOP_TIMEOUT_S, False
    may_be_young = purge and directory.is_running()
    try:
        plan = _plan(directory)
    except NotRunningError:
        if not may_be_young:
            raise
        plan = None
    while True:
        was_up |= _end_daemon(directory, plan, deadline, purge=purge)
        if (lock := directory.acquire(make=False)) is not None:
            break
        if not (purge and directory.path.exists()):
            return was_up
    try:
        if not directory.exists():  # it came to nothing; what else may be here is not ours to remove
            return was_up
        plan = _plan(directory)
        number = signal.SIGKILL if purge else signal.SIGTERM
        was_up |= bool(end_members(directory, number, timeout_s=plan.timeouts.stop_s if plan else STOP_S))
        end_network(directory, plan)
        if purge:
            directory.purge(plan)
    finally:
        os.close(lock)
    return was_up


def _plan(directory: LabDirectory) -> Plan | None:
    """None when it cannot be read: what runs of the lab is found all the same."""
    try:
        return directory.load_plan()
    except LabStateError:
        return None


def _end_daemon(directory: LabDirectory, plan: Plan | None, deadline: float, *, purge: bool) -> bool:
    """Have the daemon end, and wait for it. False when there is none."""
    with directory.watch_release() as wait_released:
        if not directory.is_running():
            return False
        client = Client(plan.socket if plan else str(socket_path(directory.path)), timeout_s=ANSWER_TIMEOUT_S)
        deaf_at = time.monotonic() + DEAF_S
        # Who holds the lab may be about to make or start it, and have no plan or no socket yet.
        while not _ask(directory, client, purge=purge, is_deaf=time.monotonic() > deaf_at and directory.exists()):
            if wait_released(POLL_S):
                return True
            if time.monotonic() > deadline:
                raise _stuck(directory)
        if not wait_released(max(0.0, deadline - time.monotonic())):
            raise _stuck(directory)
    return True


def _ask(directory: LabDirectory, client: Client, *, purge: bool, is_deaf: bool) -> bool:
    """Ask the daemon to end, over its socket, or with a signal if that has been of no use for long. Whether it was."""
    try:
        client.shutdown(purge=purge)
    except (NotRunningError, ControlError):
        daemon = process_of(directory) if is_deaf else None
        return daemon is not None and send_signal(daemon, signal.SIGTERM)
    return True


def _stuck(directory: LabDirectory) -> TimedOutError:
    return TimedOutError(
        f"lab {directory.name!r} has not stopped within {STOP_TIMEOUT_S:g} s",
        hint=f"{directory.daemon_log} says what it waits for.",
    )
