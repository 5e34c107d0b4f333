"""curl, as the README shows it."""

import json
import shutil
import subprocess

import pytest

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
    assert json.loads(answer) == {"version": 1}
    assert lab.supervisor.calls == [("stop", ("n1",), True)]


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
