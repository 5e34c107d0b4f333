"""Runs as the journal tells them."""

import msgspec
from hypothesis import given

from etcdlab.model.chaos import KINDS, Began, Did, Ended, Refused, runs
from etcdlab.model.event import Event, EventKind, describe
from etcdlab.prepare.scenario import parse
from tests import hostile

STEP = {"do": "kill", "at": "1.5s", "nodes": ["n2"]}
BEGAN = Began(run="a", scenario="storm", seed=7, duration_s=60)
ENDED = Ended(run="a", scenario="storm", after_s=1.5, done=1, refused=1)


def told(*entries):
    return [
        Event(seq=1, time="now", monotonic_s=0, kind=KINDS[type(entry)], detail=msgspec.structs.asdict(entry))
        for entry in entries
    ]


def did(number, run="a"):
    return Did(run=run, number=number, text="kill n2", step=STEP)


def test_a_run_is_a_scenario_of_what_was_done():
    refused = Refused(run="a", number=2, text="kill n2", why="quorum")
    other = Began(run="b", scenario="other", seed=1, duration_s=5)
    found = runs(told(BEGAN, did(1), other, did(2), refused, ENDED, did(3, run="b"), did(1, run="lost")))
    assert [run.began.run for run in found] == ["a", "b"]
    assert (found[0].ended, found[1].ended) == (ENDED, None)
    assert [one.number for one in found[0].done] == [1]
    assert found[0].scenario() == {"name": "storm", "seed": 7, "duration": "1.501s", "step": [STEP]}
    assert parse(found[0].scenario(), "run").step[0].nodes == ("n2",)
    assert found[1].scenario()["duration"] == "5.001s"


def test_events_of_runs_are_told_in_words():
    assert [describe(event) for event in told(BEGAN, did(1), Refused(run="a", number=2, text="stop n1", why="no"))] == [
        "storm, seed 7, for 60 s, run a",
        "kill n2",
        "stop n1: no",
    ]
    assert describe(told(ENDED)[0]) == "storm, 1 steps done, 1 refused"


@given(hostile.json_values)
def test_what_is_no_entry_is_left_out(detail):
    kinds = (EventKind.CHAOS_BEGAN, EventKind.CHAOS_STEP, EventKind.CHAOS_ENDED)
    events = [Event(seq=1, time="", monotonic_s=0, kind=kind, detail=detail) for kind in kinds]
    assert runs(events) == []
