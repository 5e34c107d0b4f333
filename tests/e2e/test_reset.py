"""Real labs that were used, and abused, made pristine."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import EtcdTable, IdentityTable, NodeTable, Profile, TimeoutsTable, TlsTable, Topology
from etcdlab.model.units import Duration, Size
from etcdlab.prepare.ports import Ports
from etcdlab.runtime import journal
from tests.e2e import versions
from tests.e2e.labs import etcdctl, running

pytestmark = pytest.mark.etcd
FAST = EtcdTable(profile=Profile.FAST)
THREE = Topology(name="three", nodes=3, etcd=FAST)
PLAIN = msgspec.structs.replace(THREE, tls=TlsTable(enabled=False))
KEYS = 20
QUOTA = Size(256 * 2**10)
KEY, VALUE = "greeting", "hello"


def ctl(lab: Lab, *arguments: str) -> str:
    """What etcdctl prints; it must succeed."""
    done = etcdctl(lab, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def revision(lab: Lab) -> int:
    listed = etcdctl(lab, "endpoint", "status", "-w", "json").stdout
    return max(int(one["Status"]["header"]["revision"]) for one in json.loads(listed))


def pids(lab: Lab) -> dict[str, int]:
    return {name: record.identity.pid for name, record in living_members(lab.directory).items()}


def reset(lab: Lab) -> ResetOutcome:
    """Reset the lab; afterwards it must be pristine, and the journal must say so."""
    outcome = lab.client(timeout_s=60).reset()
    check_pristine(lab)
    event = next(event for event in reversed(journal.read(lab.directory.events)) if event.kind is EventKind.LAB_RESET)
    assert event.detail == {"rebuilt": outcome.rebuilt} | ({"why": outcome.why} if outcome.rebuilt else {})
    return outcome


def check_pristine(lab: Lab) -> None:
    status = lab.client(timeout_s=60).status()
    assert (status.verdict, status.is_this_lab) == (ClusterVerdict.HEALTHY, True)
    assert not any(node.paused for node in status.nodes)
    for endpoint in lab.plan.endpoints:
        stale = ctl(lab, "get", "", "--from-key", "--keys-only", "--consistency=s", "--endpoints", endpoint)
        assert stale.strip() == "", endpoint
    assert ctl(lab, "get", "", "--from-key", "--keys-only").strip() == ""
    assert ctl(lab, "lease", "list").split() == ["found", "0", "leases"]
    assert ctl(lab, "user", "list") == ctl(lab, "role", "list") == ctl(lab, "alarm", "list") == ""
    members = [line.split(", ") for line in ctl(lab, "member", "list").splitlines()]
    # By number: etcdctl writes no leading zeros.
    assert sorted((name, int(identifier, 16)) for identifier, _, name, *_ in members) == [
        (node.name, int(node.member_id or "", 16)) for node in lab.plan.nodes
    ]
    ctl(lab, "put", KEY, VALUE)  # and it serves
    ctl(lab, "del", KEY)


def use(lab: Lab) -> None:
    """Leave what a test may leave, authentication on."""
    for number in range(KEYS):
        ctl(lab, "put", f"k{number}", VALUE)
    lease = ctl(lab, "lease", "grant", "600").split()[1]
    ctl(lab, "put", "leased", VALUE, "--lease", lease)
    ctl(lab, "user", "add", "root:secret")
    ctl(lab, "user", "add", "alice", "--no-password")
    ctl(lab, "role", "add", "reader")
    ctl(lab, "role", "grant-permission", "reader", "read", KEY)
    ctl(lab, "user", "grant-role", "alice", "reader")
    ctl(lab, "user", "grant-role", "root", "root")
    ctl(lab, "auth", "enable")


@contextmanager
def a_lab(topology: Topology) -> Iterator[Lab]:
    with running(topology) as (lab, _):
        yield lab


@pytest.fixture
def three(home: Path) -> Iterator[Lab]:
    with a_lab(THREE) as lab:
        yield lab


@pytest.fixture(params=versions.VERSIONS)
def each_version(request: pytest.FixtureRequest, home: Path) -> Iterator[Lab]:
    """A lab of three with a small quota. Under authentication, 3.5.30 tells nobody its status or its members."""
    with versions.kept_cache():
        versions.require(request.param)
        table = EtcdTable(version=request.param, profile=Profile.FAST, quota=QUOTA)
        with a_lab(msgspec.structs.replace(THREE, etcd=table)) as lab:
            yield lab


def test_what_a_test_left_is_gone_and_no_member_was_touched(each_version: Lab) -> None:
    lab = each_version
    processes, before = pids(lab), revision(lab)
    use(lab)
    assert etcdctl(lab, "put", KEY, VALUE).returncode != 0
    assert reset(lab) == ResetOutcome(rebuilt=False)
    assert pids(lab) == processes
    assert revision(lab) > before + KEYS
    watch = etcdctl(lab, "watch", "", "--prefix", "--rev", "1")
    assert "required revision has been compacted" in watch.stderr
    assert not list(Path(tempfile.gettempdir()).glob("etcdlab-*/root*"))


def test_a_full_database_has_room_again(each_version: Lab) -> None:
    lab = each_version
    while etcdctl(lab, "put", "big", "x" * 20_000).returncode == 0:
        pass
    assert "NOSPACE" in ctl(lab, "alarm", "list")
    assert reset(lab) == ResetOutcome(rebuilt=False)
    assert all(node.db_size < QUOTA / 2 for node in lab.status().nodes if node.db_size)


def test_an_identity_of_root_turns_authentication_off(home: Path) -> None:
    topology = msgspec.structs.replace(THREE, nodes=1, tls=TlsTable(identity=(IdentityTable(name="root"),)))
    with a_lab(topology) as lab:
        use(lab)
        (lab.directory.pki / "ca-key.pem").unlink()  # so none could be issued
        assert not reset(lab).rebuilt


def test_a_pristine_lab_stays_as_it_is(three: Lab) -> None:
    assert reset(three) == reset(three) == ResetOutcome(rebuilt=False)
    before = revision(three)
    three.client(timeout_s=60).reset()
    assert revision(three) == before


def test_members_that_are_stopped_or_frozen_come_back(three: Lab) -> None:
    client = three.client(timeout_s=60)
    leader = client.status().leader
    assert leader is not None
    frozen, stopped = (node.name for node in three.plan.nodes if node.name != leader)
    ctl(three, "put", KEY, VALUE)
    client.pause([leader])
    client.stop([stopped], force=True)
    os.kill(pids(three)[frozen], signal.SIGSTOP)  # behind the supervisor's back
    assert reset(three) == ResetOutcome(rebuilt=False)


def test_members_that_were_added_are_removed(three: Lab) -> None:
    with Ports() as ports:
        for kind in (["--learner"], []):
            url = f"https://127.0.0.1:{ports.choose()}"
            ctl(three, "member", "add", "stranger", *kind, "--peer-urls", url)
            assert reset(three) == ResetOutcome(rebuilt=False)


def test_a_removed_member_is_there_again_in_a_rebuilt_lab(three: Lab) -> None:
    ctl(three, "put", KEY, VALUE)
    ids = [node.member_id for node in three.plan.nodes]
    seen = journal.read(three.directory.events)[-1].seq
    three.etcdctl("member", "remove", ids[1] or "", member="n1")  # n2 itself may have stopped before it answers
    outcome = reset(three)
    assert outcome.rebuilt
    assert "n2" in outcome.why
    assert "removed from the cluster" in outcome.why
    assert [node.member_id for node in three.plan.nodes] == ids
    kinds = {event.kind for event in journal.read(three.directory.events) if event.seq > seen}
    assert EventKind.QUORUM_LOST not in kinds
    assert EventKind.LEADER_CHANGED in kinds


def test_authentication_without_certificates_costs_a_rebuild(home: Path) -> None:
    with a_lab(PLAIN) as lab:
        use(lab)
        outcome = reset(lab)
        assert outcome.rebuilt
        assert "root's password" in outcome.why


def test_a_lost_data_directory_costs_a_rebuild(home: Path) -> None:
    elsewhere = home / "elsewhere"
    members = (NodeTable(name="n1"), NodeTable(name="n2", data_dir=str(elsewhere)), NodeTable(name="n3"))
    with a_lab(Topology(name="placed", node=members, etcd=FAST)) as lab:
        shutil.rmtree(elsewhere / "member")
        assert reset(lab) == ResetOutcome(rebuilt=True, why="the data directory of n2 is gone")
        (elsewhere / "notes").write_text("not etcd's")
        client = lab.client(timeout_s=60)
        client.stop(["n2"])
        shutil.rmtree(elsewhere / "member")
        outcome = reset(lab)
        assert outcome.why.startswith("member n2 did not start")
        assert (elsewhere / "notes").exists()
        (elsewhere / "notes").unlink()


def test_a_learner_learns_again_in_a_rebuilt_lab(home: Path) -> None:
    members = (NodeTable(name="n1"), NodeTable(name="n2", learner=True))
    with a_lab(Topology(name="learning", node=members, etcd=FAST)) as lab:
        ctl(lab, "put", KEY, VALUE)
        assert not reset(lab).rebuilt
        ctl(lab, "member", "promote", lab.plan.nodes[1].member_id or "")
        assert reset(lab) == ResetOutcome(rebuilt=True, why="learner n2 was promoted")


def test_a_quorum_that_does_not_come_back_costs_a_rebuild(home: Path) -> None:
    topology = msgspec.structs.replace(THREE, nodes=1, timeouts=TimeoutsTable(boot=Duration(4)))
    with a_lab(topology) as lab, Ports() as ports:
        ctl(lab, "member", "add", "nobody", "--peer-urls", f"https://127.0.0.1:{ports.choose()}")
        assert reset(lab).rebuilt
