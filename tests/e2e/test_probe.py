"""How long a lab could not be written to, as the probe sees it."""

from pathlib import Path

import pytest

from etcdlab.lab import Lab

pytestmark = pytest.mark.etcd


@pytest.mark.parametrize("tls", [True, False])
def test_it_sees_an_outage_and_none_where_there_is_none(home: Path, tls: bool) -> None:
    with Lab.up(nodes=3, profile="fast", name="probed", tls=tls) as lab, lab.probe() as probe:
        lab.wait_until(lambda _: probe.writes > 5)
        follower = next(member for member in lab.members if member.name != lab.leader().name)
        calm = lab.mark()
        follower.kill()
        lab.wait_ready()
        assert probe.unavailable(since=calm) < 1
        outage = lab.mark()
        with lab.without_quorum():
            lab.wait_until(lambda _: probe.unavailable(since=outage) > 1.2)
        lab.wait_until(lambda _: probe.writes > 10)
        assert probe.failures(since=outage) > 0
        assert probe.unavailable() >= 1.2
    assert probe.unavailable(since=calm) >= probe.unavailable(since=outage) >= 1.2


def test_of_a_lab_that_answers_nothing_all_the_time_counts(home: Path) -> None:
    with Lab.up(nodes=1, profile="fast", name="gone") as lab:
        with lab.paused("n1", force=True), lab.probe() as probe:
            lab.wait_until(lambda _: probe.failures() > 0)
        assert probe.writes == 0
        assert probe.unavailable() >= 0.5
