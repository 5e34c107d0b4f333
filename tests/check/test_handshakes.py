"""Which handshakes would fail, judged from certificates alone; real members are dialled in tests/e2e."""

import datetime

import pytest

from etcdlab.check import handshakes
from etcdlab.check.report import Port
from etcdlab.model.certificate import Defect
from etcdlab.model.topology import Topology
from etcdlab.pki import defects, store
from etcdlab.pki.roles import plan_pki
from tests.plans import make_plan

TOPOLOGY = Topology(name="demo", nodes=3)
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def plan(tmp_path):
    return make_plan(tmp_path)


@pytest.fixture
def pki(tmp_path):
    pki = plan_pki(TOPOLOGY, tmp_path / "pki", tmp_path)
    store.create(pki)
    return pki


def problems(plan, pki, at=NOW):
    judged = handshakes.predict(plan, pki, TOPOLOGY, at=at)
    return {(one.source, one.target, one.port): one.problem for one in judged if one.problem}


def test_all_there_can_be_are_judged(plan, pki):
    judged = handshakes.predict(plan, pki, TOPOLOGY, at=NOW)
    assert [one.problem for one in judged] == [""] * len(judged)
    assert len({(one.source, one.target, one.port) for one in judged}) == len(judged) == 3 * 2 + 3 * (2 + 1)


def test_those_of_another_time(plan, pki):
    late = problems(plan, pki, NOW + datetime.timedelta(days=400))
    assert len(late) == 15
    assert all("expired at" in problem for problem in late.values())


def test_a_bad_peer_leaf_fails_both_ways(plan, pki):
    defects.inject(pki, "peer-n1", Defect.EXPIRED)
    found = problems(plan, pki)
    assert set(found) == {
        ("n1", "n2", Port.PEER), ("n1", "n3", Port.PEER), ("n2", "n1", Port.PEER), ("n3", "n1", Port.PEER)
    }  # fmt: skip
    assert all(problem.startswith("peer-n1.pem, which n1 shows: expired at ") for problem in found.values())


@pytest.mark.parametrize(
    ("leaf", "defect", "failing", "words"),
    [
        ("client", Defect.EXPIRED, {"client"}, "client.pem, which client shows: expired"),
        ("client", Defect.WRONG_EKU, {"client"}, "client.pem, which client shows: lacks client auth"),
        ("server-n2", Defect.WRONG_SAN, {"client", "gateway"}, "server-n2.pem, which n2 shows: is not for"),
        ("server-n2", Defect.UNKNOWN_CA, {"client", "gateway", "n2's gateway"}, "signed by an unknown authority"),
        ("server-n2", Defect.KEY_MISMATCH, {"client", "gateway", "n2's gateway"}, "is the key of another certificate"),
        ("client", Defect.REVOKED, {"client"}, "client.pem, which client shows: is revoked by its CA"),
        ("server-n2", Defect.REVOKED, {"n2's gateway"}, "which n2's gateway shows: is revoked"),
        ("peer-n2", Defect.REVOKED, {"n2"}, "peer-n2.pem, which n2 shows: is revoked"),
    ],
)
def test_who_is_concerned_by(plan, pki, leaf, defect, failing, words):
    defects.inject(pki, leaf, defect)
    found = problems(plan, pki)
    assert {source for source, _, _ in found} == failing
    assert all(words in problem for problem in found.values())
