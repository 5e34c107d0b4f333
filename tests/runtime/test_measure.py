"""The view of a lab, from what its members said."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from etcdlab.etcd import api
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict
from etcdlab.prepare.process import ProcessIdentity
from etcdlab.runtime.health import Measurement
from etcdlab.runtime.measure import view
from etcdlab.runtime.usage import Usage
from tests.plans import make_plan

CLUSTER = 0x0123456789ABCDEF  # of tests.plans
DOWN = Measurement(healthy=False, status=None)


def said(member, *, healthy=True, leader=1, cluster=CLUSTER, term=2, learner=False):
    header = api.Header(cluster_id=cluster, member_id=member)
    status = api.MemberStatus(header=header, leader=leader, raft_term=term, version="3.5.16", is_learner=learner)
    return Measurement(healthy=healthy, status=status)


@pytest.fixture
def seen(tmp_path):
    """What is seen of a lab whose members said this, in order; None for one without a process."""

    def see(*answers, learners=0, down=NodeState.STOPPED):
        plan = make_plan(tmp_path, nodes=len(answers), learners=learners)
        nodes = {
            node.name: SimpleNamespace(
                name=node.name,
                plan=node,
                state=NodeState.RUNNING if answer else down,
                process=answer and SimpleNamespace(identity=ProcessIdentity(pid=4711, start_time=1, boot="")),
                paused=False,
                restarts=0,
                last_exit=None,
                uptime_s=2.0 if answer else None,
                meter=SimpleNamespace(look=lambda identity, uptime_s: Usage(cpu_percent=1.5, rss_bytes=2**20)),
            )
            for node, answer in zip(plan.nodes, answers, strict=True)
        }
        found = {node.name: answer or DOWN for node, answer in zip(plan.nodes, answers, strict=True)}
        return view(plan, nodes, found)

    return see


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ((said(1), said(2), said(3)), ClusterVerdict.HEALTHY),
        ((said(1), said(2), None), ClusterVerdict.DEGRADED),
        ((said(1), said(2), DOWN), ClusterVerdict.DEGRADED),
        ((said(1), said(2), said(3, healthy=False)), ClusterVerdict.DEGRADED),
        ((said(1), DOWN, None), ClusterVerdict.NO_QUORUM),
        ((said(1), said(2, healthy=False), said(3, healthy=False)), ClusterVerdict.NO_QUORUM),
        ((DOWN, DOWN, DOWN), ClusterVerdict.NO_QUORUM),
        ((None, None, None), ClusterVerdict.STOPPED),
        ((said(1), said(2), None, None), ClusterVerdict.NO_QUORUM),
    ],
)
def test_the_verdict(seen, answers, verdict):
    assert seen(*answers).verdict is verdict


@pytest.mark.parametrize(
    ("state", "verdict"), [(NodeState.BACKOFF, ClusterVerdict.NO_QUORUM), (NodeState.FAILED, ClusterVerdict.STOPPED)]
)
def test_members_that_will_be_started_again_make_no_stopped_lab(seen, state, verdict):
    assert seen(None, None, None, down=state).verdict is verdict


def test_without_space_all_are_healthy_and_something_is_wrong(seen):
    alarm = "memberID:2 alarm:NOSPACE "
    members = said(1), said(2), said(3)
    full = [replace(one, status=replace(one.status, errors=("other", alarm))) for one in members]
    status = seen(*full)
    assert status.verdict is ClusterVerdict.DEGRADED
    assert all(node.healthy for node in status.nodes)
    assert status.problems[0].startswith("the alarm NOSPACE is raised, by n2: all members refuse to write")
    assert seen(full[0], DOWN, None).verdict is ClusterVerdict.NO_QUORUM


@pytest.mark.parametrize(
    ("alarm", "told"),
    [
        (
            "memberID:2 alarm:CORRUPT ",
            "CORRUPT is raised, by n2: all members refuse to write; the data of n2 differ from",
        ),
        (
            "memberID:9 alarm:CORRUPT ",
            "CORRUPT is raised, by a member that was removed: all members refuse to write; `etcd",
        ),
    ],
)
def test_data_that_differ_are_told(seen, alarm, told):
    one = said(1)
    status = seen(replace(one, status=replace(one.status, errors=(alarm,))), said(2), said(3))
    assert status.verdict is ClusterVerdict.DEGRADED
    assert status.problems[0].startswith(f"the alarm {told}")


def test_the_leader_and_the_ids(seen):
    status = seen(said(1, leader=2), said(2, leader=2), said(3, leader=2))
    assert status.leader == "n2"
    assert [node.is_leader for node in status.nodes] == [False, True, False]
    assert status.cluster_id == "0123456789abcdef"
    assert status.is_this_lab
    assert (status.nodes[0].cpu_percent, status.nodes[0].rss_bytes, status.nodes[0].uptime_s) == (1.5, 2**20, 2.0)


def test_a_leader_that_is_down_is_none(seen):
    status = seen(None, said(2, leader=1), said(3, leader=1))
    assert status.leader is None


@pytest.mark.parametrize("stranger", [said(1, cluster=7), said(9)], ids=["cluster", "member"])
def test_a_stranger_on_our_port_is_not_healthy_whatever_it_says(seen, stranger):
    status = seen(stranger, said(2, leader=2), said(3, leader=2))
    assert not status.is_this_lab
    assert not status.nodes[0].healthy
    assert "which this lab did not make" in status.nodes[0].problem
    assert status.verdict is ClusterVerdict.DEGRADED
    assert status.leader == "n2"
    assert status.cluster_id == "0123456789abcdef"


def test_a_strangers_whole_cluster_is_named_and_has_no_quorum(seen):
    strangers = [said(number, cluster=7, leader=1) for number in (1, 2, 3)]
    status = seen(*strangers)
    assert status.verdict is ClusterVerdict.NO_QUORUM
    assert status.cluster_id == "0000000000000007"
    assert status.leader is None
    assert not status.is_this_lab


def test_a_strangers_leader_of_a_newer_term_leads_nothing_here(seen):
    assert seen(said(1, cluster=7, leader=3, term=99), said(2), said(3, leader=2)).leader != "n3"


def test_a_learner_counts_for_no_quorum(seen):
    down = seen(said(1), said(2), DOWN, DOWN, learners=1)
    assert down.verdict is ClusterVerdict.DEGRADED
    assert down.nodes[3].is_learner


def test_a_stopped_member_has_only_what_the_plan_knows(seen):
    node = seen(said(1), None, said(3)).nodes[1]
    assert (node.pid, node.raft_term, node.db_size, node.cpu_percent, node.uptime_s) == (None,) * 5
    assert (node.etcd_version, node.problem) == ("3.5.16", "")


def test_a_member_that_serves_without_its_data_directory_is_told(seen, tmp_path):
    assert "is gone: it runs on with deleted files" in seen(said(1)).nodes[0].problem
