"""What a cluster of N voting members can lose, and the refusal of what would lose more. Pure."""

from collections.abc import Collection
from typing import Final

import msgspec

from etcdlab.errors import QuorumError
from etcdlab.model.link import AnyFault, Link, LinkFault, connected, in_words

FORCE_HINT: Final = "`--force`, in Python `force=True`, does it all the same."


def quorum(voters: int) -> int:
    """How many of `voters` must agree: a strict majority."""
    return voters // 2 + 1


def tolerated_failures(voters: int) -> int:
    """How many voters may fail while the cluster keeps serving: why an even count buys nothing."""
    return voters - quorum(voters)


class Voters(msgspec.Struct, frozen=True, kw_only=True):
    """The voting members: how many there are, which of them serve, and what is on the links between them."""

    count: int
    serving: tuple[str, ...]
    faults: tuple[LinkFault, ...] = ()

    @property
    def have_quorum(self) -> bool:
        """Whether one that serves exchanges data with enough others to lead."""
        return connected(self.serving, self.faults) >= quorum(self.count)

    def require_without(self, action: str, names: Collection[str]) -> None:
        """Raise QuorumError if they have a quorum, and without `names` would not: what is lost cannot be lost again."""
        left = msgspec.structs.replace(self, serving=tuple(name for name in self.serving if name not in names))
        if self.have_quorum and not left.have_quorum:
            count = connected(left.serving, left.faults)
            raise QuorumError(
                f"{action} {', '.join(names)} would leave {count} of {self.count} voting members"
                f"{' connected' if count < len(left.serving) else ''}, and a quorum is {quorum(self.count)}: "
                "the cluster would stop serving",
                hint=FORCE_HINT,
            )

    def require_with(self, fault: AnyFault, links: Collection[Link]) -> None:
        """Raise QuorumError if they have a quorum, and with this fault would not."""
        injected = tuple(LinkFault(link=link, fault=fault, since_s=0.0) for link in links)
        if self.have_quorum and not msgspec.structs.replace(self, faults=(*self.faults, *injected)).have_quorum:
            raise QuorumError(
                f"{fault} {in_words(links)} would leave no {quorum(self.count)} of {self.count} voting members "
                "connected: the cluster would stop serving",
                hint=FORCE_HINT,
            )
