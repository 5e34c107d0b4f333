"""A lab's directory: who holds it, that its files are whole and private, and which lab is meant."""

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import LabStateError, NotRunningError, UsageError
from etcdlab.model.plan import PLAN_VERSION
from etcdlab.prepare import labdir
from etcdlab.prepare.labdir import LabDirectory, all_labs, choose, home, is_private, replace_file, runtime_directory
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
    with pytest.raises(LabStateError, match="cannot be made: File exists"):
        directory.acquire()


def test_a_home_that_cannot_be_used_is_an_error_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "file"))
    with pytest.raises(LabStateError, match="cannot be made: Not a directory") as caught:
        LabDirectory.named("demo").acquire()
    assert "ETCDLAB_HOME" in caught.value.hint
    assert list(all_labs()) == []
    with pytest.raises(NotRunningError):
        LabDirectory.named("demo").load_plan()


# Purging


def test_purge_removes_all_that_a_lab_made_and_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "n1" / "member").mkdir(parents=True)
    (elsewhere / "n2" / "member").mkdir(parents=True)
    (elsewhere / "n2" / "own-file").touch()
    socket = tmp_path / "runtime.sock"
    socket.touch()
    plan = make_plan(tmp_path, nodes=2)
    nodes = tuple(msgspec.structs.replace(node, data_dir=str(elsewhere / node.name)) for node in plan.nodes)
    plan = msgspec.structs.replace(plan, nodes=nodes, socket=str(socket))
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


# Files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_replaced_file_is_private_from_the_start(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        replace_file(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    replace_file(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(40):
            replace_file(path, contents[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_a_plan_is_saved_and_loaded(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    assert directory.load_plan() == plan
    assert mode(directory.plan) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}', b"\xff\xfe", b'{"lab":7}'])
def test_a_plan_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    directory.plan.write_bytes(content)
    with pytest.raises(LabStateError, match=r"plan\.json cannot be read") as caught:
        directory.load_plan()
    assert "etcdlab down --purge --lab demo" in caught.value.hint


def test_a_plan_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "demo" / "plan.json").mkdir(parents=True)
    with pytest.raises(LabStateError, match="cannot be read: Is a directory"):
        LabDirectory(tmp_path / "demo").load_plan()


def test_a_plan_of_another_etcdlab(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    directory.save_plan(msgspec.structs.replace(plan, version=PLAN_VERSION + 1))
    with pytest.raises(LabStateError, match=f"has version {PLAN_VERSION + 1}; this etcdlab reads version"):
        directory.load_plan()


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


# The runtime directory


@pytest.fixture
def no_user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runtime directory of the system's; what replaces /tmp."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(labdir, "TEMPORARY", temporary)
    private = is_private
    monkeypatch.setattr(labdir, "is_private", lambda path: not str(path).startswith("/run/user/") and private(path))
    return temporary


def test_the_runtime_directory_is_the_users_own(no_user_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = no_user_directory / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(labdir, "SOCKET_PATH_LIMIT", 1000)
    assert runtime_directory() == runtime / "etcdlab"
    monkeypatch.setattr(labdir, "SOCKET_PATH_LIMIT", len(str(runtime)))
    assert runtime_directory() == no_user_directory / f"etcdlab-{os.geteuid()}", "too long a path"


@pytest.mark.parametrize("given", [None, "", "missing", "file", "open", "link", "unusable"])
def test_one_that_will_not_do_is_passed_over(
    given: str | None, no_user_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = no_user_directory
    (base / "file").touch(mode=0o600)
    (base / "open").mkdir()
    (base / "open").chmod(0o755)
    (base / "private").mkdir(mode=0o700)
    (base / "link").symlink_to(base / "private")
    (base / "unusable").mkdir(mode=0o700)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, wanted: Path(path).name != "unusable" and access(path, wanted))
    monkeypatch.setattr(labdir, "SOCKET_PATH_LIMIT", 1000)
    if given is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / given) if given else "")
    assert runtime_directory() == base / f"etcdlab-{os.geteuid()}"


def test_a_place_that_somebody_else_has_taken_is_refused(no_user_directory: Path) -> None:
    place = no_user_directory / f"etcdlab-{os.geteuid()}"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(LabStateError, match="not a directory of this user's alone"):
        runtime_directory()
    place.chmod(0o700)
    assert runtime_directory() == place
    place.rmdir()
    place.symlink_to(no_user_directory)
    with pytest.raises(LabStateError):
        runtime_directory()


def test_another_users_directory_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert is_private(tmp_path)
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    assert not is_private(tmp_path)


def test_a_release_is_waited_for_though_the_lock_was_taken_away(directory):
    """A daemon that purges moves the directory away, and holds its lock until it has removed everything."""
    directory.path.mkdir(parents=True)
    with held_by_another_process(directory) as process, directory.watch_release() as wait:
        directory.lock.unlink()
        assert directory.wait_released(0)
        assert not wait(0.05)
        process.kill()
        assert wait(30)
