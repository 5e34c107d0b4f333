"""`down`, over labs of fake members."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from etcdlab import down as module
from etcdlab.errors import NotRunningError
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import LabDirectory
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


@contextlib.contextmanager
def purging(directory):
    """`down --purge` by somebody else, while the block runs."""
    with ThreadPoolExecutor() as pool:
        purge = pool.submit(Lab(directory).down, purge=True)
        yield
        with contextlib.suppress(NotRunningError):  # it came late
            purge.result()


def test_purge_has_the_last_word_on_a_lab_that_is_just_being_made(home):
    directory = LabDirectory(home / "demo")
    lock = directory.acquire()
    with purging(directory):
        make_plan(home)
        os.close(lock)
    assert list(home.iterdir()) == []


def test_purge_takes_nothing_from_a_directory_where_no_lab_could_be_made(home):
    directory = LabDirectory(home / "documents")
    lock = directory.acquire()
    (directory.path / "letter").touch()
    with purging(directory):
        os.close(lock)
    assert (directory.path / "letter").exists()
    assert "there is no lab" in run("down", "--purge", "--lab", "documents", status=3).stderr
    directory.purge(None)


@pytest.mark.parametrize("asked", [("--lab", "demo"), ("--all",)], ids=" ".join)
def test_purge_of_a_lab_that_another_one_removes_meanwhile_is_fine(home, monkeypatch, asked):
    make_plan(home)
    directory, down = LabDirectory(home / "demo"), module.down

    def late(*arguments, **more):
        directory.purge(None)
        return down(*arguments, **more)

    monkeypatch.setattr(module, "down", late)
    assert "there is no lab" in run("down", "--purge", *asked).output
