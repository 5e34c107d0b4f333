"""The faults on a lab's links as they are at a moment: who may dial, and what becomes of bytes. Pure."""

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Final, TypeVar

from etcdlab.model.link import AnyFault, Blackhole, Cut, Delay, Flap, Link, LinkFault, Rate, kind_of

MICROSECONDS: Final = 1_000_000
_SHAPING: Final = (Blackhole, Delay, Rate)
_Kind = TypeVar("_Kind", Delay, Rate, Flap)


class Faults:
    """What is on the links. Times are of the system's monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._on: dict[Link, dict[type[AnyFault], LinkFault]] = {}

    def __iter__(self) -> Iterator[LinkFault]:
        for kinds in self._on.values():
            yield from kinds.values()

    def inject(self, links: Iterable[Link], fault: AnyFault, *, now: float, until: float | None) -> None:
        """Put a fault on links, in place of one of its kind."""
        for link in links:
            self.restore(LinkFault(link=link, fault=fault, since_s=now, until_s=until))

    def restore(self, active: LinkFault) -> None:
        """Put back what was on a link."""
        self._on.setdefault(active.link, {})[type(active.fault)] = active

    def heal(self, links: Collection[Link] | None = None, kinds: Collection[str] | None = None) -> None:
        """Take away what is on these links (None: on all), or only these kinds of it."""
        for active in list(self):
            if (links is None or active.link in links) and (kinds is None or kind_of(active.fault) in kinds):
                self._remove(active)

    def expire(self, now: float) -> None:
        """Take away what is over."""
        for active in list(self):
            if active.until_s is not None and active.until_s <= now:
                self._remove(active)

    def next_change(self, now: float) -> float:
        """When a fault will be over, or a link that flaps will turn; infinity if never."""
        ends = [active.until_s for active in self if active.until_s is not None]
        turns = [_next_turn(active.fault, active.since_s, now) for active in self if isinstance(active.fault, Flap)]
        return min([*ends, *turns], default=math.inf)

    def is_cut(self, link: Link, now: float) -> bool:
        """Whether what the link's source dials is refused."""
        if not (on := self._on.get(link)):
            return False
        return Cut in on or (Flap in on and _is_down(on[Flap], now))

    def is_held(self, link: Link) -> bool:
        """Whether nothing arrives."""
        return Blackhole in self._on.get(link, ())

    def delay_s(self, link: Link, luck: float) -> float:
        """How late what was sent arrives; `luck` is from -1 to 1."""
        delay = self._fault(link, Delay)
        return max(0.0, delay.delay_s + luck * delay.jitter_s) if delay else 0.0

    def rate(self, link: Link) -> int | None:
        """How many bytes arrive in a second at most; None for no bound."""
        rate = self._fault(link, Rate)
        return rate.bytes_per_s if rate else None

    def is_shaped(self, link: Link) -> bool:
        """Whether anything on the link concerns bytes that were sent."""
        return any(kind in _SHAPING for kind in self._on.get(link, ()))

    def _fault(self, link: Link, kind: type[_Kind]) -> _Kind | None:
        active = self._on.get(link, {}).get(kind)
        return active.fault if active and isinstance(active.fault, kind) else None

    def _remove(self, active: LinkFault) -> None:
        del self._on[active.link][type(active.fault)]
        if not self._on[active.link]:
            del self._on[active.link]


def _is_down(active: LinkFault, now: float) -> bool:
    assert isinstance(active.fault, Flap)
    return _elapsed(active.since_s, now) % _period(active.fault) < _whole(active.fault.down_s)


def _next_turn(flap: Flap, since: float, now: float) -> float:
    elapsed, down = _elapsed(since, now), _whole(flap.down_s)
    begun = elapsed - elapsed % _period(flap)
    turn = begun + (down if elapsed - begun < down else _period(flap))
    return since + turn / MICROSECONDS


def _period(flap: Flap) -> int:
    return _whole(flap.down_s) + _whole(flap.up_s)


def _elapsed(since: float, now: float) -> int:
    return _whole(now - since)


def _whole(seconds: float) -> int:
    """Microseconds, whole ones: else a turn could be missed by a rounding error, and waited for without end."""
    return round(seconds * MICROSECONDS)
