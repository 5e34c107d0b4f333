"""Members whose data is damaged, lost or no longer wanted, made anew."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from etcdlab.errors import BootError, LabStateError, ToolError
from etcdlab.etcd import identity
from etcdlab.lab import Lab
from etcdlab.model.disk import Part
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, Profile, Topology
from tests.cli.command import run
from tests.e2e.labs import enter, shared

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    topology = Topology(name="repair", nodes=3, etcd=EtcdTable(profile=Profile.FAST))
    with shared(topology, tmp_path_factory) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A healthy _lab."""
    enter(_lab, monkeypatch)
    _lab.reset()
    return _lab


def wal(lab: Lab, name: str) -> None:
    lab.member(name).stop()
    lab.member(name).corrupt()


def database(lab: Lab, name: str) -> None:
    lab.member(name).stop()
    lab.member(name).corrupt(Part.DB)


def lost(lab: Lab, name: str) -> None:
    lab.member(name).stop()
    shutil.rmtree(Path(lab.member(name).plan.data_dir) / "member")


def removed(lab: Lab, name: str) -> None:
    since = lab.mark()
    other = next(member.name for member in lab.members if member.name != name)  # itself may stop before it answers
    lab.etcdctl("member", "remove", str(lab.member(name).plan.member_id), member=other)
    lab.wait_for_event(EventKind.FAILED, name, since=since)


@pytest.mark.parametrize("who", ["leader", "follower"])
@pytest.mark.parametrize(
    ("hurt", "reasons"),
    [
        (wal, {ExitReason.DATA_CORRUPT}),
        (database, {ExitReason.DATA_CORRUPT}),
        # Without data a member has the id of its first life, which a repair has removed.
        (lost, {ExitReason.DATA_LOST, ExitReason.REMOVED}),
        (removed, {ExitReason.REMOVED}),
    ],
    ids=["wal", "db", "lost", "removed"],
)
def test_a_member_that_cannot_start_begins_anew(
    lab: Lab, hurt: Callable[[Lab, str], None], reasons: set[ExitReason], who: str
) -> None:
    lab.etcdctl("put", "k", "v")
    leader = lab.leader().name
    name = leader if who == "leader" else next(one.name for one in lab.members if one.name != leader)
    before = lab.member(name).plan.member_id
    hurt(lab, name)
    if hurt is not removed:
        with pytest.raises(BootError, match=name) as caught:
            lab.member(name).start()
        assert f"`etcdlab repair {name}`" in caught.value.hint
    assert (last := lab.member(name).status().last_exit) is not None
    assert last.reason in reasons
    assert run("repair", name).output == f"{name}: repaired\n"
    assert lab.wait_ready().is_this_lab
    assert lab.member(name).plan.member_id != before
    assert lab.etcdctl("get", "--consistency=s", "--print-value-only", "k", member=name) == "v\n"
    assert len(lab.etcdctl("member", "list").splitlines()) == 3
    lab.member(name).restart()
    lab.wait_ready()


def test_after_a_repair_the_lab_can_be_adopted_and_be_rebuilt(lab: Lab) -> None:
    wal(lab, "n2")
    lab.member("n2").repair()
    lost(lab, "n3")
    assert lab.reset().rebuilt
    assert lab.wait_ready().is_this_lab
    for node in lab.plan.nodes:
        assert node.member_id == identity.member_id(node.peer_url, lab.plan.token)


def test_data_that_differ_are_told_and_the_repair_ends_the_alarm(lab: Lab) -> None:
    member_id = lab.member("n3").plan.member_id
    assert member_id is not None
    alarm = {"action": "ACTIVATE", "memberID": str(int(member_id, 16)), "alarm": "CORRUPT"}
    with httpx.Client(**lab.kwargs_for("httpx")) as client:
        client.post("/v3/maintenance/alarm", json=alarm).raise_for_status()
    with pytest.raises(ToolError, match="corrupt cluster"):
        lab.etcdctl("put", "k", "v")
    lab.member("n1").restart()  # it comes up all the same
    status = lab.status()
    assert (status.verdict, [node.healthy for node in status.nodes]) == (ClusterVerdict.DEGRADED, [True] * 3)
    assert status.problems[0].startswith(
        "the alarm CORRUPT is raised, by n3: all members refuse to write; the data of n3"
    )
    lab.member("n3").stop()
    lab.member("n3").repair()
    assert lab.wait_ready().problems == ()
    lab.etcdctl("put", "k", "v")


def test_what_serves_is_neither_damaged_nor_repaired(lab: Lab) -> None:
    assert "n1 is running, and damage is for one that is not" in run("disk", "corrupt", "n1", status=1).stderr
    assert "n1 serves: there is nothing to repair" in run("repair", "n1", status=1).stderr
    with lab.stopped("n1", "n2", force=True), pytest.raises(LabStateError, match="it takes 2"):
        lab.member("n1").repair()


def test_the_verb_says_what_was_damaged_and_the_way_back(lab: Lab) -> None:
    run("stop", "n3")
    shown = run("disk", "corrupt", "n3", "--db").output
    assert shown == "n3: its db is damaged; `etcdlab repair n3` is the way back\n"
    assert lab.events()[-1].detail["part"] == "db"
    run("repair", "n3")
