"""`up` as people and scripts use it: the installed program on real etcds, and what an interruption leaves."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.prepare.labdir import LabDirectory
from tests.cli.command import PROGRAM, program, run, run_json
from tests.conftest import processes_of

pytestmark = pytest.mark.etcd
FAST = ("--profile", "fast")
BOUND_S = 30


@pytest.fixture(autouse=True)
def purged(home):
    """Whatever a test leaves running goes, so that only what is left by mistake is found."""
    yield
    run("down", "--all", "--purge")


@contextlib.contextmanager
def started(*arguments):
    """`etcdlab up` as a process, its messages in a pipe."""
    command = [PROGRAM, "up", *FAST, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_line(stream, words):
    """Read lines until one has these words."""
    for line in stream:
        if words in line:
            return line
    raise AssertionError(f"the stream ended before {words!r}")


def test_up_status_down(home):
    result = program("up", *FAST, "--name", "life")
    assert "lab life is ready in" in result.stdout
    assert "etcdlab down --lab life" in result.stdout
    assert "n1: started, pid" in result.stderr
    assert "n3: ready" in result.stderr
    assert "life: healthy" in program("status").stdout
    program("kill", "n1")
    program("down")
    assert "life: stopped" in program("status", status=3).stdout
    assert processes_of(home) == []


def test_json_is_the_status_and_nothing_else_is_on_stdout(home):
    data = json.loads(program("up", *FAST, "--nodes", "1", "--json").stdout)
    assert (data["version"], data["lab"], data["verdict"], len(data["nodes"])) == (1, "default", "healthy", 1)


def test_on_a_running_lab_reports_and_changes_nothing(home):
    before = run_json("up", *FAST, "--nodes", "1")
    result = run("up", *FAST, "--nodes", "1")
    assert "lab default is running already" in result.output
    assert run_json("up")["nodes"][0]["pid"] == before["nodes"][0]["pid"]
    refusal = run_json("up", "--nodes", "3", status=1)["error"]
    assert refusal["code"] == "lab-state"


def test_the_statuses_of_a_lab_that_loses_its_members(home):
    """What design and README promise to scripts: 0, 4, 5, 3."""
    program("up", *FAST)
    program("stop", "n1")
    program("status", status=4)
    refusal = program("stop", "n2", status=1)
    assert "a quorum is 2" in refusal.stderr
    program("stop", "n2", "--force")
    assert json.loads(program("status", "--json", status=5).stdout)["verdict"] == "no-quorum"
    program("start", "n1", "n2")
    program("status")
    program("down")
    program("status", status=3)


def test_a_file_with_a_learner(home, tmp_path):
    file = tmp_path / "learner.toml"
    file.write_text('name = "learner"\n[[node]]\nname = "n1"\n[[node]]\nname = "n2"\nlearner = true\n')
    program("up", str(file), *FAST)
    assert [node["is_learner"] for node in run_json("status")["nodes"]] == [False, True]
    assert " learner " in program("status").stdout


def test_a_failure_says_who_and_why_and_leaves_nothing(home, tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text('name = "bad"\n[[node]]\nname = "n1"\nargs = ["--no-such-flag"]\n')
    result = program("up", str(file), *FAST, status=1)
    assert "error: member n1 did not start: flag provided but not defined: -no-such-flag" in result.stderr
    assert "\n  | " in result.stderr
    assert "hint: " in result.stderr
    assert result.stdout == ""
    assert list(home.iterdir()) == []
    assert run_json("up", str(file), *FAST, status=1)["error"]["code"] == "boot"


def test_out_of_time_is_status_6(home):
    assert "not ready within 0.001 s" in program("up", *FAST, "--timeout", "1ms", status=6).stderr
    assert list(home.iterdir()) == []


def test_a_port_that_is_taken_names_its_holder(home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        file = tmp_path / "port.toml"
        file.write_text(f'[[node]]\nname = "n1"\npeer_port = {port}\n')
        result = program("up", str(file), *FAST, status=1)
    assert f"port {port}" in result.stderr
    assert f"(pid {os.getpid()})" in result.stderr
    assert list(home.iterdir()) == []


class TestInterruption:
    """Ctrl-C leaves nothing, whenever it comes."""

    def check(self, process, home):
        output = process.communicate(timeout=BOUND_S)
        assert process.returncode == -signal.SIGINT, output
        assert "interrupted" in output[1]
        assert "Traceback" not in output[1]
        assert processes_of(home) == []
        assert list(home.iterdir()) == []

    def test_while_the_daemon_is_being_started(self, home):
        with started() as process:
            while not processes_of(home):
                pass
            process.send_signal(signal.SIGINT)
            self.check(process, home)

    @pytest.mark.parametrize("words", ["n1: started", "n2: started", "n3: started", "n1: ready"])
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_while_it_boots(self, home, words, number):
        with started() as process:
            wait_line(process.stderr, words)
            process.send_signal(number)
            output = process.communicate(timeout=BOUND_S)
            if process.returncode == 0:  # it was ready already
                assert Lab(LabDirectory.named("default")).status().nodes[0].healthy
                return
            assert process.returncode == -number, output
        assert processes_of(home) == []
        assert list(home.iterdir()) == []


class TestForeground:
    def test_ctrl_c_stops_the_lab(self, home):
        with started("--foreground") as process:
            wait_line(process.stderr, "In the foreground")
            assert run_json("status")["verdict"] == "healthy"
            process.send_signal(signal.SIGINT)
            output, messages = process.communicate(timeout=BOUND_S)
            assert process.returncode == 0, messages
        assert "lab default is stopped" in messages
        assert "lab default is ready" in output
        assert processes_of(home) == []
        assert LabDirectory.named("default").exists()

    def test_sigterm_stops_the_lab(self, home):
        with started("--foreground", "--nodes", "1") as process:
            wait_line(process.stderr, "In the foreground")
            process.terminate()
            assert "is stopped" in process.communicate(timeout=BOUND_S)[1]
        assert processes_of(home) == []

    def test_its_death_stops_the_lab(self, home):
        with started("--foreground", "--nodes", "1") as process:
            wait_line(process.stderr, "In the foreground")
            process.kill()
            directory = LabDirectory.named("default")
            assert directory.wait_released(BOUND_S)
            assert living_members(directory) == {}
        assert processes_of(home) == []

    def test_down_from_elsewhere_ends_it(self, home):
        with started("--foreground", "--nodes", "1") as process:
            wait_line(process.stderr, "In the foreground")
            run("down", "--purge")
            assert "is stopped" in process.communicate(timeout=BOUND_S)[1]
            assert process.returncode == 0

    def test_json_is_one_object_before_it_waits(self, home):
        with started("--foreground", "--nodes", "1", "--json") as process:
            wait_line(process.stderr, "In the foreground")
            process.terminate()
            data = json.loads(process.communicate(timeout=BOUND_S)[0])
        assert (data["version"], data["verdict"]) == (1, "healthy")
