"""What can be done to a lab's links, for Lab: each at once, and healed at the end of a `with` block if it is one."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Final, Self

from etcdlab.control.client import Client
from etcdlab.errors import UsageError
from etcdlab.model.link import (
    CLIENTS,
    AnyFault,
    Blackhole,
    Cut,
    Delay,
    Flap,
    Link,
    LinkFault,
    Rate,
    between,
    isolation,
    kind_of,
    partition,
)
from etcdlab.model.plan import Plan
from etcdlab.model.selection import select, stands_for_members
from etcdlab.model.units import MOMENT_S, Size, Time, lasting, seconds


class Injected:
    """A fault that is on some links. As a context manager, it is healed at the end of the block."""

    def __init__(self, client: Client, links: Sequence[Link], fault: AnyFault) -> None:
        self.links: Final = tuple(links)
        self.fault: Final = fault
        self._client = client

    def heal(self) -> None:
        """Take it off its links."""
        self._client.heal(self.links, [kind_of(self.fault)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()


class Links(ABC):
    """The part of Lab that is about its links. Ends of links are members, by name or "leader", or "clients".

    All raise LabStateError for a lab that was not made with `faults`, UnknownMemberError for a name that is none, and
    QuorumError for what would leave no quorum connected, unless it is `force`d. With `for_` a fault is healed after
    that time, whatever becomes of this process.
    """

    @property
    @abstractmethod
    def plan(self) -> Plan:
        """The plan on disk."""

    @abstractmethod
    def client(self) -> Client:
        """The control socket's client."""

    def partition(self, *groups: Collection[str], for_: Time | None = None, force: bool = False) -> Injected:
        """Cut the links between groups of members, also "followers". One group alone is parted from all others."""
        names = [node.name for node in self.plan.nodes]
        given = [list(self._meant(group)) for group in groups]
        named = [name for group in given for name in group]
        self.plan.select(named)
        if twice := {name for name in named if named.count(name) > 1}:
            raise UsageError(f"{', '.join(sorted(twice))} cannot be in two groups at once")
        if len(given) == 1:
            given.append([name for name in names if name not in named])
        if len(given) < 2 or not all(given):
            raise UsageError(
                "a partition needs two groups, each with a member",
                hint=f"The members are {', '.join(names)}; one group alone is parted from all others.",
            )
        return self._inject(partition(given), Cut(), for_=for_, force=force)

    def isolate(
        self, member: str, *, from_clients: bool = False, for_: Time | None = None, force: bool = False
    ) -> Injected:
        """Cut a member's links with all other members, and those with its clients if asked."""
        links = isolation(self._end(member), [node.name for node in self.plan.nodes], from_clients=from_clients)
        return self._inject(links, Cut(), for_=for_, force=force)

    def cut(
        self, source: str, target: str, *, one_way: bool = False, for_: Time | None = None, force: bool = False
    ) -> Injected:
        """Refuse what one dials the other, and reset what it dialled; `one_way` leaves what the other dials."""
        return self._inject(self._between(source, target, one_way=one_way), Cut(), for_=for_, force=force)

    def blackhole(
        self, source: str, target: str, *, one_way: bool = False, for_: Time | None = None, force: bool = False
    ) -> Injected:
        """Hold what one sends the other: it arrives late, when this is healed."""
        return self._inject(self._between(source, target, one_way=one_way), Blackhole(), for_=for_, force=force)

    def delay(
        self,
        source: str,
        target: str,
        delay: Time,
        *,
        jitter: Time = 0,
        one_way: bool = False,
        for_: Time | None = None,
        force: bool = False,
    ) -> Injected:
        """Have all that one sends the other arrive so much later, give or take `jitter`."""
        fault = Delay(delay_s=seconds(delay), jitter_s=seconds(jitter))
        return self._inject(self._between(source, target, one_way=one_way), fault, for_=for_, force=force)

    def rate(
        self,
        source: str,
        target: str,
        rate: int | str,
        *,
        one_way: bool = False,
        for_: Time | None = None,
        force: bool = False,
    ) -> Injected:
        """Let no more than so many bytes a second from one to the other: a number, or "64KiB"."""
        fault = Rate(bytes_per_s=_bytes(rate))
        return self._inject(self._between(source, target, one_way=one_way), fault, for_=for_, force=force)

    def flap(
        self,
        source: str,
        target: str,
        down: Time,
        up: Time,
        *,
        one_way: bool = False,
        for_: Time | None = None,
        force: bool = False,
    ) -> Injected:
        """Cut for `down`, whole for `up`, and again."""
        fault = Flap(down_s=seconds(down, least=MOMENT_S), up_s=seconds(up, least=MOMENT_S))
        return self._inject(self._between(source, target, one_way=one_way), fault, for_=for_, force=force)

    def heal(self, *ends: str) -> None:
        """Take all faults off all links; with two `ends`, off those between them, with one, off all of its."""
        links: tuple[Link, ...] | None = None
        if len(ends) == 1:
            end = self._end(ends[0])
            links = tuple(link for link in self.client().network().links if end in (link.source, link.target))
        elif ends:
            links = self._between(*ends)
        self.client().heal(links)

    def faults(self) -> tuple[LinkFault, ...]:
        """What is on the links now."""
        return self.client().network().faults

    def _between(self, source: str, target: str, *, one_way: bool = False) -> tuple[Link, ...]:
        source, target = self._end(source), self._end(target)
        if source == target:
            raise UsageError(f"{source} has no link to itself")
        return between(source, target, one_way=one_way)

    def _end(self, name: str) -> str:
        if name == CLIENTS:
            return name
        meant = self._meant([name])
        if len(meant) != 1:
            raise UsageError(f"{name!r} is {', '.join(meant)} now, and a link has one member at each end")
        self.plan.select(meant)
        return meant[0]

    def _meant(self, names: Collection[str]) -> tuple[str, ...]:
        """The members of these names, and those that are so now. Raises QuorumError where none is."""
        members = [node.name for node in self.plan.nodes]
        if any(stands_for_members(name, members) for name in names):
            return select(list(names), self.client().status())
        return tuple(dict.fromkeys(names))

    def _inject(self, links: Sequence[Link], fault: AnyFault, *, for_: Time | None, force: bool) -> Injected:
        client = self.client()
        client.inject(links, fault, for_s=lasting(for_), force=force)
        return Injected(client, links, fault)


def _bytes(given: int | str) -> int:
    try:
        count = int(Size.parse(given))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not count:
        raise UsageError("a rate of nothing is a blackhole")
    return count
