"""The control socket's file: bound before anything else is done, so that clients can queue from then on."""

import os
import socket
from pathlib import Path

from etcdlab.errors import LabStateError
from etcdlab.prepare.labdir import is_private


def bind(path: str) -> socket.socket:
    """A listening socket at `path`, mode 0600 from birth. Raises LabStateError.

    The caller holds the lab's lock, so a socket file that is there belongs to a dead daemon and is replaced; the
    directory has mode 0700. Call it before there are threads: the umask, which alone gives a socket its mode at
    birth, is the whole process's. (A chmod afterwards leaves a moment in which anyone can connect.)
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        parent = Path(path).parent
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(parent):
            raise PermissionError(f"{parent} is not a directory of this user's alone")
        Path(path).unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(umask)
        listener.listen()
    except OSError as error:
        listener.close()
        raise LabStateError(
            f"the control socket {path} could not be made: {error}", hint="Is its directory yours, on a local disk?"
        ) from error
    return listener
