"""curl, as the README shows it."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
import trio

from etcdlab.control.client import Client
from etcdlab.control.wire import NetworkAnswer, NodesAnswer
from etcdlab.errors import NotRunningError
from etcdlab.lab import Lab
from etcdlab.model.event import Event, EventKind
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.model.topology import EtcdTable, NetworkTable, Profile, Topology
from etcdlab.up import Request, Watcher, up

README = Path(__file__).parents[2] / "README.md"
pytestmark = [
    pytest.mark.trio,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


@pytest.fixture
def curl(lab):
    def run(*args):
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--unix-socket", lab.path, *args]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    async def in_a_thread(*args):
        return await lab.run(run, *args)

    return in_a_thread


async def test_status(curl):
    assert json.loads(await curl("http://localhost/v1/status"))["verdict"] == "healthy"


async def test_a_verb(lab, curl):
    answer = await curl("http://localhost/v1/stop", "--data", '{"nodes": ["n1"], "force": true}')
    assert json.loads(answer) == {"nodes": ["n1"], "version": 1}
    assert lab.supervisor.calls == [("stop", ("n1",), True, None)]


async def test_a_stream(curl):
    lines = (await curl("--no-buffer", "http://localhost/v1/events?since=1")).splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2, 3]


async def test_a_refusal(curl):
    answer = json.loads(await curl("http://localhost/v1/stop", "--data", '{"node": "n1"}'))
    assert answer["error"]["code"] == "usage"


async def test_a_large_body_with_expect_100(curl, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(b" " * 5_000_000)
    answer = await curl("http://localhost/v1/stop", "--data-binary", f"@{large}")
    assert json.loads(answer)["error"]["message"] == "the request is too large"


async def test_http2_is_not_taken(curl):
    assert json.loads(await curl("--http2", "http://localhost/v1/status"))["verdict"] == "healthy"


@pytest.fixture
def real_lab(tmp_path, monkeypatch):
    """Three members, started for one test."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    topology = Topology(name="curled", nodes=3, etcd=EtcdTable(profile=Profile.FAST), network=NetworkTable(faults=True))
    request = Request(topology=topology, base=tmp_path, explicit=False)
    started = up(request, Watcher(on_event=lambda _: None, on_install=lambda _: None))
    yield started
    with contextlib.suppress(NotRunningError):  # as the test leaves it
        Lab(started.directory).down(purge=True)
    started.daemon.wait()


def check(path, lines):
    """The answer to a GET, or the acknowledgement of a POST."""
    match path:
        case "status":
            assert msgspec.json.decode(*lines, type=LabStatus).verdict is ClusterVerdict.HEALTHY
        case "events?since=5":
            assert msgspec.json.decode(lines[0], type=Event).seq == 6
        case "logs?node=n1&lines=10":
            assert [json.loads(line)["node"] for line in lines] == ["n1"] * 10
        case "openapi.json":
            assert json.loads(*lines)["openapi"] == "3.1.0"
        case "stop" | "start" | "kill" | "pause" | "resume" | "disk/full":
            assert msgspec.json.decode(*lines, type=NodesAnswer).nodes
        case "leader/move" | "shutdown":
            assert json.loads(*lines) == {"version": 1}
        case "network":
            answer = msgspec.json.decode(*lines, type=NetworkAnswer)
            assert (len(answer.links), answer.faults) == (12, ())
        case "network/inject" | "network/heal":
            assert json.loads(*lines) == {"version": 1}
        case "reset":
            assert json.loads(*lines) == {"rebuilt": False, "why": "", "version": 1}
        case _:
            pytest.fail(f"the README shows a path that is not checked here: {path}")


def wait_ready(client, node, *, since):
    for event in client.events(since=since, follow=True):
        if event.kind is EventKind.READY and event.node == node:
            return


@pytest.mark.etcd
async def test_every_line_of_the_readme(real_lab):
    socket = real_lab.directory.load_plan().socket
    client = Client(socket, timeout_s=20)
    commands = re.findall(r'^ {4}(curl --unix-socket "\$SOCKET" .+)$', README.read_text(), re.MULTILINE)
    assert "/v1/shutdown" in commands[-1]

    def run():
        for command in commands:
            seen = max(event.seq for event in client.events())
            shell = ["bash", "-c", command]
            done = subprocess.run(shell, env={**os.environ, "SOCKET": socket}, capture_output=True, check=True)
            check(re.search(r"http://lab/v1/([^ \"]+)", command)[1], done.stdout.splitlines())
            if "/v1/kill" in command:  # the supervisor starts it again; without it, the next line would cost quorum
                wait_ready(client, "n2", since=seen)

    await trio.to_thread.run_sync(run)
    await trio.to_thread.run_sync(real_lab.daemon.wait)
    assert not real_lab.directory.path.exists()
