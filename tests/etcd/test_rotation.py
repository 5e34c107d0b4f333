"""A log that is rotated while somebody writes it: nothing is lost, nothing comes twice, and it stays bounded."""

import errno
import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from etcdlab.etcd import rotation
from etcdlab.etcd.logfile import Tail, end, last_lines
from etcdlab.etcd.parts import BLOCK, LogParts, length, older_parts, part_being_cut
from etcdlab.etcd.rotation import complete, rotate

LINE = b"%015d\n"
BOUND_S = 30.0
FLOODER = """
import os, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
count, began, pad = int(sys.argv[2]), time.monotonic(), b"x" * 100
for number in range(count):
    os.write(log, b"%015d %s\\n" % (number, pad))
    ahead = number / 100_000 - (time.monotonic() - began)
    if ahead > 0.001:
        time.sleep(ahead)
"""


def lines(numbers: range) -> bytes:
    return b"".join(LINE % number for number in numbers)


def content(path: Path) -> bytes:
    with LogParts(path) as parts:
        place, found = parts.start(), b""
        while data := parts.read(place + len(found), 2**20)[1]:
            found += data
        return found


def sizes(path: Path) -> list[int]:
    return [part.stat().st_size for _, part in older_parts(path)]


@pytest.fixture(params=["collapse", "hole", "cut"])
def way(request, monkeypatch):
    """How the beginning is taken away: that of ext4, of other file systems, and where neither can be had."""
    if request.param == "hole":
        monkeypatch.setattr(rotation, "_COLLAPSE_RANGE", 64)
    elif request.param == "cut":
        monkeypatch.setattr(rotation, "_take_away", lambda *_: False)
    return request.param


@pytest.fixture
def log(tmp_path, way):
    """A log, and the descriptor with which etcd appends to it."""
    path = tmp_path / "etcd.log"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    yield path, descriptor
    os.close(descriptor)


def test_a_rotated_log_reads_as_if_it_were_whole(log):
    path, etcd = log
    numbers = range(20 * BLOCK // 16)
    for first in range(0, len(numbers), 5000):
        os.write(etcd, lines(numbers[first : first + 5000]))
        rotate(path, size=2 * BLOCK, count=100)
    assert length(etcd) <= 2 * BLOCK
    assert content(path) == lines(numbers)
    assert end(path) == len(lines(numbers))
    assert last_lines(path, 9000) == [LINE % number for number in numbers[-9000:]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_it_stays_within_its_bounds(log, count, way):
    path, etcd = log
    numbers = range(40 * BLOCK // 16)
    os.write(etcd, lines(numbers))
    rotate(path, size=2 * BLOCK, count=count)
    assert length(etcd) <= 2 * BLOCK
    assert len(list(filter(None, sizes(path)))) <= count
    assert sum(sizes(path)) <= count * 2 * BLOCK or way == "cut"
    assert lines(numbers).endswith(content(path))
    assert end(path) == len(lines(numbers))
    os.write(etcd, b"more\n")
    assert last_lines(path, 1) == [b"more\n"]
    assert end(path) == len(lines(numbers)) + 5


def test_nothing_is_done_to_a_log_within_its_bounds(log):
    path, etcd = log
    os.write(etcd, b"x" * BLOCK)
    rotate(path, size=1, count=3)
    assert [file.name for file in path.parent.iterdir()] == ["etcd.log"]


def test_older_parts_are_private_whatever_the_umask(log):
    path, etcd = log
    os.write(etcd, b"x" * 2 * BLOCK)
    umask = os.umask(0)
    try:
        rotate(path, size=BLOCK, count=1)
    finally:
        os.umask(umask)
    assert {stat.S_IMODE(part.stat().st_mode) for _, part in older_parts(path)} == {0o600}


def test_a_follower_reads_on_over_rotations(log):
    path, etcd = log
    os.write(etcd, lines(range(10)))
    with closing(Tail(path)) as tail:
        told = []
        for first in range(10, 60_010, 3000):
            os.write(etcd, lines(range(first, first + 3000)))
            rotate(path, size=BLOCK, count=100)
            if first % 2:
                continue  # several rotations behind
            while new := tail.new_lines():
                told += new
        while new := tail.new_lines():
            told += new
        assert told == [b"%015d" % number for number in range(10, 60_010)]
        assert tail.newest_size == length(etcd)
        assert list(tail.history()) == [LINE % number for number in range(10)]


def test_a_follower_who_is_too_slow_goes_on_with_what_is_kept(log, way):
    if way == "cut":
        pytest.skip("there one rotation makes one part of it all")
    path, etcd = log
    with closing(Tail(path)) as tail:
        os.write(etcd, b"seen\nhal")
        assert tail.new_lines() == [b"seen"]
        os.write(etcd, lines(range(30 * BLOCK // 16)))
        rotate(path, size=2 * BLOCK, count=1)
        told = list(itertools.chain.from_iterable(iter(tail.new_lines, [])))
        assert told[0] == b"hal"
        assert told[2:] == [b"%015d" % number for number in range(30 * BLOCK // 16)][-len(told) + 2 :]


def test_a_log_that_somebody_empties_begins_anew(log):
    path, etcd = log
    with closing(Tail(path)) as tail:
        os.write(etcd, lines(range(3 * BLOCK // 16)))
        rotate(path, size=BLOCK, count=1)
        while tail.new_lines():
            pass
        os.truncate(path, 0)
        os.write(etcd, b"new\n")
        assert tail.new_lines() == [b"new"]


@pytest.mark.parametrize("step", ["copied", "taken away"])
def test_a_rotation_that_was_killed_is_completed(log, monkeypatch, step, way):
    path, etcd = log
    numbers = range(10 * BLOCK // 16)
    os.write(etcd, lines(numbers))
    if way == "cut" and step == "taken away":
        pytest.skip("there the copy holds more by then")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rotation, {"copied": "_cut", "taken away": "_name"}[step], kill)
        with pytest.raises(Killed):
            rotate(path, size=3 * BLOCK, count=5)
    assert content(path) == lines(numbers)
    os.write(etcd, b"more\n")
    with closing(Tail(path)) as tail:
        complete(path)
        assert not part_being_cut(path).exists()
        assert content(path) == lines(numbers) + b"more\n"
        rotate(path, size=3 * BLOCK, count=5)
        assert content(path) == lines(numbers) + b"more\n"
        os.write(etcd, b"after\n")
        assert tail.new_lines() == [b"after"]


def test_a_full_disk_costs_no_line(log, monkeypatch):
    path, etcd = log
    numbers = range(10 * BLOCK // 16)
    os.write(etcd, lines(numbers))

    def no_space(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", no_space)
        with pytest.raises(OSError, match="No space"):
            rotate(path, size=BLOCK, count=1)
    assert [file.name for file in path.parent.iterdir()] == ["etcd.log"]
    assert content(path) == lines(numbers)
    rotate(path, size=BLOCK, count=100)
    assert content(path) == lines(numbers)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a line that comes in the middle of it may be lost")
@pytest.mark.parametrize("place", ["disk", "memory"])
def test_a_flood_loses_nothing_to_rotations(tmp_path, place):
    """100,000 lines a second, a follower, and readers of the whole: on ext4 or XFS, and where there are but holes."""
    if place == "memory":
        tmp_path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    count, size, parts = 100_000, 2**20, 3
    path = tmp_path / "etcd.log"
    path.touch()
    told: list[bytes] = []
    ended = threading.Event()
    wrong: list[str] = []

    def follow() -> None:
        with closing(Tail(path)) as tail:
            while len(told) < count and not ended.wait(0):
                told.extend(tail.new_lines())

    def read_whole() -> None:
        while not ended.wait(0.01):
            numbers = [int(line[:15]) for line in last_lines(path, 15_000) if len(line) == 117]
            if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                wrong.append(f"{numbers[0]} to {numbers[-1]}: {len(numbers)} lines")

    try:
        writer = subprocess.Popen([sys.executable, "-c", FLOODER, path, str(count)])
        threads = [threading.Thread(target=act) for act in (follow, read_whole)]
        for thread in threads:
            thread.start()
        largest = 0
        deadline = time.monotonic() + BOUND_S
        while len(told) < count and time.monotonic() < deadline:
            rotate(path, size=size, count=parts)
            largest = max(largest, sum(sizes(path)))
            time.sleep(0.001)
        ended.set()
        for thread in threads:
            thread.join()
        assert writer.wait() == 0
        assert [int(line[:15]) for line in told] == list(range(count))
        assert not wrong
        assert largest <= size * parts
    finally:
        if place == "memory":
            shutil.rmtree(tmp_path)
