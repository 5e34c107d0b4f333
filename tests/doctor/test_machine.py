"""The machine, as it is and as it is not."""

import os
import resource
import shutil
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from etcdlab.doctor import machine
from etcdlab.doctor.finding import Level, Topic
from etcdlab.errors import BinaryError, LabStateError
from etcdlab.etcd.binaries import Binary, Origin
from etcdlab.prepare import ports
from tests.plans import make_plan


class Partition(NamedTuple):
    mountpoint: str
    fstype: str


class Usage(NamedTuple):
    free: int


@pytest.fixture(autouse=True)
def etcd(monkeypatch):
    """An etcd that is there."""
    binary = Binary(
        etcd="/opt/etcd", version="3.5.16", etcdctl="/opt/etcdctl", etcdutl=None, origin=Origin.PATH, warnings=()
    )
    monkeypatch.setattr(machine, "find", lambda *, path, version: binary)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    return tmp_path


def look(home, topic):
    return [finding for finding in machine.examine(home) if finding.topic is topic]


def test_this_machine_can_be_looked_at_and_nothing_is_made(home):
    findings = list(machine.examine(home / "not" / "yet"))
    assert {finding.topic for finding in findings} == set(Topic) - {Topic.LAB, Topic.PROCESS}
    assert all(finding.remedy for finding in findings if finding.level is not Level.GOOD)
    assert list(home.iterdir()) == []


def test_etcd_and_its_tool(home):
    assert [(found.where, found.what) for found in look(home, Topic.ETCD)] == [
        ("/opt/etcd", "etcd 3.5.16, on PATH"),
        ("/opt/etcdctl", "etcdctl"),
    ]


def test_no_etcd_is_a_warning_since_up_installs_one(home, monkeypatch):
    def find(*, path, version):
        raise BinaryError("no usable etcd was found", hint="Install one.")

    monkeypatch.setattr(machine, "find", find)
    (found,) = look(home, Topic.ETCD)
    assert (found.level, found.what) == (Level.WARNING, "no usable etcd was found")
    assert found.remedy == "`etcdlab up` installs one when it needs it. Install one."


def test_what_is_wrong_with_an_etcd_is_told(home, monkeypatch):
    old = Binary(etcd="/e", version="3.4.0", etcdctl=None, etcdutl=None, origin=Origin.CACHE, warnings=("it is old",))
    monkeypatch.setattr(machine, "find", lambda *, path, version: old)
    good, *warnings = look(home, Topic.ETCD)
    assert good.what == "etcd 3.4.0, in etcdlab's cache"
    assert [found.what for found in warnings] == ["it is old", "there is no etcdctl: `etcdlab ctl` will not work"]
    assert all(found.level is Level.WARNING for found in warnings)


@pytest.mark.parametrize(
    ("used", "ephemeral", "level"),
    [(3, 32768, Level.GOOD), (12700, 32768, Level.WRONG), (0, 15000, Level.WARNING), (950, 15000, Level.WRONG)],
)
def test_ports(home, monkeypatch, used, ephemeral, level):
    address, end = namedtuple("address", "ip port"), namedtuple("end", "laddr")  # noqa: PYI024
    sockets = [end(address("127.0.0.1", ports.LOWEST + number)) for number in range(used)]
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [*sockets, end(()), end(address("::1", 80))])
    monkeypatch.setattr(machine, "ephemeral_start", lambda: ephemeral)
    (found,) = look(home, Topic.PORTS)
    size = max(ephemeral, ports.LOWEST + 1000) - ports.LOWEST
    assert found.level is level
    assert found.what.startswith(f"{size - used} of {size} ports are free")


def test_ports_that_cannot_be_looked_at(home, monkeypatch):
    def denied(kind):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert look(home, Topic.PORTS)[0].level is Level.GOOD


@pytest.mark.parametrize(
    ("soft", "hard", "level", "remedy"),
    [
        (1024, 4096, Level.GOOD, ""),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, Level.GOOD, ""),
        (256, 4096, Level.WARNING, "`ulimit -n 1024` before `etcdlab up`."),
        (256, 512, Level.WARNING, "`ulimit -n 1024` before `etcdlab up`; the hard limit is 512."),
    ],
)
def test_open_files(home, monkeypatch, soft, hard, level, remedy):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    (found,) = [found for found in look(home, Topic.LIMITS) if found.where == "RLIMIT_NOFILE"]
    assert (found.level, found.remedy) == (level, remedy)


def test_inotify_is_tried(home, monkeypatch):
    inotify_simple = pytest.importorskip("inotify_simple")

    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify_simple, "INotify", none_left)
    (found,) = [found for found in look(home, Topic.LIMITS) if found.where == "inotify"]
    assert found.level is Level.WARNING
    assert "Too many open files" in found.what


@pytest.mark.parametrize(
    ("free", "kind", "level"),
    [
        (2 * 2**30, "ext4", Level.GOOD),
        (2**30 - 1, "ext4", Level.WARNING),
        (2 * 2**30, "nfs4", Level.WARNING),
        (2 * 2**30, "", Level.GOOD),
    ],
)
def test_disk(home, monkeypatch, free, kind, level):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))
    mounted = [Partition("/", "elsewhere"), Partition(str(home.resolve()), kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounted)
    (found,) = look(home / "deeper", Topic.DISK)
    assert found.level is level
    assert found.what.startswith(f"{free / 2**30:.1f} GiB free")
    assert kind in found.what
    assert "elsewhere" not in found.what


def test_a_home_that_cannot_be_written_is_wrong(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = look(home, Topic.DISK)[0]
    assert (found.level, found.what) == (Level.WRONG, f"{home} cannot be written")


def test_where_sockets_go(home, monkeypatch):
    monkeypatch.setattr(machine, "runtime_directory", lambda: Path("/run/x"))
    short, long = Path("/h"), Path("/" + "h" * 99)
    # 100 bytes: "/h/" + 84 + "/control.sock"
    assert "names of 84 bytes; others go elsewhere, to /run/x" in look(short, Topic.SOCKET)[0].what
    assert look(long, Topic.SOCKET)[0].what == "the path is too long for control sockets: they go elsewhere, to /run/x"


def test_a_place_for_sockets_that_somebody_took_is_wrong(home, monkeypatch):
    def taken():
        raise LabStateError("somebody has it", hint="Remove it.")

    monkeypatch.setattr(machine, "runtime_directory", taken)
    (found,) = look(home, Topic.SOCKET)
    assert (found.level, found.remedy) == (Level.WRONG, "Remove it.")


def test_a_clock_that_was_set_back(home, monkeypatch):
    plan = make_plan(home)
    assert look(home, Topic.CLOCK)[0].level is Level.GOOD
    made = (Path(plan.directory) / "plan.json").stat().st_mtime
    monkeypatch.setattr(machine.time, "time", lambda: made - 3600)
    (found,) = look(home, Topic.CLOCK)
    assert found.level is Level.WARNING
    assert "lab demo was made 3600 s later" in found.what
    monkeypatch.setattr(machine.time, "time", lambda: 0.0)
    (found,) = look(home, Topic.CLOCK)
    assert found.level is Level.WRONG
    assert "1970-01-01" in found.what
