"""A lab's files are cut, moved, closed or deleted, while it runs or not: every verb says so, and nothing is left."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime import journal
from etcdlab.up import Outcome, Request, Started, up
from tests import modes
from tests.cli.command import run
from tests.conftest import processes_of
from tests.e2e.labs import WATCHER, etcdctl
from tests.fake_lab import FakeLab
from tests.test_daemon import pid_of

pytestmark = pytest.mark.etcd
ONE = Topology(name="one", nodes=1, etcd=EtcdTable(profile=Profile.FAST))
ENOUGH_S = 30.0


def started(home: Path, topology: Topology = ONE, *, name: str = "one") -> Started:
    return up(Request(topology=topology, base=home, explicit=name == topology.name), WATCHER)


def ended(one: Started) -> None:
    """Wait for its daemon; its members are to be gone by then."""
    assert one.daemon is not None
    one.daemon.wait()


# While it runs


def test_one_that_is_deleted_ends_and_its_name_is_free_at_once(home: Path) -> None:
    first = started(home)
    shutil.rmtree(first.directory.path)
    assert "there is no lab 'one'" in run("status", "--lab", "one", status=3).stderr
    assert "there is no lab 'one'" in run("down", "--lab", "one", status=3).stderr
    second = started(home)
    assert second.outcome is Outcome.CREATED
    ended(first)
    assert Lab(second.directory).status().verdict is ClusterVerdict.HEALTHY, "the first one took nothing of it along"
    assert len(processes_of(home)) == 2
    assert Lab(second.directory, second.daemon).down(purge=True)


def test_one_that_is_moved_ends_and_can_be_started_where_it_is(home: Path) -> None:
    first = started(home)
    assert etcdctl(Lab(first.directory), "put", "k", "kept").returncode == 0
    there = LabDirectory(first.directory.path.rename(home / "two"))
    ended(first)
    assert processes_of(home) == []
    assert "was removed or moved: the lab is stopped" in there.daemon_log.read_text()
    assert journal.read(there.events)[-1].kind is EventKind.LAB_STOPPED
    assert "stopped" in run("ls").output
    second = started(home, Topology(name="two", nodes=1, etcd=ONE.etcd))
    assert (second.outcome, second.status.lab) == (Outcome.RESTARTED, "two")
    assert second.status.cluster_id == first.status.cluster_id
    assert etcdctl(Lab(there), "get", "k", "--print-value-only").stdout == "kept\n"
    assert Lab(there, second.daemon).down(purge=True)


def test_a_members_data_that_is_deleted_is_told_by_status_and_doctor_and_by_its_next_start(home: Path) -> None:
    one = started(home, Topology(name="one", nodes=3, etcd=ONE.etcd))
    lab, node = Lab(one.directory, one.daemon), LabDirectory.named("one").node("n2")
    shutil.rmtree(node)
    said = run("status").output
    assert f"n2: its data directory {node / 'data'} is gone: it runs on with deleted files" in said
    assert "is gone: if n2 runs, then on with deleted files" in run("doctor", status=1).output
    refused = run("restart", "n2", status=1).stderr
    assert f"member n2 did not start: cannot run in {node}" in refused
    assert "Put the directory back" in refused
    assert lab.status().verdict is ClusterVerdict.DEGRADED
    assert lab.down(purge=True)


# Closed to its owner


def test_one_that_is_made_read_only_says_so_and_can_be_ended(fake_lab: FakeLab, home: Path) -> None:
    with modes.obeyed(), fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        directory = fake_lab.directory.path
        paths = [path for path in (directory, *directory.rglob("*")) if not path.is_symlink()]
        for path in paths:
            path.chmod(path.stat().st_mode & ~0o222)
        assert "may not be used: permission denied" in run("status", status=1).stderr
        assert "cannot be written by this user" in run("doctor", status=1).output
        assert "permission denied" in run("up", "--name", "fake", status=1).stderr
        assert run("down").output == "lab fake is stopped\n"
        daemon.wait()
        assert "Permission denied" in run("up", "--name", "fake", status=1).stderr
        assert run("down").output == "lab fake was stopped already\n"
        assert "cannot be removed: Permission denied" in run("down", "--purge", status=1).stderr
        for path in paths:
            if path.exists():
                path.chmod(path.stat().st_mode | 0o200)
    assert processes_of(home) == []


# Cut


@pytest.mark.parametrize("alive", ["daemon", "members", "nothing"])
def test_with_a_cut_plan_every_verb_says_so_and_down_ends_what_runs(fake_lab: FakeLab, home: Path, alive: str) -> None:
    directory = fake_lab.directory
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        if alive != "daemon":
            os.kill(pid_of(daemon), signal.SIGKILL if alive == "members" else signal.SIGTERM)
            daemon.wait()
        directory.plan.write_bytes(directory.plan.read_bytes()[:1000])
        for verb in (("status",), ("up", "--name", "fake"), ("stop", "n1"), ("env",)):
            told = run(*verb, status=1).stderr
            assert "plan.json cannot be read, it is damaged" in told
            assert "`etcdlab down --lab fake` ends what still runs of it" in told
        assert "unknown" in run("ls").output
        assert "plan.json cannot be read, it is damaged" in run("doctor", status=1).output
        assert set(living_members(directory)) == (set() if alive == "nothing" else {"n1", "n2"})
        assert run("down").output == f"lab fake {'was stopped already' if alive == 'nothing' else 'is stopped'}\n"
        assert processes_of(home) == []
        assert run("down", "--purge").output == "lab fake is removed\n"
    assert list(home.iterdir()) == []


def test_members_whose_records_are_cut_too_are_adopted_or_ended(fake_lab: FakeLab, home: Path) -> None:
    with fake_lab.daemon() as daemon:
        before = fake_lab.boot(daemon)
        os.kill(pid_of(daemon), signal.SIGKILL)
        daemon.wait()
        for name in ("n1", "n2"):
            record = fake_lab.directory.node(name) / "process.json"
            record.write_bytes(record.read_bytes()[:30])
        with fake_lab.directory.events.open("ab") as events:
            events.write(b'{"seq":99,"ti')
        with fake_lab.daemon() as second:
            after = fake_lab.boot(second)
            assert [node.pid for node in after.nodes] == [node.pid for node in before.nodes]
            numbers = [event.seq for event in journal.read(fake_lab.directory.events)]
            assert numbers == list(range(1, len(numbers) + 1))
            os.kill(pid_of(second), signal.SIGKILL)
            second.wait()
            for name in ("n1", "n2"):
                (fake_lab.directory.node(name) / "process.json").unlink()
            assert Lab(fake_lab.directory).down()
            assert processes_of(home) == []


def test_a_cut_topology_keeps_nobody_from_the_lab_it_was_for(home: Path) -> None:
    one = started(home)
    assert Lab(one.directory, one.daemon).down()
    one.directory.topology.write_text(one.directory.topology.read_text()[:40])
    told = run("up", "--name", "one", "--nodes", "1", status=1).stderr
    assert "what lab 'one' was made from cannot be told any more" in told
    assert "`etcdlab up --name one`, with nothing else, starts it as it was" in told
    run("up", "--name", "one")
    run("down", "--purge")


def test_a_socket_that_was_deleted_does_not_keep_the_lab_from_being_ended(fake_lab: FakeLab, home: Path) -> None:
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        Path(fake_lab.plan.socket).unlink()
        assert "no daemon listens" in run("status", status=3).stderr
        assert run("down").output == "lab fake is stopped\n"
        assert processes_of(home) == []
