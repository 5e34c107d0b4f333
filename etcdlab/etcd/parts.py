"""A log in its parts, read as one. Places in it are counted from its first byte ever, so that they outlast rotations.

`etcd.log.000000010485760` is an older part, named by the place where it ends; `etcd.log` is the newest and goes on from
there. `etcd.log.cut` is the copy of a beginning that is being taken away from the newest, or was when a daemon was
killed: it is an older part as soon as that is done. The newest may begin with a hole, which is no part of the log.

Nothing here writes, and nothing locks: a reader that is frozen must not hold up the rotation. So what was read counts
only if the older parts are still the same afterwards.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeVar

BLOCK: Final = 64 * 1024
"""Bytes. A file can lose whole blocks of its file system, and no usual one has larger ones."""

_DIGITS: Final = 15
_CUT: Final = "cut"
_Found = TypeVar("_Found")


class LogParts:
    """Reads the log at `path`, which need not be there. Keeps the newest part open."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._newest: BinaryIO | None = None
        self._older = older_parts(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def newest_start(self) -> int:
        """Where the newest part began when it was last looked at."""
        return self._older[-1][0] if self._older else 0

    def start(self) -> int:
        """The first place that is kept."""
        return self._stable(self._start)

    def end(self) -> int:
        """The place behind the last byte."""
        return self._stable(self._end)

    def read(self, place: int, size: int) -> tuple[int, bytes]:
        """Up to `size` bytes from `place` on, none at the end; and where they are.

        That is elsewhere if nothing is at `place` any more: at the next place that is kept, or at the start of the
        newest part if somebody has emptied or replaced that.
        """
        return self._stable(lambda: self._read(place, size))

    def close(self) -> None:
        """Close the file."""
        if self._newest is not None:
            self._newest.close()
        self._newest = None

    def _stable(self, look: Callable[[], _Found]) -> _Found:
        """What is found while nothing is rotated."""
        while True:
            try:
                found = look()
            except FileNotFoundError:  # an older part is gone, or has got its name
                self._older = older_parts(self.path)
                continue
            older = older_parts(self.path)
            if older == self._older:
                return found
            self._older = older
            self.close()  # it may be one of them by now

    def _start(self) -> int:
        if not self._older:
            return 0
        end, path = self._older[0]
        return end - path.stat().st_size

    def _end(self) -> int:
        if not self._is_current():
            self._open()
        return self.newest_start + (0 if self._newest is None else length(self._newest.fileno()))

    def _read(self, place: int, size: int) -> tuple[int, bytes]:
        for end, path in self._older:
            if place < end:
                with path.open("rb", buffering=0) as part:
                    start = end - os.fstat(part.fileno()).st_size
                    place = max(place, start)
                    if data := os.pread(part.fileno(), min(size, end - place), place - start):
                        return place, data
        if self._newest is None:
            self._open()
        return self._read_newest(place, size)

    def _read_newest(self, place: int, size: int) -> tuple[int, bytes]:
        if self._newest is None:
            return place, b""
        descriptor, start = self._newest.fileno(), self.newest_start
        hole = hole_size(descriptor)
        left = os.fstat(descriptor).st_size - hole - (place - start)
        if left > 0:
            return place, os.pread(descriptor, min(size, left), hole + place - start)
        if left == 0 and self._is_current():
            return place, b""
        self._open()
        return self._read_newest(start, size)

    def _is_current(self) -> bool:
        """Whether the file that is open is the one that is there."""
        try:
            return self._newest is not None and os.path.samestat(os.fstat(self._newest.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self.close()  # also if there is no other: an open file keeps the kernel from telling that its directory went
        with contextlib.suppress(FileNotFoundError):
            self._newest = self.path.open("rb", buffering=0)


def older_parts(path: Path) -> list[tuple[int, Path]]:
    """The older parts of the log at `path`, oldest first, each with the place where it ends."""
    while True:
        suffixes = _suffixes(path)
        ends = sorted(int(suffix) for suffix in suffixes if len(suffix) == _DIGITS and suffix.isdecimal())
        parts = [(end, older_part(path, end)) for end in ends]
        if _CUT not in suffixes:
            return parts
        with contextlib.suppress(FileNotFoundError):  # it has got its name meanwhile
            copy = part_being_cut(path)
            end = (ends[-1] if ends else 0) + copy.stat().st_size
            return [*parts, (end, copy)] if is_cut(path) else parts


def _suffixes(path: Path) -> list[str]:
    prefix = f"{path.name}."
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - a Path for each would double what a line costs the daemon
    except FileNotFoundError:
        return []
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def older_part(path: Path, end: int) -> Path:
    """The file for the older part of the log at `path` that ends at this place."""
    return path.with_name(f"{path.name}.{end:0{_DIGITS}}")


def part_being_cut(path: Path) -> Path:
    """The file for what is copied and may still be at the beginning of the newest part."""
    return path.with_name(f"{path.name}.{_CUT}")


def is_cut(path: Path) -> bool:
    """Whether what is in `part_being_cut` was taken away from the newest part. Raises FileNotFoundError without it.

    Told by a block's content: that of one that was killed half-way is nowhere else, and lines have times.
    """
    with part_being_cut(path).open("rb", buffering=0) as copy:
        try:
            with path.open("rb", buffering=0) as newest:
                head = copy.read(BLOCK)
                return os.pread(newest.fileno(), len(head), hole_size(newest.fileno())) != head
        except FileNotFoundError:
            return True


def length(descriptor: int) -> int:
    """How many bytes of a log an open part has."""
    return os.fstat(descriptor).st_size - hole_size(descriptor)


def hole_size(descriptor: int) -> int:
    """How many bytes an open part begins with that are no part of the log."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:  # it is empty, or all of it is a hole
        return os.fstat(descriptor).st_size
