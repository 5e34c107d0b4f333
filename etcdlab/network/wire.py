"""What the daemon and the fault network's process say to each other, a line of JSON each."""

import msgspec

from etcdlab.model.link import AnyFault, Link, LinkFault


class Inject(msgspec.Struct, frozen=True, kw_only=True, tag="inject"):
    """Put a fault on links, for so many seconds or until it is healed."""

    links: tuple[Link, ...]
    fault: AnyFault
    for_s: float | None = None


class Heal(msgspec.Struct, frozen=True, kw_only=True, tag="heal"):
    """Take away what is on these links (None: on all), or only these kinds of it."""

    links: tuple[Link, ...] | None = None
    kinds: tuple[str, ...] | None = None


class Restore(msgspec.Struct, frozen=True, kw_only=True, tag="restore"):
    """Put back what was on the links when an earlier process of the network ended."""

    faults: tuple[LinkFault, ...]


class End(msgspec.Struct, frozen=True, tag="end"):
    """End the process, and with it all connections that it carries."""


Order = Inject | Heal | Restore | End


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the links, after so many of this connection's orders. Sent at first, and at each change."""

    carried_out: int
    faults: tuple[LinkFault, ...]
