"""Verbs that want different things of one lab at once, and labs that start together: each has its one outcome."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from etcdlab.errors import ExitStatus
from etcdlab.model.status import ClusterVerdict, LabPhase
from etcdlab.prepare.labdir import LabDirectory
from torturing.attack import Attack
from torturing.field import LAB, ONE_MEMBER, Field
from torturing.tally import Loss
from torturing.verbs import Done

UP_S: Final = 0.6
DOWN_S: Final = 1.5
TOGETHER: Final = 20
UP: Final = ("up", "--name", LAB, "--json")
IS_DONE: Final = {ExitStatus.DONE: ""}
IS_DONE_OR_WAS_STOPPED: Final = IS_DONE | {ExitStatus.FAILED: "the lab was stopped while it came up"}


def ups(field: Field, chance: Random) -> None:
    """Two to four `up`s of a lab that is down, or whose daemon died: one of them starts it, and all report it."""
    count = chance.randint(2, 4)
    if chance.random() < 0.5:
        with field.down():
            ended = _race(field, chance, [UP] * count, UP_S)
    else:
        field.kill_daemon()
        ended = _race(field, chance, [UP] * count, UP_S)
    told = {
        _require(field, UP, one, IS_DONE) and str([(node.name, node.pid) for node in one.lab.nodes]) for one in ended
    }
    if len(told) != 1:
        field.tally.lost(Loss.STATUS, f"of one lab {count} `up`s told {told}")


def up_against_down(field: Field, chance: Random) -> None:
    """One or two `up`s and one or two `down`s, of a lab that is up or down: it is one of the two, and all say so."""
    ups, downs = chance.randint(1, 2), chance.randint(1, 2)
    with field.writer.paused():
        if chance.random() < 0.5:
            field.run_down()
        commands = [UP] * ups + [("down", "--lab", LAB)] * downs
        for command, done in zip(commands, _race(field, chance, commands, DOWN_S), strict=True):
            _require(field, command, done, IS_DONE_OR_WAS_STOPPED if command is UP else IS_DONE)
        if not field.directory.is_running():
            field.was_ended()
        elif (phase := field.lab.status().phase) is not LabPhase.UP:
            field.tally.lost(Loss.STATUS, f"after `up` and `down` the lab is {phase.value}")
        field.is_fresh = True
        field.changed.update(field.names)


def up_against_purge(field: Field, chance: Random) -> None:
    """`up`s and `down --purge`s of another lab: whoever is last has it, and then nothing is left of it."""
    up, purge = ("up", "--name", "beside", *ONE_MEMBER), ("down", "--purge", "--lab", "beside")
    commands = [up] * chance.randint(1, 3) + [purge] * chance.randint(1, 2)
    for command, done in zip(commands, _race(field, chance, commands, UP_S), strict=True):
        _require(field, command, done, IS_DONE_OR_WAS_STOPPED if command is up else IS_DONE)
    _purge(field, ["beside"])


def up_against_reset(field: Field, chance: Random) -> None:
    """`up`, `reset` and `restart`, perhaps of a lab whose daemon died: `restart` may be refused for the `reset`."""
    with field.writer.paused():
        for text in field.writer.missing():
            field.tally.lost(Loss.WRITE, text)
        field.writer.forget()
        name = chance.choice(field.names)
        field.changed.add(name)
        if chance.random() < 0.5:
            field.kill_daemon()
        commands = {
            UP: IS_DONE | {ExitStatus.DEGRADED: ""},
            ("reset", "--lab", LAB): IS_DONE,
            ("restart", "--lab", LAB, name): IS_DONE | {ExitStatus.FAILED: "the lab is being reset"},
        }
        for command, done in zip(commands, _race(field, chance, list(commands), UP_S), strict=True):
            _require(field, command, done, commands[command])


def labs(field: Field, chance: Random) -> None:
    """Two to five other labs at once, by as many processes: they have nothing in common."""
    _together(field, chance, chance.randint(2, 5))


def twenty_labs(field: Field, chance: Random) -> None:
    """Twenty other labs at once."""
    _together(field, chance, TOGETHER)


def _together(field: Field, chance: Random, count: int) -> None:
    names = [f"beside{number}" for number in range(count)]
    commands = [("up", "--name", name, *ONE_MEMBER) for name in names]
    for command, done in zip(commands, _race(field, chance, commands, UP_S), strict=True):
        if _require(field, command, done, IS_DONE) and done.lab.verdict is not ClusterVerdict.HEALTHY:
            field.tally.lost(Loss.STATUS, f"`{' '.join(command)}` told {done.lab}")
    plans = [_directory(field, name).load_plan() for name in names if _directory(field, name).exists()]
    ports = Counter(port for plan in [field.plan, *plans] for node in plan.nodes for port in node.ports)
    for port, times in ports.items():
        if times > 1:
            field.tally.lost(Loss.PORT, f"port {port} was given to {times} members")
    _purge(field, names)


def _race(field: Field, chance: Random, commands: Sequence[tuple[str, ...]], most_s: float) -> list[Done]:
    """Run them all, each begun at some moment of the first `most_s` seconds."""
    began, running = time.monotonic(), {}
    for at, number in sorted((chance.uniform(0, most_s), number) for number in range(len(commands))):
        time.sleep(max(0.0, began + at - time.monotonic()))
        running[number] = field.verbs.start(*commands[number])
    return [running[number].wait() for number in range(len(commands))]


def _require(field: Field, command: Sequence[str], done: Done, endings: Mapping[ExitStatus, str]) -> bool:
    """Whether the verb was done; it ended in one of these ways, and its messages have what belongs to that."""
    if done.status not in endings or endings[ExitStatus(done.status)] not in done.told:
        field.tally.lost(Loss.WORD, f"`{' '.join(command)}` ended with {done.status}: {done.told}")
    return done.status == ExitStatus.DONE


def _purge(field: Field, names: Sequence[str]) -> None:
    """Remove other labs, at once; nothing is left of them."""
    verbs = [field.verbs.start("down", "--purge", "--lab", name) for name in names]
    for verb in verbs:
        field.require_done(verb)
    if left := field.left_of(names):
        field.tally.lost(Loss.ORPHAN, f"{left} after `down --purge`")


def _directory(field: Field, name: str) -> LabDirectory:
    return LabDirectory(field.directory.path.with_name(name))


ATTACKS: Final = (
    Attack("rival-ups", ups),
    Attack("rival-down", up_against_down),
    Attack("rival-purge", up_against_purge),
    Attack("rival-reset", up_against_reset),
    Attack("rival-labs", labs),
    Attack("rival-twenty-labs", twenty_labs),
)
