"""Majorities, against the definition: two majorities always share a member."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.model.quorum import keeps_quorum, quorum, tolerated_failures

VOTERS = st.integers(min_value=1, max_value=50)


@pytest.mark.parametrize(
    ("voters", "majority", "tolerated"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (9, 5, 4)]
)
def test_known_sizes(voters, majority, tolerated):
    assert quorum(voters) == majority
    assert tolerated_failures(voters) == tolerated


@given(VOTERS)
def test_a_quorum_is_the_smallest_set_of_which_two_must_overlap(voters):
    assert 2 * quorum(voters) > voters
    assert 2 * (quorum(voters) - 1) <= voters


@given(VOTERS)
def test_exactly_the_tolerated_failures_keep_quorum(voters):
    tolerated = tolerated_failures(voters)
    assert keeps_quorum(voters=voters, healthy=voters, leaving=tolerated)
    assert not keeps_quorum(voters=voters, healthy=voters, leaving=tolerated + 1)


def test_the_sick_count_as_gone():
    assert not keeps_quorum(voters=5, healthy=3, leaving=1)
    assert keeps_quorum(voters=5, healthy=4, leaving=1)
