"""`down`, over labs of fake members."""

import pytest

from tests.cli.command import run, run_json
from tests.conftest import processes_of
from tests.plans import make_plan


@pytest.fixture
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


def test_stops_and_says_so_twice(running, home):
    assert run_json("down")["labs"] == [{"lab": "fake", "was_up": True, "purged": False}]
    assert processes_of(home) == []
    assert run("down").output == "lab fake was stopped already\n"
    assert run("down", "--purge").output == "lab fake is removed\n"


def test_purge_of_a_running_lab(running, home):
    assert run("down", "--purge", "--lab", "fake").output == "lab fake is stopped and removed\n"
    assert list(home.iterdir()) == []


def test_all_takes_every_lab_whatever_its_state(running, home):
    make_plan(home, lab="idle")
    make_plan(home, lab="broken")
    (home / "broken" / "plan.json").write_text("{")
    stopped = run_json("down", "--all", "--purge")["labs"]
    assert {lab["lab"]: lab["was_up"] for lab in stopped} == {"broken": False, "fake": True, "idle": False}
    assert list(home.iterdir()) == []


def test_all_of_nothing_is_fine(home):
    assert run_json("down", "--all")["labs"] == []


def test_one_and_all_exclude_each_other(home):
    assert "exclude each other" in run("down", "--all", "--lab", "x", status=2).stderr


def test_a_lab_that_is_not_there_is_status_3(home):
    assert run_json("down", "--lab", "x", status=3)["error"]["code"] == "not-running"


def test_purge_of_a_lab_that_is_gone_is_fine(home):
    assert run("down", "--purge", "--lab", "x").output == "there is no lab x: nothing to remove\n"
    assert run_json("down", "--purge", "--lab", "x")["labs"] == []
