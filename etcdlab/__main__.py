"""The `etcdlab` command, also as `python -m etcdlab`."""

import contextlib
import gc
import sys

STARTS_A_LAB = {"up", "exec"}
"""The verbs that most likely need a daemon."""


def main() -> None:
    """Start what takes longest, then the command line."""
    # Imports make many objects and no garbage; to look for some meanwhile costs tens of milliseconds.
    gc.disable()
    with contextlib.ExitStack() as stack:
        interpreter = None
        if STARTS_A_LAB.intersection(sys.argv[1:2]):
            from etcdlab.interpreter import Interpreter

            interpreter = stack.enter_context(Interpreter())
        from etcdlab.cli.main import etcdlab
        from etcdlab.cli.verb import run

        run(etcdlab, interpreter)


if __name__ == "__main__":
    main()
