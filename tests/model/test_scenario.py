"""Scenarios: what is wrong with them by themselves, and for a lab."""

import msgspec
import pytest

from etcdlab.model.certificate import Defect
from etcdlab.model.plan import LinksPlan
from etcdlab.model.scenario import Scenario, misfits, problems
from etcdlab.model.step import Cut, Delay, Flap, Heal, Isolate, Kill, LeaderMove, Partition, Rate, Stop, TlsFault
from etcdlab.model.units import Duration, Size
from tests.control.fake import PLAN
from tests.plans import make_plan

NOW = {"at": Duration(1)}


def wrong(*steps, **more):
    return dict(problems(Scenario(step=steps, **more)))


def test_a_sound_one():
    assert wrong(Heal(**NOW), Kill(when="leader-changed:n2", nodes=("leader",)), Heal(every=Duration(5))) == {}


@pytest.mark.parametrize(
    ("step", "key", "said"),
    [
        (Heal(), "", "has one of at, every, when, and this has none"),
        (Heal(at=Duration(1), when="ready"), "", "this has at and when"),
        (Heal(at=Duration(60)), ".at", "never comes: the scenario is over after 1m"),
        (Heal(every=Duration(61)), ".every", "never comes"),
        (Heal(every=Duration(0)), ".every", "too short: at least 100ms"),
        (Heal(when="redy:n1"), ".when", "'redy' is no kind of event; there are"),
        (Kill(**NOW, nodes=()), ".nodes", "names no member"),
        (Kill(**NOW, nodes=("n1",), signal="NONE"), ".signal", "'NONE' is no signal"),
        (Stop(**NOW, nodes=("n1",), for_=Duration(0)), ".for", "at least 1ms"),
        (Partition(**NOW, groups=()), ".groups", "commas between"),
        (Partition(**NOW, groups=("n1", ",")), ".groups", "commas between"),
        (Partition(**NOW, groups=("n1,n2", "n2")), ".groups", "in two groups"),
        (Cut(**NOW, source="n1", target="n1"), ".to", "no link to itself"),
        (Rate(**NOW, source="n1", target="n2", rate=Size(0)), ".rate", "is a blackhole"),
        (Flap(**NOW, source="n1", target="n2", up=Duration(0)), ".up", "at least 1ms"),
    ],
)
def test_what_no_lab_can_have_done_to_it(step, key, said):
    found = wrong(Heal(**NOW), step)
    assert list(found) == [f"step[1]{key}"]
    assert said in found[f"step[1]{key}"]


def test_of_itself():
    assert wrong(name="a\nb", duration=Duration(0)).keys() == {"name", "duration", "step"}
    assert wrong(Cut(**NOW, source="random", target="random")) == {}


def with_faults(tmp_path):
    plan = make_plan(tmp_path)
    links = LinksPlan(address="192.0.2.1:2380", proxy_port=1, own_client_port=2)
    return msgspec.structs.replace(plan, nodes=tuple(msgspec.structs.replace(node, links=links) for node in plan.nodes))


def unfit(*steps, plan=PLAN):
    return dict(misfits(Scenario(step=steps), plan))


def test_it_fits_a_lab(tmp_path):
    plan = with_faults(tmp_path)
    steps = (
        Kill(**NOW, nodes=("random", "quorum", "n1")),
        LeaderMove(**NOW, node="random"),
        Cut(**NOW, source="leader", target="clients"),
        Partition(**NOW, groups=("leader", "followers")),
        TlsFault(**NOW, owner="client", defect=Defect.EXPIRED),
        TlsFault(**NOW, owner="random", defect=Defect.EXPIRED),
    )
    assert unfit(*steps, plan=plan) == {}


@pytest.mark.parametrize(
    ("step", "key", "said"),
    [
        (Kill(**NOW, nodes=("n1", "n9")), "nodes", "has no member 'n9'"),
        (Kill(when="ready:n9", nodes=("n1",)), "when", "has no member 'n9'"),
        (Partition(**NOW, groups=("n1", "clients")), "groups", "has no member 'clients'"),
        (LeaderMove(**NOW, node="followers"), "node", "may be several members"),
        (Isolate(**NOW, node="n4"), "node", "has no member 'n4'"),
        (Delay(**NOW, source="n7", target="n1", delay=Duration(1)), "from", "has no member 'n7'"),
        (TlsFault(**NOW, owner="alice", defect=Defect.EXPIRED), "owner", "has no member 'alice'"),
    ],
)
def test_who_is_not_there(tmp_path, step, key, said):
    found = unfit(step, plan=with_faults(tmp_path))
    assert list(found) == [f"step[0].{key}"]
    assert said in found[f"step[0].{key}"]


def test_what_is_not_there(tmp_path):
    assert unfit(Isolate(**NOW, node="n1")) == {"step[0].do": "the links of lab 'scripted' can have no faults"}
    plain = unfit(TlsFault(**NOW, owner="n1", defect=Defect.EXPIRED))
    assert plain == {"step[0].do": "lab 'scripted' has no certificates"}
    plan = with_faults(tmp_path)
    nodes = tuple(
        msgspec.structs.replace(node, links=msgspec.structs.replace(node.links, own_client_port=node.client_port))
        for node in plan.nodes
    )
    found = unfit(Cut(**NOW, source="clients", target="n1"), plan=msgspec.structs.replace(plan, nodes=nodes))
    assert "with clients" in found["step[0].do"]
