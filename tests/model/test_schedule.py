"""When steps are due."""

import math

from hypothesis import given
from hypothesis import strategies as st

from etcdlab.model.event import Event, EventKind
from etcdlab.model.schedule import DEAF_S, Schedule
from etcdlab.model.step import Heal
from etcdlab.model.units import Duration


def at(time_s):
    return Heal(at=Duration(time_s))


def every(time_s):
    return Heal(every=Duration(time_s))


def event(kind, node=None):
    return Event(seq=1, time="", monotonic_s=0, kind=kind, node=node)


def test_each_is_due_in_its_time():
    schedule = Schedule([every(2), at(3), at(0)])
    assert schedule.next_s == 0
    assert schedule.due(0) == [2]
    assert schedule.next_s == 2
    assert schedule.due(1.9) == []
    assert schedule.due(2) == [0]
    assert schedule.due(5) == [1, 0], "the first that was due first"
    assert schedule.next_s == 6


def test_what_came_and_went_meanwhile_is_left_out():
    schedule = Schedule([every(1)])
    assert schedule.due(7.5) == [0]
    assert schedule.next_s == 8


def test_nothing_is_due_by_time_without_a_time():
    schedule = Schedule([Heal(when="ready")])
    assert schedule.next_s == math.inf
    assert schedule.due(100) == []


@given(st.floats(0.1, 10), st.integers(1, 30))
def test_what_is_due_again_and_again_is_never_due_twice_at_once(every_s, turns):
    schedule = Schedule([every(every_s)])
    for _ in range(turns):
        now_s = schedule.next_s
        assert schedule.due(now_s) == [0]
        assert schedule.next_s - now_s > every_s / 2


def test_an_event_of_its_kind_and_member_is_heard():
    schedule = Schedule([Heal(when="ready"), Heal(when="ready:n2"), at(1)])
    assert schedule.due_by(event(EventKind.EXITED, "n2"), 0) == []
    assert schedule.due_by(event(EventKind.READY, "n1"), 0) == [0]
    assert schedule.due_by(event(EventKind.READY, "n2"), DEAF_S / 2) == [1]
    assert schedule.due_by(event(EventKind.READY, "n2"), DEAF_S) == [0]
