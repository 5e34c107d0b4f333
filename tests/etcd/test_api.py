"""Answers of etcd's JSON gateway, in both its generations, as real etcds of 3.4 and 3.5 gave them."""

import json

import msgspec
import pytest

from etcdlab.etcd.api import (
    NO_SPACE,
    UNAVAILABLE,
    Alarm,
    AlarmList,
    Answered,
    GatewayError,
    Health,
    LeaseList,
    MemberAdded,
    MemberList,
    MemberStatus,
    RoleList,
    UserList,
    compact,
    decode,
    disarm,
    hexadecimal,
    member_add_body,
    raised,
    revoke,
)

# grpc-gateway v1: etcd 3.4 and upstream's 3.5. v2 (etcd 3.6, and distributions' 3.5) adds blanks.
STATUS_V1 = (
    b'{"header":{"cluster_id":"16035346410459892986","member_id":"6538733959279011669","revision":"1","raft_term":"2"},'
    b'"version":"3.4.23","dbSize":"28672","leader":"6538733959279011669","raftIndex":"14","raftTerm":"2",'
    b'"raftAppliedIndex":"14","dbSizeInUse":"16384"}'
)
STATUS_V2 = STATUS_V1.replace(b",", b", ").replace(b"3.4.23", b"3.5.30")
STATUS_NUMBERS = (
    b'{"header":{"cluster_id":16035346410459892986,"member_id":6538733959279011669,"revision":1,"raft_term":2},'
    b'"version":"3.6.14","dbSize":28672,"leader":6538733959279011669,"raftIndex":14,"raftTerm":2,'
    b'"raftAppliedIndex":14,"storageVersion":"3.6.0","dbSizeQuota":"2147483648","downgradeInfo":{}}'
)


@pytest.mark.parametrize("body", [STATUS_V1, STATUS_V2, STATUS_NUMBERS])
def test_status(body: bytes) -> None:
    status = decode(200, body, MemberStatus)
    assert hexadecimal(status.header.cluster_id) == "de88fe99f5cc0cfa"
    assert hexadecimal(status.header.member_id) == hexadecimal(status.leader) == "5abe3fe46b9be755"
    assert (status.db_size, status.raft_index, status.applied_index, status.raft_term) == (28672, 14, 14, 2)
    assert (status.is_learner, status.errors, status.header.revision) == (False, (), 1)


def test_what_the_gateway_leaves_out_is_zero() -> None:
    assert decode(200, b"{}", MemberStatus) == MemberStatus()
    assert decode(200, b'{"header":{}}', MemberList) == MemberList()
    assert decode(200, b'{"members":[{"ID":"7","peerURLs":["http://a"]}]}', MemberList).members[0].name == ""


def test_a_learner_with_alarms() -> None:
    body = b'{"isLearner":true,"errors":["memberID:7 alarm:NOSPACE ","etcdserver: no leader"]}'
    status = decode(200, body, MemberStatus)
    assert status.is_learner
    assert status.errors == ("memberID:7 alarm:NOSPACE ", "etcdserver: no leader")
    assert list(raised(status)) == [Alarm(member_id=7, alarm=NO_SPACE)]


def test_what_a_reset_asks_for() -> None:
    header = b'{"header":{"cluster_id":"1","revision":"42"}'
    assert decode(200, header + b',"users":["root"]}', UserList).users == ("root",)
    assert decode(200, header + b"}", RoleList).roles == ()
    [lease] = decode(200, header + b',"leases":[{"ID":"7587878213372846601"}]}', LeaseList).leases
    assert revoke(lease).body == {"ID": 7587878213372846601}
    [alarm] = decode(
        200, header + b',"alarms":[{"memberID":"6538733959279011669","alarm":"NOSPACE"}]}', AlarmList
    ).alarms
    assert disarm(alarm).body == {"action": "DEACTIVATE", "memberID": 6538733959279011669, "alarm": "NOSPACE"}
    deleted = decode(200, header + b',"deleted":"3"}', Answered)
    assert compact(deleted.header.revision, physical=True).body == {"revision": 42, "physical": True}


def test_member_list_and_add() -> None:
    member = b'{"ID":"18427017435260864107","name":"n3","peerURLs":["https://127.0.0.1:31534"],"isLearner":true}'
    [listed] = decode(200, b'{"header":{},"members":[' + member + b"]}", MemberList).members
    assert (hexadecimal(listed.id), listed.name, listed.is_learner) == ("ffb9eaba12a7466b", "n3", True)
    assert listed.peer_urls == ("https://127.0.0.1:31534",)
    assert decode(200, b'{"member":' + member + b',"members":[]}', MemberAdded).member == listed


def test_the_body_of_a_member_add() -> None:
    assert json.loads(member_add_body("https://127.0.0.1:1", learner=True)) == {
        "peerURLs": ["https://127.0.0.1:1"],
        "isLearner": True,
    }


@pytest.mark.parametrize(
    ("body", "healthy"),
    [
        (b'{"health":"true"}', True),
        (b'{"health":"true","reason":""}', True),
        (b'{"health":"false"}', False),
        (b"{}", False),
    ],
)
def test_health(body: bytes, healthy: bool) -> None:
    assert decode(200, body, Health).healthy is healthy


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"etcdserver: unhealthy cluster","message":"etcdserver: unhealthy cluster","code":14}',
        b'{"code":14, "message":"etcdserver: unhealthy cluster"}',
        b'{"code":14,"message":"etcdserver: unhealthy cluster","details":[]}',
    ],
)
def test_a_refusal_in_either_generation(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(503, body, MemberAdded)
    assert (caught.value.code, caught.value.message) == (UNAVAILABLE, "etcdserver: unhealthy cluster")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"Not Found\n"),
        (405, b"Method Not Allowed\n"),
        (400, b"CommonName of client sending a request against gateway will be ignored and not used as expected"),
        (503, b'{"health":"false","reason":"RAFT NO LEADER"}'),
        (500, b""),
        (500, b"[]"),
        (500, b'"text"'),
        (500, b"null"),
        (500, b'{"code":"many","message":"x"}'),
        (500, b'{"code":null,"message":"x"}'),
        (200, b"<html>a proxy's page</html>"),
        (200, b'{"header":'),
        (200, b'{"dbSize":"much"}'),
        (200, b"[]"),
        (200, b'{"version":"\xff"}'),
        (200, b"\xff\xfe"),
    ],
)
def test_what_is_not_the_gateways_answer_is_quoted(status: int, body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(status, body, MemberStatus)
    assert caught.value.code is None
    assert caught.value.message == f"status {status}: {body.decode(errors='replace')}"


def test_a_long_page_is_cut() -> None:
    with pytest.raises(GatewayError) as caught:
        decode(502, b"x" * 10000, MemberStatus)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("kind", [Health, MemberStatus, MemberList, MemberAdded])
def test_fields_of_later_versions_are_ignored(kind: type[msgspec.Struct]) -> None:
    assert decode(200, b'{"new":{"in":["3.9"]}}', kind) == kind()
