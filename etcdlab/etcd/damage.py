"""Damage to what a member keeps, as a bad disk does it. Only while the member does not run."""

from pathlib import Path
from typing import Final

from etcdlab.errors import LabStateError
from etcdlab.model.disk import Part

META_PAGES: Final = 2
PAGE: Final = 4096
"""Bytes. bbolt begins a file with two copies of its meta page, and needs one of them (bbolt db.go)."""


def damage(data_dir: Path, part: Part) -> Path:
    """Damage the newest log of changes, or the database; which file. The member will refuse to start with it.

    Raises LabStateError where there is none, OSError.
    """
    path = newest_wal(data_dir) if part is Part.WAL else data_dir / "member" / "snap" / "db"
    if path is None or not path.exists():
        raise LabStateError(f"there is no {part.value} in {data_dir}", hint="A member has one once it has run.")
    with path.open("r+b") as file:
        if part is Part.DB:
            file.write(b"\xff" * META_PAGES * PAGE)
        else:
            used = len(file.read().rstrip(b"\0"))  # etcd has 64 MB of zeros allocated
            # In the middle: a torn last record is what a crash leaves, and etcd drops it.
            file.seek(used // 2)
            byte = file.read(1)
            file.seek(used // 2)
            file.write(bytes([byte[0] ^ 0xFF]))
    return path


def newest_wal(data_dir: Path) -> Path | None:
    """The file that is written to; None when there is none."""
    return max((data_dir / "member" / "wal").glob("*.wal"), default=None)
