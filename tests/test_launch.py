"""Starting a daemon that goes wrong, and ending what a dead one left. (One that goes right: test_daemon.py.)"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import LabStateError, TimedOutError
from etcdlab.interpreter import Interpreter
from etcdlab.launch import Daemon, end_members, living_members
from etcdlab.model.event import EventKind
from etcdlab.model.report import OwnerEnd
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord, identify
from tests.conftest import processes_of
from tests.plans import member_argv
from tests.test_daemon import pid_of


def test_a_plan_that_cannot_be_read_is_told_as_such(fake_lab):
    fake_lab.directory.plan.write_text("{")
    with fake_lab.daemon() as daemon, pytest.raises(LabStateError, match=r"plan\.json cannot be read"):
        fake_lab.boot(daemon)


def test_a_bug_is_told_with_its_last_words(fake_lab):
    Path(fake_lab.plan.nodes[0].log).mkdir()  # nobody expects that
    with fake_lab.daemon() as daemon, pytest.raises(LabStateError, match="the daemon died during boot") as caught:
        fake_lab.boot(daemon)
    assert "IsADirectoryError: " in caught.value.message  # once its last words were not waited for
    assert "bug" in caught.value.hint


@pytest.mark.parametrize("name", ["daemon.log", "events.jsonl", "control.sock"])
def test_a_directory_in_a_files_place_is_told_as_such(fake_lab, name):
    (fake_lab.directory.path / name).mkdir()
    with fake_lab.daemon() as daemon, pytest.raises(LabStateError, match=rf"{name}.* (cannot be|is taken)") as caught:
        fake_lab.boot(daemon)
    assert "bug" not in caught.value.hint


def test_one_that_is_killed_takes_its_members_along(make_lab, home):
    lab = make_lab("--never-healthy")
    with lab.daemon() as daemon:

        def on_event(event) -> None:
            if event.kind is EventKind.SPAWNED and event.node == "n2":  # said once the process is on record
                os.kill(pid_of(daemon), signal.SIGKILL)

        with pytest.raises(LabStateError, match="the daemon was killed during boot, by signal 9"):
            daemon.boot(boot_s=60, on_event=on_event)
    assert processes_of(home) == []


@pytest.mark.parametrize("moment", [None, EventKind.SPAWNED, EventKind.READY])
def test_leaving_it_with_an_error_leaves_no_process(fake_lab, home, moment):
    class Interrupted(BaseException):
        pass

    def on_event(event) -> None:
        if event.kind is moment:
            raise Interrupted

    def use() -> None:
        with fake_lab.daemon() as daemon:
            if moment is None:
                raise Interrupted
            daemon.boot(boot_s=60, on_event=on_event)

    with pytest.raises(Interrupted):
        use()
    assert processes_of(home) == []
    assert not fake_lab.directory.is_running()


def test_leaving_it_with_an_error_takes_nothing_from_who_makes_the_lab_next(home):
    """The daemon has discarded the draft by then, and the next one was waiting for that."""
    directory = LabDirectory(home / "next")
    lock = directory.acquire()
    starting = Daemon(Interpreter(), directory, lock, owner_end=OwnerEnd.STAY, is_draft=True)
    starting.__enter__()
    directory.purge(None)
    others = directory.acquire()
    (directory.path / "mine").touch()
    starting.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    os.close(lock)
    assert (directory.path / "mine").exists()
    directory.purge(None)
    os.close(others)


def test_a_hanging_one_is_given_up(fake_lab, monkeypatch):
    monkeypatch.setattr("etcdlab.launch.LAST_WORD_GRACE_S", 0.0)
    with fake_lab.daemon() as daemon:
        os.kill(pid_of(daemon), signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(TimedOutError, match="has not said"):
            fake_lab.boot(daemon, boot_s=0.1)
        assert time.monotonic() - began < 5
        os.kill(pid_of(daemon), signal.SIGCONT)


@pytest.fixture
def orphans(home):
    """A lab's directory and processes that its dead daemon left: one obeys SIGTERM, one does not, one is stopped."""
    directory = LabDirectory(home / "dead")
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    obeying = "import signal; print(flush=True); signal.pause()"
    processes = {}
    for name, code in (("n1", obeying), ("n2", ignoring), ("n3", obeying)):
        directory.node(name).mkdir(parents=True)
        process = subprocess.Popen(
            [sys.executable, "-Ic", code, *member_argv(directory.node(name))], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        ProcessRecord(identity=identify(process.pid), spawned_s=0, log_start=0).save(directory.node(name))
        processes[name] = process
    processes["n3"].send_signal(signal.SIGSTOP)
    yield directory, processes
    for process in processes.values():
        process.kill()
        process.communicate()
    directory.purge(None)


def test_living_members_are_those_whose_very_process_lives(orphans):
    directory, processes = orphans
    assert set(living_members(directory)) == {"n1", "n2", "n3"}
    processes["n1"].kill()
    processes["n1"].wait()
    (directory.node("n4")).mkdir()
    (directory.node("n4") / "process.json").write_text("{")
    assert set(living_members(directory)) == {"n2", "n3"}
    reused = msgspec.structs.replace(identify(processes["n2"].pid), start_time=1)
    ProcessRecord(identity=reused, spawned_s=0, log_start=0).save(directory.node("n2"))
    assert set(living_members(directory)) == {"n3"}
    assert end_members(directory, signal.SIGKILL, timeout_s=60) == ["n3"]
    assert processes["n2"].poll() is None
    assert living_members(LabDirectory(directory.path / "nothing")) == {}


def test_end_members_asks_and_then_insists(orphans):
    directory, processes = orphans
    assert end_members(directory, signal.SIGTERM, timeout_s=0.2) == ["n1", "n2", "n3"]
    codes = [process.wait() for process in processes.values()]
    assert codes == [-signal.SIGTERM, -signal.SIGKILL, -signal.SIGTERM]
    assert all(ProcessRecord.last(directory.node(name)).was_ended for name in processes)
    assert end_members(directory, signal.SIGTERM, timeout_s=0.2) == []


def test_end_members_at_once(orphans):
    directory, processes = orphans
    end_members(directory, signal.SIGKILL, timeout_s=60)
    assert [process.wait() for process in processes.values()] == [-signal.SIGKILL] * 3
