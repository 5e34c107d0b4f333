"""`status` and `ls`, on a lab that others look at too."""

import pytest

from etcdlab.cli.status import status_view
from etcdlab.model.exit import Exit, ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus
from tests.cli.command import run, run_json
from tests.plans import make_plan

PROMISED = {"version", "lab", "verdict", "cluster_id", "leader", "nodes"}
PROMISED_OF_A_NODE = {
    "name", "state", "healthy", "is_leader", "is_learner", "member_id", "pid", "restarts", "uptime_s", "client_url",
    "peer_url", "metrics_url", "raft_term", "raft_index", "applied_index", "db_size", "etcd_version", "cpu_percent",
    "rss_bytes", "last_exit",
}  # fmt: skip
"""Names that scripts rely on. Whatever is taken from these breaks somebody."""


@pytest.mark.etcd
class TestOfARunningLab:
    def test_json_has_the_names_that_scripts_rely_on(self, shared_lab):
        status = run_json("status")
        assert set(status) == PROMISED | {"is_this_lab", "phase", "faults", "defects", "shortages", "problems"}
        for node in status["nodes"]:
            assert set(node) == PROMISED_OF_A_NODE | {"paused", "problem"}

    def test_json_has_measured_values(self, shared_lab):
        status = run_json("status")
        assert (status["lab"], status["verdict"], status["is_this_lab"]) == ("shared", "healthy", True)
        assert status["cluster_id"] == shared_lab.plan.cluster_id
        leaders = [node["name"] for node in status["nodes"] if node["is_leader"]]
        assert leaders == [status["leader"]]
        for node, plan in zip(status["nodes"], shared_lab.plan.nodes, strict=True):
            assert (node["name"], node["member_id"], node["client_url"]) == (plan.name, plan.member_id, plan.client_url)
            assert node["state"] == "running"
            assert node["healthy"]
            assert node["etcd_version"] == plan.etcd_version
            assert node["raft_term"] >= 2
            assert 0 < node["applied_index"] <= node["raft_index"]
            assert node["db_size"] >= 16 * 1024
            assert node["rss_bytes"] > 2**20
            assert node["cpu_percent"] >= 0
            assert node["uptime_s"] > 0
            assert node["last_exit"] is None

    def test_for_people(self, shared_lab):
        text = run("status").output
        assert text.startswith("shared: healthy, leader n")
        assert text.count(" running ") == 3
        assert "leader" in text
        assert "follower" in text

    def test_ls(self, shared_lab):
        (lab,) = run_json("ls")["labs"]
        assert lab == {
            "lab": "shared", "verdict": "healthy", "nodes": 3, "directory": str(shared_lab.directory.path)
        }  # fmt: skip
        assert "shared" in run("ls").output


class TestOfALabThatIsDown:
    @pytest.fixture(autouse=True)
    def labs(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
        monkeypatch.delenv("ETCDLAB_LAB", raising=False)
        make_plan(tmp_path, lab="down")

    def test_is_status_3(self):
        assert run_json("status", status=3)["verdict"] == "stopped"
        assert "down: stopped" in run("status", status=3).output

    def test_ls_shows_it(self, tmp_path):
        make_plan(tmp_path, lab="other")
        assert [lab["verdict"] for lab in run_json("ls")["labs"]] == ["stopped", "stopped"]


def test_ls_lists_labs_beside_one_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    make_plan(tmp_path, lab="idle")
    make_plan(tmp_path, lab="broken")
    (tmp_path / "broken" / "plan.json").write_text("{")
    listed = {lab["lab"]: lab["verdict"] for lab in run_json("ls")["labs"]}
    assert listed == {"broken": None, "idle": "stopped"}
    assert "cannot be read" in run("ls").stderr


def test_ls_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "none"))
    assert run("ls").output == "there is no lab\n"
    assert run_json("ls") == {"version": 1, "labs": []}


def test_people_are_told_what_is_wrong_and_what_to_do():
    node = NodeStatus(
        name="n1", state=NodeState.FAILED, healthy=False, paused=False, is_leader=False, is_learner=False,
        member_id=None, pid=None, restarts=3, uptime_s=None, client_url="https://127.0.0.1:1",
        peer_url="https://127.0.0.1:2", metrics_url="http://127.0.0.1:3", problem="Connection refused",
        last_exit=Exit(code=1, reason=ExitReason.DISK_FULL, at="", detail="no space left", remedy="Free some."),
    )  # fmt: skip
    status = LabStatus(
        lab="l",
        verdict=ClusterVerdict.NO_QUORUM,
        cluster_id="7",
        is_this_lab=False,
        leader=None,
        nodes=(node,),
        problems=("no space is left on the disk",),
    )
    text = "\n".join(str(getattr(part, "text", part)) for part in status_view(status))
    for words in (
        "no-quorum",
        "NOT THIS LAB",
        "Connection refused",
        "no space left",
        "Free some.",
        "no space is left on the",
    ):
        assert words in text
