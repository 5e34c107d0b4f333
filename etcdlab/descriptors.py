"""This process's descriptors: the standard ones, which a caller may have closed, and whether there can be more."""

import os
import sys


def ensure_standard() -> None:
    """Open the standard ones that are closed (`etcdlab up <&- >&- 2>&-`).

    Else the next file or socket would take their number and what is said would go there.

    As the coreutils do, so that nothing can be read from or written to them: output that is lost is still an error.
    """
    usual = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDONLY))
    for descriptor, (name, mode, flags) in enumerate(usual):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
            # Python has None in its place, and would print to standard output what is for standard error.
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def can_open() -> bool:
    """Whether this process may open one more."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
