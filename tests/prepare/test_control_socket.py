"""Where the control socket goes, and whose place that is."""

import os
import stat
from pathlib import Path

import pytest

from etcdlab.errors import LabStateError
from etcdlab.prepare import control_socket
from etcdlab.prepare.control_socket import is_private, runtime_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def no_user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runtime directory of the system's; what replaces /tmp."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(control_socket, "TEMPORARY", temporary)
    private = is_private
    monkeypatch.setattr(
        control_socket, "is_private", lambda path: not str(path).startswith("/run/user/") and private(path)
    )
    return temporary


def test_the_runtime_directory_is_the_users_own(no_user_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = no_user_directory / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(control_socket, "SOCKET_PATH_LIMIT", 1000)
    assert runtime_directory() == runtime / "etcdlab"
    monkeypatch.setattr(control_socket, "SOCKET_PATH_LIMIT", len(str(runtime)))
    assert runtime_directory() == no_user_directory / f"etcdlab-{os.geteuid()}", "too long a path"


@pytest.mark.parametrize("given", [None, "", "missing", "file", "open", "link", "unusable"])
def test_one_that_will_not_do_is_passed_over(
    given: str | None, no_user_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = no_user_directory
    (base / "file").touch(mode=0o600)
    (base / "open").mkdir()
    (base / "open").chmod(0o755)
    (base / "private").mkdir(mode=0o700)
    (base / "link").symlink_to(base / "private")
    (base / "unusable").mkdir(mode=0o700)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, wanted: Path(path).name != "unusable" and access(path, wanted))
    monkeypatch.setattr(control_socket, "SOCKET_PATH_LIMIT", 1000)
    if given is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / given) if given else "")
    assert runtime_directory() == base / f"etcdlab-{os.geteuid()}"


def test_a_place_that_somebody_else_has_taken_is_refused(no_user_directory: Path) -> None:
    place = no_user_directory / f"etcdlab-{os.geteuid()}"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(LabStateError, match="not a directory of this user's alone"):
        runtime_directory()
    place.chmod(0o700)
    assert runtime_directory() == place
    place.rmdir()
    place.symlink_to(no_user_directory)
    with pytest.raises(LabStateError):
        runtime_directory()


def test_another_users_directory_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert is_private(tmp_path)
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    assert not is_private(tmp_path)
