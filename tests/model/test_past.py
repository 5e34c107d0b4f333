"""What a daemon learns of those before it: whose end was not told, what was counted, which leader was told."""

import msgspec
import pytest

from etcdlab.model.certificate import Defect, LeafDefect
from etcdlab.model.disk import Shortage
from etcdlab.model.event import Event, EventKind
from etcdlab.model.link import Cut, Link, LinkFault
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
        ([SPAWNED, EXITED, (EventKind.ADOPTED, "n1", {"pid": 8})], Life(pid=8)),
        ([SPAWNED, EXITED, RESTARTED], Life(restarts=1, history=COUNTED)),
        (
            [SPAWNED, EXITED, (*RESTARTED[:2], {**RESTARTED[2], "is_free": True})],
            Life(restarts=1, history=History((), 1)),
        ),
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


def test_a_journal_that_begins_anew_knows_lives_and_the_leader():
    told = past((EventKind.LEADER_CHANGED, "n1", {"term": 7}), SPAWNED, EXITED, RESTARTED, SPAWNED, READY)
    again = past((EventKind.JOURNAL_ROTATED, None, {"past": told.summary()}))
    assert (again.term, again.lives) == (7, told.lives)


LINK = {"source": "n1", "target": "n2"}
CUT = {"links": [LINK], "fault": {"type": "cut"}, "since_s": 1.5}
ACTIVE = LinkFault(link=Link("n1", "n2"), fault=Cut(), since_s=1.5)


@pytest.mark.parametrize(
    ("told", "faults"),
    [
        ([(EventKind.FAULT_INJECTED, None, CUT)], (ACTIVE,)),
        ([(EventKind.FAULT_INJECTED, None, CUT), (EventKind.FAULT_HEALED, None, CUT)], ()),
        (
            [(EventKind.FAULT_INJECTED, None, CUT), (EventKind.FAULT_INJECTED, None, CUT | {"until_s": 9})],
            (msgspec.structs.replace(ACTIVE, until_s=9.0),),
        ),
        ([(EventKind.FAULT_INJECTED, None, CUT), LAB_STOPPED], ()),
        ([(EventKind.FAULT_INJECTED, None, CUT | {"fault": {"type": "flood"}})], ()),
        ([(EventKind.FAULT_INJECTED, None, {})], ()),
    ],
)  # fmt: skip
def test_the_faults_that_are_on_the_links(told, faults):
    assert past(*told).faults == faults


def test_faults_outlive_the_journals_file():
    summary = past((EventKind.FAULT_INJECTED, None, CUT)).summary()
    assert past((EventKind.JOURNAL_ROTATED, None, {"past": summary})).faults == (ACTIVE,)


FULL = {"shortage": {"node": "n1", "quota": None, "since_s": 1.5, "until_s": None}}
QUOTA = {"shortage": {"node": "n1", "quota": 65536, "since_s": 2.5, "until_s": None}}
OTHER_QUOTA = {"shortage": {"node": "n1", "quota": 131072, "since_s": 3.5, "until_s": None}}


def shortage(detail):
    return msgspec.convert(detail["shortage"], Shortage)


@pytest.mark.parametrize(
    ("told", "shortages"),
    [
        ([FULL], (FULL,)),
        ([FULL, QUOTA, OTHER_QUOTA], (FULL, OTHER_QUOTA)),
        ([FULL, {"shortage": {"node": 1}}, {"shortage": None}], (FULL,)),
    ],
)
def test_what_disks_lack(told, shortages):
    events = [(EventKind.FAULT_INJECTED, "n1", detail) for detail in told]
    expected = tuple(map(shortage, shortages))
    assert past(*events).shortages == expected
    assert past((EventKind.JOURNAL_ROTATED, None, {"past": past(*events).summary()})).shortages == expected
    assert past(*events, (EventKind.FAULT_HEALED, "n1", FULL)).shortages == expected[1:]
    assert past(*events, LAB_STOPPED).shortages == ()


EXPIRED = {"leaf": "peer-n1", "defect": "expired", "since_s": 1.5}
SPOILED = LeafDefect(stem="peer-n1", defect=Defect.EXPIRED, since_s=1.5)


@pytest.mark.parametrize(
    ("told", "defects"),
    [
        ([(EventKind.FAULT_INJECTED, None, EXPIRED)], (SPOILED,)),
        ([(EventKind.FAULT_INJECTED, None, EXPIRED), (EventKind.FAULT_HEALED, None, EXPIRED)], ()),
        (
            [(EventKind.FAULT_INJECTED, None, EXPIRED), (EventKind.FAULT_INJECTED, None, EXPIRED | {"until_s": 9})],
            (msgspec.structs.replace(SPOILED, until_s=9.0),),
        ),
        ([(EventKind.FAULT_INJECTED, None, EXPIRED), LAB_STOPPED], ()),
        ([(EventKind.FAULT_INJECTED, None, EXPIRED | {"defect": "torn"})], ()),
        ([(EventKind.FAULT_INJECTED, None, CUT), (EventKind.FAULT_INJECTED, None, EXPIRED)], (SPOILED,)),
    ],
)  # fmt: skip
def test_the_defects_of_leaves(told, defects):
    assert past(*told).defects == defects


def test_defects_outlive_the_journals_file():
    summary = past((EventKind.FAULT_INJECTED, None, EXPIRED), (EventKind.FAULT_INJECTED, None, CUT)).summary()
    again = past((EventKind.JOURNAL_ROTATED, None, {"past": summary}))
    assert (again.defects, again.faults) == ((SPOILED,), (ACTIVE,))
