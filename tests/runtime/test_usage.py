import os

import pytest

from etcdlab.prepare.process import ProcessIdentity, identify
from etcdlab.runtime.usage import SHORTEST_S, Usage, UsageMeter


async def burn(seconds: float) -> None:
    """Use CPU time of this process."""
    end = sum(os.times()[:2]) + seconds
    while sum(os.times()[:2]) < end:
        pass


@pytest.mark.trio
async def test_the_rate_is_over_the_whole_life_first_then_since_the_last_look(mock_clock):
    meter, me = UsageMeter(), identify(os.getpid())
    first = meter.look(me, uptime_s=1000)
    assert first.rss_bytes > 2**20
    used = sum(os.times()[:2])
    assert first.cpu_percent == pytest.approx(100 * used / 1000, abs=0.5)
    await burn(0.1)
    mock_clock.jump(1)
    assert 9 <= meter.look(me, uptime_s=1001).cpu_percent <= 40
    mock_clock.jump(100)
    assert meter.look(me, uptime_s=1101).cpu_percent < 1


@pytest.mark.trio
async def test_a_look_too_soon_repeats_the_last_rate(mock_clock):
    meter, me = UsageMeter(), identify(os.getpid())
    meter.look(me, uptime_s=10)
    mock_clock.jump(1)
    rate = meter.look(me, uptime_s=11).cpu_percent
    mock_clock.jump(SHORTEST_S / 2)
    await burn(0.05)
    assert meter.look(me, uptime_s=11).cpu_percent == rate


@pytest.mark.trio
async def test_another_incarnation_starts_anew(mock_clock):
    meter, me = UsageMeter(), identify(os.getpid())
    other = ProcessIdentity(pid=me.pid, start_time=me.start_time + 1, boot=me.boot)
    meter.look(me, uptime_s=1)
    mock_clock.jump(1)
    assert meter.look(other, uptime_s=1e9).cpu_percent == 0


@pytest.mark.trio
async def test_nothing_is_known_of_a_process_that_is_gone():
    assert UsageMeter().look(ProcessIdentity(pid=2**22 - 1, start_time=1, boot=""), uptime_s=1) == Usage()
