"""Files that are whole at any time, and private."""

import os
import stat
import threading
from pathlib import Path

import pytest

from etcdlab.prepare.files import create_file, replace_file, sync_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_replaced_file_is_private_from_the_start(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        replace_file(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    replace_file(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(40):
            replace_file(path, contents[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_what_is_to_last_is_on_the_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content before it gets its name; else a crash could leave the name with nothing behind it."""
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "file"

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(path, b"content")
    assert synced == [(False, False), (True, True)]
    replace_file(path, b"content", durable=False)
    assert len(synced) == 2


def test_what_is_in_a_directory_is_on_the_disk_before_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync_directory(tmp_path)
    assert set(synced[:2]) == {(tmp_path / name).stat().st_ino for name in "ab"}
    assert synced[2:] == [tmp_path.stat().st_ino]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to(tmp_path: Path, umask: int) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("mine")
    before = os.umask(umask)
    try:
        with create_file(tmp_path / "link", mode=0o644) as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"
    assert mode(tmp_path / "link") == 0o644 & ~umask
