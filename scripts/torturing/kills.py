"""The daemon is killed: at rest, and at any moment of its life."""

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from torturing.attack import Attack
from torturing.field import Field
from torturing.tally import Loss

MOST_S: Final = 0.2
BOOT_S: Final = 0.5
DOWN_S: Final = 0.5


def at_rest(field: Field, chance: Random) -> None:
    """While nothing happens."""
    time.sleep(chance.uniform(0, MOST_S))
    field.kill_daemon()


def during_boot(field: Field, chance: Random) -> None:
    """While the members of a lab that was down are started; in half of the strikes `up` is killed with it."""
    after_s, takes_up_along = chance.uniform(0, BOOT_S), chance.random() < 0.5
    with field.down():
        up = field.start_up()
        field.kill_newborn(up, after_s, from_lock=True)
        if takes_up_along:
            up.kill()
        up.wait()


def during_restart(field: Field, chance: Random) -> None:
    """While a member that was killed is started again."""
    name, after_s = chance.choice(field.names), chance.uniform(0, MOST_S)
    field.kill_member(name)
    time.sleep(after_s)
    field.kill_daemon()


def during_stop(field: Field, chance: Random) -> None:
    """While a member is stopped."""
    _during(field, chance, lambda name: field.lab.client().stop([name]))


def during_start(field: Field, chance: Random) -> None:
    """While a member that was stopped is started."""
    name = chance.choice(field.names)
    field.lab.client().stop([name])
    _during(field, chance, lambda _: field.lab.client().start([name]), name)


def during_verb_restart(field: Field, chance: Random) -> None:
    """While a member is stopped and started."""
    _during(field, chance, lambda name: field.lab.client().restart([name]))


def _during(field: Field, chance: Random, act: Callable[[str], object], name: str | None = None) -> None:
    name, after_s = name or chance.choice(field.names), chance.uniform(0, MOST_S)
    field.changed.add(name)
    with field.meanwhile(functools.partial(act, name)):
        time.sleep(after_s)
        field.kill_daemon()


def during_adoption(field: Field, chance: Random) -> None:
    """One daemon after the other, each soon after it began or was given the lab; a member may be dead meanwhile."""
    rounds = [(chance.uniform(0, MOST_S), chance.random() < 0.5) for _ in range(chance.randint(1, 3))]
    victim = chance.choice(field.names) if chance.random() < 0.5 else None
    field.kill_daemon()
    if victim is not None:
        field.kill_member(victim)
    for after_s, from_lock in rounds:
        up = field.start_up()
        field.kill_newborn(up, after_s, from_lock=from_lock)
        up.wait()


def during_pause(field: Field, chance: Random) -> None:
    """While a member is paused."""
    name = chance.choice(field.names)
    field.lab.client().pause([name])
    field.kill_daemon()


def during_down(field: Field, chance: Random) -> None:
    """While the lab is stopped: `down` ends what is left."""
    after_s = chance.uniform(0, DOWN_S)
    with field.writer.paused():
        with field.meanwhile(field.lab.down):
            time.sleep(after_s)
            field.kill_daemon()
        field.was_ended()


def then_down(field: Field, _chance: Random) -> None:
    """At rest, and then `down` has no daemon to ask."""
    field.kill_daemon()
    with field.down():
        pass


def then_verbs(field: Field, chance: Random) -> None:
    """At rest, and then two verbs at once need a daemon: one of them starts it."""
    first, second = chance.sample(field.names, 2)
    field.kill_daemon()
    field.changed.add(first)
    verbs = [field.start("restart", first), field.start("resume", second)]
    for verb in verbs:
        field.require_done(verb)


def during_reset(field: Field, chance: Random) -> None:
    """While the lab is made pristine in place; then it is reset."""
    _during_reset(field, chance.uniform(0, 0.05))


def during_rebuild(field: Field, chance: Random) -> None:
    """While the lab is made anew, since a member's data is gone; then it is reset."""
    node, after_s = chance.choice(field.plan.nodes), chance.uniform(0, BOOT_S)
    _during_reset(field, after_s, lost=Path(node.data_dir) / "member")


def _during_reset(field: Field, after_s: float, *, lost: Path | None = None) -> None:
    with field.writer.paused():
        for text in field.writer.missing():
            field.tally.lost(Loss.WRITE, text)
        field.writer.forget()
        if lost is not None:
            field.is_fresh = True
            field.changed.update(field.names)
            shutil.rmtree(lost)
            field.chronicle.may_begin_anew = True
        with field.meanwhile(field.lab.reset):
            time.sleep(after_s)
            field.kill_daemon()
        if field.take_up() is not None:
            field.require_done(field.start("reset"))


ATTACKS: Final = (
    Attack("kill-rest", at_rest),
    Attack("kill-boot", during_boot),
    Attack("kill-member-restart", during_restart),
    Attack("kill-stop", during_stop),
    Attack("kill-start", during_start),
    Attack("kill-restart", during_verb_restart),
    Attack("kill-adoption", during_adoption),
    Attack("kill-pause", during_pause),
    Attack("kill-down", during_down),
    Attack("kill-then-down", then_down),
    Attack("kill-then-verbs", then_verbs),
    Attack("kill-reset", during_reset),
    Attack("kill-rebuild", during_rebuild),
)
