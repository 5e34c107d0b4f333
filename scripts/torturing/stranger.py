"""Another local user: root forks, and the fork becomes one who owns nothing.

It must not need the interpreter again, which may lie where only root can read it: what it does is imported already.
"""

import os
import pickle
import warnings
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
STRANGER: Final = 54321
"""Neither root nor anybody that a machine has, and no 65534, who is everybody that a container does not know."""


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
                told = pickle.dumps((act(), None))
            except Exception as error:
                told = pickle.dumps((None, error))
            os.write(writing, told)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        told = result.read()
    os.waitpid(child, 0)
    assert told, "the stranger died"
    done: tuple[T, Exception | None] = pickle.loads(told)
    outcome, refusal = done
    if refusal is not None:
        raise refusal
    return outcome
