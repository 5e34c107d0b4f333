"""Files that are written anew, in one step or at least through no link that somebody left in their place."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path`, mode 0600: a reader sees the old file or the new one, whole. Raises OSError.

    With `durable` also after a crash of the machine, at the cost of two waits for the disk: for the content, then for
    the directory that has its name.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a str
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def sync_directory(path: Path) -> None:
    """Wait until the files of a directory, and their names, are on the disk. Raises OSError."""
    for place in (*path.iterdir(), path):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def create_file(path: Path, *, mode: int) -> BinaryIO:
    """A new file in place of what is there, if anything; what a link leads to is left alone. Raises OSError."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb")
