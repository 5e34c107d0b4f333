"""What a cluster of N voting members can lose."""


def quorum(voters: int) -> int:
    """How many of `voters` must agree: a strict majority."""
    return voters // 2 + 1


def keeps_quorum(*, voters: int, healthy: int, leaving: int) -> bool:
    """Whether `healthy` voters less `leaving` of them still are a majority of all `voters`."""
    return healthy - leaving >= quorum(voters)


def tolerated_failures(voters: int) -> int:
    """How many voters may fail while the cluster keeps serving: why an even count buys nothing."""
    return voters - quorum(voters)
