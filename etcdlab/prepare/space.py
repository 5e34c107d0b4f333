"""Space on disks, of which a cluster's members and the journal need some all the time."""

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ENOUGH: Final = 2**20
"""Bytes. With less a disk counts as full; a member that needs more will tell."""
LAST_WORDS: Final = 4096
"""Bytes. A fatal error with its stack."""


def is_full(path: Path) -> bool:
    """Whether the disk of this path, or of the nearest directory above it that exists, has no space for this user."""
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:  # that is not for us to see, and nothing is known
            return False
        return found.f_bavail * found.f_frsize < ENOUGH
    return False


def has_last_words(log: Path) -> bool:
    """Whether a child of ours could write to its log: there is a limit (RLIMIT_FSIZE) that no disk knows of."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        return limit == resource.RLIM_INFINITY or log.stat().st_size + LAST_WORDS < limit
    except OSError:
        return True


def full(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of the paths whose disks are full, one of each disk."""
    seen = set()
    for path in paths:
        device = path.stat().st_dev if path.exists() else None
        if device not in seen and is_full(path):
            seen.add(device)
            yield path
