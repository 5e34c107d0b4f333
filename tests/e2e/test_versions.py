"""Labs of three members with mutual TLS on real etcds from 3.4 to 3.5, and one of two versions mixed."""

import json
import signal
from collections.abc import Iterator

import pytest

from etcdlab.errors import BootError
from etcdlab.etcd.api import hexadecimal
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.model.topology import EtcdTable, NodeTable, Profile, Topology
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.up import Request, up
from tests.e2e import versions
from tests.e2e.labs import WATCHER, etcdctl, running, wait_event

pytestmark = pytest.mark.etcd


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Labs in `tmp_path`, etcds in the cache that is kept."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    with versions.kept_cache():
        yield


def topology(version: str, **nodes: str) -> Topology:
    """Members n1 to n3 of this version, but those in `nodes` of theirs."""
    versions.require(version)
    return Topology(
        name="v",
        etcd=EtcdTable(version=version, profile=Profile.FAST),
        node=tuple(NodeTable(name=name, version=nodes.get(name)) for name in ("n1", "n2", "n3")),
    )


def assert_whole(status: LabStatus) -> None:
    """All that can be measured of a healthy lab has been, and makes sense."""
    assert status.verdict is ClusterVerdict.HEALTHY
    assert status.is_this_lab
    assert [node.name for node in status.nodes if node.is_leader] == [status.leader]
    for node in status.nodes:
        assert (node.state, node.healthy, node.problem) == (NodeState.RUNNING, True, "")
        assert node.raft_term and node.raft_index and node.applied_index  # noqa: PT018 - one thing: all are there
        assert node.db_size is not None
        assert node.db_size >= 16384, "two pages at least"
        assert node.rss_bytes is not None
        assert node.rss_bytes > 2**20
        assert node.pid
        assert node.uptime_s
        assert node.cpu_percent is not None


def assert_ids_foretold(lab: Lab, status: LabStatus) -> None:
    """What etcdctl says the ids are is what the plan says."""
    listed = json.loads(etcdctl(lab, "member", "list", "-w", "json").stdout)
    assert hexadecimal(listed["header"]["cluster_id"]) == lab.plan.cluster_id == status.cluster_id
    assert {member["name"]: hexadecimal(member["ID"]) for member in listed["members"]} == {
        node.name: node.member_id for node in lab.plan.nodes
    }
    [leaders] = {
        answer["Status"]["leader"] for answer in json.loads(etcdctl(lab, "endpoint", "status", "-w", "json").stdout)
    }
    assert hexadecimal(leaders) == next(node.member_id for node in status.nodes if node.is_leader)


@pytest.mark.parametrize("version", versions.VERSIONS)
def test_a_lab_of_each_version_boots_heals_and_stops(version: str) -> None:
    with running(topology(version)) as (lab, status):
        assert_whole(status)
        assert {node.etcd_version for node in status.nodes} == {version}
        assert_ids_foretold(lab, status)
        events = list(lab.client(timeout_s=10).events())
        assert status.leader in {event.node for event in events if event.kind is EventKind.LEADER_CHANGED}

        assert status.leader is not None
        lab.client(timeout_s=10).kill([status.leader])
        wait_event(lab, EventKind.READY, status.leader, after=events[-1].seq)
        healed = lab.status()
        assert_whole(healed)
        before, after = ({node.name: node for node in seen.nodes}[status.leader] for seen in (status, healed))
        assert after.restarts == 1
        assert after.pid != before.pid

        with lab.certificates.spoil("client", "revoked"):
            assert {one.source for one in lab.certificates.predict() if one.problem} == {"client"}
            assert {one.presenters for one in lab.certificates.refusals()} == {("client",)}
        assert after.last_exit is not None
        assert (after.last_exit.code, after.last_exit.reason) == (-signal.SIGKILL, ExitReason.KILLED)

        assert lab.down(purge=False)
        assert not lab.is_running()
        assert living_members(lab.directory) == {}
        assert lab.status().verdict is ClusterVerdict.STOPPED


@pytest.mark.parametrize("version", versions.VERSIONS)
def test_a_flag_that_etcd_has_not_is_told_by_its_name(version: str, tmp_path) -> None:
    wrong = topology(version)
    wrong = Topology(
        name="v", nodes=1, etcd=EtcdTable(version=wrong.etcd.version, profile=Profile.FAST, flags={"no-such-flag": 1})
    )
    with pytest.raises(BootError, match="no-such-flag") as caught:
        up(Request(topology=wrong, base=tmp_path, explicit=True), WATCHER)
    assert caught.value.hint
    assert not LabDirectory.named("v").path.exists()


def test_a_learner_joins_the_oldest_version() -> None:
    voters = topology("3.4.23")
    learner = NodeTable(name="catching-up", learner=True)
    with running(Topology(name="v", etcd=voters.etcd, node=(*voters.node, learner))) as (lab, status):
        assert status.verdict is ClusterVerdict.HEALTHY
        assert [node.is_learner for node in status.nodes] == [False, False, False, True]
        listed = json.loads(etcdctl(lab, "member", "list", "-w", "json").stdout)["members"]
        [added] = [member for member in listed if member.get("isLearner")]
        assert hexadecimal(added["ID"]) == lab.plan.nodes[3].member_id == status.nodes[3].member_id


def test_members_of_two_versions_make_one_cluster() -> None:
    newer = versions.require("3.5.30").version
    with running(topology("3.5.16", n2=newer)) as (lab, status):
        assert_whole(status)
        assert [node.etcd_version for node in status.nodes] == ["3.5.16", newer, "3.5.16"]
        assert [node.etcd_version for node in lab.plan.nodes] == ["3.5.16", newer, "3.5.16"]
        assert_ids_foretold(lab, status)
