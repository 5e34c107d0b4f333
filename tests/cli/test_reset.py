"""`reset`, over labs of fake members: they list no members, so that resetting one means to rebuild it."""

from etcdlab.control.client import Client
from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.reset import ResetOutcome
from tests.cli.command import run, run_json

WHY = "member n1 was removed from the cluster"


def test_a_rebuild_is_told_with_its_reason(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        assert run_json("reset") == {"version": 1, "lab": "fake", "rebuilt": True, "why": WHY}
        assert run("reset").output == f"lab fake is pristine: rebuilt, since {WHY}\n"
        assert fake_lab.events()[-1] == (EventKind.LAB_RESET, None)
        assert run_json("status")["verdict"] == "healthy"
        assert f"lab-reset        rebuilt: {WHY}" in run("events").output


def test_in_place_there_is_nothing_to_tell(fake_lab, monkeypatch):
    monkeypatch.setattr(Lab, "is_served", lambda _: True)
    monkeypatch.setattr(Client, "reset", lambda self: ResetOutcome(rebuilt=False))
    assert run("reset", "--lab", "fake").output == "lab fake is pristine\n"
    assert run_json("reset")["rebuilt"] is False
