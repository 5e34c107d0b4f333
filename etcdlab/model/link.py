"""The links between members, what can be done to them, and what that leaves of the cluster. Pure.

A link is a direction. `Cut` and `Flap` are about who dials: etcd's peers dial both ways, and each carries data both
ways, so a link that is cut in one direction only slows things down. The others act on the bytes of a direction,
whoever dialled: a `Blackhole` from the leader to a follower costs that follower its leader.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec

from etcdlab.model.units import Duration, Size

CLIENTS: Final = "clients"
"""The other end of the links between a member and all its clients; no member of a lab with faults is called so."""

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Link(msgspec.Struct, frozen=True, order=True):
    """What goes from `source` to `target`: members, or CLIENTS for one of the two."""

    source: str
    target: str

    @property
    def back(self) -> "Link":
        """The other direction."""
        return Link(self.target, self.source)

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what can be done to a link; at most one of each kind at a time."""


class Cut(Fault, frozen=True, tag="cut"):
    """What `source` dials is refused, and what it dialled is reset."""

    def __str__(self) -> str:
        return "cut"


class Flap(Fault, frozen=True, tag="flap"):
    """Cut for `down_s` seconds, not for `up_s`, and again, from the moment of its injection on."""

    down_s: Positive
    up_s: Positive

    def __str__(self) -> str:
        return f"flap {Duration(self.down_s)} down {Duration(self.up_s)} up"


class Blackhole(Fault, frozen=True, tag="blackhole"):
    """Nothing arrives, and nobody is told. What was sent meanwhile comes late, when it is healed."""

    def __str__(self) -> str:
        return "blackhole"


class Delay(Fault, frozen=True, tag="delay"):
    """Everything arrives so many seconds late, give or take `jitter_s`, in order."""

    delay_s: Annotated[float, msgspec.Meta(ge=0)]
    jitter_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def __str__(self) -> str:
        return f"delay {Duration(self.delay_s)}" + (f" ± {Duration(self.jitter_s)}" if self.jitter_s else "")


class Rate(Fault, frozen=True, tag="rate"):
    """No more than so many bytes a second, over all connections together."""

    bytes_per_s: Annotated[int, msgspec.Meta(ge=1)]

    def __str__(self) -> str:
        return f"rate {Size(self.bytes_per_s)}/s"


AnyFault = Cut | Flap | Blackhole | Delay | Rate
FaultKind = Literal["cut", "flap", "blackhole", "delay", "rate"]


def kind_of(fault: AnyFault) -> FaultKind:
    """What the control API calls its kind."""
    kind: FaultKind = fault.__struct_config__.tag  # type: ignore[assignment]
    return kind


class LinkFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is on a link since `since_s`, until `until_s` or (None) until it is healed.

    Times are of the system's monotonic clock. Faults of one injection share `since_s`.
    """

    link: Link
    fault: AnyFault
    since_s: float
    until_s: float | None = None


def between(source: str, target: str, *, one_way: bool = False) -> tuple[Link, ...]:
    """The link from one to the other, and unless `one_way` back."""
    link = Link(source, target)
    return (link,) if one_way else (link, link.back)


def members_of(group: str) -> list[str]:
    """The members of a group as it is written, with commas between them."""
    return [name.strip() for name in group.split(",") if name.strip()]


def partition(groups: Sequence[Collection[str]]) -> tuple[Link, ...]:
    """All links between members of different groups."""
    return tuple(
        link
        for one, other in itertools.combinations(groups, 2)
        for source, target in itertools.product(sorted(one), sorted(other))
        for link in between(source, target)
    )


def isolation(member: str, members: Iterable[str], *, from_clients: bool = False) -> tuple[Link, ...]:
    """All links of one member, those with clients if asked."""
    others = [name for name in members if name != member]
    return partition([[member], [*others, CLIENTS] if from_clients else others])


def all_links(members: Sequence[str], *, clients: bool) -> tuple[Link, ...]:
    """Every link of a lab: between members, and if they have listeners for them, with clients."""
    ends = [*members, CLIENTS] if clients else members
    return tuple(Link(source, target) for source, target in itertools.permutations(ends, 2))


def in_words(links: Iterable[Link]) -> str:
    """Links as a person writes them: "n1 ↔ n2, n3 → n1"."""
    given = dict.fromkeys(links)
    words = []
    for link in given:
        if link.back not in given:
            words.append(str(link))
        elif f"{link.target} ↔ {link.source}" not in words:
            words.append(f"{link.source} ↔ {link.target}")
    return ", ".join(words)


def severed(faults: Iterable[LinkFault]) -> set[str]:
    """The ends of links that are cut or held, now and then or all the time."""
    parting = [active.link for active in faults if isinstance(active.fault, Cut | Flap | Blackhole)]
    return {end for link in parting for end in (link.source, link.target)}


def connected(voters: Collection[str], faults: Iterable[LinkFault]) -> int:
    """How many of these exchange data with one of them, itself included, at the most.

    Two do so unless one direction is held, or neither can dial the other.
    """
    held, cut = set(), set()
    for active in faults:
        if isinstance(active.fault, Blackhole):
            held.add(active.link)
        elif isinstance(active.fault, Cut | Flap):
            cut.add(active.link)

    def is_parted(link: Link) -> bool:
        return link in held or link.back in held or (link in cut and link.back in cut)

    reached = (sum(not is_parted(Link(one, other)) for other in voters) for one in voters)
    return max(reached, default=0)
