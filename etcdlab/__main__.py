"""The `etcdlab` command, also as `python -m etcdlab`."""

import _signal  # type: ignore[import-not-found]  # built in, where `signal` takes 10 ms to import

# Python would raise KeyboardInterrupt, in the middle of imports too. What has something to undo says so itself
# (etcdlab.interruption); all else ends at once.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import contextlib
import gc
import io
import sys

STARTS_A_LAB = {"up", "exec"}
"""The verbs that most likely need a daemon."""


def main() -> None:
    """Start what takes longest, then the command line."""
    # Imports make many objects and no garbage; to look for some meanwhile costs tens of milliseconds.
    gc.disable()
    from etcdlab.descriptors import ensure_standard

    ensure_standard()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as for stderr: a terminal may know no "…"
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
