"""What another local user may do, as tests ask."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torturing.stranger import as_stranger

needed = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def is_refused(act: Callable[[], object]) -> bool:
    """Whether another user may not do that."""
    try:
        as_stranger(act)
    except PermissionError:
        return True
    return False


@contextmanager
def meeting_place() -> Iterator[Path]:
    """A directory of ours that everybody can enter. Skips the test where there can be none."""
    with tempfile.TemporaryDirectory(prefix="lab-") as made:
        Path(made).chmod(0o755)
        if is_refused(lambda: list(Path(made).iterdir())):
            pytest.skip(f"{tempfile.gettempdir()} cannot be entered by other users")
        yield Path(made)
