"""`etcdlab chaos` over a lab of fake members."""

import signal
import subprocess

import pytest

from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from tests.cli.command import PROGRAM, run, run_json

STORM = """
seed = 7
duration = "{duration}"
[[step]]
at = 0
do = "pause"
nodes = ["n2"]
force = true
[[step]]
at = "50ms"
do = "stop"
nodes = ["random", "random", "random"]
"""


@pytest.fixture
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


@pytest.fixture
def storm(tmp_path):
    def write(duration="500ms"):
        path = tmp_path / "storm.toml"
        path.write_text(STORM.format(duration=duration))
        return str(path)

    return write


def test_a_run_its_summary_and_its_replay(running, storm):
    done = run("chaos", "run", storm())
    lines = done.stdout.splitlines()
    assert lines[0] == "storm, seed 7: 1 steps done, 1 refused, in 0.5 s"
    assert lines[1] == "healed: healthy, leader n1"
    name = lines[2].removeprefix("Again: etcdlab chaos replay ")
    told = done.stderr.splitlines()
    assert told[0] == f"storm, seed 7, for 500ms: run {name}"
    assert told[1].startswith("    0.0 s  pause n2 --for ")
    assert told[2].split(": ")[1] == "refused"
    again = run_json("chaos", "replay", name)
    assert [(step["text"].split()[:2], step["refused"]) for step in again["steps"]] == [(["pause", "n2"], "")]
    assert (again["scenario"], again["seed"], again["status"]["verdict"]) == ("storm", 7, "healthy")
    shown = run("chaos").output.splitlines()
    assert [line.split()[:3] for line in shown[1:]] == [[name, "storm", "7"], [again["run"], "storm", "7"]]
    assert [one["began"]["run"] for one in run_json("chaos", "show")["runs"]] == [name, again["run"]]
    assert run_json("chaos", "replay")["steps"][0]["text"].startswith("pause n2")


def test_options_win_over_the_file(running, storm):
    data = run_json("chaos", "run", storm("1h"), "--minutes", "0.002", "--seed", "9")
    assert data["seed"] == 9
    assert data["after_s"] == 0.12


def test_what_there_is_not(running, storm, tmp_path):
    assert "the journal has no run of a scenario" in run("chaos").output
    assert "no run of a scenario" in run("chaos", "replay", status=2).stderr
    assert "no run 'x'" in run("chaos", "replay", "x", status=2).stderr
    assert "cannot be read" in run("chaos", "run", str(tmp_path / "none"), status=2).stderr
    bad = tmp_path / "bad.toml"
    bad.write_text("[[step]]\nat = 1\ndo = 'kil'\n")
    assert 'did you mean "kill"?' in run("chaos", "run", str(bad), status=2).stderr
    bad.write_text("[[step]]\nat = 1\ndo = 'heal'\n[[step]]\nat = 1\ndo = 'kill'\nnodes = ['n9']\n")
    assert "step[1].nodes: lab 'fake' has no member 'n9'" in run("chaos", "run", str(bad), status=2).stderr
    assert EventKind.CHAOS_BEGAN not in {kind for kind, _ in running.events()}


def begin(storm, lab):
    mark = lab.mark()
    command = [PROGRAM, "chaos", "run", storm("2s")]
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lab.wait_for_event("paused", "n2", since=mark)
    return runner, mark


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_heals_and_all_is_told(running, storm, number):
    lab = Lab(running.directory)
    runner, mark = begin(storm, lab)
    runner.send_signal(number)
    output, _ = runner.communicate(timeout=30)
    assert runner.returncode == -number
    assert output.splitlines()[1] == "healed: healthy, leader n1"
    kinds = [event.kind for event in lab.events(since=mark)]
    assert kinds.index(EventKind.CHAOS_ENDED) < kinds.index(EventKind.RESUMED)


def test_a_runner_that_is_killed_leaves_nothing_on_for_long(running, storm):
    lab = Lab(running.directory)
    runner, mark = begin(storm, lab)
    runner.kill()
    runner.communicate(timeout=30)
    lab.wait_for_event("resumed", "n2", since=mark)
    assert "no end told" in run("chaos").output
