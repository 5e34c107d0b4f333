"""Damage to what a member keeps, as a bad disk does it. Only while the member does not run."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from etcdlab.errors import LabStateError
from etcdlab.model.disk import Part

META_PAGES: Final = 2
PAGE: Final = 4096
"""Bytes. bbolt begins a file with two copies of its meta page, and needs one of them (bbolt db.go)."""

SECTOR: Final = 512
_LENGTH: Final = struct.Struct("<q")
_ENTRY: Final = b"\x08\x02"
"""How a record begins that holds a change (etcd 3.5 wal/walpb/record.proto: its type is 2)."""


def damage(data_dir: Path, part: Part) -> Path:
    """Damage the newest log of changes, or the database; which file. The member will refuse to start with it.

    Raises LabStateError where there is none, OSError.
    """
    path = _newest_wal(data_dir) if part is Part.WAL else data_dir / "member" / "snap" / "db"
    if path is None or not path.exists():
        raise LabStateError(f"there is no {part.value} in {data_dir}", hint="A member has one once it has run.")
    with path.open("r+b") as file:
        if part is Part.DB:
            file.write(b"\xff" * META_PAGES * PAGE)
        else:
            content = file.read()
            place = _last_byte_of_a_change(content)
            file.seek(place)
            file.write(bytes([content[place] ^ 0xFF]))
    return path


def _newest_wal(data_dir: Path) -> Path | None:
    """The newest with a change in it: one that was just begun has none. None when there is no such file."""
    for path in sorted((data_dir / "member" / "wal").glob("*.wal"), reverse=True):
        if any(True for _ in _changes(path.read_bytes())):
            return path
    return None


def _last_byte_of_a_change(wal: bytes) -> int:
    """Where it is for the change in the middle of those that lie in one sector.

    etcd takes a record for torn by a crash, and drops it with all that follow, if its length leads nowhere or all that
    it has in one sector is zeros (etcd 3.5 wal/decoder.go, isTornEntry). A byte that was just in the middle was one of
    these in 3 of 12 tries: the member had forgotten what it had acknowledged.
    """
    changes = list(_changes(wal))
    whole = [end - 1 for begin, end in changes if begin // SECTOR == (end - 1) // SECTOR] or [changes[0][1] - 1]
    return whole[len(whole) // 2]


def _changes(wal: bytes) -> Iterator[tuple[int, int]]:
    """Where each record that holds a change begins and ends.

    Before each is its length, and with it, if that is no multiple of 8, the number of bytes behind it that fill it up
    (etcd 3.5 wal/encoder.go, encodeFrameSize).
    """
    place = 0
    while place + _LENGTH.size <= len(wal):
        (frame,) = _LENGTH.unpack_from(wal, place)
        length = frame & 0xFF_FFFF_FFFF_FFFF
        begin = place + _LENGTH.size
        if not length or begin + length > len(wal):
            return
        if wal.startswith(_ENTRY, begin):
            yield begin, begin + length
        padding = frame >> 56 & 7 if frame < 0 else 0
        place = begin + length + padding
