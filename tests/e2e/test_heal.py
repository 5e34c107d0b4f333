"""Everything that was done to a lab on purpose, undone at once."""

from pathlib import Path

import pytest

from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.link import Cut
from tests.cli.command import run, run_json

pytestmark = pytest.mark.etcd


def test_everything_is_undone_and_then_there_is_nothing(home: Path) -> None:
    with Lab.up(nodes=3, profile="fast", faults=True, name="broken") as lab:
        lab.member("n1").limit_database("1MiB")
        lab.isolate("n1")
        lab.certificates.spoil("n2", "expired", role="peer")
        lab.certificates.spoil("client", "wrong-eku", for_="1h")
        lab.client().stop(["n3"], force=True)
        lab.member("n2").pause(for_="1h", force=True)
        assert run("heal").output == (
            "links: n1 ↔ n2, n1 ↔ n3\ncertificates: peer-n2, client\ndisks: quota of 1MiB of n1\n"
            "resumed: n2\nstarted: n3\n"
        )
        status = lab.wait_ready()
        assert (status.faults, status.defects) == ((), ())
        lab.etcdctl("put", "k", "v")
        assert run("heal").output == "there was nothing to heal\n"
        lab.cut("n1", "n2", one_way=True)
        assert run_json("heal")["faults"][0]["fault"] == {"type": "cut"}
        lab.delay("n1", "n2", "1ms")
        assert {type(one.fault) for one in lab.heal_all().faults} != {Cut}


def test_a_timeline_for_assertions(home: Path) -> None:
    with Lab.up(nodes=3, profile="fast", name="timed") as lab:
        mark = lab.mark()
        assert lab.timeline(since=mark).leader_changes == 0
        first = lab.leader().name
        other = next(member.name for member in lab.members if member.name != first)
        lab.move_leader(other)
        lab.wait_for_event("leader-changed", since=mark)
        shown = lab.timeline(since=mark)
        assert shown.leader_changes == 1
        assert [leader.text for leader in shown.leaders] == [first, other]
        assert {spans[-1].text for spans in shown.members.values()} == {"ready"}


def test_a_signal_that_was_asked_for_is_told(home: Path) -> None:
    with Lab.up(nodes=1, profile="fast", name="killed") as lab:
        lab.member("n1").kill(force=True)
        lab.wait_ready()
        told = [event for event in lab.events() if event.kind in (EventKind.SIGNAL_SENT, EventKind.EXITED)]
        assert [(event.kind, event.node) for event in told] == [(EventKind.SIGNAL_SENT, "n1"), (EventKind.EXITED, "n1")]
        assert told[0].detail == {"signal": "SIGKILL"}
