"""One measured thing: its samples, those of what it stands beside, and whether its target is met. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Samples in `unit`. `beside` are those of a baseline called `beside_name`, taken in turn with `samples`.

    The target is an upper bound on the median, or with `is_overhead` on how far it is above the baseline's median.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    beside: tuple[float, ...] = ()
    beside_name: str = ""
    is_overhead: bool = False
    target: float | None = None

    @property
    def value(self) -> float:
        """What the target is about."""
        median = statistics.median(self.samples)
        return median - statistics.median(self.beside) if self.is_overhead else median

    @property
    def paired(self) -> float | None:
        """The median of the differences within each pair; unlike `value` it is blind to a drift of the machine."""
        if not self.is_overhead:
            return None
        return statistics.median(a - b for a, b in zip(self.samples, self.beside, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when there is none."""
        return None if self.target is None else self.value <= self.target


def spread(samples: Sequence[float]) -> tuple[float, float, float]:
    """Minimum, median, maximum."""
    return min(samples), statistics.median(samples), max(samples)
