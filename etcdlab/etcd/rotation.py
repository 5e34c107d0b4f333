"""Keeping a member's log bounded while the member writes it. etcd holds the file open, so it cannot be renamed away.

Its beginning is copied and then taken away beneath the writer: ext4 and XFS let the file begin later, other file
systems of Linux make a hole of it. Both are one step, in which no line is lost, while etcd appends (O_APPEND) at the
end: 100,000 lines a second of 150 bytes waited for it no longer than for the disk without it, some 20 ms. Where neither
can be had (macOS, NFS, FUSE) all is copied and the file cut to nothing, and a line that is written in the microseconds
between is lost.
"""

import contextlib
import errno
import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO, Final

from etcdlab.etcd.parts import BLOCK, hole_size, is_cut, length, older_part, older_parts, part_being_cut

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
_COLLAPSE_RANGE: Final = 8
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def rotate(path: Path, *, size: int, count: int) -> None:
    """Leave the newest part of the log at `path` with at most `size` bytes, and `count` older ones. Blocks.

    Raises OSError, most likely since the disk is full: then nothing was lost but parts that were to go. A `size` below
    BLOCK is taken for that.
    """
    complete(path)
    size = max(size, BLOCK)
    with path.open("r+b", buffering=0) as newest:
        while (there := length(newest.fileno())) > size:
            # First of all, for the sake of a disk that is full.
            _drop(path, keep=max(count - 1, 0))
            _copy(newest, path, size=min(there - 1, size) // BLOCK * BLOCK)
            _cut(newest, path)
            _drop(path, keep=count)


def complete(path: Path) -> None:
    """Complete a rotation in the middle of which a daemon was killed. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if is_cut(path):
            _name(path)
        else:
            with path.open("r+b", buffering=0) as newest:
                _cut(newest, path)


def _drop(path: Path, *, keep: int) -> None:
    """Remove the oldest parts. The last of them leaves an empty one, which says where the log goes on."""
    parts = older_parts(path)
    for end, part in parts[: max(len(parts) - keep, 0)]:
        if end < parts[-1][0]:
            part.unlink()
        elif part.stat().st_size:
            os.truncate(part, 0)


def _copy(newest: BinaryIO, path: Path, size: int) -> None:
    """Copy so much of the beginning of the newest part."""
    copy = path.with_name(f"{path.name}.new")
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    start = hole_size(newest.fileno())
    try:
        with os.fdopen(descriptor, "wb") as target:
            for place in range(start, start + size, BLOCK):
                target.write(os.pread(newest.fileno(), BLOCK, place))
    except OSError:
        copy.unlink()
        raise
    copy.replace(part_being_cut(path))


def _cut(newest: BinaryIO, path: Path) -> None:
    """Take away from the newest part what was copied of it, and give the copy its name."""
    copy, start = part_being_cut(path), hole_size(newest.fileno())
    size = copy.stat().st_size
    if not _take_away(newest.fileno(), start, size):
        with copy.open("ab") as target:
            newest.seek(start + size)
            shutil.copyfileobj(newest, target, BLOCK)
            target.flush()
            newest.truncate(0)
    _name(path)


def _take_away(descriptor: int, start: int, size: int) -> bool:
    """Have a file begin so many bytes after its `start`, in one step; False when its file system cannot do that."""
    if sys.platform != "linux":
        return False
    import ctypes  # 10 ms that only a log which is rotated costs

    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    for mode, first, many in ((_COLLAPSE_RANGE, 0, start + size), (_PUNCH_HOLE | _KEEP_SIZE, start, size)):
        if fallocate(descriptor, mode, first, many) == 0:
            return True
        number = ctypes.get_errno()
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number))
    return False


def _name(path: Path) -> None:
    copy = part_being_cut(path)
    named = [end for end, part in older_parts(path) if part != copy]
    copy.replace(older_part(path, (named[-1] if named else 0) + copy.stat().st_size))
