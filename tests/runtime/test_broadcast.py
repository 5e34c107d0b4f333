import pytest
import trio

from etcdlab.runtime.broadcast import Broadcast

pytestmark = pytest.mark.trio


async def received(channel):
    return [item async for item in channel]


async def test_everybody_gets_everything_from_when_they_joined():
    broadcast = Broadcast[int](10)
    with broadcast.follow() as early:
        broadcast.publish(1)
        with broadcast.follow() as late:
            broadcast.publish(2)
            broadcast.close()
            assert await received(early) == [1, 2]
            assert await received(late) == [2]


async def test_a_slow_follower_is_dropped_after_what_it_had_and_hurts_no_other():
    broadcast = Broadcast[int](2)
    with broadcast.follow() as slow, broadcast.follow() as quick:
        for number in range(5):
            broadcast.publish(number)
            assert await quick.receive() == number
        assert await received(slow) == [0, 1]


async def test_a_follower_that_left_is_forgotten():
    broadcast = Broadcast[int](1)
    with broadcast.follow() as gone:
        pass
    broadcast.publish(1)
    broadcast.publish(2)
    with pytest.raises(trio.ClosedResourceError):
        await gone.receive()
