"""etcd's JSON gateway and health endpoint, typed: request targets and bodies out, answers in. Sends nothing itself.

The gateway writes 64-bit integers as strings and leaves out zero values, hence the defaults and the lax decoding.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

NO_SPACE: Final = "NOSPACE"
CORRUPT: Final = "CORRUPT"
HEALTH: Final = f"/health?exclude={NO_SPACE}&exclude={CORRUPT}"
"""With these alarms a member refuses to write, and has a quorum and reads all the same."""
VERSION: Final = "/version"
STATUS: Final = "/v3/maintenance/status"
MEMBER_LIST: Final = "/v3/cluster/member/list"
MEMBER_ADD: Final = "/v3/cluster/member/add"

UNKNOWN: Final = 2
"""gRPC's code for what has none; of a proposal that raft dropped while there was no leader."""
NOT_FOUND: Final = 5
OUT_OF_RANGE: Final = 11
"""gRPC's code for, among others, a revision that is compacted already."""
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
    """`/v3/maintenance/status` of one member. `leader` is a member id, 0 for none; `db_size` in bytes.

    `errors` has what is wrong with the whole cluster, too: alarms, as "memberID:1234 alarm:NOSPACE ".
    """

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


class UserList(msgspec.Struct, frozen=True):
    """`/v3/auth/user/list`."""

    users: tuple[str, ...] = ()


class RoleList(msgspec.Struct, frozen=True):
    """`/v3/auth/role/list`."""

    roles: tuple[str, ...] = ()


class Lease(msgspec.Struct, frozen=True):
    """One entry of a lease list."""

    id: int = msgspec.field(default=0, name="ID")


class LeaseList(msgspec.Struct, frozen=True):
    """`/v3/lease/leases`, as far as the member that was asked has got."""

    leases: tuple[Lease, ...] = ()


class Alarm(msgspec.Struct, frozen=True, rename={"member_id": "memberID"}):
    """One entry of an alarm list: NO_SPACE or CORRUPT."""

    member_id: int = 0
    alarm: str = "NONE"


_ALARM: Final = re.compile(r"memberID:\s*(?P<member>\d+)\s+alarm:\s*(?P<alarm>\w+)")


def raised(status: MemberStatus) -> Iterator[Alarm]:
    """The alarms in a member's status."""
    for error in status.errors:
        if found := _ALARM.search(error):
            yield Alarm(member_id=int(found["member"]), alarm=found["alarm"])


class AlarmList(msgspec.Struct, frozen=True):
    """`/v3/maintenance/alarm`, whichever the action."""

    alarms: tuple[Alarm, ...] = ()


class Answered(msgspec.Struct, frozen=True):
    """An answer of which only the header matters."""

    header: Header = Header()


class GatewayError(Exception):
    """The gateway refused: `code` is gRPC's, or None when the answer was not the gateway's."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Refusal(msgspec.Struct, frozen=True):
    """`message` is in both generations of the gateway; the older one has `error` beside it."""

    code: int
    message: str


_SHOWN: Final = 200
"""How much of what a stranger may have said is passed on."""

Answer = TypeVar("Answer")


class Call(msgspec.Struct, frozen=True):
    """A request of the gateway. `may_fail` is the gRPC code of a refusal that is as good as done."""

    target: str
    kind: type[Any]
    body: dict[str, Any] = {}
    may_fail: int | None = None


LIST_USERS: Final = Call("/v3/auth/user/list", UserList)
LIST_ROLES: Final = Call("/v3/auth/role/list", RoleList)
LIST_LEASES: Final = Call("/v3/lease/leases", LeaseList)
LIST_ALARMS: Final = Call("/v3/maintenance/alarm", AlarmList, {"action": "GET"})
LIST_MEMBERS: Final = Call(MEMBER_LIST, MemberList, {"linearizable": True})
"""etcd 3.4 does not know the word and answers with what the member knows."""
DELETE_ALL_KEYS: Final = Call("/v3/kv/deleterange", Answered, {"key": "AA==", "range_end": "AA=="})
"""From the least key, NUL, without an end (which is how NUL is read there); both in base64."""
TELL_STATUS: Final = Call(STATUS, MemberStatus)
DEFRAGMENT: Final = Call("/v3/maintenance/defragment", Answered)


def delete_user(name: str) -> Call:
    """Delete a user."""
    return Call("/v3/auth/user/delete", Answered, {"name": name})


def delete_role(name: str) -> Call:
    """Delete a role, also from the users that have it."""
    return Call("/v3/auth/role/delete", Answered, {"role": name})


def revoke(lease: Lease) -> Call:
    """Revoke a lease, which may just have ended by itself."""
    return Call("/v3/lease/revoke", Answered, {"ID": lease.id}, NOT_FOUND)


def compact(revision: int, *, physical: bool) -> Call:
    """Forget all that is older than `revision`; with `physical` the answer comes when that is off the disk as well."""
    return Call("/v3/kv/compaction", Answered, {"revision": revision, "physical": physical}, OUT_OF_RANGE)


def disarm(alarm: Alarm) -> Call:
    """Clear an alarm. It must be named with its member: for all of them together etcd does nothing, and says so not."""
    body = {"action": "DEACTIVATE", "memberID": alarm.member_id, "alarm": alarm.alarm}
    return Call("/v3/maintenance/alarm", AlarmList, body)


def transfer_leadership(member_id: int) -> Call:
    """Asked of the leader: another voting member is to lead. The answer comes when it does."""
    return Call("/v3/maintenance/transfer-leadership", Answered, {"targetID": member_id})


def remove_member(member: Member) -> Call:
    """Remove a member."""
    return Call("/v3/cluster/member/remove", Answered, {"ID": member.id})


def member_add_body(peer_url: str, *, learner: bool) -> bytes:
    """The body of a member add."""
    return msgspec.json.encode({"peerURLs": [peer_url], "isLearner": learner})


def decode(status: int, body: bytes, kind: type[Answer]) -> Answer:
    """Read an answer. Raises GatewayError for a refusal or for what is not etcd's JSON."""
    try:
        if status == 200:
            return msgspec.json.decode(body, type=kind, strict=False)
        refusal = msgspec.json.decode(body, type=_Refusal, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise GatewayError(None, f"status {status}: {body[:_SHOWN].decode(errors='replace')}") from None
    raise GatewayError(refusal.code, refusal.message[:_SHOWN])


def hexadecimal(identifier: int) -> str:
    """A member's or cluster's id as etcdctl and the logs write it, 16 digits."""
    return f"{identifier:016x}"
