"""A command that runs as if in this process's place: it gets our signals, and we stop and end as it does."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

_HANDED_ON: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
)
_OF_A_TERMINAL: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGTSTP)
_JOB_STOPS: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""What a child would ignore too if it were not told otherwise."""


def spawn(program: Path, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start `program` as `words`, in our process group; its pid. Raises OSError when it cannot be started.

    From here on this process answers to no signal but those it cannot refuse: `follow` hands them on, and what must be
    done after the command is not cut short.
    """
    # Where our caller ignored it, children's ends would be neither told nor waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_HANDED_ON, signal.SIGCHLD))
    # Not `subprocess`: it closes the descriptors that our caller opened for the command, and hands the mask on.
    return os.posix_spawn(program, tuple(words), environment, setsigmask=before, setsigdef=_PYTHON_IGNORES)


def follow(pid: int) -> int:
    """Hand our signals on until the command has ended; its exit status, 128 + N when signal N killed it."""
    while True:
        number, has_it = _receive((*_HANDED_ON, signal.SIGCHLD))
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if ended and not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if ended and os.WSTOPSIG(status) in _JOB_STOPS:
                os.kill(os.getpid(), signal.SIGSTOP)  # else the shell waits for us, and the terminal for the command
        elif not has_it:
            os.kill(pid, number)


def _receive(signals: Iterable[signal.Signals]) -> tuple[int, bool]:
    """Wait for a signal. Whether the command has it too, since a terminal sends to its whole foreground group."""
    if sys.platform == "darwin":  # which does not tell who sent it
        number = signal.sigwait(signals)
        return number, number in _OF_A_TERMINAL and os.isatty(0)
    info = signal.sigwaitinfo(signals)
    if info.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid():
        return info.si_signo, False  # a terminal that is gone tells the session's leader alone
    return info.si_signo, info.si_code > 0  # from the kernel, so from the terminal
