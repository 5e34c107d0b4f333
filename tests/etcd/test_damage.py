"""Damage goes where a member must notice it; that members do is in tests/e2e."""

import pytest

from etcdlab.errors import LabStateError
from etcdlab.etcd.damage import META_PAGES, PAGE, damage, newest_wal
from etcdlab.model.disk import Part


@pytest.fixture
def data(tmp_path):
    (tmp_path / "member" / "wal").mkdir(parents=True)
    (tmp_path / "member" / "snap").mkdir()
    return tmp_path


def test_one_byte_in_the_middle_of_what_is_used_of_the_newest_wal(data):
    wals = data / "member" / "wal"
    content = bytes(range(1, 201)) + bytes(1000)
    for name in ("0000000000000000-0000000000000000.wal", "0000000000000001-0000000000000009.wal"):
        (wals / name).write_bytes(content)
    (wals / "1.tmp").write_bytes(content)
    assert damage(data, Part.WAL) == newest_wal(data) == wals / "0000000000000001-0000000000000009.wal"
    changed = newest_wal(data).read_bytes()
    assert [place for place, pair in enumerate(zip(content, changed, strict=True)) if pair[0] != pair[1]] == [100]
    assert (wals / "0000000000000000-0000000000000000.wal").read_bytes() == content


def test_both_meta_pages_of_the_database(data):
    db = data / "member" / "snap" / "db"
    db.write_bytes(bytes(5 * PAGE))
    assert damage(data, Part.DB) == db
    assert db.read_bytes() == b"\xff" * META_PAGES * PAGE + bytes(3 * PAGE)


@pytest.mark.parametrize("part", Part)
def test_where_there_is_nothing_it_says_so(data, part):
    with pytest.raises(LabStateError, match=f"there is no {part.value} in"):
        damage(data, part)
