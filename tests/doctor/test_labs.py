"""Leftovers that were made up, and one real lab whose daemon was killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from etcdlab.doctor import labs
from etcdlab.doctor.finding import Level, Topic, treat
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord, identify, is_alive
from etcdlab.prepare.title import lab_of
from etcdlab.up import Request, Watcher, up
from tests.plans import make_plan, member_argv

SLEEP = "import sys, time; print(flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def process():
    """Starts processes that do nothing, under command lines of one's choice, and ends them."""
    started = []

    def start(*argv: str, argv0: str = sys.executable) -> subprocess.Popen:
        child = subprocess.Popen(
            [argv0, "-c", SLEEP, *argv] if argv0 == sys.executable else [argv0, *argv],
            executable=sys.executable,
            stdout=subprocess.PIPE,
        )
        started.append(child)
        assert child.stdout.readline() == b"\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def wrong(home):
    return [finding for finding in labs.examine(home) if finding.level is not Level.GOOD]


def fix(finding):
    return treat(finding, fix=True)


def test_no_home_has_nothing(home):
    assert list(labs.examine(home / "nowhere")) == []


def test_what_is_no_lab_is_left_alone(home):
    (home / "notes").mkdir()
    (home / "notes" / "plan.txt").touch()
    (home / "file").touch()
    assert list(labs.examine(home)) == []


def test_a_stopped_lab_is_good(home):
    make_plan(home)
    (found,) = labs.examine(home)
    assert (found.level, found.what) == (Level.GOOD, "is stopped: `etcdlab up --name demo`")


def test_a_running_lab_is_left_alone(home):
    plan = make_plan(home)
    for node in plan.nodes:
        Path(node.data_dir).mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as control:
        control.bind(plan.socket)
        (home / "demo" / ".plan.json.x").touch()
        lock = LabDirectory(home / "demo").acquire()
        try:
            (found,) = labs.examine(home)
        finally:
            os.close(lock)
    assert (found.level, found.what, found.repair) == (Level.GOOD, "runs, with 0 of 3 members", None)


def test_an_unreadable_plan_is_wrong_and_left_alone(home):
    make_plan(home)
    (home / "demo" / "plan.json").write_text("{")
    (found,) = wrong(home)
    assert "cannot be read" in found.what
    assert "etcdlab down --purge --lab demo" in found.remedy
    assert found.repair is None


def test_what_is_removed_meanwhile_is_nothing(home, monkeypatch):
    monkeypatch.setattr(LabDirectory, "exists", lambda self: True)
    monkeypatch.setattr(labs, "entries", lambda home: [home / "gone", home / ".purged-gone"])
    assert list(labs.examine(home)) == []


def test_a_half_made_lab_is_removed(home):
    directory = LabDirectory(home / "half")
    os.close(directory.acquire())
    directory.pki.mkdir()
    (directory.pki / "ca.pem").touch()
    (found,) = wrong(home)
    assert (found.where, found.what) == (str(directory.path), "is half-made: it has no plan, and nobody makes it")
    assert fix(found).fixed
    assert list(home.iterdir()) == []
    assert fix(found).words == "it is gone already"
    assert list(home.iterdir()) == []


def test_a_lab_that_is_being_made_is_left_alone(home):
    directory = LabDirectory(home / "half")
    os.close(directory.acquire())
    (found,) = wrong(home)
    lock = directory.acquire()
    try:
        assert wrong(home) == []
        treatment = fix(found)
    finally:
        os.close(lock)
    assert not treatment.fixed
    assert treatment.is_wrong
    assert treatment.words == "could not be fixed: lab 'half' runs by now"
    assert directory.path.exists()


def test_a_lab_that_was_made_meanwhile_is_left_alone(home):
    directory = LabDirectory(home / "demo")
    os.close(directory.acquire())
    (found,) = wrong(home)
    directory.lock.unlink()
    directory.path.rmdir()
    make_plan(home)
    assert fix(found).words == "could not be fixed: it has become a lab meanwhile"
    assert directory.exists()


def test_data_without_a_plan_is_told_and_left_alone(home):
    directory = LabDirectory(home / "half")
    os.close(directory.acquire())
    (directory.node("n1") / "data" / "member").mkdir(parents=True)
    (found,) = wrong(home)
    assert (found.what, found.repair) == ("has data of members but no plan", None)


def test_stale_files_are_removed_and_no_others(home):
    plan = make_plan(home)
    with closing(socket.socket(socket.AF_UNIX)) as control:
        control.bind(plan.socket)
    node = home / "demo" / "nodes" / "n1"
    node.mkdir(parents=True)
    stale = [home / "demo" / ".plan.json.ab12", node / ".process.json.cd34"]
    kept = [home / "demo" / "plan.json", node / "etcd.log", home / "demo" / ".mine"]
    for path in (*stale, kept[1], kept[2]):
        path.touch()
    found = wrong(home)
    assert [Path(one.where) for one in found] == [Path(plan.socket), *stale]
    assert all(fix(one).fixed for one in found)
    assert not any(path.exists() for path in (Path(plan.socket), *stale))
    assert all(path.exists() for path in kept)
    assert wrong(home) == []


def test_what_an_interrupted_purge_left_is_removed(home):
    purged = home / ".purged-x1"
    (purged / "demo" / "nodes").mkdir(parents=True)
    (found,) = wrong(home)
    assert found.where == str(purged)
    assert fix(found).fixed
    assert list(home.iterdir()) == []


def test_a_purge_that_goes_on_is_left_alone(home):
    (home / ".purged-new").mkdir()
    lock = LabDirectory(home / ".purged-busy" / "demo").acquire()
    try:
        assert wrong(home) == []
    finally:
        os.close(lock)
    an_hour_ago = time.time() - 3600
    os.utime(home / ".purged-new", (an_hour_ago, an_hour_ago))
    assert [found.where for found in wrong(home)] == [str(home / ".purged-busy"), str(home / ".purged-new")]


def test_a_port_that_a_stopped_lab_wants_names_its_holder(home):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        make_plan(home, nodes=1, client_ports=[port])
        (found,) = wrong(home)
    assert (found.topic, found.where, found.repair) == (Topic.PORTS, f"127.0.0.1:{port}", None)
    assert f"(pid {os.getpid()})" in found.what
    assert "n1 of lab demo" in found.what


def record(child: subprocess.Popen, node: Path, *, start_time: int | None = None) -> None:
    identity = identify(child.pid)
    if start_time is not None:
        identity = type(identity)(pid=child.pid, start_time=start_time, boot=identity.boot)
    node.mkdir(parents=True)
    ProcessRecord(identity=identity, spawned_s=0, log_start=0).save(node)


def test_orphans_are_ended_by_their_record(home, process):
    make_plan(home)
    member, reused, bystander = process(*member_argv(home / "demo" / "nodes" / "n1")), process(), process()
    record(member, home / "demo" / "nodes" / "n1")
    record(reused, home / "demo" / "nodes" / "n2", start_time=1)
    (found,) = wrong(home)
    assert found.what == f"its daemon is gone, and these members still run: n1 (pid {member.pid})"
    assert "etcdlab up --name demo" in found.remedy
    assert fix(found).words == "ended n1"
    assert member.wait() == -signal.SIGTERM
    assert reused.poll() is None, "its pid was recorded, with another start time"
    assert bystander.poll() is None
    assert fix(found).words == "they have ended by themselves"


def test_orphans_are_spared_when_a_daemon_has_them_by_now(home, process):
    make_plan(home)
    member = process(*member_argv(home / "demo" / "nodes" / "n1"))
    record(member, home / "demo" / "nodes" / "n1")
    (found,) = wrong(home)
    lock = LabDirectory(home / "demo").acquire()
    try:
        assert fix(found).words == "could not be fixed: lab 'demo' runs by now"
    finally:
        os.close(lock)
    assert member.poll() is None


def test_orphans_of_a_lab_whose_plan_is_lost_are_found_too(home, process):
    make_plan(home)
    record(process(*member_argv(home / "demo" / "nodes" / "n1")), home / "demo" / "nodes" / "n1")
    (home / "demo" / "plan.json").write_text("{")
    unreadable, orphans = wrong(home)
    assert "cannot be read" in unreadable.what
    assert "n1" in orphans.what
    assert "etcdlab up" not in orphans.remedy


def test_an_etcd_without_a_record_is_told_and_left_alone(home, process):
    stray = process(*member_argv(home / "gone" / "nodes" / "n1"))
    process(*member_argv(home.parent / "elsewhere"))
    process(f"--data-dir={home / 'gone'}", "snapshot", "status")
    (found,) = wrong(home)
    assert (found.topic, found.where, found.repair) == (Topic.PROCESS, f"pid {stray.pid}", None)
    assert f"kill {stray.pid}" in found.remedy


def test_a_recorded_etcd_is_no_stray(home, process):
    make_plan(home)
    member = process(*member_argv(home / "demo" / "nodes" / "n1"))
    record(member, home / "demo" / "nodes" / "n1")
    assert [found.topic for found in wrong(home)] == [Topic.LAB]


def test_a_lock_that_is_none_is_told(home):
    make_plan(home)
    directory = LabDirectory(home / "demo")
    directory.lock.symlink_to(directory.lock)
    (found,) = wrong(home)
    assert "lab.lock, which keeps a lab to one daemon, cannot be opened" in found.what
    assert found.repair is None


def test_a_running_lab_whose_members_data_is_gone_is_told(home):
    plan = make_plan(home)
    directory = LabDirectory(home / "demo")
    for node in (plan.nodes[0], plan.nodes[2]):
        Path(node.data_dir).mkdir(parents=True)
    lock = directory.acquire()
    try:
        (found,) = wrong(home)
    finally:
        os.close(lock)
    assert (found.where, found.repair) == (plan.nodes[1].data_dir, None)
    assert "is gone: if n2 runs" in found.what


@pytest.fixture
def running(home):
    """A real lab, and its daemon's process."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    topology = Topology(name="real", nodes=1, etcd=EtcdTable(profile=Profile.FAST))
    request = Request(topology=topology, base=home, explicit=False)
    started = up(request, Watcher(on_event=lambda _: None, on_install=lambda _: None))
    yield started
    Lab(started.directory).down(purge=True)
    started.daemon.wait()


def daemon_of(directory) -> psutil.Process:
    children = [(child, lab_of(child.cmdline())) for child in psutil.Process().children()]
    (found,) = [child for child, lab in children if lab is not None and lab.path == directory.path]
    return found


@pytest.mark.etcd
def test_a_real_lab_from_its_life_to_the_end_of_its_orphans(home, running):
    directory = running.directory
    (found,) = labs.examine(home)
    assert (found.level, found.what) == (Level.GOOD, "runs, with 1 of 1 members")
    daemon = daemon_of(directory)
    daemon.kill()
    running.daemon.wait()
    (member,) = living_members(directory).values()
    orphans, control = wrong(home)
    assert f"n1 (pid {member.identity.pid})" in orphans.what
    assert control.where == directory.load_plan().socket
    assert fix(orphans).words == "ended n1"
    assert fix(control).fixed
    assert not is_alive(member.identity)
    (found,) = labs.examine(home)
    assert found.what == "is stopped: `etcdlab up --name real`"


@pytest.mark.etcd
def test_a_daemon_and_members_whose_directory_was_taken_away_are_strays(home, running, tmp_path_factory):
    directory = running.directory
    daemon, members = daemon_of(directory), living_members(directory)
    away = tmp_path_factory.mktemp("away") / "lab"
    daemon.suspend()  # else it notices, and ends with its members
    directory.path.rename(away)
    try:
        found = {one.where: one for one in wrong(home)}
    finally:
        away.rename(directory.path)
        daemon.resume()
    assert set(found) == {f"pid {pid}" for pid in (daemon.pid, *(one.identity.pid for one in members.values()))}
    assert "is a daemon" in found[f"pid {daemon.pid}"].what
    assert all(one.repair is None for one in found.values())
