"""What another user of the machine can do to a running lab: nothing. And what an odd umask or directory can."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torturing.stranger import as_stranger

from etcdlab.lab import Lab
from etcdlab.model.status import ClusterVerdict
from tests import stranger
from tests.cli.command import PROGRAM, run, run_json

pytestmark = pytest.mark.etcd


@contextmanager
def opened(paths: list[Path], mode: int) -> Iterator[None]:
    """As if their owner had opened them to everybody."""
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path in paths:
        path.chmod(mode)
    try:
        yield
    finally:
        for path, was in before.items():
            path.chmod(was)


def open_to_everybody(paths: Iterable[Path]) -> set[str]:
    """Those that another user can read, write, list, add to or connect to."""
    return as_stranger(lambda: {path.name for path in paths if _is_open(str(path))})


def _is_open(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connecting:
        return any(
            _may(way)
            for way in (
                lambda: os.open(path, os.O_RDONLY),
                lambda: os.open(path, os.O_WRONLY),
                lambda: os.open(f"{path}/planted", os.O_WRONLY | os.O_CREAT),
                lambda: connecting.connect(path),
            )
        )


def _may(way: Callable[[], object]) -> bool:
    try:
        way()
    except OSError:
        return False
    return True


@stranger.needed
def test_another_user_finds_every_door_shut(shared_lab: Lab) -> None:
    lab = shared_lab.directory.path
    with opened([lab.parent], 0o755):
        if not open_to_everybody([lab.parent]):
            pytest.skip("the directory of the tests cannot be entered by other users")
        everything = [lab, *lab.rglob("*")]
        names = {path.name for path in everything}
        assert {"plan.json", "ca-key.pem", "control.sock", "events.jsonl", "daemon.log", "etcd.log", "db"} <= names
        assert open_to_everybody(everything) == set()


@stranger.needed
def test_and_every_file_shut_behind_the_door(shared_lab: Lab) -> None:
    """Its owner may have opened the directories: certificates alone are for everybody."""
    lab = shared_lab.directory.path
    directories = [path for path in (lab, *lab.rglob("*")) if path.is_dir()]
    with opened([lab.parent, *directories], 0o755):
        found = open_to_everybody(path for path in lab.rglob("*") if path not in directories)
    assert "ca.pem" in found
    assert [name for name in found if not name.endswith((".pem", ".csr", ".crl")) or name.endswith("-key.pem")] == []


@stranger.needed
def test_behind_an_open_socket_nobody_else_is_heard(shared_lab: Lab) -> None:
    path = shared_lab.plan.socket
    with socket.socket(socket.AF_UNIX) as connecting:
        with opened([Path(path).parents[1], Path(path).parent], 0o755), opened([Path(path)], 0o666):
            as_stranger(lambda: connecting.connect(path))
        connecting.settimeout(20)
        connecting.sendall(b"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        assert connecting.recv(100).startswith(b"HTTP/1.1 403 ")
    assert shared_lab.status().verdict is ClusterVerdict.HEALTHY


def modes(top: Path) -> dict[str, int]:
    """The modes of what is in a directory, by kind."""
    found: dict[str, int] = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        is_certificate = path.suffix in (".pem", ".csr", ".crl") and not path.name.endswith("-key.pem")
        kind = {stat.S_IFDIR: "directory", stat.S_IFSOCK: "socket"}.get(stat.S_IFMT(status.st_mode), "file")
        name = "certificate" if is_certificate else kind
        found[name] = found.get(name, 0) | stat.S_IMODE(status.st_mode)
    return found


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_lab_is_private_and_works_whatever_the_umask(home: Path, monkeypatch: pytest.MonkeyPatch, umask: int) -> None:
    labs = home / "state" / "labs"
    monkeypatch.setenv("ETCDLAB_HOME", str(labs))
    up = [PROGRAM, "up", "--nodes", "1", "--profile", "fast"]
    try:
        subprocess.run(up, umask=umask, capture_output=True, timeout=60, check=True)
        assert run_json("status")["verdict"] == "healthy"
        assert modes(home / "state") == {
            "directory": 0o700, "socket": 0o600, "file": 0o600, "certificate": 0o644 & ~umask,
        }  # fmt: skip
        assert run_json("check")["passed"]
    finally:
        run("down", "--purge", "--all")
    labs.rmdir()
    labs.parent.rmdir()
