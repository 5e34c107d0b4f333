"""What faults on links do to real members, and that all else works through the fault network, too."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from etcdlab.errors import LabStateError, QuorumError, ToolError, UnknownMemberError, UsageError
from etcdlab.gateway import Gateway, client_context
from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.link import CLIENTS, Blackhole, Cut, Delay, Link
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, NetworkTable, NodeTable, Profile, Topology
from etcdlab.prepare.process import send_signal
from etcdlab.prepare.title import Role, process_of
from tests.cli.command import run, run_json
from tests.e2e.labs import enter, running, shared

pytestmark = pytest.mark.etcd
NAMES = ("n1", "n2", "n3")
ELECTION_S = 1.0
AGREED_S = 1.0
SNAPSHOT_COUNT = 100
CLIENTS_AT_ONCE = 40


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    # Elections ten times as long as in the fast profile, so that a busy machine is not taken for a fault.
    flags = {"heartbeat-interval": 100, "election-timeout": int(ELECTION_S * 1000), "snapshot-count": SNAPSHOT_COUNT}
    etcd = EtcdTable(profile=Profile.FAST, flags=flags)
    topology = Topology(name="links", nodes=3, etcd=etcd, network=NetworkTable(faults=True))
    with shared(topology, tmp_path_factory) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A healthy lab whose links have no faults."""
    enter(_lab, monkeypatch)
    yield _lab
    _lab.heal()
    _lab.wait_ready()


def get(lab: Lab, member: str, key: str) -> str:
    """What this member has itself, without asking the others."""
    return lab.etcdctl("get", "--consistency=s", "--print-value-only", key, member=member).strip()


def reads(lab: Lab, member: str, *, timeout_s: float = 2) -> bool:
    """Whether a linearizable read through this member succeeds."""
    try:
        lab.etcdctl("get", "x", f"--command-timeout={timeout_s}s", member=member, timeout=timeout_s + 10)
    except ToolError:
        return False
    return True


def hashes(lab: Lab) -> set[int]:
    answers = json.loads(lab.etcdctl("endpoint", "hashkv", "--write-out", "json"))
    assert len(answers) == len(NAMES)
    return {answer["HashKV"]["hash"] for answer in answers}


def wait_agreed(lab: Lab) -> float:
    """Seconds until all members have the same content."""
    began = time.monotonic()
    while len(hashes(lab)) != 1:
        assert time.monotonic() - began < 30
    return time.monotonic() - began


def roles(lab: Lab) -> tuple[str, str, str]:
    """The leader and two followers."""
    leader = lab.wait_ready().leader
    assert leader is not None
    one, other = (name for name in NAMES if name != leader)
    return leader, one, other


def test_an_isolated_leader_gets_nothing_and_the_others_elect(lab: Lab) -> None:
    leader, one, other = roles(lab)
    mark = lab.mark()
    with lab.isolate(leader) as injected:
        assert set(injected.links) == {
            Link(*ends) for name in (one, other) for ends in ((leader, name), (name, leader))
        }
        elected = lab.wait_for_event(EventKind.LEADER_CHANGED, since=mark)
        assert elected.node in (one, other)
        lab.etcdctl("put", "during", "1", member=one)
        assert get(lab, other, "during") == "1"
        assert get(lab, leader, "during") == ""
        assert not reads(lab, leader)
        lab.wait_for_event(EventKind.UNHEALTHY, leader, since=mark)
        (fault,) = (event for event in lab.events(since=mark) if event.kind is EventKind.FAULT_INJECTED)
        took_s = elected.monotonic_s - fault.monotonic_s
    assert took_s < 2 * ELECTION_S + 1.0, "and what it takes to hear of it"
    lab.wait_until(lambda status: all(node.healthy for node in status.nodes))
    assert wait_agreed(lab) < AGREED_S + 1.0
    assert get(lab, leader, "during") == "1"
    lab.wait_for_event(EventKind.HEALTHY, leader, since=mark)


def test_a_hold_from_the_leader_costs_that_follower_its_leader_and_nobody_else(lab: Lab) -> None:
    leader, one, other = roles(lab)
    term = lab.status().nodes[0].raft_term
    with lab.blackhole(leader, one, one_way=True):
        lab.wait_until(lambda status: not next(node for node in status.nodes if node.name == one).healthy)
        assert not reads(lab, one)
        lab.etcdctl("put", "held", "1", member=other)
        assert get(lab, one, "held") == ""
        status = lab.status()
        assert status.leader == leader
        assert {node.raft_term for node in status.nodes} == {term}
    lab.wait_until(lambda status: all(node.healthy for node in status.nodes))
    assert get(lab, one, "held") == "1"


def test_a_cut_between_followers_is_invisible(lab: Lab) -> None:
    leader, one, other = roles(lab)
    mark = lab.mark()
    with lab.cut(one, other):
        for member in NAMES:
            lab.etcdctl("put", f"through-{member}", "1", member=member)
            assert reads(lab, member)
        status = lab.status()
        assert (status.leader, status.verdict) == (leader, ClusterVerdict.HEALTHY)
    assert not [event for event in lab.events(since=mark) if event.kind is EventKind.LEADER_CHANGED]


def test_a_delay_costs_one_round_trip_and_not_two(lab: Lab) -> None:
    leader, one, other = roles(lab)

    def put_s() -> float:
        began = time.monotonic()
        lab.etcdctl("put", "k", "v", member=leader)
        return time.monotonic() - began

    direct = min(put_s() for _ in range(3))
    lab.delay(leader, one, "200ms")
    lab.delay(leader, other, "200ms")
    added = min(put_s() for _ in range(3)) - direct
    assert 0.3 < added < 0.7


def test_clients_can_be_kept_from_a_member_alone(lab: Lab) -> None:
    leader, one, _ = roles(lab)
    with lab.cut(CLIENTS, one):
        assert not reads(lab, one)
        assert lab.wait_ready().leader == leader, "the supervisor asks past the links"
    assert reads(lab, one)


def test_a_fault_ends_by_itself(lab: Lab) -> None:
    mark = lab.mark()
    assert run("net", "delay", "n1", "n2", "30ms", "--for", "100ms").output == "delay 30ms: n1 ↔ n2, for 0.1 s\n"
    healed = lab.wait_for_event(EventKind.FAULT_HEALED, since=mark)
    assert healed.detail["text"] == "delay 30ms n1 ↔ n2"
    assert lab.faults() == ()


def test_ends_can_be_who_leads_now_and_who_does_not(lab: Lab) -> None:
    leader, one, other = roles(lab)
    parted = lab.partition({"leader"}, {"followers"}, for_="20s")
    assert set(parted.links) == {Link(*ends) for name in (one, other) for ends in ((leader, name), (name, leader))}
    lab.heal()
    leader, one, other = roles(lab)
    assert lab.delay("leader", one, "1ms", one_way=True).links == (Link(leader, one),)
    lab.heal("leader")
    assert lab.faults() == ()
    with pytest.raises(UsageError, match=f"'followers' is {one}, {other} now, and a link has one member at each end"):
        lab.cut("leader", "followers")
    assert leader in run("net", "delay", "clients", "leader", "1ms").output


def test_what_would_lose_quorum_is_refused(lab: Lab) -> None:
    with lab.isolate("n1"):
        refused = run("net", "isolate", "n2", status=1)
        assert "would leave no 2 of 3 voting members connected" in refused.output
        assert "--force" in refused.output
        with pytest.raises(QuorumError):
            lab.blackhole("n2", "n3", one_way=True)
        assert "stopping n2 would leave 1 of 3 voting members connected" in run("stop", "n2", status=1).output
        with lab.partition({"n2"}, {"n3"}, force=True):
            lab.wait_until(lambda status: status.verdict is ClusterVerdict.NO_QUORUM)


def test_one_after_the_other_is_isolated(lab: Lab) -> None:
    """What was healed a moment ago is not held against the next one."""
    for name in ("n1", "n2", "n3", "n1"):
        with lab.isolate(name):
            lab.wait_until(lambda status, name=name: name not in (status.leader, None))


def test_what_makes_no_sense_is_refused(lab: Lab) -> None:
    for ends in (("n1", "n1"), ("n1", "n9")):
        with pytest.raises(UsageError):
            lab.cut(*ends)
    with pytest.raises(UnknownMemberError, match="n9"):
        lab.isolate("n9")
    with pytest.raises(UsageError, match="two groups at once"):
        lab.partition({"n1"}, {"n1", "n2"})
    with pytest.raises(UsageError, match="needs two groups"):
        lab.partition(NAMES)
    for delay in ("soon", -1):
        with pytest.raises(UsageError, match="not a duration"):
            lab.delay("n1", "n2", delay)
    with pytest.raises(UsageError, match="blackhole"):
        lab.rate("n1", "n2", 0)
    assert lab.faults() == ()


def test_the_matrix(lab: Lab) -> None:
    run("net", "partition", "n1 | n2,n3")
    run("net", "delay", "n2", "n3", "30ms", "--jitter", "10ms", "--one-way")
    run("net", "rate", "n3", "clients", "1MiB", "--one-way")
    lines = [line.split() for line in run("net").output.splitlines()]
    assert lines[0] == ["FROM", "\\", "TO", "n1", "n2", "n3", "clients"]
    assert lines[1] == ["n1", "cut", "cut", "ok"]
    assert lines[2] == ["n2", "cut", "delay", "30ms", "±", "10ms", "ok"]
    assert lines[3] == ["n3", "cut", "ok", "rate", "1MiB/s"]
    told = run_json("net")
    assert len(told["links"]) == 12
    assert {(fault["link"]["source"], fault["link"]["target"], fault["fault"]["type"]) for fault in told["faults"]} == {
        ("n1", "n2", "cut"), ("n2", "n1", "cut"), ("n1", "n3", "cut"), ("n3", "n1", "cut"),
        ("n2", "n3", "delay"), ("n3", "clients", "rate"),
    }  # fmt: skip
    lab.wait_until(lambda status: status.verdict is ClusterVerdict.DEGRADED)
    assert "injected: cut: n1 ↔ n2, n1 ↔ n3" in run("status", status=4).output
    assert run("net", "heal", "n1", "n2").output == "healed: n1 ↔ n2\n"
    assert run("net", "heal", "n3").output == "healed: n1 ↔ n3, n2 → n3, n3 → clients\n"
    assert run("net", "heal").output == "there was nothing to heal\n"


def test_flap_and_rate_from_the_command_line(lab: Lab) -> None:
    assert run("net", "flap", "n1", "n2", "--down", "200ms", "--for", "5s").output == (
        "flap 200ms down 1s up: n1 ↔ n2, for 5 s\n"
    )
    told = run_json("net", "blackhole", "n1", "n2", "--one-way", "--force")
    assert told == {
        "version": 1, "fault": {"type": "blackhole"}, "links": [{"source": "n1", "target": "n2"}], "for_s": None,
    }  # fmt: skip


def test_a_reset_heals(lab: Lab) -> None:
    lab.isolate("n1")
    lab.reset()
    assert lab.faults() == ()
    assert lab.status().verdict is ClusterVerdict.HEALTHY


def test_a_member_that_missed_more_than_the_leader_keeps_gets_a_snapshot(lab: Lab) -> None:
    """5,000 entries before its last snapshot of its own (DefaultSnapshotCatchUpEntries, etcd 3.5 server.go)."""
    leader, one, _ = roles(lab)
    mark = lab.mark()
    url, context = lab.plan.select([leader])[0].client_url, client_context(lab.plan)

    def write(client: int) -> None:
        with contextlib.closing(Gateway(url, context, timeout_s=10)) as gateway:
            for number in range((5_000 + 2 * SNAPSHOT_COUNT) // CLIENTS_AT_ONCE):
                gateway.put(f"missed-{client}", str(number))

    with lab.stopped(one), ThreadPoolExecutor(CLIENTS_AT_ONCE) as clients:
        list(clients.map(write, range(CLIENTS_AT_ONCE)))
    lab.wait_for_log(one, "applied snapshot", since=mark)
    assert wait_agreed(lab) < 30


def test_a_daemon_that_is_killed_changes_nothing_on_the_links(lab: Lab) -> None:
    leader, one, other = roles(lab)
    lab.delay(one, other, "5ms")
    lab.isolate(one)
    network = process_of(lab.directory, Role.NETWORK)
    daemon = process_of(lab.directory)
    assert daemon is not None
    send_signal(daemon, signal.SIGKILL)
    assert lab.directory.wait_released(10)
    lab.etcdctl("put", "unsupervised", "1", member=leader)
    assert get(lab, one, "unsupervised") == ""
    run("up", "--name", "links", status=4)
    assert process_of(lab.directory, Role.NETWORK) == network
    assert {type(active.fault) for active in lab.faults()} == {Cut, Delay}
    assert get(lab, one, "unsupervised") == ""


def test_down_without_a_daemon_ends_the_network_too(home: Path) -> None:
    topology = Topology(name="gone", nodes=1, etcd=EtcdTable(profile=Profile.FAST), network=NetworkTable(faults=True))
    with running(topology) as (lab, _):
        daemon = process_of(lab.directory)
        assert daemon is not None
        send_signal(daemon, signal.SIGKILL)
        assert lab.directory.wait_released(10)
        run("down", "--purge", "--lab", "gone")
        assert process_of(lab.directory, Role.NETWORK) is None


def test_members_are_added_and_promoted_and_removed_through_it(home: Path) -> None:
    nodes = (NodeTable(name="n1"), NodeTable(name="n2"), NodeTable(name="n3"), NodeTable(name="late", learner=True))
    topology = Topology(
        name="grows", node=nodes, etcd=EtcdTable(profile=Profile.FAST), network=NetworkTable(faults=True, clients=False)
    )
    with running(topology) as (lab, status):
        (late,) = (node for node in status.nodes if node.is_learner)
        assert late.member_id is not None
        lab.etcdctl("put", "k", "v")
        lab.etcdctl("member", "promote", late.member_id)
        lab.wait_until(lambda now: not any(node.is_learner for node in now.nodes))
        lab.etcdctl("member", "remove", late.member_id)
        assert "late" not in lab.etcdctl("member", "list")
        with pytest.raises(LabStateError, match="with clients can have no faults"):
            lab.cut("clients", "n1")


def test_a_lab_without_fault_links_says_what_to_do(shared_lab: Lab) -> None:
    for words in (["net"], ["net", "isolate", "n1"], ["net", "heal"]):
        refused = run(*words, status=1).output
        assert "the links of lab 'shared' can have no faults" in refused
        assert "etcdlab up --faults" in refused
    assert Blackhole not in {type(active.fault) for active in shared_lab.status().faults}
