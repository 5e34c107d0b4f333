"""Where a lab's control socket goes: beside its plan, or where paths are short and this user is alone."""

import os
from pathlib import Path
from typing import Final

from etcdlab.errors import LabStateError
from etcdlab.ownership import is_private

SOCKET_PATH_LIMIT: Final = 100
"""Bytes. `sun_path` holds 108 on Linux and 104 on macOS, with the final NUL."""
SOCKET_NAME_LENGTH: Final = 32
"""Bytes that a control socket's place in a runtime directory takes at most."""
TEMPORARY: Final = Path("/tmp")


def socket_path(directory: Path) -> Path:
    """Where the control socket of the lab in this directory goes: beside its plan, if the path is not too long."""
    beside = directory / "control.sock"
    if len(os.fsencode(beside)) <= SOCKET_PATH_LIMIT:
        return beside
    import hashlib  # 2 ms that a path of the usual length does not pay

    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    return runtime_directory() / f"{digest}.sock"


def runtime_directory() -> Path:
    """Where a control socket goes whose path in the lab's directory would be too long: short, and this user's alone.

    Raises LabStateError when somebody else has taken the place.
    """
    user = os.geteuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"):
        if base and len(os.fsencode(base)) + SOCKET_NAME_LENGTH <= SOCKET_PATH_LIMIT and is_private(Path(base)):
            return Path(base) / "etcdlab"
    directory = TEMPORARY / f"etcdlab-{user}"
    if os.path.lexists(directory) and not is_private(directory):
        raise LabStateError(
            f"{directory}, where the control socket would go, is not a directory of this user's alone",
            hint="Remove it, or set XDG_RUNTIME_DIR to a directory that is, with mode 0700.",
        )
    return directory
