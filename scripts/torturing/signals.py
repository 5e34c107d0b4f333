"""The command line is interrupted: a signal, or two, to `up`, `down`, `reset` and `exec` at any moment of theirs."""

import signal
import time
from random import Random
from typing import Final

from torturing.attack import Attack
from torturing.field import LAB, Field
from torturing.tally import Loss
from torturing.verbs import Done, Running

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PYTHON_S: Final = 0.1
"""Before, Python itself is starting, which answers Ctrl-C with a traceback whatever the program."""
UP_S: Final = 0.6
DOWN_S: Final = 1.5
RESET_S: Final = 0.3
ENDED_S: Final = 30.0
POLL_S: Final = 0.02


def during_up(field: Field, chance: Random) -> None:
    """While a lab that was down is started: it is up, or down as before."""
    with field.down():
        _strike(field.start_up(), chance, UP_S)
        deadline = time.monotonic() + ENDED_S
        while field.directory.is_running() and field.verbs.run("status", "--lab", LAB).status:
            if time.monotonic() > deadline:
                field.tally.lost(Loss.STATUS, "an `up` that was interrupted left a lab that is neither up nor down")
                break


def during_down(field: Field, chance: Random) -> None:
    """While the lab is stopped: the daemon goes on with what it was asked."""
    with field.writer.paused():
        _strike(field.verbs.start("down", "--lab", LAB), chance, DOWN_S)
        field.run_down()


def during_reset(field: Field, chance: Random) -> None:
    """While the lab is made pristine: it is so after another one."""
    with field.writer.paused():
        for text in field.writer.missing():
            field.tally.lost(Loss.WRITE, text)
        field.writer.forget()
        _strike(field.verbs.start("reset", "--lab", LAB), chance, RESET_S)
        done = field.verbs.run("reset", "--lab", LAB)
        if done.status:
            field.tally.lost(Loss.RECOVERY, f"`reset` ended with {done.status}: {done.errors}")


def during_exec(field: Field, chance: Random) -> None:
    """While another lab is made, used and removed beside this one: nothing is left of it."""
    words = ("exec", "--name", "beside", "--nodes", "1", "--profile", "fast", "--", "sleep", "0.2")
    _strike(field.verbs.start(*words), chance, UP_S + DOWN_S)
    beside = field.directory.path.with_name("beside")
    deadline = time.monotonic() + ENDED_S
    while beside.exists():  # one that was killed has its daemon do it
        if time.monotonic() > deadline:
            field.tally.lost(Loss.DIRECTORY, f"{beside} of an `exec` that was interrupted")
            break
        time.sleep(POLL_S)


def _strike(verb: Running, chance: Random, most_s: float) -> Done:
    number, after_s, times = chance.choice(SIGNALS), PYTHON_S + chance.uniform(0, most_s), chance.choice((1, 2))
    time.sleep(after_s)
    for _ in range(times):
        verb.strike(number)
    return verb.wait()


ATTACKS: Final = (
    Attack("signal-up", during_up),
    Attack("signal-down", during_down),
    Attack("signal-reset", during_reset),
    Attack("signal-exec", during_exec),
)
