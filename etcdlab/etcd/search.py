"""Programs on PATH, of which entries that are no absolute paths are left out.

They (and empty ones, as in `PATH=$PATH:`) mean whatever directory a command is given in: a checkout of somebody else's,
perhaps, with an `etcd` of its own.
"""

import os
import shutil
from pathlib import Path


def absolute_path() -> str:
    """PATH, as far as it is absolute."""
    return os.pathsep.join(entry for entry in os.get_exec_path() if Path(entry).is_absolute())


def on_path(name: str) -> Path | None:
    """The program of this name."""
    found = shutil.which(name, path=absolute_path())
    return Path(found) if found else None
