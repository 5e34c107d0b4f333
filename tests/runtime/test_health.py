"""What members' answers mean, from a scripted endpoint, in virtual time where there are bounds."""

import json

import pytest
import trio

from etcdlab.etcd import api
from etcdlab.runtime.health import (
    UNTOLD_POLL_S,
    Measurement,
    add_member,
    is_healthy,
    leader_of,
    measure,
    wait_healthy,
)
from etcdlab.runtime.http import Unreachable

pytestmark = pytest.mark.trio
HEALTHY = (200, b'{"health":"true","reason":""}')
STATUS = {
    "header": {"cluster_id": "12", "member_id": "10", "revision": "1", "raft_term": "2"},
    "version": "3.5.16", "dbSize": "20480", "leader": "10", "raftIndex": "9", "raftTerm": "2",
    "raftAppliedIndex": "8",
}  # fmt: skip


class ScriptedEndpoint:
    """Answers with the next of its script, the last for ever: an answer, an error, or seconds to wait for one."""

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []

    async def get(self, target, body=b""):
        await trio.lowlevel.checkpoint()
        self.asked.append((target, body))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await trio.sleep(step)
            return HEALTHY
        return step

    post = get


def answer(data, status=200):
    return status, json.dumps(data).encode()


@pytest.mark.parametrize(
    ("said", "healthy"),
    [
        (HEALTHY, True),
        ((200, b'{"health":"false"}'), False),
        ((503, b'{"health":"false","reason":"RAFT NO LEADER"}'), False),
        ((503, HEALTHY[1]), False),
        ((200, b"<html>"), False),
        ((200, b'{"health":1}'), False),
        ((200, b""), False),
        (Unreachable("refused"), False),
    ],
    ids=["true", "false", "no leader", "status", "html", "number", "empty", "refused"],
)
async def test_healthy_is_what_says_so_in_both_ways(said, healthy):
    assert await is_healthy(ScriptedEndpoint(said)) is healthy


async def test_a_member_that_serves_is_asked_often_at_first_then_rarely(autojump_clock):
    endpoint, serving = ScriptedEndpoint(*[Unreachable("refused")] * 500, HEALTHY), trio.Event()
    serving.set()
    await wait_healthy(endpoint, serving)
    assert len(endpoint.asked) == 501
    assert 100 < trio.current_time() < 130


async def test_a_member_is_asked_at_once_when_it_says_that_it_serves(autojump_clock):
    endpoint, serving = ScriptedEndpoint(Unreachable("refused"), HEALTHY), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_healthy, endpoint, serving)
        await trio.sleep(UNTOLD_POLL_S / 2)
        serving.set()
    assert trio.current_time() == pytest.approx(UNTOLD_POLL_S / 2)


async def test_a_member_whose_log_does_not_tell_is_asked_all_the_same(autojump_clock):
    await wait_healthy(ScriptedEndpoint(*[Unreachable("refused")] * 5, HEALTHY), trio.Event())
    assert trio.current_time() == pytest.approx(5 * UNTOLD_POLL_S)


async def test_waiting_gives_up_an_answer_that_hangs(autojump_clock):
    """`/health` can take 7 s when quorum is lost: the recovery in between must not be missed."""
    await wait_healthy(ScriptedEndpoint(7.0, HEALTHY), trio.Event())
    assert trio.current_time() < 1.2


async def test_a_measurement_has_health_and_details():
    found = await measure(ScriptedEndpoint(HEALTHY), ScriptedEndpoint(answer(STATUS)), probe_s=1)
    assert found.healthy
    assert found.problem == ""
    assert (found.status.leader, found.status.raft_term, found.status.applied_index) == (10, 2, 8)
    assert (found.status.db_size, found.status.version, found.status.is_learner) == (20480, "3.5.16", False)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Unreachable("Connection refused"), "Connection refused"),
        (answer({"code": 14, "message": "etcdserver: no leader", "error": "x"}, 503), "etcdserver: no leader"),
        ((400, b"CommonName of client sending a request is not allowed"), "status 400: CommonName"),
        (60.0, "no answer within 1 s"),
    ],
    ids=["refused", "no leader", "cn", "hangs"],
)
async def test_what_keeps_details_away_is_said_and_health_is_its_own_fact(said, problem, autojump_clock):
    found = await measure(ScriptedEndpoint(HEALTHY), ScriptedEndpoint(said), probe_s=1)
    assert found.healthy
    assert found.status is None
    assert problem in found.problem


async def test_both_questions_share_one_bound(autojump_clock):
    found = await measure(ScriptedEndpoint(60.0), ScriptedEndpoint(60.0), probe_s=1)
    assert not found.healthy
    assert trio.current_time() == 1


class TestLearner:
    URL = "https://127.0.0.1:2380"
    NONE = answer({"members": [{"ID": "1", "peerURLs": ["https://127.0.0.1:1"]}]})
    ADDED = answer({"member": {"ID": "255", "peerURLs": [URL], "isLearner": True}})
    NOT_NOW = answer({"code": 14, "message": "etcdserver: unhealthy cluster"}, 503)

    SAME_SECOND = answer({"code": 5, "message": "etcdserver: member not found"}, 404)

    async def test_is_added(self):
        endpoint = ScriptedEndpoint(self.NONE, self.ADDED)
        assert await add_member(endpoint, self.URL, learner=True, known=["0" * 15 + "1"]) == "00000000000000ff"
        assert json.loads(endpoint.asked[1][1]) == {"peerURLs": [self.URL], "isLearner": True}

    @pytest.mark.parametrize("not_now", [NOT_NOW, SAME_SECOND])
    async def test_is_added_when_etcd_is_ready_for_it(self, autojump_clock, not_now):
        endpoint = ScriptedEndpoint(self.NONE, *[not_now] * 20, self.ADDED)
        assert await add_member(endpoint, self.URL, learner=True, known=[]) == "00000000000000ff"

    async def test_that_an_earlier_daemon_added_is_found(self):
        there = answer({"members": [{"ID": "7", "peerURLs": [self.URL], "isLearner": True}]})
        endpoint = ScriptedEndpoint(there)
        assert await add_member(endpoint, self.URL, learner=True, known=[]) == "0000000000000007"
        assert len(endpoint.asked) == 1

    async def test_refused_for_good_is_an_error(self):
        refusal = answer({"code": 9, "message": "etcdserver: too many learner members in cluster"}, 400)
        with pytest.raises(api.GatewayError, match="too many learner"):
            await add_member(ScriptedEndpoint(self.NONE, refusal), self.URL, learner=True, known=[])


async def test_the_leader_is_that_of_the_newest_term():
    def said(leader, term):
        return Measurement(healthy=True, status=api.MemberStatus(leader=leader, raft_term=term))

    down = Measurement(healthy=False, status=None)
    assert leader_of([said(1, 2), said(2, 3), said(2, 3), down]) == f"{2:016x}"
    assert leader_of([said(0, 9), said(1, 2)]) == f"{1:016x}"
    assert leader_of([said(0, 2), down]) is None
