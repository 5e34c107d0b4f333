"""That the torture would notice: each check fails when what it looks for is there."""

import errno

import msgspec
import pytest
from torturing import report
from torturing.__main__ import GROUPS, chosen
from torturing.attack import Attack, sequence
from torturing.chronicle import Chronicle
from torturing.tally import Loss, Tally
from torturing.writer import Ledger

from etcdlab.etcd.death import not_started
from etcdlab.model.event import Event, EventKind


@pytest.fixture
def tally() -> Tally:
    tally = Tally()
    tally.begin(1, "test")
    return tally


def lost(tally: Tally) -> list[Loss]:
    return [finding.loss for finding in tally.findings]


class TestSequence:
    ATTACKS = tuple(Attack(name, lambda *_: None) for name in "abc")

    def draw(self, seed: int, count: int = 12) -> list[tuple[int, str, float]]:
        struck = zip(range(count), sequence(self.ATTACKS, seed), strict=False)
        return [(number, attack.name, chance.random()) for _, (number, attack, chance) in struck]

    def test_follows_from_the_seed(self):
        assert self.draw(5) == self.draw(5) != self.draw(6)

    def test_has_each_attack_in_each_round(self):
        names = [name for _, name, _ in self.draw(5)]
        assert [sorted(names[start : start + 3]) for start in (0, 3, 6, 9)] == [["a", "b", "c"]] * 4

    def test_a_strike_that_draws_more_changes_none_after_it(self):
        drawn = []
        for number, _, chance in sequence(self.ATTACKS, 5):
            drawn.append(chance.random())
            [chance.random() for _ in range(number)]
            if number == 6:
                break
        assert drawn == [draw for _, _, draw in self.draw(5, 6)]


class TestLedger:
    @pytest.mark.parametrize(
        ("found", "missing"),
        [
            ({"a": 2, "b": 3, "not acknowledged": 4}, []),
            ({"a": 2}, ["b was acknowledged with revision 3 and is not there"]),
            ({"a": 2, "b": 9}, ["b was acknowledged with revision 3 and has 9"]),
        ],
    )
    def test_tells_what_is_not_as_it_was_acknowledged(self, found, missing):
        ledger = Ledger({"a": 2})
        ledger.note("b", 3)
        assert ledger.missing(found) == missing

    def test_a_read_answers_for_what_was_acknowledged_before_it(self):
        ledger = Ledger({"a": 2})
        before = ledger.copy()
        ledger.note("b", 3)
        assert before.missing({"a": 2}) == []
        assert ledger.missing({}, since="b") == ["b was acknowledged with revision 3 and is not there"]


class TestChronicle:
    @pytest.fixture
    def journal(self, tmp_path):
        path = tmp_path / "events.jsonl"
        path.touch()
        return path

    def write(self, journal, kind, node=None, *, seq=None, **detail):
        seq = seq or journal.read_bytes().count(b"\n") + 1
        event = Event(seq=seq, time="", monotonic_s=0.0, kind=kind, node=node, detail=detail)
        with journal.open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")

    def test_takes_a_life_and_an_election_for_what_they_are(self, journal, tally):
        chronicle = Chronicle(journal, tally)
        self.write(journal, EventKind.SPAWNED, "n1", pid=1)
        self.write(journal, EventKind.LEADER_CHANGED, "n1", term=2)
        self.write(journal, EventKind.ADOPTED, "n1", pid=1)
        assert len(chronicle.news()) == 3
        self.write(journal, EventKind.EXITED, "n1")
        self.write(journal, EventKind.SPAWNED, "n1", pid=2)
        self.write(journal, EventKind.LEADER_CHANGED, "n1", term=3)
        assert len(chronicle.news()) == 3
        assert tally.findings == []

    @pytest.mark.parametrize(
        "explanation",
        [not_started("/etcd", OSError(errno.EAGAIN, "no")), not_started("/etcd", OSError(errno.ENOENT, "no", "/n1"))],
    )
    def test_a_member_that_could_not_be_started_never_ran(self, journal, tally, explanation):
        for _ in range(2):
            detail = {"code": None, "reason": explanation.reason.value, "detail": explanation.detail}
            self.write(journal, EventKind.EXITED, "n1", **detail)
        Chronicle(journal, tally).news()
        assert tally.findings == []

    def test_lets_terms_begin_anew_only_while_data_is_discarded(self, journal, tally):
        chronicle = Chronicle(journal, tally)
        chronicle.may_begin_anew = True
        for term in (7, 2, 2):
            self.write(journal, EventKind.LEADER_CHANGED, "n1", term=term)
        chronicle.news()
        assert (chronicle.term, tally.findings) == (2, [])
        chronicle.may_begin_anew = False
        self.write(journal, EventKind.LEADER_CHANGED, "n1", term=2)
        chronicle.news()
        assert lost(tally) == [Loss.EVENT]

    def test_leaves_a_line_that_is_being_written_for_later(self, journal, tally):
        chronicle = Chronicle(journal, tally)
        self.write(journal, EventKind.LAB_READY)
        whole = journal.read_bytes()
        journal.write_bytes(whole[:10])
        assert chronicle.news() == []
        journal.write_bytes(whole)
        assert len(chronicle.news()) == 1
        assert tally.findings == []

    def test_notices_a_torn_line_and_a_number_out_of_order(self, journal, tally):
        journal.write_bytes(b'{"seq":1,"ti\n')
        self.write(journal, EventKind.LAB_READY, seq=1)
        self.write(journal, EventKind.LAB_STOPPED, seq=1)
        Chronicle(journal, tally).news()
        assert lost(tally) == [Loss.LINE, Loss.ORDER]

    def test_does_not_count_the_line_that_an_attack_tore(self, journal, tally):
        chronicle = Chronicle(journal, tally)
        chronicle.torn = b'{"seq":1,"ti'
        journal.write_bytes(chronicle.torn + b'\n{"seq\n')
        chronicle.news()
        assert lost(tally) == [Loss.LINE]

    def test_notices_an_end_that_was_not_told_or_twice_and_a_leader_told_twice(self, journal, tally):
        self.write(journal, EventKind.SPAWNED, "n1", pid=1)
        self.write(journal, EventKind.SPAWNED, "n1", pid=2)
        self.write(journal, EventKind.EXITED, "n1")
        self.write(journal, EventKind.EXITED, "n1")
        self.write(journal, EventKind.LEADER_CHANGED, "n1", term=2)
        self.write(journal, EventKind.LEADER_CHANGED, "n1", term=2)
        Chronicle(journal, tally).news()
        assert [finding.text.split(":")[0] for finding in tally.findings] == [
            "n1 runs as 2, and the end of 1 was not told",
            "n1 ended twice",
            "the leader of term 2 was told after that of term 2",
        ]


def test_the_tally_counts_by_attack_and_has_a_zero_for_what_was_not_lost(tally):
    tally.killed()
    tally.wrote(0.5)
    tally.wrote(0.2)
    tally.lost(Loss.ORPHAN, "4711")
    assert (tally.kills["test"], tally.writes, tally.gaps["test"]) == (1, 2, 0.5)
    assert {loss: count for loss, count in tally.losses.items() if count} == {Loss.ORPHAN: 1}
    assert set(tally.losses) == set(Loss)


def test_an_attack_that_cannot_be_struck_is_shown_with_its_reason_and_counts_as_none(tally):
    tally.skipped("needs the right to mount")
    shown = report.tables(tally, [Attack("test", lambda *_: None), Attack("other", lambda *_: None)])
    assert "SKIPPED: needs the right to mount" in shown
    assert tally.strikes["test"] == 0


def test_attacks_are_chosen_by_their_names_and_their_groups():
    everything = [attack for attacks in GROUPS.values() for attack in attacks]
    assert chosen([]) == everything
    assert len({attack.name for attack in everything} | set(GROUPS)) == len(everything) + len(GROUPS)
    assert [attack.name for attack in chosen(["kill-rest"])] == ["kill-rest"]
    assert chosen(["kills"]) == list(GROUPS["kills"])
