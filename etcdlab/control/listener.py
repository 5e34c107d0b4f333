"""The control socket's file: bound before anything else is done, so that clients can queue from then on."""

import os
import socket
from pathlib import Path

from etcdlab.errors import LabStateError
from etcdlab.ownership import is_private, make_directory


def bind(path: str) -> socket.socket:
    """A listening socket at `path`, mode 0600 from birth. Raises LabStateError.

    The caller holds the lab's lock, so a socket that is there belongs to a dead daemon and is replaced; anything else
    there is somebody's, and is left. The directory has mode 0700. Call it before there are threads: the umask, which
    alone gives a socket its mode at birth, is the whole process's. (A chmod afterwards leaves a moment in which anyone
    can connect.)
    """
    place = Path(path)
    if place.exists() and not place.is_socket():
        raise LabStateError(
            f"{path}, where the control socket goes, is taken by something that is no socket",
            hint="Move it away, then try again.",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        parent = place.parent
        make_directory(parent)
        if not is_private(parent):
            raise PermissionError(f"{parent} is not a directory that this user can write and nobody else can enter")
        place.unlink(missing_ok=True)
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
