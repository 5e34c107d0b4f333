"""A log that is rotated while etcd holds it open, and followers that lose nothing by it."""

import os
import stat
from contextlib import closing

import pytest

from etcdlab.etcd.logfile import Tail, last_lines
from etcdlab.etcd.rotation import older_part, rotate


@pytest.fixture
def log(tmp_path):
    """A log, and the descriptor with which etcd appends to it."""
    path = tmp_path / "etcd.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield path, descriptor
    os.close(descriptor)


def test_the_writer_goes_on_at_the_start_of_an_empty_log(log):
    path, etcd = log
    os.write(etcd, b"old\n")
    rotate(path, 3)
    os.write(etcd, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert older_part(path, 1).read_bytes() == b"old\n"


def test_older_parts_move_up_and_the_oldest_goes(log):
    path, etcd = log
    for number in range(5):
        os.write(etcd, b"%d\n" % number)
        rotate(path, 3)
    assert [older_part(path, number).read_bytes() for number in (1, 2, 3)] == [b"4\n", b"3\n", b"2\n"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "etcd.log",
        "etcd.log.1",
        "etcd.log.2",
        "etcd.log.3",
    ]


def test_no_old_part_is_kept_when_none_is_wanted(log):
    path, etcd = log
    os.write(etcd, b"old\n")
    rotate(path, 0)
    assert path.read_bytes() == b""
    assert not older_part(path, 1).exists()


def test_older_parts_are_private_whatever_the_umask(log):
    path, etcd = log
    os.write(etcd, b"old\n")
    umask = os.umask(0)
    try:
        rotate(path, 1)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(older_part(path, 1).stat().st_mode) == 0o600


def test_all_parts_are_read_as_one_log(log):
    path, etcd = log
    for number in range(3):
        os.write(etcd, b"%d\n" % number)
        rotate(path, 3)
    os.write(etcd, b"3\n")
    assert last_lines(path, 3) == [b"1\n", b"2\n", b"3\n"]


def test_a_follower_gets_what_was_rotated_away_before_it_was_read(log):
    path, etcd = log
    with closing(Tail(path)) as tail:
        os.write(etcd, b"seen before\n")
        assert tail.new_lines() == [b"seen before"]
        os.write(etcd, b"unseen\nhal")
        rotate(path, 3)
        os.write(etcd, b"f\nnew\n")
        assert [*tail.new_lines(), *tail.new_lines()] == [b"unseen", b"hal", b"f", b"new"]
        assert tail.new_lines() == []


def test_a_follower_takes_nothing_from_an_older_part_that_is_not_its_logs_past(log):
    path, etcd = log
    older_part(path, 1).write_bytes(b"another\nstory\n" * 10)
    with closing(Tail(path)) as tail:
        os.write(etcd, b"seen\n")
        assert tail.new_lines() == [b"seen"]
        os.truncate(path, 0)
        os.write(etcd, b"new\n")
        assert tail.new_lines() == [b"new"]
