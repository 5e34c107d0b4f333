"""Members that are named by what they are now: `leader`, `followers`, `quorum`, `all`. Pure."""

import enum
from collections.abc import Sequence
from typing import Final

from etcdlab.errors import QuorumError
from etcdlab.model.quorum import quorum
from etcdlab.model.status import LabStatus


class Word(enum.Enum):
    """What stands for members. A member that is called so comes first."""

    LEADER = "leader"
    FOLLOWERS = "followers"
    QUORUM = "quorum"
    ALL = "all"


WORDS: Final = tuple(word.value for word in Word)


def stands_for_members(name: str, members: Sequence[str]) -> bool:
    """Whether that is a word, and no member's own name."""
    return name not in members and name in WORDS


def require_leader(status: LabStatus) -> str:
    """The member that leads. Raises QuorumError when none does."""
    if status.leader is None:
        raise QuorumError(
            f"lab {status.lab!r} has no leader: it is {status.verdict.value}",
            hint="`etcdlab events` tells how it lost it.",
        )
    return status.leader


def select(names: Sequence[str], status: LabStatus) -> tuple[str, ...]:
    """The members that these names of members and words mean, each once.

    `quorum` are as many of the voting members that serve as the cluster cannot spare: followers first, then the leader,
    so that what is lost is the quorum and not an election. Raises QuorumError for a leader where none leads, and
    for a quorum that is lost already.
    """
    members = [node.name for node in status.nodes]
    chosen = [
        member
        for name in names
        for member in (_meant(Word(name), status) if stands_for_members(name, members) else (name,))
    ]
    return tuple(dict.fromkeys(chosen))


def _meant(word: Word, status: LabStatus) -> tuple[str, ...]:
    voters = [node for node in status.nodes if not node.is_learner]
    followers = [node.name for node in voters if not node.is_leader]
    match word:
        case Word.ALL:
            return tuple(node.name for node in status.nodes)
        case Word.LEADER:
            return (require_leader(status),)
        case Word.FOLLOWERS:
            require_leader(status)
            return tuple(followers)
        case Word.QUORUM:
            serving = {node.name for node in voters if node.healthy and not node.paused}
            ordered = [name for name in followers if name in serving]
            ordered += [name for name in (status.leader,) if name is not None and name in serving]
            if len(ordered) < quorum(len(voters)):
                raise QuorumError(f"lab {status.lab!r} has lost its quorum already: it is {status.verdict.value}")
            return tuple(ordered[: len(ordered) - quorum(len(voters)) + 1])
