"""The steps of a scenario: what can be done to a lab, in the command line's words, and who is meant by them. Pure.

A step whose time is `at` and whose names are members' own leaves nothing open: so the journal keeps what was done, and
so it can be done again.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from etcdlab.errors import UsageError
from etcdlab.model.certificate import Defect, Role
from etcdlab.model.link import members_of
from etcdlab.model.selection import select, stands_for_members
from etcdlab.model.status import LabStatus
from etcdlab.model.topology import Table
from etcdlab.model.units import Duration, Size

RANDOM: Final = "random"
"""Stands for a member that the seed chooses, and that is not meant otherwise in the same step."""


class Step(Table, frozen=True, kw_only=True, omit_defaults=True, tag_field="do"):
    """`[[step]]`, with one of these: once, again and again, each time that an event happens ("leader-changed:n2")."""

    at: Duration | None = None
    every: Duration | None = None
    when: str | None = None


class Kill(Step, frozen=True, kw_only=True, tag="kill"):
    """Send a signal; what dies of it is started again at once."""

    nodes: tuple[str, ...]
    signal: str = "KILL"
    force: bool = False


class Start(Step, frozen=True, kw_only=True, tag="start"):
    """Start members that are stopped or failed."""

    nodes: tuple[str, ...]


class Restart(Step, frozen=True, kw_only=True, tag="restart"):
    """Stop and start members, one after the other."""

    nodes: tuple[str, ...]
    force: bool = False


class Stop(Step, frozen=True, kw_only=True, tag="stop"):
    """Stop members. `for_` is until the end of the run where it is not said, here and below."""

    nodes: tuple[str, ...]
    for_: Duration | None = msgspec.field(name="for", default=None)
    force: bool = False


class Pause(Step, frozen=True, kw_only=True, tag="pause"):
    """Freeze members."""

    nodes: tuple[str, ...]
    for_: Duration | None = msgspec.field(name="for", default=None)
    force: bool = False


class DiskFull(Step, frozen=True, kw_only=True, tag="disk-full"):
    """Have members' disks full: what one writes next ends it."""

    nodes: tuple[str, ...]
    for_: Duration | None = msgspec.field(name="for", default=None)
    force: bool = False


class LeaderMove(Step, frozen=True, kw_only=True, tag="leader-move"):
    """Have a member lead."""

    node: str


class LinksStep(Step, frozen=True, kw_only=True):
    """Base of what is done to links."""

    for_: Duration | None = msgspec.field(name="for", default=None)
    force: bool = False


class Partition(LinksStep, frozen=True, kw_only=True, tag="partition"):
    """Cut the links between groups, each members with commas between."""

    groups: tuple[str, ...]


class Isolate(LinksStep, frozen=True, kw_only=True, tag="isolate"):
    """Cut a member's links with all others."""

    node: str
    from_clients: bool = False


class LinkStep(LinksStep, frozen=True, kw_only=True):
    """Base of what is done to the link between two ends."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    one_way: bool = False


class Cut(LinkStep, frozen=True, kw_only=True, tag="cut"):
    """Refuse what one dials the other."""


class Blackhole(LinkStep, frozen=True, kw_only=True, tag="blackhole"):
    """Hold what one sends the other."""


class Delay(LinkStep, frozen=True, kw_only=True, tag="delay"):
    """Have it arrive later."""

    delay: Duration
    jitter: Duration = Duration(0)


class Rate(LinkStep, frozen=True, kw_only=True, tag="rate"):
    """Let no more than so many bytes a second through."""

    rate: Size


class Flap(LinkStep, frozen=True, kw_only=True, tag="flap"):
    """Cut and heal it, again and again."""

    down: Duration = Duration(1)
    up: Duration = Duration(1)


class TlsFault(Step, frozen=True, kw_only=True, tag="tls-fault"):
    """Replace the certificates of a member, or of a client identity, by ones with a defect."""

    owner: str
    defect: Defect
    role: Role | None = None
    for_: Duration | None = msgspec.field(name="for", default=None)


class Heal(Step, frozen=True, kw_only=True, tag="heal"):
    """Undo everything."""


AnyStep = (
    Kill | Start | Restart | Stop | Pause | DiskFull | LeaderMove
    | Partition | Isolate | Cut | Blackhole | Delay | Rate | Flap | TlsFault | Heal
)  # fmt: skip
S = TypeVar("S", bound=Step)

TIMES: Final = ("at", "every", "when")
_ONE: Final = ("node", "source", "target", "owner")
"""Fields that name one."""
_COMMANDS: Final = {DiskFull: "disk full", LeaderMove: "leader move", TlsFault: "tls fault"}
"""Where the command is not called as the step, after "net" for links."""
_POSITIONAL: Final = ("nodes", "node", "groups", "from", "to", "owner", "defect", "delay", "rate")


def to_table(step: Step) -> dict[str, Any]:
    """The step as it is written in TOML, without what is left out there."""
    table: dict[str, Any] = msgspec.to_builtins(step, enc_hook=str)
    return table


def in_words(step: Step) -> str:
    """What it does, as it is typed after `etcdlab`."""
    table = to_table(step)
    verb = table.pop("do")
    group = "net " if isinstance(step, LinksStep) else ""
    words, options = [_COMMANDS.get(type(step), f"{group}{verb}")], []
    for key in _POSITIONAL:
        if key in table:
            value = table.pop(key)
            words.append(value if isinstance(value, str) else " ".join(value))
    for key, value in table.items():
        if key not in TIMES:
            options.append(f"--{key.replace('_', '-')}" + ("" if value is True else f" {value}"))
    return " ".join(words + options)


def names(step: Step) -> tuple[tuple[str, str], ...]:
    """All names and words for members in it, with the attribute that each is in."""
    found: list[tuple[str, str]] = [(field, getattr(step, field)) for field in _ONE if hasattr(step, field)]
    found += [("nodes", name) for name in getattr(step, "nodes", ())]
    found += [("groups", name) for group in getattr(step, "groups", ()) for name in members_of(group)]
    return tuple(found)


def resolve(step: S, members: Sequence[str], chance: Random, measure: Callable[[], LabStatus]) -> S:
    """The step with members' own names alone; `measure` is asked only where a word is about what they are now.

    Raises QuorumError for a leader where none leads, UsageError where nobody is left for RANDOM.
    """
    words = [word for _, word in names(step)]
    # Drawn first of all, so that what is refused does not change what is drawn next.
    draws = [chance.random() for word in words if word == RANDOM and RANDOM not in members]
    now = measure() if any(stands_for_members(word, members) for word in words) else None
    meant = {word: (word,) if now is None else select([word], now) for word in words if word != RANDOM or not draws}
    taken = {name for chosen in meant.values() for name in chosen}
    left = [name for name in members if name not in taken]
    if len(left) < len(draws):
        raise UsageError(f"{RANDOM!r} means a member that is not named otherwise, and too few are left for that")
    drawn = [left.pop(int(draw * len(left))) for draw in draws]
    return _renamed(step, lambda word: meant[word] if word in meant else (drawn.pop(0),))


def forced(step: S) -> S:
    """The step as it is done even if the cluster loses its quorum, if it ever could."""
    return msgspec.structs.replace(step, force=True) if hasattr(step, "force") else step


def _renamed(step: S, meant: Callable[[str], Sequence[str]]) -> S:
    changes: dict[str, Any] = {}
    for field in _ONE:
        if hasattr(step, field):
            (changes[field],) = meant(getattr(step, field))
    if hasattr(step, "nodes"):
        changes["nodes"] = tuple(dict.fromkeys(name for word in step.nodes for name in meant(word)))
    if hasattr(step, "groups"):
        changes["groups"] = tuple(
            ",".join(name for word in members_of(group) for name in meant(word)) for group in step.groups
        )
    return msgspec.structs.replace(step, **changes)
