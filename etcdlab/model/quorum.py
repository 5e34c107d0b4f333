"""What a cluster of N voting members can lose, and the refusal of what would lose more. Pure."""

from collections.abc import Collection
from typing import Final

from etcdlab.errors import QuorumError

FORCE_HINT: Final = "`--force`, in Python `force=True`, does it all the same."


def quorum(voters: int) -> int:
    """How many of `voters` must agree: a strict majority."""
    return voters // 2 + 1


def keeps_quorum(*, voters: int, healthy: int, leaving: int) -> bool:
    """Whether `healthy` voters less `leaving` of them still are a majority of all `voters`."""
    return healthy - leaving >= quorum(voters)


def tolerated_failures(voters: int) -> int:
    """How many voters may fail while the cluster keeps serving: why an even count buys nothing."""
    return voters - quorum(voters)


def require_kept(action: str, names: Collection[str], *, voters: int, serving: Collection[str]) -> None:
    """Raise QuorumError if `serving` voters are a quorum of all, and without `names` would be none.

    What is lost already cannot be lost again.
    """
    leaving = sum(name in names for name in serving)
    if not leaving or len(serving) < quorum(voters):
        return
    if not keeps_quorum(voters=voters, healthy=len(serving), leaving=leaving):
        raise QuorumError(
            f"{action} {', '.join(names)} would leave {len(serving) - leaving} of {voters} voting members, "
            f"and a quorum is {quorum(voters)}: the cluster would stop serving",
            hint=FORCE_HINT,
        )
