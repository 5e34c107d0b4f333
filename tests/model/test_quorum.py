"""Majorities, against the definition: two majorities always share a member."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.errors import QuorumError
from etcdlab.model.link import Cut, Delay, LinkFault, between, isolation, partition
from etcdlab.model.quorum import Voters, quorum, tolerated_failures

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
    assert voters - tolerated_failures(voters) == quorum(voters)


def voters(*serving, count=3, faults=()):
    return Voters(count=count, serving=serving, faults=tuple(faults))


def on(fault, *links):
    return [LinkFault(link=link, fault=fault, since_s=0.0) for link in links]


ALONE = on(Cut(), *isolation("n3", ("n1", "n2", "n3")))


@pytest.mark.parametrize(
    ("who", "names", "said"),
    [
        (voters("n1", "n2", "n3"), ["n1"], None),
        (
            voters("n1", "n2", "n3"),
            ["n1", "n2"],
            "stopping n1, n2 would leave 1 of 3 voting members, and a",
        ),
        (voters("n1", "n2"), ["n1"], "stopping n1 would leave 1 of 3 voting members, and"),
        (voters("n1", "n2"), ["n3"], None),
        (voters("n1"), ["n1"], None),  # it is lost already
        (voters("n1", count=1), ["n1"], "would leave 0 of 1"),
        (voters("n1", "n2", "n3", "n4", count=5), ["n4"], None),
        (
            voters("n1", "n2", "n3", faults=ALONE),
            ["n1"],
            "would leave 1 of 3 voting members connected, and",
        ),
        (voters("n1", "n2", "n3", faults=ALONE), ["n3"], None),
        (voters("n1", "n3", faults=ALONE), ["n1"], None),
        (voters("n1", "n2", "n3", faults=on(Delay(delay_s=1), *between("n1", "n3"))), ["n2"], None),
    ],
)
def test_the_loss_of_members_that_would_cost_it_is_refused(who, names, said):
    if said is None:
        who.require_without("stopping", names)
    else:
        with pytest.raises(QuorumError, match=said) as caught:
            who.require_without("stopping", names)
        assert "--force" in caught.value.hint


@pytest.mark.parametrize(
    ("who", "links", "said"),
    [
        (voters("n1", "n2", "n3"), between("n1", "n3"), None),
        (
            voters("n1", "n2", "n3"),
            partition([["n1"], ["n2"], ["n3"]]),
            "cut n1 ↔ n2, n1 ↔ n3, n2 ↔ n3 would leave no",
        ),
        (voters("n1", "n2"), between("n1", "n2"), "cut n1 ↔ n2 would leave no 2 of 3 voting members connected"),
        (voters("n1", "n2"), between("n1", "n3"), None),
        (voters("n1"), between("n1", "n2"), None),
        (voters("n1", "n2", "n3", faults=ALONE), between("n1", "n2"), "would leave no 2 of 3"),
    ],
)
def test_a_fault_that_would_cost_it_is_refused(who, links, said):
    if said is None:
        who.require_with(Cut(), links)
    else:
        with pytest.raises(QuorumError, match=said):
            who.require_with(Cut(), links)
