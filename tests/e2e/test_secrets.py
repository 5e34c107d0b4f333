"""No key and no password in anything that is shown, logged, kept for others or told to another process."""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from etcdlab.cli.main import etcdlab
from etcdlab.errors import ExitStatus
from etcdlab.lab import Lab
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.pytest_plugin import bundle
from tests.conftest import processes_of
from tests.e2e.labs import running

pytestmark = pytest.mark.etcd
PASSWORD = "correct-horse-battery"
VERBS = [
    "status", "ls", "plan", "events", "logs", "logs --raw -n 100000", "env", "export kubernetes", "export kubeadm",
    "export env", "check", "doctor", "pki show --lab secrets", "stop n3", "start n3", "pause n3", "resume n3",
    "kill n3", "reset",
]  # fmt: skip


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where an etcdctl in place of the real one writes its arguments and environment."""
    return tmp_path / "told"


@pytest.fixture
def lab(home: Path, tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab of three whose etcdctl tells what it is told, with a directory of its own for what is temporary."""
    programs = tmp_path / "bin"
    (tmp_path / "tmp").mkdir()
    programs.mkdir()
    (programs / "etcd").symlink_to(str(shutil.which("etcd")))
    etcdctl = programs / "etcdctl"
    etcdctl.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; }} >>{shlex.quote(str(told))}\nexec {shutil.which("etcdctl")} "$@"\n'
    )
    etcdctl.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    topology = Topology(
        name="secrets",
        nodes=3,
        etcd=EtcdTable(profile=Profile.FAST, path=str(programs / "etcd")),
    )
    with running(topology) as (lab, _):
        yield lab


def turn_auth_on(lab: Lab) -> None:
    """With a password that etcdctl reads from its standard input."""
    etcdctl = [str(shutil.which("etcdctl")), "user", "add", "root", "--interactive=false"]
    subprocess.run(
        etcdctl, env=os.environ | lab.env(), input=PASSWORD, text=True, capture_output=True, timeout=30, check=True
    )
    lab.etcdctl("user", "grant-role", "root", "root")
    lab.etcdctl("auth", "enable")


def said(verb: str, *more: str) -> str:
    """All that a verb prints."""
    done = CliRunner().invoke(etcdlab, [*shlex.split(verb), *more])
    assert done.exit_code in (ExitStatus.DONE, ExitStatus.FAILED, ExitStatus.DEGRADED), (verb, done.output)
    return done.output


def unpacked(archive: Path) -> bytes:
    with tarfile.open(archive) as members:
        return b"".join(file.read() for member in members if (file := members.extractfile(member)))


def test_no_secret_gets_out(lab: Lab, home: Path, tmp_path: Path, told: Path) -> None:
    secrets = {PASSWORD.encode()}
    for key in lab.directory.pki.glob("*-key.pem"):
        lines = key.read_bytes().splitlines()
        assert b"PRIVATE KEY" in lines[0]
        secrets |= {line for line in lines[1:-1] if len(line) > 20}
    turn_auth_on(lab)
    arguments = [argument for process in processes_of(home) for argument in process.cmdline()]
    shown = {"arguments": "\n".join(arguments).encode()}
    for verb in VERBS:
        shown[verb] = said(verb).encode()
        if verb == "reset":
            turn_auth_on(lab)
        shown[f"{verb} --json"] = said(verb, "--json").encode()
    shown["etcdctl"] = told.read_bytes()
    assert b"auth disable" in shown["etcdctl"], "the way past the password"
    shown["bundle"] = unpacked(bundle.write(tmp_path / "bundles", "test", lab, "report"))
    for file in lab.directory.path.rglob("*"):
        if file.is_file() and "data" not in file.parts and not file.name.endswith("-key.pem"):
            shown[str(file)] = file.read_bytes()
    assert {name for name, text in shown.items() for secret in secrets if secret in text} == set()
    assert [name for name, text in shown.items() if re.search(rb"PRIVATE KEY", text)] == []
    assert list((tmp_path / "tmp").iterdir()) == [], "what was made for a moment is gone"
