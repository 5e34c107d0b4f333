"""Disks that are full and databases at their limit, with real members, and the ways back."""

import signal
import sys
from collections.abc import Iterator

import pytest

from etcdlab.errors import BootError, QuorumError, ToolError, UsageError
from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.process import send_signal
from etcdlab.prepare.title import process_of
from tests.cli.command import run, run_json
from tests.e2e.labs import enter, shared

pytestmark = pytest.mark.etcd
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a process that runs can be limited on Linux alone")
LARGE = "x" * 4000


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    topology = Topology(name="disks", nodes=3, etcd=EtcdTable(profile=Profile.FAST))
    with shared(topology, tmp_path_factory) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A healthy lab whose disks are as they should be. n2 leads: of what a leader was passed on when it died, etcd says
    only after 5 s that it is lost.
    """
    enter(_lab, monkeypatch)
    _lab.move_leader("n2")
    yield _lab
    _lab.reset()
    _lab.wait_ready()
    assert _lab.status().shortages == ()


def member(status: LabStatus, name: str) -> NodeStatus:
    return next(node for node in status.nodes if node.name == name)


def is_waiting(name: str, status: LabStatus) -> bool:
    return member(status, name).state is NodeState.BACKOFF


def put_all(lab: Lab, name: str) -> None:
    """Write to a member until it has no space."""
    for _ in range(100):
        lab.etcdctl("put", "k", LARGE, member=name)


@on_linux
def test_a_member_whose_disk_is_full_ends_and_waits_until_there_is_space(lab: Lab) -> None:
    since = lab.mark()
    assert run("disk", "full", "n1").output == "n1: its disk is full; `etcdlab disk heal` heals it\n"
    lab.etcdctl("put", "k", "v", member="n2")
    status = lab.wait_until(lambda status: is_waiting("n1", status))
    assert "injected: full disk of n1" in run("status", status=4).output
    assert (last := member(status, "n1").last_exit) is not None
    assert (last.reason, last.detail) == (ExitReason.DISK_FULL, "its disk is full, as asked: exited with status 1")
    with pytest.raises(BootError, match="its disk is full, as asked") as caught:
        lab.member("n1").start()
    assert "`etcdlab disk heal n1`" in caught.value.hint
    assert run("disk", "heal", "n1").output == "healed: full disk of n1\n"
    lab.wait_ready()
    assert run("disk", "heal").output == "there was nothing to heal\n"
    assert lab.etcdctl("get", "--consistency=s", "--print-value-only", "k", member="n1") == "v\n"
    restarted = [event.detail for event in lab.events(since=since) if event.kind is EventKind.RESTARTED]
    assert restarted
    assert all(detail["is_free"] for detail in restarted)


@on_linux
def test_it_is_so_for_the_next_daemon_too(lab: Lab) -> None:
    lab.member("n1").fill_disk()
    lab.etcdctl("put", "k", "v", member="n3")
    lab.wait_until(lambda status: is_waiting("n1", status))
    lab.member("n2").fill_disk(force=True)
    daemon = process_of(lab.directory)
    assert daemon is not None
    send_signal(daemon, signal.SIGKILL)
    assert lab.directory.wait_released(10)
    lab.take_over()
    status = lab.wait_until(lambda status: is_waiting("n1", status))
    assert {one.node for one in status.shortages} == {"n1", "n2"}
    assert [one.node for one in lab.heal_all().shortages] == ["n1", "n2"]
    lab.wait_ready()


@on_linux
def test_it_is_healed_in_its_time_or_with_the_block(lab: Lab) -> None:
    run("disk", "full", "n3", "--for", "100ms")
    lab.wait_until(lambda status: not status.shortages)
    with lab.full_disk("followers", force=True) as names:
        assert len(names) == 2
        with pytest.raises(ToolError):
            lab.etcdctl("put", "k", "v", "--command-timeout=1s")
    assert all(node.healthy for node in lab.status().nodes)


def test_what_would_cost_the_quorum_is_refused(lab: Lab) -> None:
    assert "full disks of n1, n2 would leave 1 of 3" in run("disk", "full", "n1", "n2", status=1).stderr
    with lab.full_disk("n1"), pytest.raises(QuorumError, match="full disks of n3 would leave 1 of 3"):
        lab.member("n3").fill_disk()
    with lab.full_disk("n1"), pytest.raises(QuorumError, match="stopping n3 would leave 1 of 3"):
        lab.member("n3").stop()
    with lab.stopped("n3"), pytest.raises(QuorumError, match="restarting n1"):
        lab.member("n1").limit_database("64KiB")
    assert lab.status().shortages == ()


def test_without_space_nothing_is_written_and_the_quorum_is_there(lab: Lab) -> None:
    since = lab.mark()
    lab.etcdctl("put", "before", "v")
    shown = run("disk", "quota", "n1", "64KiB").output
    assert shown == "n1: its database may have 64KiB; `etcdlab disk heal` heals it\n"
    assert "injected: quota of 64KiB of n1" in run("status").output
    with pytest.raises(ToolError, match="database space exceeded"):
        put_all(lab, "n1")
    status = lab.wait_until(lambda status: status.verdict is ClusterVerdict.DEGRADED)
    assert all(node.healthy for node in status.nodes)
    [told] = status.problems
    assert told.startswith("the alarm NOSPACE is raised, by n1: all members refuse to write; `etcdlab disk free`")
    with pytest.raises(ToolError, match="database space exceeded"):
        lab.etcdctl("put", "k", "v", member="n2")
    assert lab.etcdctl("get", "before", "--print-value-only") == "v\n"
    lab.member("n3").restart()  # it comes up, and says so
    freed = run_json("disk", "free")
    assert freed["alarms"] == 1
    assert all(after <= before for before, after in freed["sizes"].values())
    assert freed["sizes"]["n1"][1] < 2**16
    assert lab.wait_ready().problems == ()
    lab.etcdctl("put", "k", "v", member="n1")
    kinds = {event.kind for event in lab.events(since=since)}
    assert not kinds & {EventKind.QUORUM_LOST, EventKind.QUORUM_REGAINED}
    assert run("disk", "free").output.endswith("NOSPACE was not raised\n")


def test_a_quota_is_its_own_until_it_is_healed_and_so_is_its_alarm(lab: Lab) -> None:
    lab.member("n2").limit_database("64KiB")
    lab.member("n2").kill()
    lab.wait_ready()
    with pytest.raises(ToolError, match="database space exceeded"):
        put_all(lab, "n2")
    assert run("heal").output == "disks: quota of 64KiB of n2\n"
    assert lab.wait_ready().problems == ()
    put_all(lab, "n2")
    assert "--quota-backend-bytes" not in "".join(lab.member("n2").plan.argv)


def test_who_cannot_get_below_its_quota_is_named(lab: Lab) -> None:
    for number in range(20):
        lab.etcdctl("put", f"k{number}", LARGE, member="n1")
    lab.member("n2").limit_database("64KiB")
    assert "n2 is beyond its quota even so: the next write to it raises NOSPACE" in run("disk", "free").output
    assert run_json("disk", "free")["beyond"] == ["n2"]
    lab.heal_all()
    assert run_json("disk", "free")["beyond"] == []


def test_reset_takes_it_away(lab: Lab) -> None:
    lab.member("n1").limit_database(2**16)
    with pytest.raises(ToolError, match="database space exceeded"):
        put_all(lab, "n1")
    assert not lab.reset().rebuilt
    assert lab.wait_ready().shortages == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quota", "n1", "much"], "'much' is not a size"),
        (["quota", "n1", "0"], "a size of 0 bytes is none"),
        (["full", "n9"], "n9"),
        (["heal", "n9"], "n9"),
    ],
)
def test_wrong_usage_is_said(lab: Lab, arguments: list[str], said: str) -> None:
    assert said in run("disk", *arguments, status=2).stderr


def test_in_python_too(lab: Lab) -> None:
    for size in ("much", 0, "0B"):
        with pytest.raises(UsageError, match="size"):
            lab.member("n1").limit_database(size)
