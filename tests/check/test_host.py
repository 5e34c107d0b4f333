"""File modes and listening addresses."""

import os
from typing import NamedTuple

import psutil
import pytest

from etcdlab.check.host import check_listeners, check_modes
from etcdlab.check.report import Aspect
from etcdlab.prepare import process
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord, identify
from tests.plans import make_plan


class Address(NamedTuple):
    ip: str
    port: int


class Socket(NamedTuple):
    status: str
    laddr: Address


@pytest.fixture
def made(tmp_path):
    """A lab that does not run, with its files as they should be."""
    plan = make_plan(tmp_path)
    directory = LabDirectory(tmp_path / "demo")
    for node in plan.nodes:
        for path in (directory.path / "nodes", directory.node(node.name), directory.node(node.name) / "data"):
            path.mkdir(mode=0o700, exist_ok=True)
    directory.pki.mkdir(mode=0o700)
    for name in ("client-key.pem", "ca-key.pem"):
        (directory.pki / name).touch(mode=0o600)
    (directory.path / "control.sock").touch(mode=0o600)
    return directory


def failures(directory) -> dict[Aspect, str]:
    checks = check_modes(directory, directory.load_plan())
    return {check.name: check.detail for check in checks if not check.passed}


def test_modes_as_they_are_made_pass(made):
    assert failures(made) == {}


@pytest.mark.parametrize(
    ("path", "mode", "aspect"),
    [
        ("pki/client-key.pem", 0o644, Aspect.KEY_MODES),
        ("pki/ca-key.pem", 0o640, Aspect.KEY_MODES),
        ("pki", 0o755, Aspect.DIRECTORY_MODES),
        (".", 0o750, Aspect.DIRECTORY_MODES),
        ("nodes/n2/data", 0o701, Aspect.DIRECTORY_MODES),
        ("control.sock", 0o666, Aspect.SOCKET_MODE),
    ],
)
def test_a_mode_too_open_fails_and_is_named(made, path, mode, aspect):
    (made.path / path).chmod(mode)
    assert failures(made) == {aspect: f"{made.path / path} has mode {mode:04o}, not {0o600 | mode & 0o100:04o}"}


def test_a_stricter_mode_passes(made):
    (made.pki / "client-key.pem").chmod(0o400)
    assert failures(made) == {}


def test_another_owner_fails(made, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: made.path.stat().st_uid + 1)
    assert set(failures(made)) == {Aspect.KEY_MODES, Aspect.DIRECTORY_MODES, Aspect.SOCKET_MODE}


def test_a_missing_socket_fails(made):
    (made.path / "control.sock").unlink()
    assert failures(made) == {
        Aspect.SOCKET_MODE: f"{made.path}/control.sock cannot be looked at: No such file or directory"
    }


def listeners(directory, monkeypatch, *sockets):
    """The checks when n1 is this process and has these sockets."""
    record = ProcessRecord(identity=identify(os.getpid()), spawned_s=0, log_start=0)
    record.save(directory.node("n1"))
    monkeypatch.setattr(process, "is_member", lambda pid, directory: pid == os.getpid())
    monkeypatch.setattr(psutil.Process, "net_connections", lambda self, kind: list(sockets))
    return {check.member: check for check in check_listeners(directory, directory.load_plan())}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_listening_on_loopback_passes(made, monkeypatch, host):
    found = listeners(made, monkeypatch, Socket(psutil.CONN_LISTEN, Address(host, 2379)))
    assert found["n1"].passed is True
    assert f"{host}:2379" in found["n1"].detail


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"])
def test_listening_beyond_loopback_fails_and_is_named(made, monkeypatch, host):
    sockets = [Socket(psutil.CONN_LISTEN, Address("127.0.0.1", 1)), Socket(psutil.CONN_LISTEN, Address(host, 2380))]
    found = listeners(made, monkeypatch, *sockets)["n1"]
    assert found.passed is False
    assert found.detail == f"it (pid {os.getpid()}) listens on {host}:2380, beyond loopback"


def test_connections_are_no_listeners(made, monkeypatch):
    found = listeners(made, monkeypatch, Socket(psutil.CONN_ESTABLISHED, Address("192.0.2.1", 2379)))
    assert found["n1"].passed is True


def test_what_does_not_run_or_cannot_be_looked_at_proves_nothing(made, monkeypatch):
    def denied(self, kind):
        raise psutil.AccessDenied(self.pid)

    found = listeners(made, monkeypatch)
    assert {name: check.passed for name, check in found.items()} == {"n1": True, "n2": None, "n3": None, None: None}
    monkeypatch.setattr(psutil.Process, "net_connections", denied)
    assert all(check.passed is None for check in check_listeners(made, made.load_plan()))
