"""Every pair of state and event: the legal ones are listed here a second time, on purpose."""

import copy
from itertools import product

import pytest

from etcdlab.model.lifecycle import TRANSITIONS, IllegalTransitionError, NodeEvent, NodeState, next_state

LEGAL = {
    ("stopped", "start"): "starting",
    ("starting", "healthy"): "running",
    ("starting", "stop"): "stopping",
    ("starting", "exited"): "stopped",
    ("starting", "retry"): "backoff",
    ("starting", "give-up"): "failed",
    ("running", "stop"): "stopping",
    ("running", "exited"): "stopped",
    ("running", "retry"): "backoff",
    ("running", "give-up"): "failed",
    ("stopping", "exited"): "stopped",
    ("backoff", "start"): "starting",
    ("backoff", "stop"): "stopped",
    ("failed", "start"): "starting",
}
PAIRS = list(product(NodeState, NodeEvent))


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if (pair[0].value, pair[1].value) in LEGAL])
def test_legal_pair_leads_where_it_says(state, event):
    assert next_state(state, event).value == LEGAL[state.value, event.value]


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if (pair[0].value, pair[1].value) not in LEGAL])
def test_illegal_pair_raises_and_changes_nothing(state, event):
    before = copy.deepcopy(TRANSITIONS)
    with pytest.raises(IllegalTransitionError, match=f"{event.value} in state {state.value}"):
        next_state(state, event)
    assert before == TRANSITIONS


def test_every_state_can_be_reached_and_left():
    reached, waiting = set(), [NodeState.STOPPED]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            assert TRANSITIONS[state], f"{state} is a dead end"
            waiting += TRANSITIONS[state].values()
    assert reached == set(NodeState)


def test_only_an_operator_leaves_failed():
    assert set(TRANSITIONS[NodeState.FAILED]) == {NodeEvent.START}


def test_a_process_is_expected_exactly_where_it_can_exit():
    assert {state for state in NodeState if state.alive} == {
        state for state in NodeState if NodeEvent.EXITED in TRANSITIONS[state]
    }
