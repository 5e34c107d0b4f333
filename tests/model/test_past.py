"""What a daemon learns of those before it: whose end was not told, what was counted, which leader was told."""

import pytest

from etcdlab.model.event import Event, EventKind
from etcdlab.model.past import Life, Past
from etcdlab.model.restart import History


def past(*told: tuple) -> Past:
    """The past of a lab whose journal says so: (kind, node, detail), a second apart."""
    return Past(
        Event(seq=number, time="", monotonic_s=float(number), kind=kind, node=node, detail=detail)
        for number, (kind, node, detail) in enumerate(told, start=1)
    )


SPAWNED = (EventKind.SPAWNED, "n1", {"pid": 7})
READY = (EventKind.READY, "n1", {})
EXITED = (EventKind.EXITED, "n1", {"reason": "signalled"})
RESTARTED = (EventKind.RESTARTED, "n1", {"restarts": 1, "delay_s": 0.0, "failures": 1})
ASKED = (EventKind.EXITED, "n1", {"reason": "requested"})
STOPPED = (EventKind.STOPPED, "n1", {})
GAVE_UP = (EventKind.FAILED, "n1", {"why": "the whole budget"})
LAB_STOPPED = (EventKind.LAB_STOPPED, None, {})
COUNTED = History((3.0,), 1)


@pytest.mark.parametrize(
    ("told", "life"),
    [
        ([SPAWNED], Life(pid=7)),
        ([SPAWNED, READY], Life(pid=7, ready_s=2.0)),
        ([SPAWNED, READY, (EventKind.ADOPTED, "n1", {"pid": 7}), READY], Life(pid=7, ready_s=2.0)),
        ([SPAWNED, EXITED], Life(is_owed=True)),
        ([SPAWNED, EXITED, RESTARTED], Life(restarts=1, history=COUNTED)),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED], Life(pid=7, restarts=1, history=COUNTED)),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED, ASKED], Life(restarts=1, history=COUNTED)),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED, ASKED, STOPPED], Life(restarts=1, history=COUNTED)),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED, EXITED, GAVE_UP], Life(restarts=1)),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED, ASKED, STOPPED, LAB_STOPPED], Life()),
        ([SPAWNED, EXITED, RESTARTED, SPAWNED, LAB_STOPPED], Life(pid=7, restarts=1, history=COUNTED)),
        ([(EventKind.SPAWNED, "n1", {"pid": "seven"})], Life()),
    ],
)
def test_a_members_life(told, life):
    assert past(*told).lives == {"n1": life}


def test_members_are_told_apart_and_the_lab_from_them():
    told = past(SPAWNED, (EventKind.SPAWNED, "n2", {"pid": 8}), EXITED, (EventKind.LAB_READY, None, {}))
    assert told.lives == {"n1": Life(is_owed=True), "n2": Life(pid=8)}
    assert told.sequence == 4


def test_the_leader_told_last_counts_even_when_terms_began_anew():
    assert past().term == 0
    assert past((EventKind.LEADER_CHANGED, "n1", {"term": 7}), (EventKind.LEADER_CHANGED, "n2", {"term": 2})).term == 2
