"""The title of a daemon's process: what `ps` shows, and how daemons are found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessIdentity, identify

_PREFIX: Final = "etcdlab daemon "


def title(directory: LabDirectory) -> str:
    """The command line that the daemon of this lab shows."""
    return f"{_PREFIX}{directory.path}"


def lab_of(argv: Sequence[str]) -> LabDirectory | None:
    """The lab whose daemon has this command line; None when it is no daemon's."""
    # A title is one string; psutil takes it apart at its spaces, or at the zeros that fill what it leaves of the
    # command line that was there before.
    shown = " ".join(argv).rstrip()
    return LabDirectory(Path(shown.removeprefix(_PREFIX))) if shown.startswith(_PREFIX) else None


def daemon_of(directory: LabDirectory) -> ProcessIdentity | None:
    """The process of this lab's daemon, by its title."""
    import psutil  # 25 ms that only those pay who have no other way to it

    for process in psutil.process_iter(["cmdline"]):
        lab = lab_of(process.info["cmdline"] or ())
        if lab is not None and lab.path == directory.path:
            return identify(process.pid)
    return None
