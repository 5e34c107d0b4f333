"""Real members that die, freeze and are stopped, under a real daemon."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from etcdlab.errors import LabStateError, QuorumError
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import Event, EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.title import lab_of
from etcdlab.runtime import journal
from etcdlab.up import Outcome, Request, up
from tests.conftest import processes_of
from tests.e2e.labs import WATCHER, etcdctl, running

pytestmark = pytest.mark.etcd
THREE = Topology(name="three", nodes=3, etcd=EtcdTable(profile=Profile.FAST))
TIMEOUT_S = 30.0


class Watched:
    """A running lab, and its journal read as a story: each `wait` goes on where the last one ended."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.client = lab.client(timeout_s=TIMEOUT_S)
        self._seen = self.sequence()

    def sequence(self) -> int:
        return journal.read(self.lab.directory.events)[-1].seq

    def wait(self, kind: EventKind, node: str | None = None) -> Event:
        for event in self.client.events(since=self._seen, follow=True):
            self._seen = event.seq
            if event.kind is kind and node in (None, event.node):
                return event
        raise AssertionError(f"the journal ended before {kind}")

    def wait_status(self, accept: Callable[[LabStatus], bool]) -> LabStatus:
        """Measure until it is so; the suite's own bound is the last resort."""
        while not accept(status := self.client.status()):
            pass
        return status

    def followers(self) -> tuple[str, str, str]:
        """The leader and the two others."""
        status = self.wait_status(lambda status: status.leader is not None)
        leader = next(node.name for node in status.nodes if node.is_leader)
        first, second = (node.name for node in status.nodes if not node.is_leader)
        return leader, first, second

    def pid(self, name: str) -> int:
        return living_members(self.lab.directory)[name].identity.pid


@pytest.fixture
def watched(home: Path) -> Iterator[Watched]:
    with running(THREE) as (lab, _):
        yield Watched(lab)


def test_a_killed_member_is_started_again(watched: Watched) -> None:
    _, name, _ = watched.followers()
    pid = watched.pid(name)
    os.kill(pid, signal.SIGKILL)
    exited = watched.wait(EventKind.EXITED, name)
    assert (exited.detail["code"], exited.detail["reason"]) == (-9, ExitReason.SIGNALLED.value)
    restarted = watched.wait(EventKind.RESTARTED, name)
    assert restarted.detail["delay_s"] == 0
    spawned = watched.wait(EventKind.SPAWNED, name)
    watched.wait(EventKind.READY, name)
    status = watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY)
    node = next(node for node in status.nodes if node.name == name)
    assert (node.restarts, node.pid, node.last_exit.reason) == (1, spawned.detail["pid"], ExitReason.SIGNALLED)
    assert node.pid != pid


def test_a_killed_leader_is_replaced(watched: Watched) -> None:
    leader, *others = watched.followers()
    watched.client.kill([leader])
    changed = watched.wait(EventKind.LEADER_CHANGED)
    assert changed.node in (*others, leader)
    assert changed.detail["term"] > 1
    watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY and status.leader is not None)


def test_leadership_is_handed_over(watched: Watched) -> None:
    _, first, second = watched.followers()
    watched.lab.move_leader(first)
    assert watched.client.status().leader == first
    assert watched.wait(EventKind.LEADER_CHANGED).node == first
    watched.lab.move_leader(first)
    watched.lab.member(second).stop()
    with pytest.raises(LabStateError, match=f"{second} cannot lead: it is stopped"):
        watched.lab.move_leader(second)
    with watched.lab.paused("leader", force=True) as paused:
        assert paused == (first,)


def test_all_are_stopped_the_leader_last_and_started(watched: Watched) -> None:
    leader, *_ = watched.followers()
    assert etcdctl(watched.lab, "put", "k", "v").returncode == 0
    assert set(watched.client.stop(["all"], force=True)) == {"n1", "n2", "n3"}
    stopped = [event.node for event in watched.lab.events() if event.kind is EventKind.STOPPED]
    assert stopped[-1] == leader
    watched.client.start(["all"])
    assert watched.lab.etcdctl("get", "k", "--print-value-only") == "v\n"


def test_a_pause_for_a_time_is_over_by_itself(watched: Watched) -> None:
    _, name, _ = watched.followers()
    watched.lab.member(name).pause(for_="300ms")
    watched.wait(EventKind.RESUMED, name)
    watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY)


def test_quorum_is_kept_unless_forced_and_its_loss_is_news(watched: Watched) -> None:
    leader, first, second = watched.followers()
    with pytest.raises(QuorumError, match="would leave 1 of 3 voting members, and a quorum is 2") as caught:
        watched.client.stop([first, second])
    assert "--force" in caught.value.hint
    watched.client.stop([first])
    assert watched.client.status().verdict is ClusterVerdict.DEGRADED
    with pytest.raises(QuorumError):
        watched.client.stop([second])
    watched.client.stop([second], force=True)
    lost = watched.wait(EventKind.QUORUM_LOST)
    assert (lost.detail["healthy"], lost.detail["voters"]) == (0, 3)
    status = watched.client.status()
    assert status.verdict is ClusterVerdict.NO_QUORUM
    assert {node.name: node.state for node in status.nodes} == {
        leader: NodeState.RUNNING, first: NodeState.STOPPED, second: NodeState.STOPPED
    }  # fmt: skip
    watched.client.start([first])
    watched.wait(EventKind.QUORUM_REGAINED)
    assert etcdctl(watched.lab, "put", "k", "v").returncode == 0


def test_nothing_is_said_of_quorum_while_a_healthy_lab_runs(watched: Watched) -> None:
    _, name, _ = watched.followers()
    watched.client.restart([name])
    watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY)
    kinds = {event.kind for event in journal.read(watched.lab.directory.events)}
    assert not kinds & {EventKind.QUORUM_LOST, EventKind.QUORUM_REGAINED, EventKind.FAILED}


def test_a_paused_member_freezes_and_goes_on(watched: Watched) -> None:
    _, name, _ = watched.followers()
    pid = watched.pid(name)
    watched.client.pause([name])
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # the kernel stops it when its threads come to it
        pass
    status = watched.client.status()
    assert status.verdict is ClusterVerdict.DEGRADED
    assert [node.paused for node in status.nodes if node.name == name] == [True]
    watched.wait(EventKind.PAUSED, name)
    watched.client.resume([name])
    watched.wait(EventKind.RESUMED, name)
    watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY)
    assert watched.pid(name) == pid


def test_a_restarted_member_is_a_new_process_with_its_old_data(watched: Watched) -> None:
    _, name, _ = watched.followers()
    pid = watched.pid(name)
    watched.client.restart([name])
    assert watched.pid(name) != pid
    status = watched.wait_status(lambda status: status.verdict is ClusterVerdict.HEALTHY)
    node = next(node for node in status.nodes if node.name == name)
    assert node.last_exit.reason is ExitReason.REQUESTED
    assert node.restarts == 0


def test_members_outlive_their_daemon_and_are_adopted(watched: Watched, home: Path) -> None:
    before = {name: record.identity.pid for name, record in living_members(watched.lab.directory).items()}
    daemon = next(process for process in processes_of(home) if lab_of(process.info["cmdline"]))
    daemon.kill()
    assert watched.lab.directory.wait_released(TIMEOUT_S)
    orphaned = watched.lab.status()
    assert orphaned.verdict is ClusterVerdict.STOPPED
    assert all("without its daemon" in node.problem for node in orphaned.nodes)
    assert {node.name: node.pid for node in orphaned.nodes} == before
    assert etcdctl(watched.lab, "put", "k", "v").returncode == 0

    again = up(Request(topology=THREE, base=home, explicit=True), WATCHER)
    assert again.outcome is Outcome.RESTARTED
    assert {node.name: node.pid for node in again.status.nodes} == before
    assert {watched.wait(EventKind.ADOPTED).node for _ in before} == set(before)
    _, name, _ = watched.followers()
    os.kill(before[name], signal.SIGKILL)
    exited = watched.wait(EventKind.EXITED, name)
    assert exited.detail["code"] is None  # whose parent is gone, nobody knows the code of
    watched.wait(EventKind.READY, name)


@pytest.mark.parametrize("purge", [False, True])
def test_down_ends_what_a_dead_daemon_left(watched: Watched, home: Path, purge: bool) -> None:
    next(process for process in processes_of(home) if lab_of(process.info["cmdline"])).kill()
    assert watched.lab.directory.wait_released(TIMEOUT_S)
    assert watched.lab.down(purge=purge)
    assert processes_of(home) == []
    assert watched.lab.directory.exists() is not purge
