"""The titles of a lab's own processes: what `ps` shows, and how they are found."""

import enum
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessIdentity, identify, send_signal

NETWORK_MODULE: Final = "etcdlab.network"
POLL_S: Final = 0.01


class Role(enum.Enum):
    """What a process does for a lab."""

    DAEMON = "daemon"
    NETWORK = "network"


def title(directory: LabDirectory, role: Role = Role.DAEMON) -> str:
    """The command line that such a process of this lab shows."""
    return f"etcdlab {role.value} {directory.path}"


def lab_of(argv: Sequence[str], role: Role = Role.DAEMON) -> LabDirectory | None:
    """The lab whose process has this command line; None when it is no such process."""
    # A title is one string; psutil takes it apart at its spaces, or at the zeros that fill what it leaves of the
    # command line that was there before.
    shown, prefix = " ".join(argv).rstrip(), f"etcdlab {role.value} "
    if shown.startswith(prefix):
        return LabDirectory(Path(shown.removeprefix(prefix)))
    # One that is still importing. A daemon is told which lab is its own later than that.
    is_young = role is Role.NETWORK and NETWORK_MODULE in argv[:-1]
    return LabDirectory(Path(argv[-1])) if is_young else None


def process_of(directory: LabDirectory, role: Role = Role.DAEMON) -> ProcessIdentity | None:
    """The process that does this for the lab, by its title, which is this user's: anybody can give himself one."""
    import psutil  # 25 ms that only those pay who have no other way to it

    for process in psutil.process_iter(["cmdline", "uids"]):
        lab, uids = lab_of(process.info["cmdline"] or (), role), process.info["uids"]
        if lab is not None and lab.path == directory.path and uids is not None and uids.effective == os.geteuid():
            return identify(process.pid)
    return None


def kill_all(directory: LabDirectory, role: Role) -> None:
    """SIGKILL to all processes that do this for the lab, until there is none."""
    while (identity := process_of(directory, role)) is not None:
        send_signal(identity, signal.SIGKILL)
        time.sleep(POLL_S)
