"""The verbs that act on members, over a running lab of fake ones: two voters, so that losing one loses quorum."""

import pytest

from etcdlab.control.client import Client
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from tests.cli.command import run, run_json


@pytest.fixture
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


def states(status=None):
    return {node["name"]: node["state"] for node in run_json("status", status=status or 0)["nodes"]}


def pids(lab):
    return {name: record.identity.pid for name, record in living_members(lab.directory).items()}


def test_stop_and_start(running):
    assert run("stop", "n2", "--force").output == "n2: stopped\n"
    assert set(pids(running)) == {"n1"}
    assert states(status=5) == {"n1": "running", "n2": "stopped"}
    assert run_json("start", "n2") == {"version": 1, "nodes": ["n2"], "done": "started"}
    assert set(pids(running)) == {"n1", "n2"}


def test_stop_of_what_is_stopped_and_start_of_what_runs_are_fine(running):
    before = pids(running)
    run("start", "n1", "n2", "n1")
    assert pids(running) == before
    run("stop", "n2", "--force")
    run("stop", "n2")


def test_restart(running):
    before = pids(running)
    run("restart", "n2", "--force")
    after = pids(running)
    assert after["n1"] == before["n1"]
    assert after["n2"] != before["n2"]


def test_pause_and_resume(running):
    run("pause", "n2", "--force")
    status = run_json("status", status=5)
    assert [node["paused"] for node in status["nodes"]] == [False, True]
    assert "paused" in run("status", status=5).output
    run("resume", "n2")
    assert run_json("status")["verdict"] == "healthy"


@pytest.mark.parametrize("name", ["KILL", "SIGKILL", "kill"])
def test_kill(running, name):
    client = Client(running.plan.socket, timeout_s=30)
    before = pids(running)
    since = list(client.events())[-1].seq
    assert run("kill", "n2", "--signal", name, "--force").output == "n2: sent SIGKILL\n"
    assert any(event.kind is EventKind.READY for event in client.events(since=since, follow=True))
    assert pids(running)["n2"] != before["n2"]


def test_members_are_meant_by_what_they_are(running):
    assert run("pause", "leader", "--force").output == "n1: paused\n"
    assert run("resume", "all").output == "n1: resumed\nn2: resumed\n"
    assert run("stop", "followers", "--force").output == "n2: stopped\n"
    assert run_json("start", "n1", "all")["nodes"] == ["n1", "n2"]
    assert "n2 would leave 1 of 2" in run("kill", "quorum", status=1).stderr
    refusal = run("leader", "move", "leader", status=2)
    assert "has no member 'leader'" in refusal.stderr


def test_what_is_stopped_or_paused_for_a_time_goes_on_by_itself(running):
    client = Client(running.plan.socket, timeout_s=30)
    since = list(client.events())[-1].seq
    assert run("pause", "n2", "--force", "--for", "10ms").output == "n2: paused for 10ms\n"
    assert any(event.kind is EventKind.RESUMED for event in client.events(since=since, follow=True))
    assert run("stop", "n2", "--force", "--for", "0.01").output == "n2: stopped for 10ms\n"
    assert any(event.kind is EventKind.READY for event in client.events(since=since, follow=True))
    assert "at least 1ms" in run("stop", "n2", "--for", "0", status=2).output


def test_what_is_asked_meanwhile_ends_that(running):
    run("stop", "n2", "--force", "--for", "50ms")
    run("stop", "n2")
    run("pause", "n1", "--force", "--for", "50ms")
    run("pause", "n1")
    client = Client(running.plan.socket, timeout_s=30)
    since = list(client.events())[-1].seq
    run("pause", "n1", "--for", "100ms")
    assert next(client.events(since=since, follow=True)).kind is EventKind.RESUMED
    assert states(status=5)["n2"] == "stopped"


@pytest.mark.parametrize("verb", ["stop", "restart", "pause", "kill"])
def test_what_loses_quorum_is_refused_with_the_reason(running, verb):
    before = pids(running)
    refusal = run(verb, "n2", status=1)
    assert "n2 would leave 1 of 2 voting members, and a quorum is 2" in refusal.stderr
    assert "--force" in refusal.stderr
    assert run_json(verb, "n2", status=1)["error"]["code"] == "quorum"
    assert pids(running) == before


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "pause", "resume", "kill"])
def test_a_member_that_is_not_there_is_wrong_usage(running, verb):
    refusal = run(verb, "n1", "nope", status=2)
    assert "no member 'nope'" in refusal.stderr
    assert "n1, n2" in refusal.stderr
