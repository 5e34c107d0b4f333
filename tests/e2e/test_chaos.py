"""Scenarios that are done to real members: every kind of step, and the same again from the journal."""

import sys
from pathlib import Path

import pytest

from etcdlab.lab import Lab
from etcdlab.model.chaos import runs
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict
from tests.cli.command import run_json

pytestmark = pytest.mark.etcd

EVERYTHING = """
name = "everything"
seed = 4
duration = "4s"
step = [
    { at = 0, do = "stop", nodes = ["quorum"] },
    { at = "10ms", do = "delay", from = "random", to = "random", delay = "5ms", jitter = "1ms", for = "1s" },
    { at = "20ms", do = "rate", from = "random", to = "clients", rate = "1MiB" },
    { at = "30ms", do = "flap", from = "n1", to = "n2", down = "50ms", up = "200ms", for = "500ms", one_way = true },
    { at = "40ms", do = "tls-fault", owner = "client", defect = "expired" },
    { at = "50ms", do = "cut", from = "n1", to = "n2", one_way = true },
    { at = "60ms", do = "blackhole", from = "n1", to = "clients", for = "100ms" },
    { at = "100ms", do = "heal" },
    { at = "150ms", do = "kill", nodes = ["random"] },
    { when = "leader-changed", do = "isolate", node = "leader", for = "400ms" },
    { at = "1s", do = "leader-move", node = "random" },
    { at = "1200ms", do = "partition", groups = ["random"], for = "300ms" },
    { at = "1800ms", do = "pause", nodes = ["followers"], for = "500ms", force = true },
    { at = "2500ms", do = "stop", nodes = ["leader"], for = "500ms" },
    { at = "2600ms", do = "restart", nodes = ["random"], force = true },
    { at = "3500ms", do = "start", nodes = ["all"] },
]
"""


def test_everything_and_again(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "everything.toml"
    path.write_text(EVERYTHING)
    with Lab.up(nodes=3, profile="fast", faults=True, name="stormy") as lab:
        done = run_json("chaos", "run", str(path))
        assert done["status"]["verdict"] == "healthy"
        texts = [step["text"] for step in done["steps"]]
        # What a slow step before has left no time for is left out: on a busy machine the last ones.
        assert {text.split(" n")[0] for text in texts} >= {"kill", "pause", "leader move", "net delay"}
        assert "would leave 1 of 3 voting members" in done["steps"][0]["refused"]
        lab.etcdctl("put", "after", "all")
        again = run_json("chaos", "replay")
        assert again["status"]["verdict"] == "healthy"
        first = runs(lab.events())[0]
        tried = [step["text"].partition(" --")[0] for step in again["steps"]]
        assert len(tried) >= 10
        assert tried == [did.text.partition(" --")[0] for did in first.done][: len(tried)]
        assert lab.etcdctl("get", "after", "--print-value-only") == "all\n"


@pytest.mark.skipif(sys.platform != "linux", reason="a process that runs can be limited on Linux alone")
def test_disks_are_full_until_the_end(home: Path) -> None:
    steps = {"duration": "1m", "step": [{"at": 0, "do": "disk-full", "nodes": ["n1"]}]}
    with Lab.up(nodes=3, profile="fast") as lab:
        lab.move_leader("n2")
        with lab.chaos(steps) as chaos:
            lab.wait_until(lambda status: bool(status.shortages))
            lab.etcdctl("put", "k", "v", member="n2")
            lab.wait_until(lambda status: status.nodes[0].state is NodeState.BACKOFF)
        assert [step.text.partition(" --for")[0] for step in chaos.steps] == ["disk full n1"]
        assert lab.wait_ready().shortages == ()


def test_beside_what_a_test_does(home: Path) -> None:
    steps = {"duration": "1m", "step": [{"when": "leader-changed", "do": "kill", "nodes": ["leader"]}]}
    with Lab.up(nodes=3, profile="fast", name="beside") as lab:
        with lab.probe() as probe, lab.chaos(steps, seed=1) as chaos:
            mark = lab.mark()
            lab.move_leader(next(member.name for member in lab.members if member != lab.leader()))
            lab.wait_for_event("ready", since=mark)
        assert [step.text.split()[0] for step in chaos.steps][:1] == ["kill"]
        assert chaos.outcome is not None
        assert chaos.outcome.status.verdict is ClusterVerdict.HEALTHY
        assert probe.writes > 0
