"""The handle on one lab: which one, what it says without a daemon, and down in every state."""

import os
import signal

import pytest

from etcdlab.errors import LabStateError, NotRunningError, TimedOutError, UsageError
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict
from tests.conftest import processes_of
from tests.plans import make_plan
from tests.test_daemon import pid_of


@pytest.fixture
def made(home):
    """Makes labs that never ran; they are gone at the end."""
    labs = []

    def make(name):
        make_plan(home, nodes=2, lab=name)
        labs.append(Lab.attach(name))
        return labs[-1]

    yield make
    for lab in labs:
        if lab.directory.path.exists():
            lab.down(purge=True)


class TestAttach:
    def test_by_name_environment_or_because_there_is_no_other(self, made, monkeypatch):
        made("a")
        assert Lab.attach().name == "a"
        made("b")
        assert Lab.attach("b").name == "b"
        with pytest.raises(UsageError, match="several labs: a, b"):
            Lab.attach()
        monkeypatch.setenv("ETCDLAB_LAB", "a")
        assert Lab.attach().name == "a"
        assert Lab.attach("b").name == "b"

    def test_prefers_the_only_one_that_runs(self, made, fake_lab):
        made("a")
        with fake_lab.daemon() as daemon:
            fake_lab.boot(daemon)
            assert Lab.attach().name == "fake"

    def test_of_what_there_is_not(self, made):
        with pytest.raises(NotRunningError, match="there is no lab"):
            Lab.attach()
        made("a")
        with pytest.raises(NotRunningError, match="no lab 'b'") as caught:
            Lab.attach("b")
        assert "Labs here: a" in caught.value.hint


class TestStatus:
    def test_of_one_that_never_ran(self, made):
        status = made("a").status()
        assert status.verdict is ClusterVerdict.STOPPED
        assert [node.state for node in status.nodes] == [NodeState.STOPPED] * 2
        assert not any(node.healthy or node.pid or node.problem for node in status.nodes)

    def test_of_one_that_runs_is_measured(self, fake_lab):
        with fake_lab.daemon() as daemon:
            fake_lab.boot(daemon)
            lab = Lab(fake_lab.directory)
            assert lab.is_running()
            assert lab.status().verdict is ClusterVerdict.HEALTHY

    def test_of_one_whose_plan_is_broken(self, made):
        lab = made("a")
        lab.directory.plan.write_text("[]")
        with pytest.raises(LabStateError, match="cannot be read") as caught:
            lab.status()
        assert "down --purge --lab a" in caught.value.hint


class TestDown:
    def test_stops_and_is_content_when_that_is_done(self, fake_lab, home):
        lab = Lab(fake_lab.directory)
        with fake_lab.daemon() as daemon:
            fake_lab.boot(daemon)
            assert lab.down(purge=False)
            assert processes_of(home) == []
            assert not lab.down(purge=False)
            assert lab.directory.exists()

    def test_purges(self, fake_lab, home):
        lab = Lab(fake_lab.directory)
        with fake_lab.daemon() as daemon:
            fake_lab.boot(daemon)
            assert lab.down(purge=True)
            assert list(home.iterdir()) == []

    def test_purges_one_that_is_stopped_and_one_that_is_broken(self, made, home):
        assert not made("a").down(purge=True)
        lab = made("a")
        lab.directory.plan.write_text("[]")
        assert not lab.down(purge=False)
        assert not lab.down(purge=True)
        assert list(home.iterdir()) == []

    def test_ends_the_members_of_a_dead_daemon(self, fake_lab, home):
        lab = Lab(fake_lab.directory)
        with fake_lab.daemon() as daemon:
            fake_lab.boot(daemon)
            os.kill(pid_of(daemon), signal.SIGKILL)
            daemon.wait()
            assert set(living_members(lab.directory)) == {"n1", "n2"}
            assert lab.down(purge=False)
            assert processes_of(home) == []

    def test_says_so_when_it_takes_too_long(self, make_lab, monkeypatch):
        monkeypatch.setattr("etcdlab.down.STOP_TIMEOUT_S", 0.1)
        stubborn = make_lab("--ignore-sigterm", stop_s=600)
        with stubborn.daemon() as daemon:
            stubborn.boot(daemon)
            with pytest.raises(TimedOutError, match=r"has not stopped within 0\.1 s") as caught:
                Lab(stubborn.directory).down(purge=False)
            assert "daemon.log" in caught.value.hint
            daemon.stop()  # the second request does not wait for the member
