"""What an attack is, and in which order they come: from the seed alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from torturing.field import Field


class Impossible(Exception):
    """This machine, or this user, cannot strike so; says why."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A way to hurt a lab. `strike` draws all that is left to chance from the Random that it is given.

    It is struck at a healthy lab with a writing client; afterwards the lab is taken up again with `up`, and nothing
    may have been lost but what the strike declared: `Field.changed`, `Field.is_fresh`. One that this machine cannot
    strike raises Impossible before it does anything.
    """

    name: str
    strike: Callable[[Field, Random], None]

    @property
    def text(self) -> str:
        """What it does, for people."""
        return (self.strike.__doc__ or "").strip()


def sequence(attacks: Sequence[Attack], seed: int) -> Iterator[tuple[int, Attack, Random]]:
    """For ever: rounds in which each attack comes once, numbered from 1, each with its own chance.

    Its own, so that a strike which draws more or less does not change those after it.
    """
    order = Random(seed)
    number = 0
    while True:
        for attack in order.sample(attacks, len(attacks)):
            number += 1
            yield number, attack, Random(f"{seed}/{number}")
