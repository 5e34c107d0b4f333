"""Damage goes where a member must notice it; that members do is in tests/e2e."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.errors import LabStateError
from etcdlab.etcd.damage import META_PAGES, PAGE, SECTOR, damage
from etcdlab.model.disk import Part


@pytest.fixture
def data(tmp_path):
    (tmp_path / "member" / "wal").mkdir(parents=True)
    (tmp_path / "member" / "snap").mkdir()
    return tmp_path


def record(kind: int, data: bytes) -> bytes:
    """As etcd frames it: the length, with that of the padding in its highest byte; then type and data."""
    content = bytes([0x08, kind, 0x1A, len(data)]) + data
    padding = -len(content) % 8
    frame = len(content) | ((0x80 | padding) << 56 if padding else 0)
    return frame.to_bytes(8, "little") + content + bytes(padding)


METADATA, CHANGE, STATE = 1, 2, 3
HEAD = record(METADATA, b"m" * 21)
OLD, NEW = "0000000000000000-0000000000000000.wal", "0000000000000001-0000000000000009.wal"


def changed_places(before: bytes, after: bytes) -> list[int]:
    return [place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]


def test_the_last_byte_of_a_change_in_the_middle_of_the_newest_wal(data):
    changes = [record(CHANGE, bytes([number]) * 5) for number in range(1, 6)]
    content = HEAD + b"".join(change + record(STATE, b"s") for change in changes) + bytes(1000)
    wals = data / "member" / "wal"
    for name in (OLD, NEW, "1.tmp"):
        (wals / name).write_bytes(content)
    assert damage(data, Part.WAL) == wals / NEW
    place = content.index(b"\3" * 5) + 4
    assert changed_places(content, (wals / NEW).read_bytes()) == [place]
    assert (wals / OLD).read_bytes() == content


@given(st.lists(st.binary(min_size=1, max_size=120), min_size=1, max_size=40))
def test_no_change_that_lies_in_two_sectors_is_chosen_if_there_is_another(values):
    """etcd takes it for torn if what it has in one of them is zeros."""
    content, ends = HEAD, {}
    for value in values:
        begin = len(content) + 8
        content += record(CHANGE, value)
        end = begin + 4 + len(value)
        ends[end - 1] = begin // SECTOR == (end - 1) // SECTOR
    with tempfile.TemporaryDirectory() as name:
        wal = Path(name) / "member" / "wal" / NEW
        wal.parent.mkdir(parents=True)
        wal.write_bytes(content + bytes(1000))
        damage(Path(name), Part.WAL)
        (place,) = changed_places(content + bytes(1000), wal.read_bytes())
    assert ends[place] or not any(ends.values())


def test_a_wal_that_was_just_begun_has_no_change_so_it_is_the_one_before(data):
    wals = data / "member" / "wal"
    (wals / OLD).write_bytes(HEAD + record(CHANGE, b"c") + bytes(100))
    (wals / NEW).write_bytes(HEAD + bytes(100))
    assert damage(data, Part.WAL) == wals / OLD


@given(st.binary(max_size=200))
def test_what_is_no_wal_has_none(content):
    with tempfile.TemporaryDirectory() as name:
        wal = Path(name) / "member" / "wal" / NEW
        wal.parent.mkdir(parents=True)
        wal.write_bytes(content)
        with suppress(LabStateError):
            damage(Path(name), Part.WAL)


def test_both_meta_pages_of_the_database(data):
    db = data / "member" / "snap" / "db"
    db.write_bytes(bytes(5 * PAGE))
    assert damage(data, Part.DB) == db
    assert db.read_bytes() == b"\xff" * META_PAGES * PAGE + bytes(3 * PAGE)


@pytest.mark.parametrize("part", Part)
def test_where_there_is_nothing_it_says_so(data, part):
    with pytest.raises(LabStateError, match=f"there is no {part.value} in"):
        damage(data, part)
