import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.model.link import Blackhole, Cut, Delay, Flap, Link, Rate, between
from etcdlab.network.rules import Faults

LINK = Link("n1", "n2")
times = st.floats(min_value=0.001, max_value=10)


@pytest.fixture
def faults():
    return Faults()


def put(faults, fault, *links, now=0.0, until=None):
    faults.inject(links or [LINK], fault, now=now, until=until)


def test_a_link_without_faults(faults):
    assert not faults.is_cut(LINK, 0)
    assert not faults.is_held(LINK)
    assert not faults.is_shaped(LINK)
    assert faults.delay_s(LINK, 1) == 0
    assert faults.rate(LINK) is None
    assert faults.next_change(0) == math.inf


def test_a_fault_is_on_its_link_alone(faults):
    put(faults, Cut())
    assert faults.is_cut(LINK, 0)
    assert not faults.is_cut(LINK.back, 0)
    assert not faults.is_shaped(LINK)


def test_one_of_each_kind(faults):
    for fault in (Cut(), Blackhole(), Delay(delay_s=1), Rate(bytes_per_s=5), Delay(delay_s=2, jitter_s=0.5)):
        put(faults, fault)
    assert len(list(faults)) == 4
    assert [faults.delay_s(LINK, luck) for luck in (-1, 0, 1)] == [1.5, 2, 2.5]
    assert faults.rate(LINK) == 5
    assert faults.is_held(LINK)
    assert faults.is_shaped(LINK)


def test_jitter_makes_nothing_arrive_before_it_was_sent(faults):
    put(faults, Delay(delay_s=1, jitter_s=3))
    assert faults.delay_s(LINK, -1) == 0


def test_healing_by_link_and_kind(faults):
    put(faults, Cut(), *between("n1", "n2"))
    put(faults, Blackhole(), *between("n1", "n2"))
    faults.heal([LINK], ["cut"])
    assert {(active.link, type(active.fault)) for active in faults} == {
        (LINK, Blackhole), (LINK.back, Blackhole), (LINK.back, Cut),
    }  # fmt: skip
    faults.heal([LINK.back])
    assert [(active.link, type(active.fault)) for active in faults] == [(LINK, Blackhole)]
    faults.heal()
    assert not list(faults)


def test_a_fault_that_is_over(faults):
    put(faults, Cut(), until=5)
    put(faults, Blackhole(), until=3)
    assert faults.next_change(0) == 3
    faults.expire(3)
    assert (faults.is_held(LINK), faults.is_cut(LINK, 3)) == (False, True)
    faults.expire(5)
    assert not list(faults)


def test_flapping_begins_cut(faults):
    put(faults, Flap(down_s=2, up_s=3), now=10)
    assert [faults.is_cut(LINK, 10 + s) for s in (0, 1.9, 2, 4.9, 5, 6.9, 7)] == [
        True, True, False, False, True, True, False,
    ]  # fmt: skip
    assert [faults.next_change(10 + s) for s in (0, 2, 5)] == [12, 15, 17]


@given(down=times, up=times, since=st.floats(0, 1e6), turns=st.integers(1, 20))
def test_each_turn_of_a_flap_is_seen_and_leads_to_the_next(down, up, since, turns):
    faults, now = Faults(), since
    put(faults, Flap(down_s=down, up_s=up), now=since)
    cut = [faults.is_cut(LINK, now)]
    for _ in range(turns):
        following = faults.next_change(now)
        assert following > now
        now = following
        cut.append(faults.is_cut(LINK, now))
    assert cut == [number % 2 == 0 for number in range(turns + 1)]
