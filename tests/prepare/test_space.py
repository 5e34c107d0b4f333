import os
import resource
from types import SimpleNamespace

import pytest

from etcdlab.prepare import space


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free on every disk."""

    def set_free(count):
        monkeypatch.setattr(os, "statvfs", lambda path: real(path) and SimpleNamespace(f_bavail=count, f_frsize=1))

    real = os.statvfs
    return set_free


@pytest.mark.parametrize(("count", "full"), [(0, True), (space.ENOUGH - 1, True), (space.ENOUGH, False)])
def test_a_disk_is_full_when_less_than_a_little_is_left(tmp_path, free, count, full):
    free(count)
    assert space.is_full(tmp_path / "not" / "made" / "yet") is full


def test_each_full_disk_is_named_once(tmp_path, free):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    free(0)
    assert list(space.full([tmp_path / "a", tmp_path / "b"])) == [tmp_path / "a"]
    free(space.ENOUGH)
    assert list(space.full([tmp_path / "a"])) == []


def test_nothing_is_said_of_a_disk_that_is_not_for_us_to_see(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "statvfs", refuse)
    assert not space.is_full(tmp_path)


@pytest.mark.parametrize(
    ("limit", "can"), [(resource.RLIM_INFINITY, True), (10**6, True), (100 + space.LAST_WORDS, False)]
)
def test_a_log_at_the_limit_of_a_files_size_has_no_last_words(tmp_path, monkeypatch, limit, can):
    log = tmp_path / "etcd.log"
    log.write_bytes(b"x" * 100)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert space.has_last_words(log) is can
    assert space.has_last_words(tmp_path / "none")
