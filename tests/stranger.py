"""Another local user: root forks, and the fork becomes one who owns nothing.

It must not need the interpreter again, which may lie where only root can read it: what it does is imported already.
"""

import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
STRANGER: Final = 54321
"""Neither root nor anybody that a machine has, and no 65534, who is everybody that a container does not know."""

needed = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_stranger(act: Callable[[], T]) -> T:
    """What `act` returns, or raises, when another user does it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads; no lock is needed here
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.umask(0)
            try:
                done = (True, act())
            except Exception as error:
                done = (False, error)
            os.write(writing, pickle.dumps(done))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        told = result.read()
    os.waitpid(child, 0)
    assert told, "the stranger died"
    succeeded, outcome = pickle.loads(told)
    if not succeeded:
        raise outcome
    return outcome


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
