"""A lab's directory: who holds it, that its files are whole and private, and which lab is meant."""

import contextlib
import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import LabStateError, NotRunningError, UsageError
from etcdlab.prepare import labdir
from etcdlab.prepare.labdir import LabDirectory, all_labs, choose, home
from tests.plans import make_plan

HOLD = """
import sys
from pathlib import Path
from etcdlab.prepare.labdir import LabDirectory
print(LabDirectory(Path(sys.argv[1])).acquire() is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def lab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labs live in `tmp_path`."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return tmp_path


@pytest.fixture
def directory(tmp_path: Path) -> LabDirectory:
    """A lab that was never made."""
    return LabDirectory(tmp_path / "demo")


@contextlib.contextmanager
def held_by_another_process(directory: LabDirectory) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        try:
            yield process
        finally:
            process.kill()


def acquired(directory: LabDirectory) -> int:
    lock = directory.acquire()
    assert lock is not None
    return lock


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Who holds it


def test_a_lab_is_running_while_its_lock_is_held(directory: LabDirectory) -> None:
    assert not directory.is_running()
    lock = acquired(directory)
    assert directory.is_running()
    assert directory.acquire() is None
    os.close(lock)
    assert not directory.is_running()
    os.close(acquired(directory))


def test_a_lock_is_another_processes_until_that_ends(directory: LabDirectory) -> None:
    with held_by_another_process(directory) as process:
        assert directory.is_running()
        assert directory.acquire() is None
        assert not directory.wait_released(0.01)
        process.kill()
        assert directory.wait_released(10)
    assert not directory.is_running()


def test_a_lock_lasts_as_long_as_a_copy_of_it(directory: LabDirectory) -> None:
    lock = acquired(directory)
    copy = os.dup(lock)
    os.close(lock)
    assert directory.is_running()
    os.close(copy)
    assert not directory.is_running()


def test_waiting_ends_when_the_lock_is_released(directory: LabDirectory) -> None:
    lock = acquired(directory)
    timer = threading.Timer(0.02, os.close, [lock])
    timer.start()
    assert directory.wait_released(10)
    timer.join()
    assert LabDirectory(directory.path.with_name("none")).wait_released(0)


def test_a_wait_that_was_given_up_keeps_nobody_out(directory: LabDirectory) -> None:
    lock = acquired(directory)
    before = set(threading.enumerate())
    assert not directory.wait_released(0.01)
    [waiter] = set(threading.enumerate()) - before
    os.close(lock)
    waiter.join(10)
    with directory.lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_who_only_looks_does_not_keep_others_out(directory: LabDirectory) -> None:
    """A looker shares the lock for a moment: a command that comes in that moment must get it all the same."""
    os.close(acquired(directory))
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            directory.is_running()

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            os.close(acquired(directory))
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_the_directory_and_the_lock_are_private(directory: LabDirectory) -> None:
    umask = os.umask(0)
    try:
        os.close(acquired(directory))
    finally:
        os.umask(umask)
    assert (mode(directory.path), mode(directory.lock)) == (0o700, 0o600)


def test_a_link_to_nowhere_is_not_tried_for_ever(directory: LabDirectory) -> None:
    directory.path.symlink_to("nowhere")
    with pytest.raises(LabStateError, match="cannot be made or written: File exists"):
        directory.acquire()


def test_a_home_that_cannot_be_used_is_an_error_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "file"))
    with pytest.raises(LabStateError, match="cannot be made or written: Not a directory") as caught:
        LabDirectory.named("demo").acquire()
    assert "ETCDLAB_HOME" in caught.value.hint
    assert list(all_labs()) == []
    with pytest.raises(NotRunningError):
        LabDirectory.named("demo").load_plan()


def test_a_release_is_waited_for_though_the_lock_was_taken_away(directory):
    """A daemon that purges moves the directory away, and holds its lock until it has removed everything."""
    directory.path.mkdir(parents=True)
    with held_by_another_process(directory) as process, directory.watch_release() as wait:
        directory.lock.unlink()
        assert directory.wait_released(0)
        assert not wait(0.05)
        process.kill()
        assert wait(30)


# Purging


def test_purge_removes_all_that_a_lab_made_and_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "n1" / "member").mkdir(parents=True)
    (elsewhere / "n2" / "member").mkdir(parents=True)
    (elsewhere / "n2" / "own-file").touch()
    control = tmp_path / "runtime.sock"
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(control))
    plan = make_plan(tmp_path, nodes=2)
    nodes = tuple(msgspec.structs.replace(node, data_dir=str(elsewhere / node.name)) for node in plan.nodes)
    plan = msgspec.structs.replace(plan, nodes=nodes, socket=str(control))
    directory = LabDirectory(tmp_path / "demo")
    (directory.node("n1") / "data").mkdir(parents=True)
    lock = acquired(directory)
    directory.purge(plan)
    os.close(lock)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "elsewhere", "elsewhere/n2", "elsewhere/n2/own-file",
    ]  # fmt: skip


def test_purge_of_what_is_gone_already_is_no_error(directory: LabDirectory) -> None:
    directory.purge(None)
    assert not directory.path.exists()


def test_a_lock_on_a_purged_directory_is_not_taken_for_the_lab(
    directory: LabDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process opens the lock, waits its turn, and by then the directory is gone."""
    os.close(acquired(directory))
    flock, calls = labdir.fcntl.flock, []

    def purge_before_locking(descriptor: int, operation: int) -> None:
        if not calls:
            directory.purge(None)
        calls.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(labdir.fcntl, "flock", purge_before_locking)
    lock = acquired(directory)
    assert len(calls) == 2
    assert os.path.samestat(os.fstat(lock), directory.lock.stat())
    os.close(lock)


def test_a_purge_takes_nothing_from_who_makes_the_lab_next(directory: LabDirectory) -> None:
    """Who waits for the lab gets it in the midst of a purge of many files, and writes where the old ones were."""
    locks: list[int] = []

    def make() -> None:
        while (lock := directory.acquire()) is None:
            pass
        locks.append(lock)
        (directory.path / "nodes").mkdir(exist_ok=True)
        (directory.path / "nodes" / "mine").touch()

    locks.append(acquired(directory))
    for _ in range(20):
        for number in range(50):
            (directory.path / "nodes" / f"{number}").mkdir(parents=True)
            (directory.path / f"{number}").touch()
        maker = threading.Thread(target=make)
        maker.start()
        directory.purge(None)
        os.close(locks.pop(0))
        maker.join()
        assert [path.name for path in (directory.path / "nodes").iterdir()] == ["mine"]
        assert os.path.samestat(os.fstat(locks[0]), directory.lock.stat())
        (directory.path / "nodes" / "mine").unlink()
    os.close(locks[0])


# The plan


def test_a_plan_is_saved_and_loaded(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    assert directory.load_plan() == plan
    assert mode(directory.plan) == 0o600


def test_a_file_where_the_socket_was_planned_is_not_removed_with_the_lab(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.touch()
    directory = LabDirectory(tmp_path / "demo")
    directory.purge(msgspec.structs.replace(make_plan(tmp_path), socket=str(mine)))
    assert mine.exists()
    assert not directory.path.exists()


@pytest.mark.parametrize("damage", ["directory", "unreadable"])
def test_a_lock_that_cannot_be_opened_is_told_and_hides_no_other_lab(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    if damage == "directory":
        directory.lock.mkdir()
    else:
        directory.lock.touch()
        opened = os.open

        def refuse(path: Path, *more: int) -> int:  # as the kernel does for everyone but root
            if path == directory.lock:
                raise PermissionError(13, "Permission denied")
            return opened(path, *more)

        monkeypatch.setattr(labdir.os, "open", refuse)
        with pytest.raises(LabStateError, match=r"lab\.lock, which keeps a lab to one daemon, cannot be opened"):
            directory.is_running()
        assert choose(None).name == "demo"
    with pytest.raises(LabStateError, match=r"lab\.lock, which keeps a lab to one daemon, cannot be opened"):
        directory.acquire()


def test_a_lock_is_not_made_for_a_lab_that_is_gone(directory: LabDirectory) -> None:
    assert directory.acquire(make=False) is None
    assert not directory.path.exists()
    directory.path.mkdir()
    lock = directory.acquire(make=False)
    assert lock is not None
    os.close(lock)


# Which lab


def test_home_is_the_environments_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETCDLAB_HOME", "labs")
    assert home() == tmp_path / "labs"
    monkeypatch.delenv("ETCDLAB_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert home() == tmp_path / "etcdlab" or sys.platform == "darwin"


def test_there_is_no_lab(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="there is no lab"):
        choose(None)
    with pytest.raises(NotRunningError, match="there is no lab 'x'"):
        choose("x")
    (tmp_path / "not-a-lab").mkdir()
    (tmp_path / "file").touch()
    assert list(all_labs()) == []


def test_the_only_lab_is_meant(tmp_path: Path) -> None:
    make_plan(tmp_path, lab="one")
    assert choose(None).name == "one"


def test_a_lab_is_named_by_option_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for lab in ("one", "two"):
        make_plan(tmp_path, lab=lab)
    monkeypatch.setenv("ETCDLAB_LAB", "two")
    assert choose(None).name == "two"
    assert choose("one").name == "one"
    with pytest.raises(NotRunningError) as caught:
        choose("three")
    assert caught.value.hint == "Labs here: one, two."
    monkeypatch.setenv("ETCDLAB_LAB", "")
    with pytest.raises(UsageError):
        choose(None)


def test_of_several_labs_the_running_one_is_meant(tmp_path: Path) -> None:
    for lab in ("one", "two", "three"):
        make_plan(tmp_path, lab=lab)
    with pytest.raises(UsageError, match="several labs: one, three, two") as caught:
        choose(None)
    assert "`--lab NAME` or ETCDLAB_LAB" in caught.value.hint
    two, three = (acquired(LabDirectory.named(lab)) for lab in ("two", "three"))
    with pytest.raises(UsageError, match="several labs: three, two"):
        choose(None)
    os.close(three)
    assert choose(None).name == "two"
    os.close(two)


# Places that others can write


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_lab_and_what_is_above_it_are_private_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "state" / "etcdlab"))
    before = os.umask(umask)
    try:
        os.close(acquired(LabDirectory.named("demo")))
    finally:
        os.umask(before)
    made = [tmp_path / "state", home(), home() / "demo"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * 3
    assert stat.S_IMODE((home() / "demo" / "lab.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("exposed", ["", "demo"])
def test_a_lab_is_neither_made_nor_used_where_others_can_put_theirs(tmp_path: Path, exposed: str) -> None:
    make_plan(tmp_path)
    (tmp_path / exposed).chmod(0o777)
    lab = LabDirectory(tmp_path / "demo")
    for use in (lab.acquire, lab.load_plan, lab.was_moved):
        with pytest.raises(LabStateError, match="can be written by everybody") as refused:
            use()
        assert "ETCDLAB_HOME" in refused.value.hint
    assert not lab.lock.exists()


def test_a_lab_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plan(tmp_path)
    monkeypatch.setattr("etcdlab.ownership.is_trusted", lambda _: False)
    lab = LabDirectory(tmp_path / "demo")
    for use in (lab.acquire, lab.load_plan):
        with pytest.raises(LabStateError, match=f"belongs to user {os.geteuid()}"):
            use()


def test_labs_may_be_in_a_directory_as_tmp(tmp_path: Path) -> None:
    make_plan(tmp_path)
    tmp_path.chmod(0o1777)
    lab = LabDirectory(tmp_path / "demo")
    os.close(acquired(lab))
    assert lab.load_plan().lab == "demo"


def test_a_lock_that_is_a_pipe_is_not_waited_for(directory: LabDirectory) -> None:
    directory.path.mkdir()
    os.mkfifo(directory.lock)
    assert not directory.is_running()
