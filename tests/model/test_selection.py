"""Words that stand for members."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.errors import QuorumError
from etcdlab.model.quorum import quorum
from etcdlab.model.selection import WORDS, require_leader, select, stands_for_members
from tests.control.fake import STATUS, node_status


def lab(voters: int, *, leader: int | None = 1, sick: tuple[int, ...] = (), learners: int = 0):
    nodes = tuple(
        msgspec.structs.replace(
            node_status(f"n{number}"),
            is_leader=number == leader,
            is_learner=number > voters,
            healthy=number not in sick,
        )
        for number in range(1, voters + learners + 1)
    )
    return msgspec.structs.replace(STATUS, leader=f"n{leader}" if leader else None, nodes=nodes)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["n2", "n1", "n2"], ("n2", "n1")),
        (["leader"], ("n2",)),
        (["followers"], ("n1", "n3")),
        (["all"], ("n1", "n2", "n3", "n4")),
        (["quorum"], ("n1", "n3")),
        (["n4", "leader", "all"], ("n4", "n2", "n1", "n3")),
    ],
)
def test_who_is_meant(words, meant):
    assert select(words, lab(3, leader=2, learners=1)) == meant


def test_a_quorum_is_taken_from_those_that_serve():
    assert select(["quorum"], lab(5, leader=1, sick=(2,))) == ("n3", "n4")
    assert select(["quorum"], lab(3, leader=1, sick=(2,))) == ("n3",)
    assert select(["quorum"], lab(1)) == ("n1",)


@given(st.integers(1, 9), st.data())
def test_a_quorum_is_what_it_costs_and_no_more(voters, data):
    sick = tuple(data.draw(st.sets(st.integers(2, voters), max_size=(voters - 1) // 2))) if voters > 1 else ()
    healthy, chosen = voters - len(sick), len(select(["quorum"], lab(voters, sick=sick)))
    assert healthy - chosen < quorum(voters) <= healthy - chosen + 1


@pytest.mark.parametrize("word", ["leader", "followers"])
def test_without_a_leader_there_is_nobody_to_mean(word):
    with pytest.raises(QuorumError, match="has no leader"):
        select([word], lab(3, leader=None))


def test_a_quorum_that_is_lost_cannot_be_meant():
    with pytest.raises(QuorumError, match="has lost its quorum already"):
        select(["quorum"], lab(3, leader=None, sick=(1, 2)))


def test_a_member_that_is_called_so_comes_first():
    status = msgspec.structs.replace(STATUS, nodes=(node_status("n1"), node_status("leader")))
    assert select(["leader"], status) == ("leader",)
    assert not stands_for_members("leader", ["n1", "leader"])
    assert all(stands_for_members(word, ["n1"]) for word in WORDS)


def test_the_leader():
    assert require_leader(lab(3, leader=3)) == "n3"
