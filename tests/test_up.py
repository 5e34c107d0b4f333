"""From a topology to a ready lab on real etcds, and back to nothing when that fails."""

import contextlib
import gc
import itertools
import os
import shutil
import socket
from pathlib import Path

import pytest

from etcdlab import up as module
from etcdlab.errors import BootError, LabStateError, PortTakenError, TimedOutError
from etcdlab.lab import Lab
from etcdlab.model.event import Event, EventKind
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, NodeTable, Profile, RestartTable, Topology
from etcdlab.prepare import config
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import Ports
from etcdlab.up import Outcome, Request, Watcher, _create, _refuse_difference, up
from tests.conftest import processes_of
from tests.damage import cut, flipped
from tests.e2e.labs import WATCHER, etcdctl, running

FAST = EtcdTable(profile=Profile.FAST)
ONE = Topology(name="one", nodes=1, etcd=FAST)
BAD_FLAG = Topology(name="bad", etcd=FAST, node=(NodeTable(name="n1"), NodeTable(name="n2", args=("--no-such-flag",))))


def ask(topology: Topology, **more) -> Request:
    return Request(**{"topology": topology, "base": Path("/"), "explicit": True} | more)


@pytest.mark.etcd
class TestUp:
    def test_creates_a_lab_that_is_ready_and_tells_how(self, home):
        events: list[Event] = []
        watcher = Watcher(on_event=events.append, on_install=lambda _: None)
        topology = Topology(name="three", nodes=3, etcd=FAST)
        started = up(ask(topology), watcher)
        try:
            assert started.outcome is Outcome.CREATED
            assert started.status.verdict is ClusterVerdict.HEALTHY
            assert started.status.is_this_lab
            assert started.status.leader in {"n1", "n2", "n3"}
            told = [(event.kind, event.node) for event in events]
            assert {(EventKind.READY, node) for node in ("n1", "n2", "n3")} <= set(told)
            spawned = [node for kind, node in told if kind is EventKind.SPAWNED]
            assert spawned == ["n1", "n2", "n3"]
            assert etcdctl(Lab(started.directory), "endpoint", "health").returncode == 0
        finally:
            Lab(started.directory).down(purge=True)

    def test_leaves_no_warning_and_no_zombie_with_who_called_it(self, home):
        lab = Lab(up(ask(ONE), WATCHER).directory)
        gc.collect()  # a Popen of a living process would complain here
        lab.down(purge=True)
        gc.collect()

    def test_a_second_time_finds_it_running(self, home):
        with running(ONE) as (_, status):
            again = up(ask(ONE), WATCHER)
            assert again.outcome is Outcome.ALREADY_RUNNING
            assert again.status.nodes[0].pid == status.nodes[0].pid
            assert again.daemon is None

    @pytest.mark.parametrize("stopped", [False, True])
    def test_another_topology_for_the_same_name_is_refused(self, home, stopped):
        with running(ONE) as (lab, _):
            if stopped:
                lab.down(purge=False)
            with pytest.raises(LabStateError, match="was made from another topology") as caught:
                up(ask(Topology(name="one", nodes=3, etcd=FAST)), WATCHER)
            assert "etcdlab down --purge --lab one" in caught.value.hint
            default = ask(Topology(name="one"), explicit=False)  # nobody asked for anything in particular
            assert up(default, WATCHER).status.nodes[0].healthy

    def test_after_down_it_is_as_it_was(self, home):
        topology = Topology(name="three", nodes=3, etcd=FAST)
        with running(topology) as (lab, before):
            assert etcdctl(lab, "put", "k", "kept").returncode == 0
            lab.down(purge=False)
            assert processes_of(home) == []
            again = up(ask(topology), WATCHER)
            assert again.outcome is Outcome.RESTARTED
            for old, new in zip(before.nodes, again.status.nodes, strict=True):
                assert (old.client_url, old.peer_url, old.member_id) == (new.client_url, new.peer_url, new.member_id)
            assert again.status.cluster_id == before.cluster_id
            assert etcdctl(lab, "get", "k", "--print-value-only").stdout == "kept\n"

    def test_a_learner_learns_and_is_still_one_after_a_restart(self, home):
        learner = NodeTable(name="n2", learner=True)
        topology = Topology(name="learner", etcd=FAST, node=(NodeTable(name="n1"), learner))
        with running(topology) as (lab, status):
            assert [node.is_learner for node in status.nodes] == [False, True]
            assert status.verdict is ClusterVerdict.HEALTHY
            lab.down(purge=False)
            again = up(ask(topology), WATCHER).status
            assert [node.is_learner for node in again.nodes] == [False, True]
            assert again.nodes[1].member_id == status.nodes[1].member_id
            assert len(etcdctl(lab, "member", "list").stdout.splitlines()) == 2


@pytest.mark.etcd
class TestFailure:
    def test_of_a_member_names_it_and_removes_everything(self, home):
        with pytest.raises(BootError, match="member n2 did not start: flag provided but not defined") as caught:
            up(ask(BAD_FLAG), WATCHER)
        assert caught.value.log_tail
        assert "etcdlab plan" in caught.value.hint
        assert list(home.iterdir()) == []
        assert processes_of(home) == []

    def test_frees_the_ports(self, home):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        bad = Topology(name="bad", etcd=FAST, node=(NodeTable(name="n1", client_port=port), BAD_FLAG.node[1]))
        with pytest.raises(BootError):
            up(ask(bad), WATCHER)
        socket.create_server(("127.0.0.1", port)).close()

    def test_leaves_it_for_a_look_with_keep(self, home):
        with pytest.raises(BootError):
            up(ask(BAD_FLAG, keep=True), WATCHER)
        directory = LabDirectory.named("bad")
        assert "no-such-flag" in (directory.node("n2") / "etcd.log").read_text()
        assert processes_of(home) == []
        Lab(directory).down(purge=True)

    def test_a_crash_loop_runs_into_the_bound_and_says_who(self, home):
        crash = Topology(
            name="crash",
            etcd=FAST,
            restart=RestartTable(backoff=0.05, backoff_max=0.05, budget=1000),
            node=(NodeTable(name="n1", env={"GOMEMLIMIT": "nonsense"}),),
        )
        with pytest.raises(TimedOutError, match=r"not ready within 0\.5 s: n1 is (backoff|starting) \(.*GOMEMLIMIT"):
            up(ask(crash, boot_s=0.5), WATCHER)

    def test_of_a_lab_that_was_there_before_leaves_it(self, home):
        with running(ONE) as (lab, _):
            lab.down(purge=False)
            with (
                socket.create_server(("127.0.0.1", lab.plan.nodes[0].client_port)),
                pytest.raises(BootError, match=rf"held by .+ \(pid {os.getpid()}\)"),
            ):
                up(ask(ONE), WATCHER)
            assert lab.directory.exists()
            assert up(ask(ONE), WATCHER).outcome is Outcome.RESTARTED


class TestRefusal:
    """Before anything runs."""

    def test_of_a_port_names_its_holder_and_creates_nothing(self, home):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            topology = Topology(name="p", etcd=FAST, node=(NodeTable(name="n1", client_port=port),))
            with pytest.raises(PortTakenError, match=rf"port {port} .*\(pid {os.getpid()}\)"):
                up(ask(topology), WATCHER)

    def test_of_a_directory_that_is_not_a_labs_touches_nothing(self, home):
        """A lab that fails removes its directory: it must have been its own."""
        mine = home / "bad" / "thesis.txt"
        mine.parent.mkdir()
        mine.write_text("years of work")
        with pytest.raises(LabStateError, match=r"no lab's directory: it holds thesis\.txt"):
            up(ask(BAD_FLAG), WATCHER)
        assert [path.name for path in mine.parent.iterdir()] == ["thesis.txt"]
        mine.unlink()
        mine.parent.rmdir()

    def test_of_a_data_directory_with_somebodys_data_touches_nothing(self, home, tmp_path):
        wal = tmp_path / "data" / "member" / "wal" / "0.wal"
        wal.parent.mkdir(parents=True)
        wal.write_text("precious")
        node = NodeTable(name="n1", data_dir=str(tmp_path / "data"), args=("--no-such-flag",))
        with pytest.raises(LabStateError, match="holds an earlier member's data"):
            up(ask(Topology(name="bad", etcd=FAST, node=(node,))), WATCHER)
        assert wal.read_text() == "precious"


def test_a_damaged_topology_is_another_or_is_told_as_such(home):
    """Cut at every byte or with a byte flipped: never anything but a refusal, or nothing that it matters for."""
    directory = LabDirectory.named("one")
    directory.path.mkdir()
    directory.topology.write_text(config.dump(ONE))
    whole = directory.topology.read_bytes()
    for content in [*cut(whole), *itertools.islice(flipped(whole), 0, None, 20), None]:
        directory.topology.unlink() if content is None else directory.topology.write_bytes(content)
        with contextlib.suppress(LabStateError):
            _refuse_difference(directory, ask(ONE))
    with pytest.raises(LabStateError, match=r"topology\.toml: cannot be read") as caught:
        _refuse_difference(directory, ask(ONE))
    assert "`etcdlab up --name one`, with nothing else" in caught.value.hint
    shutil.rmtree(directory.path)


def test_a_topology_that_an_earlier_etcdlab_wrote_is_the_same_without_what_is_new_and_its_default(home):
    directory = LabDirectory.named("one")
    directory.path.mkdir()
    lines = config.dump(ONE).splitlines(keepends=True)
    directory.topology.write_text("".join(line for line in lines if not line.startswith("budget")))
    _refuse_difference(directory, ask(ONE))
    directory.topology.write_text("".join(lines) + "\n[colour]\nsky = 1\n")
    with pytest.raises(LabStateError, match=r"cannot be told any more.*colour: unknown key"):
        _refuse_difference(directory, ask(ONE))
    shutil.rmtree(directory.path)


def test_the_ports_of_a_lab_that_is_removed_meanwhile_are_nobodys(home, monkeypatch):
    monkeypatch.setattr(module, "all_labs", lambda: [LabDirectory.named("gone")])
    assert module._known_ports() == set()


@pytest.mark.etcd
@pytest.mark.etcd
@pytest.mark.parametrize("profile", Profile)
def test_keys_are_on_the_disk_before_the_plan_unless_the_data_that_needs_them_will_not_be(home, monkeypatch, profile):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    directory = LabDirectory.named("one")
    os.close(directory.acquire())
    with Ports() as ports:
        _create(directory, ask(Topology(name="one", etcd=EtcdTable(profile=profile))), WATCHER, ports)
    keys = {path.stat().st_ino for path in directory.pki.iterdir()}
    written = directory.plan.stat().st_ino
    assert keys & set(synced[: synced.index(written)]) == (keys if profile is Profile.REALISTIC else set())
    directory.purge(None)


def test_members_data_without_a_plan_is_not_discarded(home):
    directory = LabDirectory.named("one")
    data = directory.node("n1") / "data" / "member"
    data.mkdir(parents=True)
    with pytest.raises(LabStateError, match="holds members' data"):
        up(Request(topology=ONE, base=home, explicit=True), WATCHER)
    assert data.is_dir()
    assert not directory.is_running()
    shutil.rmtree(directory.path)


def test_what_a_killed_creation_left_is_no_obstacle(home):
    directory = LabDirectory.named("one")
    for path in (directory.node("n1") / "data", directory.node("n9"), directory.pki):
        path.mkdir(parents=True)
    directory.path.chmod(0o700)
    for path in (directory.pki / "ca.pem", directory.topology, directory.path / ".plan.json.abc", directory.lock):
        path.write_text("half")
    with running(ONE):
        assert not directory.node("n9").exists()
