"""The restart rules: policies, backoff, the budget and its window."""

import pytest

from etcdlab.model.exit import Exit, ExitReason
from etcdlab.model.restart import History, RestartPolicy, RestartRules, judge

RULES = RestartRules(backoff_s=0.5, backoff_max_s=4.0, healthy_after_s=10.0, budget=100, window_s=1000.0)
CRASH = Exit(code=2, reason=ExitReason.CRASHED, at="2026-01-01T00:00:00Z", detail="panic", remedy="")
CLEAN = Exit(code=0, reason=ExitReason.CLEAN, at="2026-01-01T00:00:00Z")


def crashes(rules: RestartRules, count: int, *, healthy_for_s: float, every_s: float = 1.0):
    """The verdicts on `count` crashes in a row."""
    history, now = History(), 0.0
    for _ in range(count):
        verdict = judge(rules, history, CRASH, now=now, healthy_for_s=healthy_for_s)
        yield verdict
        history, now = verdict.history, now + every_s


@pytest.mark.parametrize(
    ("policy", "exit_", "restarts", "failed"),
    [
        (RestartPolicy.ON_FAILURE, CRASH, True, False),
        (RestartPolicy.ON_FAILURE, CLEAN, False, False),
        (RestartPolicy.ALWAYS, CRASH, True, False),
        (RestartPolicy.ALWAYS, CLEAN, True, False),
        (RestartPolicy.NEVER, CRASH, False, True),
        (RestartPolicy.NEVER, CLEAN, False, False),
    ],
)
def test_policy(policy, exit_, restarts, failed):
    verdict = judge(RestartRules(policy=policy), History(), exit_, now=0.0, healthy_for_s=60.0)
    assert (verdict.delay_s is not None) is restarts
    assert verdict.failed is failed
    assert bool(verdict.why_not) is not restarts


def test_an_adopted_process_of_unknown_exit_code_is_started_again():
    unknown = Exit(code=None, reason=ExitReason.UNKNOWN, at="2026-01-01T00:00:00Z")
    assert judge(RULES, History(), unknown, now=0.0, healthy_for_s=60.0).delay_s == 0.0


def test_the_first_restart_of_a_member_that_was_healthy_is_immediate_then_backoff_doubles_to_its_cap():
    delays = [verdict.delay_s for verdict in crashes(RULES, 7, healthy_for_s=1.0)]
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_member_that_was_never_healthy_is_never_restarted_at_once():
    delays = [verdict.delay_s for verdict in crashes(RULES, 6, healthy_for_s=0.0)]
    assert delays[0] == 0.5
    assert delays == sorted(delays)
    assert delays[-1] == 4.0


def test_what_somebody_had_killed_counts_as_nothing():
    *_, last = crashes(RULES, 3, healthy_for_s=1.0)
    killed = Exit(code=-9, reason=ExitReason.KILLED, at="2026-01-01T00:00:00Z")
    again = judge(RULES, last.history, killed, now=3.0, healthy_for_s=0.0)
    assert (again.delay_s, again.history) == (0.0, last.history)
    spent = History(tuple(float(at) for at in range(RULES.budget)), 1)
    assert judge(RULES, spent, killed, now=200.0, healthy_for_s=1.0).delay_s == 0.0
    never = RestartRules(policy=RestartPolicy.NEVER)
    assert judge(never, History(), killed, now=0.0, healthy_for_s=1.0).delay_s is None


def test_a_healthy_period_starts_the_backoff_over():
    *_, last = crashes(RULES, 5, healthy_for_s=0.0)
    again = judge(RULES, last.history, CRASH, now=100.0, healthy_for_s=RULES.healthy_after_s)
    assert again.delay_s == 0.0
    assert judge(RULES, again.history, CRASH, now=101.0, healthy_for_s=0.0).delay_s == 0.5


def test_a_shorter_healthy_period_does_not():
    *_, last = crashes(RULES, 5, healthy_for_s=0.0)
    assert judge(RULES, last.history, CRASH, now=100.0, healthy_for_s=9.99).delay_s == 4.0


def test_the_budget_is_the_number_of_restarts_within_the_window():
    rules = RestartRules(budget=3, window_s=60.0)
    *granted, refused = crashes(rules, 4, healthy_for_s=30.0)
    assert [verdict.delay_s for verdict in granted] == [0.0, 0.0, 0.0]
    assert refused.delay_s is None
    assert refused.failed
    assert "3 times within 60 s" in refused.why_not


def test_restarts_older_than_the_window_are_forgiven():
    rules = RestartRules(budget=3, window_s=60.0)
    verdicts = list(crashes(rules, 50, healthy_for_s=30.0, every_s=20.0))
    assert all(verdict.delay_s == 0.0 for verdict in verdicts)
    assert len(verdicts[-1].history.restarts) == 3, "what is forgiven is also forgotten"


def test_a_budget_of_nothing_never_restarts():
    (verdict,) = crashes(RestartRules(budget=0), 1, healthy_for_s=30.0)
    assert verdict.failed


@pytest.mark.parametrize("reason", [reason for reason in ExitReason if not reason.recoverable])
@pytest.mark.parametrize("policy", RestartPolicy)
def test_what_a_restart_cannot_heal_is_failed_at_once_under_every_policy(reason, policy):
    exit_ = Exit(code=0, reason=reason, at="2026-01-01T00:00:00Z", detail="the evidence")
    verdict = judge(RestartRules(policy=policy), History(), exit_, now=0.0, healthy_for_s=60.0)
    assert verdict.delay_s is None
    assert verdict.failed
    assert verdict.why_not == "the evidence"
    assert verdict.history == History()


def test_a_member_can_crash_for_days():
    rules = RestartRules(backoff_s=0.5, backoff_max_s=30.0, window_s=60.0)
    *_, last = crashes(rules, 2000, healthy_for_s=0.0, every_s=31.0)
    assert last.delay_s == 30.0


def test_reasons_that_pass_cost_no_budget_and_need_none():
    full = Exit(code=1, reason=ExitReason.DISK_FULL, at="2026-01-01T00:00:00Z")
    spent = History(tuple(float(number) for number in range(RULES.budget)), 3)
    verdict = judge(RULES, spent, full, now=200.0, healthy_for_s=0.0)
    assert verdict.delay_s == 2.0
    assert verdict.history == History(spent.restarts, 4)
    assert judge(RULES, verdict.history, CRASH, now=200.0, healthy_for_s=0.0).failed
