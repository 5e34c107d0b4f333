"""Which etcd is found, and what is said of those that are not used."""

import shutil
from pathlib import Path

import pytest

from etcdlab.errors import BinaryError, UsageError
from etcdlab.etcd import version as versions
from etcdlab.etcd.binaries import Origin, find, installed

from .programs import write_program


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: Path) -> Path:
    """An empty cache of etcdlab's own, with nothing on PATH."""
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def in_cache(cache: Path, version: str, *programs: str) -> Path:
    for program in ("etcd", *programs):
        write_program(cache / "etcd" / version / program, version)
    return cache / "etcd" / version / "etcd"


def test_the_path_comes_before_the_cache_and_the_cache_before_path(cache: Path, on_path: Path, tmp_path: Path) -> None:
    named = write_program(tmp_path / "named", "3.4.1")
    on_path_etcd = write_program(on_path / "etcd", "3.5.2")
    assert find(path=None, version=None).etcd == str(on_path_etcd)
    cached = in_cache(cache, "3.5.1")
    assert find(path=None, version=None).etcd == str(cached)
    assert find(path=str(named), version=None).etcd == str(named)


def test_origin_says_where_it_was_found(cache: Path, on_path: Path) -> None:
    path = write_program(on_path / "etcd", "3.5.9")
    assert find(path=None, version=None).origin is Origin.PATH
    assert find(path=str(path), version=None).origin is Origin.TOPOLOGY
    in_cache(cache, "3.5.9")
    assert find(path=None, version=None).origin is Origin.CACHE


def test_the_newest_cached_is_chosen_by_number_and_not_by_text(cache: Path) -> None:
    for version in ("3.5.9", "3.5.16", "3.4.23", "3.6.0-rc.1"):
        in_cache(cache, version)
    assert installed() == ["3.6.0-rc.1", "3.5.16", "3.5.9", "3.4.23"]
    assert find(path=None, version="3.5").version == "3.5.16"
    assert find(path=None, version="v3.5.9").version == "3.5.9"
    in_cache(cache, "3.6.0")
    assert find(path=None, version="3.6").version == "3.6.0"


def test_a_minor_is_not_a_prefix_of_digits(cache: Path) -> None:
    in_cache(cache, "3.50.1")
    with pytest.raises(BinaryError, match=r"no usable etcd 3\.5 was found"):
        find(path=None, version="3.5")


def test_path_is_used_when_it_has_the_version_asked_for(cache: Path, on_path: Path) -> None:
    in_cache(cache, "3.4.23")
    etcd = write_program(on_path / "etcd", "3.5.16")
    assert find(path=None, version="3.5.16").etcd == str(etcd)


def test_tools_beside_etcd_are_used_and_those_on_path_only_with_etcd_from_path(cache: Path, on_path: Path) -> None:
    ctl = write_program(on_path / "etcdctl", "3.5.16")
    etcd = in_cache(cache, "3.5.16", "etcdutl")
    binary = find(path=None, version=None)
    assert binary.etcdutl == str(etcd.with_name("etcdutl"))
    assert binary.etcdctl is None
    write_program(on_path / "etcd", "3.4.23")
    assert find(path=None, version="3.4.23").etcdctl == str(ctl)


def test_a_broken_cached_version_is_passed_over_and_named(cache: Path, on_path: Path) -> None:
    in_cache(cache, "3.5.16").write_bytes(b"\x7fELF truncated")
    with pytest.raises(BinaryError, match=r"3\.5\.16/etcd cannot be run"):
        find(path=None, version=None)
    etcd = write_program(on_path / "etcd", "3.5.1")
    assert find(path=None, version=None).etcd == str(etcd)


def test_what_was_looked_at_and_the_remedies_are_told(cache: Path, on_path: Path) -> None:
    in_cache(cache, "3.4.23")
    with pytest.raises(BinaryError) as caught:
        find(path=None, version="3.6")
    assert f"the cache {cache / 'etcd'} has 3.4.23" in caught.value.message
    assert "there is no etcd on PATH" in caught.value.message
    assert "etcdlab etcd install" in caught.value.hint
    write_program(on_path / "etcd", "3.5.16")
    with pytest.raises(BinaryError, match=r"bin/etcd is version 3\.5\.16"):
        find(path=None, version="3.6")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0o755, "does not exist"),
        ("#!/bin/sh\n", 0o644, "is not executable"),
        ("#!/bin/sh\necho 'postgres (PostgreSQL) 17.5'\n", 0o755, "does not work as etcd: .*PostgreSQL"),
        ("#!/bin/sh\necho boom >&2; exit 3\n", 0o755, "status 3 and 'boom'"),
        ("#!/bin/sh\necho 'etcd Version: banana'\n", 0o755, "does not work as etcd"),
        ("#!/no/such/interpreter\n", 0o755, "cannot be run"),
        ("#!/bin/sh\necho 'etcd Version: 3.3.25'\n", 0o755, r"3\.3\.25 is older than 3\.4"),
    ],
)
def test_a_named_binary_that_will_not_do_is_refused_with_the_reason(
    cache: Path, tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    in_cache(cache, "3.5.16")  # never a substitute for the one that was named
    path = tmp_path / "named"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(BinaryError, match=reason) as caught:
        find(path=str(path), version=None)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_directory_is_not_a_binary(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match="is not a file"):
        find(path=str(tmp_path), version=None)


def test_a_binary_that_does_not_answer_is_given_up(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_ASK_TIMEOUT_S", 0.05)
    path = tmp_path / "named"
    path.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    path.chmod(0o755)
    with pytest.raises(BinaryError, match="did not answer"):
        find(path=str(path), version=None)


def test_path_and_another_version_contradict_each_other(cache: Path, tmp_path: Path) -> None:
    path = write_program(tmp_path / "named", "3.5.16")
    assert find(path=str(path), version="3.5").version == "3.5.16"
    with pytest.raises(BinaryError, match=r"is version 3\.5\.16, and version 3\.6 was asked for"):
        find(path=str(path), version="3.6")


@pytest.mark.parametrize("text", ["", "3", "banana", "../../etc", "3.5.16/..", "3.5.", "latest"])
def test_a_version_that_is_none_is_bad_usage(cache: Path, text: str) -> None:
    with pytest.raises(UsageError):
        find(path=None, version=text)


def test_known_bad_and_unknown_versions_carry_a_warning(cache: Path) -> None:
    for version in ("3.4.23", "3.5.1", "3.5.3", "3.8.0"):
        in_cache(cache, version)
    warnings = {version: find(path=None, version=version).warnings for version in installed()}
    assert not warnings["3.4.23"]
    assert not warnings["3.5.3"]
    assert "differ after a crash" in warnings["3.5.1"][0]
    assert "flags of 3.7" in warnings["3.8.0"][0]


def test_minor_is_what_flags_go_by(cache: Path) -> None:
    in_cache(cache, "3.6.0-rc.1")
    assert find(path=None, version=None).minor == (3, 6)


class TestMemory:
    """A binary is asked for its version once. Scripts, which may run another etcd tomorrow, every time."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Every binary that was asked."""
        calls: list[Path] = []

        def ask(path: Path) -> str:
            calls.append(path)
            return "3.5.16"

        monkeypatch.setattr(versions, "ask", ask)
        return calls

    def test_it_lasts_until_the_binary_changes(self, cache: Path, tmp_path: Path, asked: list[Path]) -> None:
        path = tmp_path / "etcd"
        path.write_bytes(b"\x7fELF one")
        path.chmod(0o755)
        for _ in range(3):
            assert find(path=str(path), version=None).version == "3.5.16"
        assert len(asked) == 1
        path.write_bytes(b"\x7fELF another")
        find(path=str(path), version=None)
        assert len(asked) == 2

    def test_scripts_are_asked_each_time(self, cache: Path, tmp_path: Path, asked: list[Path]) -> None:
        path = write_program(tmp_path / "etcd", "3.5.16")
        for _ in range(3):
            find(path=str(path), version=None)
        assert len(asked) == 3

    @pytest.mark.parametrize("content", [b"", b"{", b'{"x": 1}', b"\xff\xfe"])
    def test_a_damaged_memory_is_forgotten(
        self, cache: Path, tmp_path: Path, asked: list[Path], content: bytes
    ) -> None:
        path = tmp_path / "etcd"
        path.write_bytes(b"\x7fELF one")
        path.chmod(0o755)
        cache.mkdir()
        (cache / "versions.json").write_bytes(content)
        for _ in range(2):
            find(path=str(path), version=None)
        assert len(asked) == 1

    def test_a_cache_that_cannot_be_written_is_no_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Path]
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "file" / "cache"))
        path = tmp_path / "etcd"
        path.write_bytes(b"\x7fELF one")
        path.chmod(0o755)
        assert find(path=str(path), version=None).version == "3.5.16"


@pytest.mark.etcd
@pytest.mark.skipif(shutil.which("etcd") is None, reason="there is no etcd on PATH")
def test_the_machines_own_etcd_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path))
    binary = find(path=None, version=None)
    assert binary.origin is Origin.PATH
    assert find(path=None, version=binary.version) == binary


@pytest.mark.parametrize("exposed", ["etcd", "etcd/3.5.16"])
def test_a_cache_in_which_others_can_put_theirs_is_not_used(cache: Path, on_path: Path, exposed: str) -> None:
    in_cache(cache, "3.5.16")
    (cache / exposed).chmod(0o777)
    with pytest.raises(BinaryError, match=f"{exposed}, in the cache, can be written by everybody"):
        find(path=None, version=None)
    etcd = write_program(on_path / "etcd", "3.5.9")
    assert find(path=None, version=None).etcd == str(etcd)


@pytest.mark.parametrize("relative", ["", ".", "./", "here", "../here"])
def test_paths_that_are_not_absolute_are_not_looked_at(
    cache: Path, on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: str
) -> None:
    here = tmp_path / "here"
    for program in ("etcd", "etcdctl", "here/etcd"):
        write_program(here / program, "3.5.1")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f"{relative}:{on_path}:{relative}")
    with pytest.raises(BinaryError, match=r"there is no etcd on PATH, as far as it is absolute"):
        find(path=None, version=None)
    etcd = write_program(on_path / "etcd", "3.5.9")
    assert find(path=None, version=None).etcd == str(etcd)
    assert find(path=None, version=None).etcdctl is None
