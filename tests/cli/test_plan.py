"""`etcdlab plan`: shows what would run, for people and programs, and leaves nothing behind."""

import json
import shlex
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from etcdlab.cli.plan import plan

FAKE_ETCD = """#!/bin/sh
echo 'etcd Version: 3.5.16'
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home for labs, and an etcd on PATH that only knows its version."""
    fake = tmp_path / "bin" / "etcd"
    fake.parent.mkdir()
    fake.write_text(FAKE_ETCD)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*args: object):
    return CliRunner().invoke(plan, [str(arg) for arg in args])


def planned(*args: object) -> dict:
    result = run("--json", *args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def lab_file(content: str) -> Path:
    path = Path("lab.toml")
    path.write_text(content)
    return path


def test_without_a_file_three_members_with_tls_are_planned_and_nothing_is_made(home):
    data = planned()
    assert data["lab"] == "default"
    assert data["directory"] == str(home / "default")
    assert [node["name"] for node in data["nodes"]] == ["n1", "n2", "n3"]
    assert all(node["client_url"].startswith("https://") for node in data["nodes"])
    ports = [node[key] for node in data["nodes"] for key in ("client_port", "peer_port", "metrics_port")]
    assert len(set(ports)) == 9
    assert not home.exists()


def test_every_flag_is_heard(home):
    etcd = home.parent / "bin" / "etcd"
    data = planned("--nodes", 1, "--profile", "fast", "--name", "quick", "--no-tls", "--etcd", etcd)
    assert data["lab"] == "quick"
    assert data["tls"] is None
    (node,) = data["nodes"]
    assert node["argv"][0] == str(etcd)
    assert {"--name=n1", "--heartbeat-interval=10", "--election-timeout=100"} <= set(node["argv"])
    assert node["client_url"].startswith("http://")


def test_the_file_is_heard(home):
    data = planned(lab_file('name = "x"\nnodes = 5\netcd.flags.max-txn-ops = 7'))
    assert data["lab"] == "x"
    assert len(data["nodes"]) == 5
    assert all("--max-txn-ops=7" in node["argv"] for node in data["nodes"])


def test_people_get_tables_and_lines_for_a_shell(home):
    path = lab_file("""
    [[node]]
    name = "a"
    args = ["--max-txn-ops=7"]
    env = { GREETING = "good day" }
    data_dir = "my data"
    """)
    result = run(path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["lab", "default"]
    header = next(line for line in lines if line.startswith("MEMBER"))
    assert header.split() == ["MEMBER", "ROLE", "ETCD", "CLIENT", "PEER", "METRICS", "DATA"]
    assert {"ca.pem", "server-a.pem", "peer-a.pem", "client.pem"} <= {line.split(" ")[0] for line in lines}
    command = shlex.split(next(line for line in lines if "--name=a" in line))
    assert command[:2] == ["GREETING=good day", str(home.parent / "bin" / "etcd")]
    assert command[-1] == "--max-txn-ops=7"
    assert f"--data-dir={Path.cwd() / 'my data'}" in command


def test_an_existing_authority_is_named(home):
    Path("ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    Path("ca-key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    result = run(lab_file("tls.ca = { certificate = 'ca.pem', private_key = 'ca-key.pem' }"))
    assert result.exit_code == 0, result.output
    assert f"as in {Path.cwd() / 'ca.pem'}" in result.stdout


def test_an_even_count_warns_and_a_flag_that_mends_it_does_not(home):
    path = lab_file("nodes = 4")
    assert "4 voting members survive 1 failure" in run(path).stderr
    assert "warning" not in run(path, "--nodes", 3).stderr
    assert "2 voting members survive no failures" in run(path, "--nodes", 2).stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["missing.toml"], "missing.toml: cannot be read: No such file"),
        (["--nodes", 0], "--nodes: a lab has 1 to 50 members"),
        (["--name", "../x"], "--name: '../x' is not a safe name"),
        (["--profile", "slow"], "'slow' is not one of"),
    ],
)
def test_bad_usage_is_status_2_and_makes_nothing(home, args, words):
    result = run(*args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not home.exists()


def test_all_problems_of_a_file_are_told(home):
    result = run("--json", lab_file("nmae = 1\nnodes = 0"))
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "topology"
    assert error["message"].splitlines() == [
        'lab.toml: nmae: unknown key (did you mean "name"?)',
        "lab.toml: nodes: a lab has 1 to 50 members, not 0: they share one machine, and etcd advises at most 7",
    ]


def test_an_etcd_that_is_not_there(home):
    result = run("--etcd", "./nowhere/etcd")
    assert result.exit_code == 1
    assert f"{Path.cwd() / 'nowhere/etcd'} does not exist" in result.stderr


def test_a_port_that_is_taken(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(lab_file(f"[[node]]\nname = 'a'\nclient_port = {port}"))
    assert result.exit_code == 1
    assert f"port {port} on 127.0.0.1 is taken" in result.stderr
