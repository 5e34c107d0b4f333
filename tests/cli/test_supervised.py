"""What each verb does on a lab whose daemon was killed: those that need one give it another, the others do without."""

import os
import signal
import threading

import pytest

from etcdlab.cli.supervised import attach
from etcdlab.errors import NotRunningError
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from etcdlab.model.report import OwnerEnd
from etcdlab.model.status import ClusterVerdict
from etcdlab.prepare.process import send_signal
from etcdlab.prepare.title import process_of
from etcdlab.runtime import journal
from tests.cli.command import run, run_json


def kill_daemon(lab):
    daemon = process_of(lab.directory)
    assert send_signal(daemon, signal.SIGKILL)
    assert lab.directory.wait_released(30)


@pytest.fixture
def dormant(fake_lab):
    """Its members run on without a daemon."""
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        kill_daemon(fake_lab)
        yield fake_lab
        Lab(fake_lab.directory).down()


def pids(lab):
    return {name: record.identity.pid for name, record in living_members(lab.directory).items()}


def adopted(lab):
    return [event.node for event in journal.read(lab.directory.events) if event.kind is EventKind.ADOPTED]


def test_a_verb_that_needs_a_daemon_starts_one_that_adopts(dormant):
    """One after the other, of one lab."""
    is_changed = {"start": False, "stop": True, "restart": True, "kill": True, "pause": False, "resume": False}
    for verb, changes in is_changed.items():
        before = pids(dormant)
        done = run(verb, "n2", *(["--force"] if verb not in ("start", "resume") else []))
        assert "the daemon of lab fake was gone: another one took over" in done.stderr
        assert f"n1: still running, adopted, pid {before['n1']}" in done.stderr
        assert done.stdout.startswith("n2: ")
        assert Lab(dormant.directory).is_running()
        after = pids(dormant)
        assert after["n1"] == before["n1"]
        # One that the verb before has killed is down by then, and is started again by whoever takes the lab up.
        assert changes or after["n2"] == before.get("n2", after["n2"])
        kill_daemon(dormant)
    assert adopted(dormant).count("n1") == len(is_changed)


def test_the_member_that_died_meanwhile_is_started_before_the_verb_is_done(dormant):
    before = pids(dormant)
    os.kill(before["n2"], signal.SIGKILL)
    assert run_json("pause", "n1", "--force")["done"] == "paused"
    after = pids(dormant)
    assert (after["n1"], after["n2"] != before["n2"]) == (before["n1"], True)
    assert adopted(dormant) == ["n1"]
    assert [node["restarts"] for node in run_json("status", status=5)["nodes"]] == [0, 1]


def test_two_at_once_start_one(dormant):
    before, failures = pids(dormant), []

    def take_over():
        try:
            attach("fake")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=take_over) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pids(dormant) == before
    assert sorted(adopted(dormant)) == ["n1", "n2"]


def test_a_look_starts_nothing(dormant):
    assert "fake: stopped, its daemon is gone and members run on: `etcdlab up" in run("status", status=3).output
    assert [node["pid"] for node in run_json("status", status=3)["nodes"]] == list(pids(dormant).values())
    for words in (("ls",), ("logs",), ("events",), ("env",), ("plan",), ("export", "env")):
        run(*words)
    assert "its daemon is gone" in run("doctor", status=1).output
    assert not Lab(dormant.directory).is_running()


def test_a_handle_does_as_a_verb_does_and_a_look_at_a_member_is_one(dormant):
    lab, before = Lab(dormant.directory), pids(dormant)
    assert lab.member("n1").pid == before["n1"]
    assert lab.status().verdict is ClusterVerdict.STOPPED
    assert not lab.is_running()
    lab.member("n2").kill(force=True)
    assert lab.is_running()
    assert pids(dormant)["n1"] == before["n1"]


def test_a_lab_that_ends_with_its_owner_still_does(fake_lab):
    with fake_lab.daemon(owner_end=OwnerEnd.PURGE) as first:
        fake_lab.boot(first)
        lab = Lab(fake_lab.directory, first)
        kill_daemon(fake_lab)
        lab.take_over()
        assert lab._daemon is not first
        assert lab._daemon.owner_end is OwnerEnd.PURGE
        assert lab.down(purge=True)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "pause", "resume", "kill", "reset", "check"])
def test_a_lab_that_is_down_is_status_3(fake_lab, verb):
    refused = run(verb, *(["n1"] if verb not in ("reset", "check") else []), status=3).stderr
    assert "lab 'fake' is not running" in refused
    assert "`etcdlab up --name fake`" in refused


def test_a_lab_that_is_removed_meanwhile_is_not_made(fake_lab):
    lab = Lab(fake_lab.directory)
    fake_lab.purge()
    with pytest.raises(NotRunningError, match="there is no lab 'fake'"):
        lab.take_over()
    assert not lab.directory.path.exists()


def test_a_lab_that_another_process_is_just_taking_up_is_waited_for(fake_lab):
    """It holds the lab already, and has no socket yet."""
    with fake_lab.daemon() as daemon:
        assert Lab(fake_lab.directory).is_running()
        assert not Lab(fake_lab.directory).is_served()
        booting = threading.Thread(target=fake_lab.boot, args=[daemon])
        booting.start()
        assert run("resume", "n2").stdout.startswith("n2: ")
        booting.join()
        assert Lab(fake_lab.directory).is_served()
