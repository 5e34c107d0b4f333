import logging
import os

import pytest

from etcdlab.control import reserve
from etcdlab.control.reserve import FOR_REFUSALS, SIZE, Reserve


@pytest.fixture
def room(monkeypatch):
    """How many more files this process may open."""

    class Room:
        left = 1000

    def open_(path, flags):
        if not Room.left:
            raise OSError(24, "Too many open files")
        Room.left -= 1
        return real_open(path, flags)

    def close(descriptor):
        Room.left += 1
        real_close(descriptor)

    real_open, real_close = os.open, os.close
    monkeypatch.setattr(reserve.os, "open", open_)
    monkeypatch.setattr(reserve.os, "close", close)
    return Room


def test_gives_up_what_it_holds_and_takes_it_back(room, caplog):
    held = Reserve()
    room.left = 0
    for number in range(SIZE):
        assert held.is_low is (number > SIZE - FOR_REFUSALS)
        assert held.give()
        assert room.left == number + 1
    assert held.is_low
    assert not held.give()
    held.fill()
    assert not held.is_low
    held.close()


def test_tells_once_that_there_are_none_and_once_that_there_are(room, caplog):
    caplog.set_level(logging.WARNING)
    held = Reserve()
    room.left = 0
    for _ in range(3):
        held.give()
        held.fill()  # who was given it has closed it again
        assert held.is_used
    room.left = 1
    held.fill()
    assert not held.is_used
    assert [record.message for record in caplog.records] == [
        "no more files can be opened: clients are served from a reserve of descriptors",
        "files can be opened again",
    ]
    held.close()
