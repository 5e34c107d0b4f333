"""etcd's JSON gateway and health endpoint, typed: request targets and bodies out, answers in. Sends nothing itself.

The gateway writes 64-bit integers as strings and leaves out zero values, hence the defaults and the lax decoding.
"""

from typing import Any, Final, TypeVar

import msgspec

HEALTH: Final = "/health"
VERSION: Final = "/version"
STATUS: Final = "/v3/maintenance/status"
MEMBER_LIST: Final = "/v3/cluster/member/list"
MEMBER_ADD: Final = "/v3/cluster/member/add"

UNAVAILABLE: Final = 14
"""gRPC's code for "not now": no leader, or a cluster that refuses member changes until all voters are connected."""


class Health(msgspec.Struct, frozen=True):
    """`/health`. `health` is "true" or "false", a string; `reason` came with etcd 3.5."""

    health: str = "false"
    reason: str = ""

    @property
    def healthy(self) -> bool:
        """A linearizable read succeeded."""
        return self.health == "true"


class Header(msgspec.Struct, frozen=True):
    """The header of every answer."""

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


_STATUS_NAMES: Final = {
    "db_size": "dbSize",
    "raft_index": "raftIndex",
    "raft_term": "raftTerm",
    "applied_index": "raftAppliedIndex",
    "is_learner": "isLearner",
}


class MemberStatus(msgspec.Struct, frozen=True, rename=_STATUS_NAMES):
    """`/v3/maintenance/status` of one member. `leader` is a member id, 0 for none; `db_size` in bytes."""

    header: Header = Header()
    version: str = ""
    db_size: int = 0
    leader: int = 0
    raft_index: int = 0
    raft_term: int = 0
    applied_index: int = 0
    is_learner: bool = False
    errors: tuple[str, ...] = ()


class Member(msgspec.Struct, frozen=True, rename={"peer_urls": "peerURLs", "is_learner": "isLearner"}):
    """One entry of a member list; `name` is empty until the member has started."""

    id: int = msgspec.field(default=0, name="ID")
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    is_learner: bool = False


class MemberList(msgspec.Struct, frozen=True):
    """`/v3/cluster/member/list`."""

    header: Header = Header()
    members: tuple[Member, ...] = ()


class MemberAdded(msgspec.Struct, frozen=True):
    """`/v3/cluster/member/add`."""

    member: Member = Member()


class GatewayError(Exception):
    """The gateway refused: `code` is gRPC's, or None when the answer was not the gateway's."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Answer = TypeVar("Answer")


def member_add_body(peer_url: str, *, learner: bool) -> bytes:
    """The body of a member add."""
    return msgspec.json.encode({"peerURLs": [peer_url], "isLearner": learner})


def decode(status: int, body: bytes, kind: type[Answer]) -> Answer:
    """Read an answer. Raises GatewayError for a refusal or for what is not etcd's JSON."""
    try:
        data: Any = msgspec.json.decode(body)
        if status == 200:
            return msgspec.convert(data, kind, strict=False)
        # `message` in both generations of the gateway; the older one has `error` beside it.
        raise GatewayError(int(data["code"]), str(data["message"]))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise GatewayError(None, f"status {status}: {body[:200].decode(errors='replace')}") from None


def hexadecimal(identifier: int) -> str:
    """A member's or cluster's id as etcdctl and the logs write it, 16 digits."""
    return f"{identifier:016x}"
