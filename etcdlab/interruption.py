"""The signals that end a process: held off for a moment, or raised, so that what was begun can be undone.

Nothing else catches them on the command line: a verb that has nothing to undo ends at once, as any program does.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """One of them came. No Exception, as KeyboardInterrupt is none: who handles errors is not meant."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What would end this process waits until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def undoable() -> Iterator[None]:
    """Raise the first of them inside the block as Interrupted. Those that follow wait until that is undone."""

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for(is_over: Callable[[], bool], interrupt: Callable[[], object]) -> None:
    """Wait until `is_over`, which the end of a child makes it; call `interrupt` for each of them that comes.

    They are held off meanwhile and taken as they come. A system call that they are to interrupt can begin in the
    moment after one came, and lasts for ever: Python looks for signals before it, not in it.
    """
    signal.alarm(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where our caller ignored it, the end of a child is not told
    awaited = (*_heeded(), signal.SIGCHLD)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        while not is_over():
            if signal.sigwait(awaited) != signal.SIGCHLD:
                interrupt()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, {*before} - {*ENDING})


def hold_off(bound_s: int) -> None:
    """What would end this process waits for `heed`, but no longer than `bound_s` seconds: what is done until then may
    be to write into a pipe that nobody reads.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    signal.signal(signal.SIGALRM, lambda *_: heed())
    signal.alarm(bound_s)


def _heeded() -> list[signal.Signals]:
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # it is, under nohup


def heed() -> None:
    """End by what has come meanwhile, and by what comes."""
    signal.alarm(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def end_by(number: int) -> NoReturn:
    """End as a program that leaves this signal alone: a shell shows 128 + `number`, and its loops end at Ctrl-C."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    sys.exit(128 + number)  # the first process of a container is not killed by its own signals
