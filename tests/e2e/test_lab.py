"""`etcdlab.Lab` as test suites use it: on real members, and what it costs to import."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import etcdlab
from etcdlab import Lab, Member, Topology, load_topology
from etcdlab.errors import (
    LabStateError,
    QuorumError,
    TimedOutError,
    ToolError,
    TopologyError,
    UnknownMemberError,
    UsageError,
)
from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict
from etcdlab.prepare.labdir import LabDirectory
from tests.conftest import processes_of

pytestmark = pytest.mark.etcd


def states(lab: Lab) -> dict[str, NodeState]:
    return {node.name: node.state for node in lab.status().nodes}


class TestUp:
    def test_makes_a_lab_that_is_gone_at_the_end_of_the_block(self, home):
        with Lab.up(nodes=1, profile="fast") as lab:
            assert re.fullmatch(r"lab-[0-9a-f]{8}", lab.name)
            assert lab.status().verdict is ClusterVerdict.HEALTHY
            directory = lab.directory.path
        assert not directory.exists()
        assert processes_of(home) == []

    def test_and_when_the_block_raises(self, home):
        with pytest.raises(ZeroDivisionError), Lab.up(nodes=1, profile="fast"):
            _ = 1 / 0
        assert list(home.iterdir()) == []

    def test_from_a_file_and_what_changes_it(self, home, tmp_path):
        file = tmp_path / "lab.toml"
        file.write_text('name = "mine"\nnodes = 3\n[etcd]\nprofile = "fast"\n')
        for given in (file, str(file), load_topology(file)):
            with Lab.up(given, nodes=1, tls=False) as lab:
                assert lab.name == "mine"
                assert lab.endpoints == (lab.member("n1").endpoint,)
                assert lab.endpoints[0].startswith("http://127.0.0.1:")
                assert (lab.ca_cert, lab.client_cert, lab.client_key, lab.identity()) == (None, None, None, None)
                assert lab.topology.nodes == 1
                assert isinstance(lab.topology, Topology)

    def test_never_takes_over_another_lab(self, home):
        with Lab.up(nodes=1, profile="fast", name="mine"):
            with pytest.raises(LabStateError, match="there is a lab 'mine' already"):
                Lab.up(nodes=1, profile="fast", name="mine")
            Lab.attach("mine").down()
            with pytest.raises(LabStateError, match="there is a lab 'mine' already"):
                Lab.up(nodes=1, profile="fast", name="mine")

    def test_bad_arguments_leave_nothing(self, home):
        with pytest.raises(TopologyError, match="nodes"):
            Lab.up(nodes=0)
        with pytest.raises(TopologyError, match="cannot be read"):
            Lab.up("no-such-file.toml")
        assert list(home.iterdir()) == []

    def test_attached_it_stays(self, home):
        with Lab.up(nodes=1, profile="fast", name="mine") as lab:
            with Lab.attach("mine") as again:
                assert again.status().cluster_id == lab.status().cluster_id
            assert lab.is_running()

    @pytest.mark.parametrize("way", ["os._exit(1)", "os.kill(os.getpid(), 9)", "sys.exit(1)", "1 / 0"])
    def test_it_ends_with_its_process(self, home, way):
        code = f"import os, sys; from etcdlab import Lab; lab = Lab.up(nodes=1, profile='fast', name='mine'); {way}"
        subprocess.run([sys.executable, "-c", code], check=False, timeout=60, stderr=subprocess.DEVNULL)
        directory = LabDirectory(home / "mine")
        assert directory.wait_released(30)
        assert not directory.path.exists()
        # The lock goes with the daemon's descriptors, which the kernel closes before there is no process any more.
        assert psutil.wait_procs(processes_of(home), timeout=30)[1] == []


class TestHandle:
    """On the lab that the tests share; each leaves it healthy."""

    def test_says_how_to_connect(self, shared_lab):
        lab = shared_lab
        assert len(lab.endpoints) == 3
        assert lab.env() == {
            "ETCDCTL_ENDPOINTS": ",".join(lab.endpoints),
            "ETCDCTL_CACERT": lab.ca_cert,
            "ETCDCTL_CERT": lab.client_cert,
            "ETCDCTL_KEY": lab.client_key,
        }
        assert lab.env(member="n2")["ETCDCTL_ENDPOINTS"] == lab.member("n2").endpoint
        assert lab.env(identity="gateway")["ETCDCTL_CERT"] == lab.identity("gateway").certificate
        with pytest.raises(UsageError, match="no identity 'nobody'"):
            lab.identity("nobody")
        with pytest.raises(UnknownMemberError, match="no member 'n4'"):
            lab.member("n4")

    def test_members_are_equal_by_lab_and_name(self, shared_lab):
        assert [member.name for member in shared_lab.members] == ["n1", "n2", "n3"]
        assert shared_lab.member("n1") == shared_lab.members[0]
        assert len({*shared_lab.members, shared_lab.leader()}) == 3
        assert repr(shared_lab.member("n1")) == "<Member n1 of lab shared>"

    def test_runs_etcdctl(self, shared_lab):
        shared_lab.etcdctl("put", "greeting", "hello")
        assert shared_lab.etcdctl("get", "greeting", "--print-value-only") == "hello\n"
        found = json.loads(shared_lab.etcdctl("endpoint", "status", "-w", "json", member="n3"))
        assert [one["Endpoint"] for one in found] == [shared_lab.member("n3").endpoint]
        with pytest.raises(ToolError, match=r"ended with status .*unknown command"):
            shared_lab.etcdctl("no-such-command")
        with pytest.raises(TimedOutError, match="watch x has not ended"):
            shared_lab.etcdctl("watch", "x", timeout=0.1)

    def test_a_member_is_stopped_in_the_block_and_runs_after_it(self, shared_lab):
        with shared_lab.stopped("n1"):
            assert states(shared_lab)["n1"] is NodeState.STOPPED
            assert shared_lab.member("n1").pid is None
        shared_lab.wait_ready()

    def test_also_when_the_block_raises(self, shared_lab):
        with pytest.raises(ZeroDivisionError), shared_lab.stopped("n1"):
            _ = 1 / 0
        with pytest.raises(ZeroDivisionError), shared_lab.paused("n1"):
            _ = 1 / 0
        shared_lab.wait_ready()

    def test_a_member_is_frozen_in_the_block_and_healthy_after_it(self, shared_lab):
        with shared_lab.paused("n2"):
            status = shared_lab.member("n2").status()
            assert (status.paused, status.healthy) == (True, False)
            assert shared_lab.status().verdict is ClusterVerdict.DEGRADED
        assert shared_lab.member("n2").status().healthy

    def test_what_costs_the_quorum_wants_force(self, shared_lab):
        with pytest.raises(QuorumError, match="would leave 1 of 3"), shared_lab.stopped("n1", "n2"):
            pass
        with pytest.raises(QuorumError), shared_lab.paused("n1"):
            shared_lab.member("n2").kill()
        with shared_lab.paused("n1", "n2", force=True):
            assert shared_lab.status().verdict is ClusterVerdict.NO_QUORUM
        shared_lab.wait_ready()

    def test_without_quorum_nothing_is_written(self, shared_lab):
        leader = shared_lab.leader()
        with shared_lab.without_quorum():
            status = shared_lab.wait_until(lambda status: status.verdict is ClusterVerdict.NO_QUORUM)
            assert [node.name for node in status.nodes if not node.paused] == [leader.name]
            with pytest.raises(ToolError):
                shared_lab.etcdctl("put", "a", "b", "--command-timeout", "200ms")
        shared_lab.wait_ready()
        shared_lab.etcdctl("put", "a", "b")

    def test_waits_for_what_happens_after_a_mark(self, shared_lab):
        mark = shared_lab.mark()
        leader = shared_lab.leader()
        leader.kill()
        # Who leads then is open: with these ticks one that was killed may be back in time to be elected again.
        assert shared_lab.wait_for_event("leader-changed", since=mark).detail["term"] > 1
        assert shared_lab.wait_for_event(EventKind.READY, leader.name, since=mark).seq > 0
        assert shared_lab.wait_for_log(leader.name, "received signal|starting etcd server", since=mark)
        assert leader.wait_for_log(re.compile(r'"etcd-version"'), since=mark)
        kinds = [event.kind for event in shared_lab.events(since=mark)]
        assert kinds.index(EventKind.EXITED) < kinds.index(EventKind.READY)
        assert shared_lab.events()[0].seq == 1
        assert not any("etcd-version" in line for line in leader.log_lines(since=shared_lab.mark()))
        assert any("etcd-version" in line for line in leader.log_lines(since=mark))
        shared_lab.wait_ready()

    def test_waiting_is_bounded_and_says_what_it_found(self, shared_lab):
        with pytest.raises(TimedOutError, match=r"no event 'stopped' of n1 within 0\.05 s"):
            shared_lab.wait_for_event("stopped", "n1", timeout=0.05)
        with pytest.raises(TimedOutError, match="n1 has logged nothing like 'never'"):
            shared_lab.wait_for_log("n1", "never", timeout=0.05)
        with pytest.raises(TimedOutError, match=r"lab 'shared' is healthy \(leader n\d; n1 is healthy, "):
            shared_lab.wait_until(lambda status: False, timeout=0)

    def test_a_member_does_as_it_is_told(self, shared_lab):
        member = shared_lab.member("n1")
        before = member.pid
        member.restart()
        assert member.pid != before
        member.stop()
        member.start()
        member.pause()
        member.resume()
        member.kill(signal.SIGTERM)
        shared_lab.wait_until(lambda status: status.nodes[0].restarts > 0)
        shared_lab.wait_ready()

    def test_has_no_leader_when_there_is_no_quorum(self, home):
        with (
            Lab.up(nodes=1, profile="fast") as lab,
            lab.stopped("n1", force=True),
            pytest.raises(QuorumError, match="has no leader"),
        ):
            lab.leader()


class TestImport:
    def test_who_attaches_pays_for_little(self, shared_lab):
        code = (
            "import sys; from etcdlab import Lab; lab = Lab.attach('shared'); lab.endpoints; lab.status(); lab.env();"
            "lab.mark(); print(*sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert not {"trio", "httpx", "cryptography", "click", "rich", "psutil", "pytest"} & set(done.stdout.split())

    def test_public_names(self):
        assert {name: getattr(etcdlab, name) for name in etcdlab.__all__}["Member"] is Member
        with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
            _ = etcdlab.Nothing
        assert Path(etcdlab.__file__).with_name("py.typed").exists()
