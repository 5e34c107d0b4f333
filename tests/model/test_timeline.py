"""The journal against time."""

from datetime import UTC, datetime

from etcdlab.model.event import Event, EventKind
from etcdlab.model.timeline import Condition, timeline

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUT = {"text": "cut n1 ↔ n2 for 5 s"}
HEALED = {"text": "cut n1 ↔ n2"}


def of(*told: tuple, now_s: float = 100.0, since_s: float | None = None):
    """A timeline of such a journal: (second, kind, member, detail)."""
    events = [
        Event(seq=number, time="", monotonic_s=float(at_s), kind=kind, node=node, detail=detail)
        for number, (at_s, kind, node, detail) in enumerate(told, start=1)
    ]
    return timeline(events, members=["n1", "n2"], now_s=now_s, now=NOW, since_s=since_s)


def spans(shown):
    return [(span.text, span.begin_s, span.end_s) for span in shown]


LIFE = (
    (10, EventKind.SPAWNED, "n1", {}),
    (11, EventKind.LEADER_CHANGED, "n1", {"term": 2}),
    (12, EventKind.READY, "n1", {}),
    (12, EventKind.LAB_READY, None, {}),
    (20, EventKind.PAUSED, "n1", {}),
    (21, EventKind.LEADER_CHANGED, "n2", {"term": 3}),
    (25, EventKind.RESUMED, "n1", {}),
    (30, EventKind.EXITED, "n1", {}),
    (30, EventKind.RESTARTED, "n1", {}),
    (31, EventKind.SPAWNED, "n1", {}),
    (32, EventKind.FAILED, "n1", {}),
)


def test_a_members_conditions_follow_each_other():
    shown = of(*LIFE)
    assert spans(shown.members["n1"]) == [
        ("starting", 10, 12),
        ("ready", 12, 20),
        ("paused", 20, 25),
        ("ready", 25, 30),
        ("down", 30, 31),
        ("starting", 31, 32),
        ("failed", 32, None),
    ]
    assert shown.members["n2"] == ()
    assert (shown.condition("n1", 22), shown.condition("n1", 99)) == (Condition.PAUSED, Condition.FAILED)
    assert (shown.condition("n1", 5), shown.condition("n2", 22)) == (None, None)
    assert (shown.begin_s, shown.end_s, (shown.ended - shown.began).total_seconds()) == (10, 100, 90)


def test_one_that_does_not_answer_is_unhealthy_until_it_does():
    told = [(1, EventKind.READY, "n1", {}), (2, EventKind.UNHEALTHY, "n1", {}), (5, EventKind.HEALTHY, "n1", {})]
    assert spans(of(*told).members["n1"]) == [("ready", 1, 2), ("unhealthy", 2, 5), ("ready", 5, None)]


def test_a_stop_that_was_asked_for_is_no_end_of_its_own():
    told = [
        (1, EventKind.ADOPTED, "n2", {}),
        (2, EventKind.READY, "n2", {}),
        (5, EventKind.EXITED, "n2", {"reason": "requested"}),
        (5, EventKind.STOPPED, "n2", {}),
    ]
    assert spans(of(*told).members["n2"]) == [("ready", 1, 5), ("stopped", 5, None)]


def test_a_leader_leads_no_longer_than_it_lives():
    told = [(1, EventKind.LEADER_CHANGED, "n1", {"term": 2}), (3, EventKind.EXITED, "n1", {})]
    assert spans(of(*told).leaders) == [("n1", 1, 3)]
    again = of(*told, (4, EventKind.LEADER_CHANGED, "n1", {"term": 3}))
    assert (spans(again.leaders), again.leader_changes) == ([("n1", 1, 3), ("n1", 4, None)], 1)


def test_leaders_and_how_often_they_changed():
    shown = of(*LIFE)
    assert spans(shown.leaders) == [("n1", 11, 21), ("n2", 21, None)]
    assert shown.leader_changes == 1
    assert of(*LIFE, since_s=20).leader_changes == 1
    assert of(*LIFE, since_s=21.5).leader_changes == 0
    assert of((1, EventKind.LEADER_CHANGED, "n1", {"term": 2})).leader_changes == 0


def test_what_was_so_at_any_time_since_is_there():
    assert spans(of(*LIFE, since_s=27).members["n1"])[0] == ("ready", 25, 30)
    assert spans(of(*LIFE, since_s=50).members["n1"]) == [("failed", 32, None)]
    assert spans(of(*LIFE, since_s=50).leaders) == [("n2", 21, None)]


def test_faults_end_when_they_are_healed_or_the_lab_is_stopped():
    told = [
        (1, EventKind.FAULT_INJECTED, None, CUT),
        (2, EventKind.FAULT_HEALED, None, HEALED),
        (3, EventKind.FAULT_INJECTED, None, HEALED),
        (4, EventKind.FAULT_INJECTED, None, {"text": "expired certificate client"}),
        (9, EventKind.LAB_STOPPED, None, {}),
    ]
    assert spans(of(*told).faults) == [
        ("cut n1 ↔ n2", 1, 2), ("cut n1 ↔ n2", 3, 9), ("expired certificate client", 4, 9)
    ]  # fmt: skip


def test_a_lost_quorum_has_no_leader():
    shown = of(*LIFE, (40, EventKind.QUORUM_LOST, None, {}), (50, EventKind.QUORUM_REGAINED, None, {}))
    assert spans(shown.without_quorum) == [("no quorum", 40, 50)]
    assert shown.leaders[-1].end_s == 40


def test_of_nothing():
    shown = of()
    assert (shown.members, shown.leaders, shown.leader_changes) == ({"n1": (), "n2": ()}, (), 0)


def test_a_journal_that_was_written_by_hand_is_no_problem():
    shown = of(
        (1, EventKind.LEADER_CHANGED, None, {"term": "x"}),
        (1, EventKind.FAULT_HEALED, None, {}),
        (1, EventKind.READY, "n9", {}),
    )
    assert spans(shown.leaders) == [("?", 1, None)]


def test_a_run_of_a_scenario_lasts_until_its_end_is_told_or_due():
    def began(at_s, run):
        return at_s, EventKind.CHAOS_BEGAN, None, {"run": run, "scenario": "storm", "duration_s": 30}

    def ended(at_s, run):
        return at_s, EventKind.CHAOS_ENDED, None, {"run": run}

    shown = of(began(1, "a"), ended(11, "a"), began(20, "b"), began(60, "c"), (70, EventKind.LAB_STOPPED, None, {}))
    assert spans(shown.faults) == [("chaos storm", 1, 11), ("chaos storm", 20, 50), ("chaos storm", 60, 70)]
