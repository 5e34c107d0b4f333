"""Whose things are, for any owner and mode."""

import os
import socket
from pathlib import Path

import pytest
from torturing.stranger import STRANGER, as_stranger

from etcdlab import ownership
from etcdlab.ownership import exposure, is_private, is_trusted, make_directory, user_of_peer
from tests import stranger


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize(("user", "trusted"), [(0, True), (1000, True), (1001, False), (65534, False)])
def test_trusted_are_this_user_and_root(monkeypatch, user, trusted):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert is_trusted(user) is trusted


def test_root_trusts_root_alone(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert is_trusted(0)
    assert not is_trusted(1000)


def test_the_other_end_of_a_socket_is_ours():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert user_of_peer(ours) == os.geteuid()


@stranger.needed
def test_the_other_end_of_a_socket_is_a_strangers():
    with (
        stranger.meeting_place() as place,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as connecting,
    ):
        listener.bind(str(place / "s"))
        (place / "s").chmod(0o666)
        listener.listen()
        as_stranger(lambda: connecting.connect(str(place / "s")))
        accepted, _ = listener.accept()
        with accepted:
            assert user_of_peer(accepted) == STRANGER
        assert user_of_peer(connecting) == os.geteuid()


@pytest.mark.parametrize(("given", "danger"), [
    (0o700, ""), (0o755, ""), (0o775, ""), (0o1777, ""), (0o777, "can be written by everybody"),
    (0o702, "can be written by everybody"),
])  # fmt: skip
def test_a_directory_is_exposed_when_others_can_replace_what_is_in_it(tmp_path, given, danger):
    tmp_path.chmod(given)
    assert exposure(tmp_path) == danger


def test_a_directory_of_another_user_is_exposed(tmp_path, monkeypatch):
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(ownership, "is_trusted", lambda user: user != owner)
    assert exposure(tmp_path) == f"belongs to user {owner}"


def test_what_is_not_there_is_not_exposed(tmp_path):
    assert exposure(tmp_path / "none") == ""


def test_a_link_to_a_private_directory_is_not_private(tmp_path):
    (tmp_path / "place").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("place")
    assert is_private(tmp_path / "place")
    assert not is_private(tmp_path / "link")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("wanted", [0o700, 0o755])
def test_directories_are_made_no_more_open_than_asked_whatever_the_umask(tmp_path, umask, wanted):
    before = os.umask(umask)
    try:
        make_directory(tmp_path / "a" / "b" / "c", mode=wanted)
    finally:
        os.umask(before)
    assert {mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")} == {wanted & ~umask}


def test_a_directory_that_is_there_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o711)
    make_directory(tmp_path)
    assert mode(tmp_path) == 0o711


def test_no_directory_is_made_below_a_file_or_a_link_to_nowhere(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file" / "x")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "link" / "x")
    assert not (tmp_path / "nowhere").exists()
