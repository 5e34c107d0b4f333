"""What is downloaded is an archive of etcd's programs, or refused: within bounds, and without a trace."""

import contextlib
import gzip
import io
import ssl
import stat
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.errors import BinaryError
from etcdlab.etcd import archive, debian
from etcdlab.etcd.archive import PROGRAMS, extract_tar, extract_zip
from etcdlab.model.topology import Topology
from etcdlab.pki import roles, store
from tests.etcd.conftest import LINUX, VERSION, Releases
from tests.etcd.programs import program
from tests.etcd.test_install import from_release, good, left, tar
from tests.examples import examples

FORMATS = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def small_tar(format_: int) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format_) as file:
        for name in ("etcd/README" + "é" * 80, *(f"etcd/{program}" for program in PROGRAMS)):
            info = tarfile.TarInfo(name)
            info.size = 600
            file.addfile(info, io.BytesIO(b"x" * 600))
    return target.getvalue()


def small_zip(method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        for name in ("README", *PROGRAMS):
            file.writestr(f"etcd/{name}", bytes(range(256)))
    return target.getvalue()


TARS = [small_tar(format_) for format_ in FORMATS]
ZIPS = [small_zip(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)]


@st.composite
def spoiled(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of `originals` with some bytes changed, added or gone."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        content[start : start + draw(st.integers(0, 12))] = draw(st.binary(max_size=12))
    return bytes(content)


def files(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_mode for path in directory.rglob("*")}


def check(top: Path) -> None:
    """Nothing but etcd's programs, as plain files, and nothing beside them."""
    for name, mode in files(top).items():
        assert name == "into" or name in {f"into/{program}" for program in PROGRAMS}
        assert name == "into" or (stat.S_ISREG(mode) and not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX))


@examples(150)
@given(spoiled(TARS) | spoiled([gzip.compress(content) for content in TARS]))
def test_any_tar(content):
    with tempfile.TemporaryDirectory() as top:
        into = Path(top, "into")
        into.mkdir()
        stream: IO[bytes] = io.BytesIO(content)
        if content.startswith(b"\x1f\x8b"):
            stream = gzip.GzipFile(fileobj=stream)
        with contextlib.suppress(BinaryError, OSError):  # as `install` takes them
            extract_tar(stream, "etcd", into)
        check(Path(top))


@examples(150)
@given(spoiled(ZIPS))
def test_any_zip(content):
    with tempfile.TemporaryDirectory() as top, tempfile.NamedTemporaryFile() as file:
        into = Path(top, "into")
        into.mkdir()
        file.write(content)
        file.flush()
        with contextlib.suppress(BinaryError, OSError):
            extract_zip(Path(file.name), "etcd", into)
        check(Path(top))


def special(name: str, kind: bytes, *, mode: int = 0o644, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.devmajor, info.devminor = kind, mode, target, 1, 5
    return info


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, b"Z"])
def test_what_is_no_file_is_not_made(releases: Releases, cache: Path, kind: bytes) -> None:
    releases.offer(tar((special(f"{LINUX}/etcd", kind), b"")))
    with pytest.raises(BinaryError):
        from_release()
    assert left(cache) == set()


def test_a_link_in_the_way_leads_nowhere(releases: Releases, cache: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    content = tar((special(LINUX, tarfile.SYMTYPE, target=str(away)), b""), (f"{LINUX}/etcd", program(VERSION)))
    releases.offer(content)
    from_release()
    assert list(away.iterdir()) == []


def test_setuid_bits_are_dropped(releases: Releases, cache: Path) -> None:
    releases.offer(tar((special(f"{LINUX}/etcd", tarfile.REGTYPE, mode=0o7777), program(VERSION))))
    assert Path(from_release()).stat().st_mode & 0o7022 == 0


def bomb(info: tarfile.TarInfo, size: int) -> bytes:
    """A tar.gz whose one member has so many zeros, without making them all."""
    info.size = size
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(2**20))
    return target.getvalue()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_bomb_that_is_no_program_is_not_unpacked_either(
    releases: Releases, cache: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    monkeypatch.setattr(archive, "SIZE_LIMIT", 4 * 2**20)
    releases.offer(bomb(special(f"{LINUX}/README.md", kind), 64 * 2**20))
    tracemalloc.start()
    with pytest.raises(BinaryError, match="larger than 4 MiB"):
        from_release()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 2**20
    assert left(cache) == set()


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(small_zip(zipfile.ZIP_STORED))
    for start, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = -1
        while (place := content.find(start, place + 1)) >= 0:
            content[place + offset] |= 1
    path = tmp_path / "locked.zip"
    path.write_bytes(content)
    with pytest.raises(BinaryError, match="damaged"):
        extract_zip(path, "etcd", tmp_path)


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        (b"", "does not list"),
        (b"<!DOCTYPE html><html><body>Sign in to the Wi-Fi</body></html>", "does not list"),
        (b"\xff\xfe\x00" * 100, "does not list"),
        (f"{'0' * 64}  {LINUX}.tar.gz\n{'1' * 64}  {LINUX}.tar.gz\n".encode(), "different checksums"),
        (f"{'a' * 64}  x/{LINUX}.tar.gz\n".encode(), "does not list"),
        (f"x  {LINUX}.tar.gz\n".encode(), "does not have the checksum"),
        (b"0" * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_sums_that_prove_nothing(releases: Releases, cache: Path, sums: bytes, reason: str) -> None:
    releases.offer(good())
    releases.files[f"/v{VERSION}/SHA256SUMS"] = sums
    with pytest.raises(BinaryError, match=reason):
        from_release()
    assert left(cache) == set()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("https") / "pki"
    store.create(roles.plan_pki(Topology(), directory, directory))
    return directory


@pytest.fixture
def secure_redirect(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server of releases over HTTPS that sends everybody elsewhere: to the address in the list, and the path."""
    elsewhere: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", elsewhere[0].replace("PATH", self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server-n1.pem", certificates / "server-n1-key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("ETCDLAB_RELEASE_URL", f"https://127.0.0.1:{server.server_address[1]}")
    yield elsewhere
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_from_https_to_http_is_not_followed(
    releases: Releases, cache: Path, secure_redirect: list[str]
) -> None:
    releases.offer(good())
    secure_redirect.append(f"{releases.url}PATH")
    with pytest.raises(BinaryError, match="which is not secure"):
        from_release()
    assert left(cache) == set()


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/", "https://127.0.0.1:1/", "//", "http://[", ""]
)
def test_a_redirect_to_what_is_no_place_for_releases(cache: Path, secure_redirect: list[str], place: str) -> None:
    secure_redirect.append(place)
    with pytest.raises(BinaryError):
        from_release()
    assert left(cache) == set()


def test_a_redirect_without_end(cache: Path, secure_redirect: list[str]) -> None:
    secure_redirect.append("PATH")
    with pytest.raises(BinaryError, match="cannot be downloaded"):
        from_release()


def test_apt_may_say_anything_of_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    lines = ["dlstatus:", "dlstatus:2", "dlstatus:2:much:x", "dlstatus:2:50:x"]
    for name, script in {"apt-get": f"printf '%s\\n' {' '.join(lines)}", "apt-config": "true"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    told: list[float | None] = []
    suite = debian.Suite("http://127.0.0.1:1", "sid", "main", None)
    debian.Apt(suite, tmp_path / "apt").update(lambda _, fraction: told.append(fraction))
    assert told == [0.0, 0.5]
