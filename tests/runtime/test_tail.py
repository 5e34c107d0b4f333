"""Whole lines as they are written, whatever happens to the files."""

import errno
import os
from functools import partial

import pytest
import trio

from etcdlab.etcd.parts import older_parts
from etcdlab.runtime import tail
from etcdlab.runtime.tail import watch_lines

pytestmark = pytest.mark.trio
BOUND_S = 20


class Watched:
    """Logs that are watched, and what was seen of them."""

    def __init__(self, directory, names):
        self.paths = {name: directory / f"{name}.log" for name in names}
        self.lines = {name: [] for name in names}
        self._news = trio.Event()

    def on_lines(self, name, lines):
        self.lines[name] += lines
        self._news.set()
        self._news = trio.Event()

    def write(self, name, data):
        with self.paths[name].open("ab") as file:
            file.write(data)

    async def wait(self, accept):
        with trio.fail_after(BOUND_S):
            while not accept():
                await self._news.wait()


@pytest.fixture(params=["kernel", "polling"])
def way(request, monkeypatch):
    """How changes are noticed: on Linux the other system's way is tested too."""
    if request.param == "polling":
        monkeypatch.setattr(tail.sys, "platform", "darwin")
        monkeypatch.setattr(tail, "POLL_S", 0.001)


@pytest.fixture
async def watched(tmp_path, nursery, way):
    watched = Watched(tmp_path, [f"n{number}" for number in range(1, 31)])
    watched.write("n1", b"from before\n")
    await nursery.start(partial(watch_lines, watched.paths, watched.on_lines, size=2**20, count=2))
    yield watched
    nursery.cancel_scope.cancel()


async def test_lines_come_whole_and_only_new_ones(watched):
    watched.write("n1", b"one\ntw")
    await watched.wait(lambda: watched.lines["n1"])
    watched.write("n1", b"o\n\nthree\n")
    await watched.wait(lambda: len(watched.lines["n1"]) == 4)
    assert watched.lines["n1"] == [b"one", b"two", b"", b"three"]


async def test_many_logs_at_once(watched):
    for number in range(20):
        for name in watched.paths:
            watched.write(name, b"%s %d\n" % (name.encode(), number))
    await watched.wait(lambda: all(len(lines) == 20 for lines in watched.lines.values()))
    for name, lines in watched.lines.items():
        assert lines == [b"%s %d" % (name.encode(), number) for number in range(20)]


async def test_a_truncated_log_goes_on_from_its_start(watched):
    watched.write("n1", b"x" * 5000 + b"\n")
    await watched.wait(lambda: watched.lines["n1"])
    os.truncate(watched.paths["n1"], 0)
    watched.write("n1", b"afresh\n")
    await watched.wait(lambda: watched.lines["n1"][-1] == b"afresh")


async def test_a_flood_is_read_whole_while_others_get_their_turn(watched):
    """And rotated on the way: nothing of it is lost by that."""
    count = 100_000
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        before = turns
        watched.write("n1", b"".join(b"%025d\n" % number for number in range(count)))
        await watched.wait(lambda: len(watched.lines["n1"]) == count)
        nursery.cancel_scope.cancel()
    assert watched.lines["n1"] == [b"%025d" % number for number in range(count)]
    assert turns - before >= 5
    watched.write("n1", b"after\n")
    await watched.wait(lambda: watched.lines["n1"][-1] == b"after")
    assert 0 < len(older_parts(watched.paths["n1"])) <= 2


async def test_what_could_not_be_read_for_want_of_descriptors_is_read_later(watched, monkeypatch, caplog):
    """It ended the daemon."""
    told = len(caplog.records)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", fail)
        watched.write("n1", b"late\n")
        with trio.fail_after(BOUND_S):
            while len(caplog.records) == told:  # noqa: ASYNC110 - a record is no event
                await trio.sleep(0.001)
        assert not watched.lines["n1"]
    await watched.wait(lambda: watched.lines["n1"] == [b"late"])


def fail(*_):
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_line_that_never_ends_does_not_fill_the_memory(watched):
    piece = b"x" * 2**18
    for _ in range(40):
        watched.write("n1", piece)
        watched.write("n2", b"mark\n")
        count = len(watched.lines["n2"])
        await watched.wait(lambda count=count: len(watched.lines["n2"]) > count)
    assert b"".join(watched.lines["n1"])[: 2**20] == b"x" * 2**20
