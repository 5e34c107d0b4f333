"""Keeping a member's log bounded while the member writes it: etcd holds the file open, so it cannot be renamed away.

What is there is copied to `etcd.log.1`, then the file is cut to nothing; etcd appends (O_APPEND), so it goes on from
the start. Between the last byte copied and the cut lie some microseconds in which a line could be lost.
"""

import os
import shutil
from pathlib import Path
from typing import Final

_BLOCK: Final = 1024 * 1024


def rotate(path: Path, count: int) -> None:
    """Empty the log at `path` into `path.1`; `.1` becomes `.2`, and so on up to `count` old parts. Blocks."""
    if count == 0:
        os.truncate(path, 0)
        return
    copy = path.with_name(f"{path.name}.new")
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with path.open("r+b", buffering=0) as source, os.fdopen(descriptor, "wb", buffering=0) as target:
        shutil.copyfileobj(source, target, _BLOCK)
        for number in range(count, 1, -1):
            if (newer := older_part(path, number - 1)).exists():
                newer.replace(older_part(path, number))
        # In its place before the cut: whoever follows the log finds there what it had not read yet.
        copy.replace(older_part(path, 1))
        shutil.copyfileobj(source, target, _BLOCK)
        source.truncate(0)


def older_part(path: Path, number: int) -> Path:
    """The `number`th older part of the log at `path`, 1 being the newest of them."""
    return path.with_name(f"{path.name}.{number}")
