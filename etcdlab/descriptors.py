"""The three standard descriptors, which a caller may have closed (`etcdlab up <&- >&- 2>&-`)."""

import os
import sys


def ensure_standard() -> None:
    """Open those that are closed, or the next file or socket would take their number and what is said would go there.

    As the coreutils do, so that nothing can be read from or written to them: output that is lost is still an error.
    """
    for descriptor, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
            if descriptor == 1:
                sys.stdout = open(descriptor, "w", closefd=False)  # noqa: SIM115
