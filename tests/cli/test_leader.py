"""`etcdlab leader` over a lab of fake members; real ones hand over in tests/e2e."""

import pytest

from tests.cli.command import run, run_json


@pytest.fixture(autouse=True)
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


def test_who_leads():
    assert run("leader").output == "n1 leads in term 2\n"
    assert run_json("leader") == {"version": 1, "leader": "n1", "term": 2}


def test_the_one_that_leads_leads():
    assert run("leader", "move", "n1").output == "n1 leads\n"


@pytest.mark.parametrize(
    ("member", "status", "said"), [("n2", 1, "it is paused; `etcdlab resume n2`"), ("n9", 2, "no member 'n9'")]
)
def test_who_cannot_lead_is_said_at_once(member, status, said):
    run("pause", "n2", "--force")
    assert said in run("leader", "move", member, status=status).stderr


def test_without_a_leader_there_is_nobody_to_hand_over():
    run("stop", "n1", "n2", "--force")
    assert "has no leader" in run("leader", status=1).stderr
    assert "has no leader" in run("leader", "move", "n2", status=1).stderr
