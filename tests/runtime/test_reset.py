"""What is undone in place, over members whose gateway is scripted."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from etcdlab.etcd import api
from etcdlab.model.exit import Exit, ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import NodePlan
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime import auth
from etcdlab.runtime.cluster import Cluster
from etcdlab.runtime.gateway import NotDoneError
from etcdlab.runtime.http import Unreachable
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.reset import IN_PLACE_S, TRY_S, undo
from tests.plans import make_plan

pytestmark = pytest.mark.trio

USERS, ROLES = "/v3/auth/user/list", "/v3/auth/role/list"
LEASES, ALARMS = "/v3/lease/leases", "/v3/maintenance/alarm"
MEMBERS, KEYS = "/v3/cluster/member/list", "/v3/kv/deleterange"
COMPACT, DEFRAGMENT = "/v3/kv/compaction", "/v3/maintenance/defragment"
STATUS = "/v3/maintenance/status"
LISTS = [USERS] * 3 + [MEMBERS, ROLES, ALARMS, LEASES, KEYS]
REVISION = 42


def refusal(code: int, message: str = "no") -> tuple[int, Any]:
    return 400, {"code": code, "message": message}


class Gateway:
    """All members' gateways: `answers` by target, the next of a list or always the same; the calls that came."""

    def __init__(self, tmp_path: Path) -> None:
        self.plan = make_plan(tmp_path, nodes=3, tls=False)
        self.journal = Journal(tmp_path / "events.jsonl")
        self.nodes = Cluster(LabDirectory(tmp_path / "demo"), self.plan, self.journal).nodes
        for node in self.nodes.values():
            node.state = NodeState.RUNNING
            node.serving_clients.set()
            (Path(node.plan.data_dir) / "member" / "wal").mkdir(parents=True)
            node.client = node.metrics = Connection(self, node.name)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {MEMBERS: {"members": [_listed(plan) for plan in self.plan.nodes]}}
        self.answers[KEYS] = {"header": {"revision": str(REVISION)}, "deleted": "3"}

    def make_n2_a_learner(self) -> None:
        first, second, third = self.plan.nodes
        nodes = (first, msgspec.structs.replace(second, learner=True), third)
        self.plan = msgspec.structs.replace(self.plan, nodes=nodes)

    async def undo(self) -> None:
        await undo(self.plan, self.nodes)

    async def why_not(self) -> str:
        with pytest.raises(NotDoneError) as caught:
            await self.undo()
        return str(caught.value)

    def made(self, target: str) -> list[dict[str, Any]]:
        """The bodies of the calls of `target`."""
        return [body for _, called, body in self.calls if called == target]

    def targets(self) -> list[str]:
        return [target for _, target, _ in self.calls]


class Connection:
    """One member's endpoint. Like the real one it makes one request at a time."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        self._name = name
        self._lock = trio.Lock()

    async def get(self, target: str) -> tuple[int, bytes]:
        await trio.lowlevel.checkpoint()
        self._gateway.calls.append((self._name, target, {}))
        return 200, b'{"health":"true"}'

    async def post(self, target: str, body: bytes) -> tuple[int, bytes]:
        async with self._lock:
            await trio.sleep(0.001)
            self._gateway.calls.append((self._name, target, json.loads(body)))
            answer = self._gateway.answers.get(target, {})
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                await trio.sleep_forever()
            status, data = answer if isinstance(answer, tuple) else (200, answer)
            return status, data if isinstance(data, bytes) else json.dumps(data).encode()


def _listed(plan: NodePlan, **changed: Any) -> dict[str, Any]:
    assert plan.member_id
    return {"ID": str(int(plan.member_id, 16)), "name": plan.name, "peerURLs": [plan.peer_url]} | changed


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.journal.close()


async def test_a_pristine_lab_is_asked_and_nothing_else(gateway, autojump_clock):
    await gateway.undo()
    assert sorted(gateway.targets()) == sorted([*LISTS, COMPACT, *[api.HEALTH] * 3])
    assert gateway.made(COMPACT) == [{"revision": REVISION, "physical": False}]
    assert sorted(name for name, target, _ in gateway.calls if target == api.HEALTH) == ["n1", "n2", "n3"]
    assert gateway.targets()[-3:] == [api.HEALTH] * 3


async def test_what_is_listed_is_undone(gateway, autojump_clock):
    gateway.answers[USERS] = {"users": ["root", "alice"]}
    gateway.answers[ROLES] = {"roles": ["reader"]}
    gateway.answers[LEASES] = {"leases": [{"ID": "7587"}, {"ID": "77"}]}
    gateway.answers[MEMBERS]["members"].append({"ID": "9", "peerURLs": ["http://stranger"], "isLearner": True})
    await gateway.undo()
    assert {body["name"] for body in gateway.made("/v3/auth/user/delete")} == {"root", "alice"}
    assert gateway.made("/v3/auth/role/delete") == [{"role": "reader"}]
    assert {body["ID"] for body in gateway.made("/v3/lease/revoke")} == {7587, 77}
    assert gateway.made("/v3/cluster/member/remove") == [{"ID": 9}]


async def test_much_is_spread_over_the_members_and_done_once(gateway, autojump_clock):
    gateway.answers[LEASES] = {"leases": [{"ID": str(number)} for number in range(1, 31)]}
    await gateway.undo()
    assert sorted(body["ID"] for body in gateway.made("/v3/lease/revoke")) == list(range(1, 31))
    asked = [name for name, target, _ in gateway.calls if target == "/v3/lease/revoke"]
    assert all(9 <= asked.count(name) <= 11 for name in gateway.nodes)


async def test_what_is_done_already_is_as_good(gateway, autojump_clock):
    gateway.answers[LEASES] = {"leases": [{"ID": "7"}]}
    gateway.answers["/v3/lease/revoke"] = refusal(5, "requested lease not found")
    gateway.answers[COMPACT] = refusal(11, "required revision has been compacted")
    await gateway.undo()


async def test_a_full_database_is_emptied_before_its_alarm_is_cleared(gateway, autojump_clock):
    alarm = {"memberID": "2", "alarm": "NOSPACE"}
    gateway.answers[ALARMS] = [{"alarms": [alarm]}, {"alarms": [alarm]}, {}]
    empty, full = {"dbSize": "20480"}, {"dbSize": "262144"}
    # One had not compacted yet when it was first defragmented.
    gateway.answers[STATUS] = [empty, full, empty, empty, empty, {"dbSize": "28672"}]
    await gateway.undo()
    assert gateway.made(COMPACT) == [{"revision": REVISION, "physical": True}]
    assert len(gateway.made(DEFRAGMENT)) == 6
    assert gateway.made(ALARMS)[1] == {"action": "DEACTIVATE", "memberID": 2, "alarm": "NOSPACE"}
    order = [target for target in gateway.targets() if target in (KEYS, COMPACT, DEFRAGMENT, ALARMS)]
    assert order[-9:] == [COMPACT, *[DEFRAGMENT] * 6, ALARMS, ALARMS]


class TestNotInPlace:
    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            (None, "member n2 was removed from the cluster"),
            ({"isLearner": True}, "learner n2 was promoted"),
            ({"peerURLs": ["http://elsewhere"]}, "the peer URL of n2 was changed"),
        ],
    )
    async def test_a_member_that_is_not_as_planned(self, gateway, changed, why, autojump_clock):
        if changed == {"isLearner": True}:  # it is the plan's learner that votes
            gateway.make_n2_a_learner()
        else:
            listed = gateway.answers[MEMBERS]["members"]
            listed[1:2] = [] if changed is None else [_listed(gateway.plan.nodes[1], **changed)]
        assert await gateway.why_not() == why

    async def test_a_corrupt_member(self, gateway, autojump_clock):
        gateway.answers[ALARMS] = {"alarms": [{"memberID": "2", "alarm": "CORRUPT"}]}
        assert await gateway.why_not() == "the alarm CORRUPT is raised"
        assert COMPACT not in gateway.targets()

    async def test_a_full_learner(self, gateway, autojump_clock):
        gateway.make_n2_a_learner()
        gateway.answers[MEMBERS]["members"][1]["isLearner"] = True
        gateway.answers[ALARMS] = {"alarms": [{"memberID": "2", "alarm": "NOSPACE"}]}
        assert "a learner's cannot be defragmented" in await gateway.why_not()

    async def test_an_alarm_that_comes_back(self, gateway, autojump_clock):
        gateway.answers[ALARMS] = {"alarms": [{"memberID": "2", "alarm": "NOSPACE"}]}
        gateway.answers[STATUS] = {"dbSize": "20480"}
        assert await gateway.why_not() == "the alarm NOSPACE came back"

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (refusal(15, "corrupt cluster"), f"refused {KEYS}: corrupt cluster"),
            (refusal(14, "no leader"), f"could not do {KEYS}: no leader"),
            ((404, b"404 page not found"), f"refused {KEYS}: status 404: 404 page not found"),
            (Unreachable("refused"), f"did not answer {KEYS}: refused"),
        ],
    )
    async def test_a_refusal_on_the_way(self, gateway, answer, why, autojump_clock):
        gateway.answers[KEYS] = answer
        assert (await gateway.why_not()).partition(" ")[2] == why

    async def test_data_that_is_gone(self, gateway, autojump_clock):
        data = Path(gateway.plan.nodes[1].data_dir)
        (data / "member" / "wal").rename(data / "gone")
        assert await gateway.why_not() == "the data directory of n2 is gone"
        assert gateway.calls == []

    async def test_a_member_that_failed_since(self, gateway, autojump_clock):
        node = gateway.nodes["n2"]
        gateway.answers[USERS] = Unreachable("closed")
        node.last_exit = Exit(code=0, reason=ExitReason.REMOVED, at="", detail="removed from the cluster")

        async def fail() -> None:
            await trio.sleep(0.1)
            node.state = NodeState.FAILED
            gateway.answers[USERS] = {}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            assert await gateway.why_not() == "n2 failed: removed from the cluster"

    async def test_no_answer_within_the_bound(self, gateway, autojump_clock):
        gateway.answers[USERS] = None
        assert "not ready in time" in await gateway.why_not()
        assert trio.current_time() == pytest.approx(IN_PLACE_S, abs=0.1)


class TestPatience:
    @pytest.mark.parametrize("first", [refusal(14, "no leader"), refusal(2, "dropped"), Unreachable("closed")])
    async def test_a_member_without_a_leader_is_asked_again(self, gateway, first, autojump_clock):
        gateway.answers[USERS] = [first, first, first, first, {}]
        await gateway.undo()

    async def test_a_question_that_got_lost_is_asked_again(self, gateway, autojump_clock):
        gateway.answers[USERS] = [None, {}]
        await gateway.undo()
        assert trio.current_time() == pytest.approx(TRY_S, abs=0.1)


class TestAuthentication:
    @pytest.fixture
    def disabled(self, gateway, monkeypatch) -> list[str]:
        """The URLs at which authentication was turned off, whereupon users can be listed."""
        urls: list[str] = []

        async def disable(plan, client_url: str) -> None:
            await trio.lowlevel.checkpoint()
            urls.append(client_url)
            gateway.answers[USERS] = {"users": ["root"]}

        monkeypatch.setattr(auth, "disable", disable)
        return urls

    @pytest.mark.parametrize("code", [3, 7, 9, 16])
    async def test_is_turned_off_first(self, gateway, disabled, code, autojump_clock):
        gateway.answers[USERS] = refusal(code, "user name not found")
        await gateway.undo()
        assert disabled == [gateway.plan.nodes[0].client_url]
        assert gateway.targets()[:6] == [USERS] * 6
        assert gateway.made("/v3/auth/user/delete") == [{"name": "root"}]

    async def test_is_not_touched_when_it_is_off(self, gateway, disabled, autojump_clock):
        await gateway.undo()
        assert disabled == []

    async def test_that_stays_on_is_a_reason(self, gateway, monkeypatch, autojump_clock):
        async def refuse(plan, client_url: str) -> None:
            await trio.lowlevel.checkpoint()
            raise auth.AuthError("without TLS there is no way in")

        monkeypatch.setattr(auth, "disable", refuse)
        gateway.answers[USERS] = refusal(3, "user name is empty")
        why = await gateway.why_not()
        assert why.startswith("authentication seems to be on (n")
        assert f"refused {USERS}: user name is empty" in why
        assert why.endswith("and stays on: without TLS there is no way in")
