"""Steps: in words, and with members in place of words."""

import random

import msgspec
import pytest

from etcdlab.errors import QuorumError, UsageError
from etcdlab.model.certificate import Defect, Role
from etcdlab.model.step import (
    Cut,
    Delay,
    DiskFull,
    Flap,
    Heal,
    Isolate,
    Kill,
    LeaderMove,
    Partition,
    Pause,
    Rate,
    TlsFault,
    forced,
    in_words,
    resolve,
    to_table,
)
from etcdlab.model.units import Duration, Size
from tests.control.fake import STATUS

MEMBERS = ["n1", "n2", "n3", "n4", "n5"]


def unmeasured():
    raise AssertionError("it need not be known how the lab is")


def without_leader():
    return msgspec.structs.replace(STATUS, leader=None)


def resolved(step, seed=1):
    """Among five members; n1 leads, of three that the status knows."""
    return resolve(step, MEMBERS, random.Random(seed), lambda: STATUS)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Kill(at=Duration(1), nodes=("n1", "n2")), "kill n1 n2"),
        (Kill(nodes=("n1",), signal="TERM", force=True), "kill n1 --signal TERM --force"),
        (Pause(every=Duration(1), nodes=("leader",), for_=Duration(2)), "pause leader --for 2s"),
        (DiskFull(nodes=("followers",), for_=Duration(2), force=True), "disk full followers --for 2s --force"),
        (LeaderMove(node="n2"), "leader move n2"),
        (Partition(groups=("n1", "n2,n3")), "net partition n1 n2,n3"),
        (Isolate(when="ready", node="n1", from_clients=True), "net isolate n1 --from-clients"),
        (Cut(source="n1", target="n2", one_way=True), "net cut n1 n2 --one-way"),
        (
            Delay(source="n1", target="clients", delay=Duration(0.03), jitter=Duration(0.01)),
            "net delay n1 clients 30ms --jitter 10ms",
        ),
        (Rate(source="n1", target="n2", rate=Size(65536)), "net rate n1 n2 64KiB"),
        (
            Flap(source="n1", target="n2", down=Duration(0.2), for_=Duration(9)),
            "net flap n1 n2 --for 9s --down 200ms",
        ),
        (
            TlsFault(owner="n1", defect=Defect.EXPIRED, role=Role.PEER, for_=Duration(3)),
            "tls fault n1 expired --role peer --for 3s",
        ),
        (Heal(at=Duration(1)), "heal"),
    ],
)
def test_a_step_in_words_is_a_command(step, words):
    assert in_words(step) == words


def test_own_names_stay_and_nothing_is_measured():
    step = Partition(groups=("n1 , n2", "n3"))
    assert resolve(step, MEMBERS, random.Random(), unmeasured) == Partition(groups=("n1,n2", "n3"))


def test_words_mean_what_is_so_now():
    assert resolved(Kill(nodes=("followers", "n2", "n5"))).nodes == ("n2", "n3", "n5")
    assert resolved(Cut(source="leader", target="clients")) == Cut(source="n1", target="clients")
    with pytest.raises(QuorumError, match="has no leader"):
        resolve(Kill(nodes=("leader",)), MEMBERS, random.Random(), without_leader)


def test_random_is_someone_who_is_not_meant_otherwise():
    drawn = [resolved(Cut(source="random", target="leader"), seed).source for seed in range(50)]
    assert set(drawn) == {"n2", "n3", "n4", "n5"}
    for seed in range(20):
        parted = resolved(Partition(groups=("n1,random", "random")), seed).groups
        assert len({*parted[0].split(","), parted[1]}) == 3
    assert sorted(resolved(Kill(nodes=("random",) * 5)).nodes) == MEMBERS
    with pytest.raises(UsageError, match="too few are left"):
        resolved(Kill(nodes=("random",) * 6))


def test_the_seed_alone_says_who_is_random():
    once, again = random.Random("7/0"), random.Random("7/0")
    step = Kill(nodes=("random",))
    assert [resolve(step, MEMBERS, once, unmeasured) for _ in range(30)] == [
        resolve(step, MEMBERS, again, unmeasured) for _ in range(30)
    ]


def test_a_refusal_does_not_change_what_is_drawn_next():
    chance, other = random.Random(3), random.Random(3)
    step = Cut(source="leader", target="random")
    with pytest.raises(QuorumError):
        resolve(step, MEMBERS, chance, without_leader)
    resolve(step, MEMBERS, other, lambda: STATUS)
    assert chance.random() == other.random()


def test_a_member_that_is_called_as_a_word_is_meant():
    members = ["random", "leader"]
    assert resolve(Kill(nodes=("random", "leader")), members, random.Random(), unmeasured).nodes == ("random", "leader")


def test_what_could_cost_the_quorum_can_be_forced():
    assert forced(Kill(nodes=("n1",))).force
    assert forced(Heal()) == Heal()


def test_a_table_leaves_out_what_a_file_may():
    assert to_table(Delay(at=Duration(2.5), source="n1", target="n2", delay=Duration(0.03))) == {
        "do": "delay",
        "at": "2.5s",
        "from": "n1",
        "to": "n2",
        "delay": "30ms",
    }
