"""Whose directories are, and whose the process at the other end of a socket. This user and root are trusted.

Groups are not told apart: on many systems each user has one of their own, and files that it may write by default.
"""

import itertools
import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = 0
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
"""unix(4) of macOS: the options of a Unix socket, and who is at its other end."""


class Connected(Protocol):
    """A connected Unix socket."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As of any socket."""


def is_trusted(user: int) -> bool:
    """Whether a user may do what we may do."""
    return user in (os.geteuid(), ROOT)


def user_of_peer(connection: Connected) -> int:
    """The user of the process at the other end, as it was when that one connected or began to listen.

    The kernel's word (SO_PEERCRED). Raises OSError.
    """
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        user: int = struct.unpack("iII", credentials)[1]
    else:
        # struct xucred begins with its own version and the user.
        user = struct.unpack_from("II", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128))[1]
    return user


def is_private(directory: Path) -> bool:
    """Whether this is a directory (no link to one) that this user owns and can use, and nobody else can enter."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    owned = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return owned and not status.st_mode & 0o077 and os.access(directory, os.W_OK | os.X_OK)


def exposure(directory: Path) -> str:
    """How others can put files of theirs in the place of ours there: "belongs to user 1000"; "" if they cannot.

    Not by adding files: that is to be expected in a directory as /tmp. What cannot be looked at cannot be used either.
    """
    try:
        status = directory.stat()
    except OSError:
        return ""
    if not is_trusted(status.st_uid):
        return f"belongs to user {status.st_uid}"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return "can be written by everybody"
    return ""


def make_directory(directory: Path, *, mode: int = 0o700) -> None:
    """Make a directory and those above it that are missing, open to others no further than `mode`, whatever the umask.

    One that exists stays as it is. Raises OSError.
    """
    missing = itertools.takewhile(lambda place: not place.exists(), directory.parents)
    for place in (*reversed(list(missing)), directory):
        place.mkdir(mode=mode, exist_ok=True)
