"""Scenarios that are done to a lab of fake members; real ones in tests/e2e/test_chaos.py."""

import re

import pytest

from etcdlab.chaos import Chaos
from etcdlab.errors import LabStateError, NotRunningError, ScenarioError
from etcdlab.lab import Lab
from etcdlab.model.chaos import runs
from etcdlab.model.event import EventKind
from etcdlab.model.status import ClusterVerdict
from etcdlab.prepare.scenario import load
from tests.cli.test_supervised import kill_daemon


@pytest.fixture
def lab(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield Lab(fake_lab.directory)


def step(do, **more):
    return {"do": do, **more}


def pause(**more):
    return step("pause", nodes=["n2"], force=True, **more)


def scenario(*steps, duration="1h"):
    return {"name": "storm", "seed": 7, "duration": duration, "step": list(steps)}


def told(lab, mark):
    """What happened since, without what members tell of themselves."""
    kinds = {EventKind.PAUSED, EventKind.RESUMED, EventKind.STOPPED, EventKind.CHAOS_STEP, EventKind.CHAOS_REFUSED}
    return [(event.kind.value, event.node) for event in lab.events(since=mark) if event.kind in kinds]


def test_steps_are_done_in_time_and_when_something_happens_and_healed_at_the_end(lab):
    mark = lab.mark()
    steps = scenario(
        pause(at=0), step("stop", nodes=["n1"], force=True, when="paused:n2"), pause(at="1h1m"), duration="2h"
    )
    with lab.chaos(steps) as chaos:
        lab.wait_for_event("stopped", "n1", since=mark)
    assert [re.sub(r"7199\.\d+", "…", one.text) for one in chaos.steps] == [
        "pause n2 --for …s --force",
        "stop n1 --for …s --force",
    ]
    assert chaos.outcome.healed.resumed == ("n2",)
    assert chaos.outcome.healed.started == ("n1",)
    assert chaos.outcome.status.verdict is ClusterVerdict.HEALTHY
    assert told(lab, mark) == [
        ("chaos-step", None),
        ("paused", "n2"),
        ("chaos-step", None),
        ("stopped", "n1"),
        ("resumed", "n2"),
    ]


def test_the_journal_has_the_run_and_it_can_be_done_again(lab):
    mark = lab.mark()
    with lab.chaos(scenario(pause(at=0, **{"for": "10ms"}))) as chaos:
        lab.wait_for_event("resumed", "n2", since=mark)
    (run,) = runs(lab.events())
    assert run.began.run == chaos.run
    assert (run.began.scenario, run.began.seed, run.began.duration_s) == ("storm", 7, 3600)
    assert (run.ended.done, run.ended.refused) == (1, 0)
    assert run.ended.after_s == pytest.approx(chaos.outcome.after_s, abs=1)
    again = load(run.scenario())
    assert again.step[0].nodes == ("n2",)
    assert again.step[0].at == pytest.approx(chaos.steps[0].at_s)


def test_what_is_refused_is_told_and_stops_nothing(lab):
    mark = lab.mark()
    steps = scenario(
        step("pause", nodes=["n2"], at=0),
        step("leader-move", node="n1", at="1ms"),
        step("leader-move", node="leader", at="2ms"),
        step("stop", nodes=["random"] * 3, at="3ms"),
        pause(at="4ms"),
    )
    with lab.chaos(steps) as chaos:
        lab.wait_for_event("paused", "n2", since=mark)
    assert [bool(one.refused) for one in chaos.steps] == [True, False, False, True, False]
    assert "pausing n2 would leave 1 of 2 voting members" in chaos.steps[0].refused
    assert chaos.outcome.refused == 2
    (run,) = runs(lab.events())
    assert [did.text for did in run.done] == ["leader move n1", "leader move n1", chaos.steps[-1].text]
    assert [one.number for one in run.refused] == [1, 4]


def test_it_ends_by_itself_and_nothing_lasts_longer(lab):
    mark = lab.mark()
    chaos = Chaos(lab, load(scenario(pause(every="100ms"))), duration_s=0.25)
    chaos.begin()
    chaos.go_on()
    lab.wait_for_event("resumed", "n2", since=mark)
    times = [one.at_s for one in chaos.steps]
    assert 1 <= len(times) <= 2  # the machine may be late for one
    assert 0.1 <= times[0] <= times[-1] < 0.25
    assert chaos.outcome is None


def test_whoever_tells_its_end_ends_it(lab):
    chaos = Chaos(lab, load(scenario(pause(at="59m"))))
    chaos.begin()
    chaos.stop()
    chaos.go_on()
    assert chaos.steps == []


def test_a_lab_that_is_stopped_meanwhile(lab):
    chaos = Chaos(lab, load(scenario(pause(at="59m"))))
    chaos.begin()
    lab.down()
    with pytest.raises(NotRunningError, match="was stopped while storm was done to it"):
        chaos.go_on()


def test_a_daemon_that_is_killed_meanwhile_is_followed(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        lab = Lab(fake_lab.directory)
        mark = lab.mark()
        with lab.chaos(scenario(pause(at="300ms"))) as chaos:
            kill_daemon(fake_lab)
            lab.wait_for_event("paused", "n2", since=mark)
        assert chaos.outcome.status.verdict is ClusterVerdict.HEALTHY
        lab.down()


def test_a_lab_that_its_block_removes(lab):
    with lab.chaos(scenario(pause(at="59m"))) as chaos:
        lab.down(purge=True)
    assert chaos.outcome is None


def test_a_lab_that_cannot_be_healed_is_told(lab, monkeypatch):
    def refuse(_):
        raise LabStateError("out of order")

    monkeypatch.setattr(Lab, "heal_all", refuse)
    chaos = lab.chaos(scenario(pause(at=0)))
    with pytest.raises(LabStateError, match="after storm, seed 7, lab 'fake' was healed and is no-quorum: out of ord"):
        pause_meanwhile(lab, chaos)
    assert chaos.outcome.problem == "out of order"
    lab.member("n2").resume()


def pause_meanwhile(lab, chaos):
    with chaos:
        lab.wait_until(lambda status: status.nodes[1].paused)


def test_what_does_not_fit_the_lab_is_not_begun(lab):
    with pytest.raises(ScenarioError) as refused:
        lab.chaos(scenario(step("isolate", node="n9", at=0), step("kill", nodes=["n8"], at=0)))
    assert refused.value.problems == (
        "storm: step[0].do: the links of lab 'fake' can have no faults",
        "storm: step[0].node: lab 'fake' has no member 'n9'; its members are n1, n2",
        "storm: step[1].nodes: lab 'fake' has no member 'n8'; its members are n1, n2",
    )
    assert "etcdlab up --faults" in refused.value.hint


def test_the_seed_is_chosen_if_nobody_does(lab):
    table = {"step": [pause(at=0)]}
    seeds = {lab.chaos(table).seed for _ in range(5)}
    assert len(seeds) > 1
    assert lab.chaos(scenario(pause(at=0))).seed == 7
    assert lab.chaos(scenario(pause(at=0)), seed=8).seed == 8
