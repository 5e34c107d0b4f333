import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from etcdlab.cli import ctl as module
from etcdlab.cli.ctl import ctl, is_given, split
from etcdlab.errors import UsageError
from etcdlab.etcd.environment import clean
from tests.plans import make_plan

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")
PROGRAM = [sys.executable, "-c", "from etcdlab.cli.ctl import ctl; ctl()"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return tmp_path


@pytest.fixture
def executed(monkeypatch):
    """What `ctl` would run, instead of running it: one tuple of program, arguments and environment a call."""
    calls: list[tuple[Path, tuple[str, ...], dict[str, str]]] = []

    def execute(program, arguments, environment):
        calls.append((program, tuple(arguments), dict(environment)))
        raise click.exceptions.Exit(0)

    monkeypatch.setattr(module, "execute", execute)
    return calls


def fake_etcdctl(directory: Path, script: str = "exit 1") -> str:
    """A script in etcdctl's place, and one in etcdutl's beside it."""
    path = directory / "bin" / "etcdctl"
    path.parent.mkdir(exist_ok=True)
    for tool in (path, path.with_name("etcdutl")):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o700)
    return str(path)


def run(*args: str):
    return CliRunner().invoke(ctl, args)


@pytest.mark.parametrize(
    ("typed", "node", "arguments"),
    [
        ("-- get foo", None, "get foo"),
        ("n1 -- get foo", "n1", "get foo"),
        ("get foo", None, "get foo"),
        ("n2 get foo", "n2", "get foo"),
        ("endpoint status -w table", None, "endpoint status -w table"),
        ("n1 -- endpoint status -w table --lab x", "n1", "endpoint status -w table --lab x"),
        ("-- n1", None, "n1"),
        ("-- put -- -k v", None, "put -- -k v"),
        ("n1 -- put -- -k v", "n1", "put -- -k v"),
        ("get n1 -- x", None, "get n1 -- x"),
        ("n1", "n1", ""),
        ("", None, ""),
        ("--lab demo -- get --help", None, "get --help"),
        ("--identity root n3 -- --version", "n3", "--version"),
    ],
)
def test_node_and_arguments(home, executed, typed, node, arguments):
    plan = make_plan(home, etcdctl=fake_etcdctl(home))
    result = run(*shlex.split(typed))
    assert result.exit_code == 0, result.output
    (program, words, environment) = executed[0]
    assert program == home / "bin" / "etcdctl"
    assert words == tuple(shlex.split(arguments))
    expected = plan.select([node])[0].client_url if node else ",".join(plan.endpoints)
    assert environment["ETCDCTL_ENDPOINTS"] == expected


def test_an_unknown_node_is_named_with_those_there_are(home, executed):
    make_plan(home, etcdctl=fake_etcdctl(home))
    result = run("n9", "--", "get", "foo")
    assert result.exit_code == 2
    assert "no member 'n9'" in result.stderr
    assert "n1, n2, n3" in result.stderr
    assert executed == []


def test_a_member_named_like_a_command_is_reached_and_avoided(tmp_path):
    plan = make_plan(tmp_path)
    assert split(plan, ["n1", "get"], literal=True) == (None, ("n1", "get"))
    with pytest.raises(UsageError):
        split(plan, ["get", "--", "n1"], literal=False)


def test_certificates_of_the_chosen_identity(home, executed):
    make_plan(home, etcdctl=fake_etcdctl(home))
    run("--identity", "root", "--", "get", "k")
    environment = executed[0][2]
    assert environment["ETCDCTL_CERT"] == f"{home}/demo/pki/root.pem"
    assert environment["ETCDCTL_CACERT"] == f"{home}/demo/pki/ca.pem"


@pytest.mark.parametrize("given", [["--endpoints", "http://localhost:1"], ["--endpoints=http://localhost:1"]])
def test_a_setting_given_as_a_flag_is_not_in_the_environment_too(home, executed, given):
    make_plan(home, etcdctl=fake_etcdctl(home))
    run("--", "get", "k", *given)
    environment = executed[0][2]
    assert "ETCDCTL_ENDPOINTS" not in environment
    assert "ETCDCTL_CERT" in environment


def test_flags_after_etcdctls_own_separator_are_values():
    assert not is_given("--key", ["put", "k", "--", "--key"])
    assert not is_given("--key", ["get", "--keys-only"])
    assert is_given("--key", ["--key", "k.pem", "get", "--", "x"])


def test_etcdutl_gets_its_words_and_no_settings(home, executed):
    make_plan(home, etcdctl=fake_etcdctl(home))
    assert run("--utl", "--", "snapshot", "status", "n1").exit_code == 0
    program, words, environment = executed[0]
    assert program == home / "bin" / "etcdutl"
    assert words == ("snapshot", "status", "n1")
    assert not [name for name in environment if name.startswith("ETCDCTL_")]


def test_etcdutl_takes_no_identity(home, executed):
    make_plan(home, etcdctl=fake_etcdctl(home))
    assert run("--utl", "--identity", "root", "--", "version").exit_code == 2
    assert executed == []


@pytest.mark.parametrize("etcdctl", [None, "/nowhere/etcdctl"])
def test_a_missing_etcdctl_has_a_remedy(home, executed, etcdctl):
    make_plan(home, etcdctl=etcdctl)
    result = run("--", "version")
    assert result.exit_code == 1
    assert "etcdlab etcd install" in result.stderr


def test_a_lab_without_its_daemon_is_said(home, executed):
    make_plan(home, etcdctl=fake_etcdctl(home))
    assert "the daemon of lab 'demo' is not running" in run("--", "version").stderr


def test_exit_status_and_signals_are_etcdctls(home):
    make_plan(home, etcdctl=fake_etcdctl(home, 'echo "$$ $*"; exit 42'))
    child = subprocess.Popen([*PROGRAM, "--", "a b", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = child.communicate(timeout=30)[0].decode()
    assert output == f"{child.pid} a b --json\n"
    assert child.returncode == 42


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_closed_pipe_ends_etcdctl(home):
    make_plan(home, etcdctl=fake_etcdctl(home, "exec grep SigIgn /proc/self/status"))
    output = subprocess.run([*PROGRAM, "--", "watch"], capture_output=True, check=True, timeout=30).stdout
    ignored = int(output.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


@pytest.fixture
def etcd(tmp_path, ports):
    """One plain etcd, ready; gives its client port."""
    client, peer = ports.choose(), ports.choose()
    url, peer_url = f"http://localhost:{client}", f"http://localhost:{peer}"
    log = (tmp_path / "etcd.log").open("wb")
    process = subprocess.Popen(
        [
            str(ETCD),
            f"--data-dir={tmp_path / 'data'}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
        ],
        stdout=log,
        stderr=log,
        env=clean(os.environ),
    )
    try:
        # etcdctl itself waits for the server: no polling here.
        subprocess.run(
            [str(ETCDCTL), f"--endpoints={url}", "--command-timeout=20s", "--dial-timeout=20s", "get", "ready"],
            env=clean(os.environ),
            check=True,
            timeout=30,
        )
        yield client
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.etcd
@pytest.mark.skipif(ETCD is None or ETCDCTL is None, reason="etcd is not installed")
def test_put_and_get_through_a_real_etcd(home, etcd, monkeypatch):
    make_plan(home, nodes=1, tls=False, client_ports=[etcd], etcdctl=ETCDCTL)
    # Each of these alone makes etcdctl fail or go elsewhere.
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "http://localhost:1")
    monkeypatch.setenv("ETCDCTL_CACERT", "/nowhere/ca.pem")

    def etcdctl(*args: str) -> str:
        return subprocess.run([*PROGRAM, *args], capture_output=True, text=True, check=True, timeout=30).stdout

    assert etcdctl("--", "put", "color", "-w", "json", "--", "-blue").startswith("{")
    assert etcdctl("n1", "--", "get", "color", "--print-value-only") == "-blue\n"
    assert etcdctl("--", "get", "color", "--keys-only", f"--endpoints=http://localhost:{etcd}").split() == ["color"]
    snapshot = home / "snapshot.db"
    etcdctl("--", "snapshot", "save", str(snapshot))
    assert "TOTAL SIZE" in etcdctl("--utl", "--", "snapshot", "status", str(snapshot), "-w", "table")
