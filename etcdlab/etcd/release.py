"""etcd's own release archives, checked against the SHA256SUMS beside them."""

import gzip
import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etcdlab.errors import BinaryError
from etcdlab.etcd import version as versions
from etcdlab.etcd.archive import extract_tar, extract_zip

if TYPE_CHECKING:
    import httpx

BASE_URL: Final = "https://github.com/etcd-io/etcd/releases/download"
"""Replaced by `$ETCDLAB_RELEASE_URL`, for a mirror with the same layout."""

NEWEST: Final = {"3.4": "3.4.45", "3.5": "3.5.33", "3.6": "3.6.14", "3.7": "3.7.1"}
DEFAULT: Final = NEWEST["3.5"]
"""The newest minor that etcdlab's own tests run."""

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 15.0
DOWNLOAD_TIMEOUT_S: Final = 600.0
"""For one file as a whole: a server that trickles never meets the read timeout."""

SIZE_LIMIT: Final = 256 * 2**20
_SUMS_LIMIT: Final = 2**20
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def fetch(request: str | None, work: Path, into: Path, report: Callable[[str, float | None], None]) -> None:
    """Download, verify and unpack a release into the directory `into`, with `work` for what is thrown away.

    `report` gets what is being done and the fraction done. Raises BinaryError with the reason.
    """
    version = _exact(request)
    name = f"etcd-v{version}-{sys.platform}-{_MACHINES.get(platform.machine(), platform.machine())}"
    archive = f"{name}.zip" if sys.platform == "darwin" else f"{name}.tar.gz"
    base = os.environ.get("ETCDLAB_RELEASE_URL") or BASE_URL
    folder = f"{base.rstrip('/')}/v{version}"
    report("download SHA256SUMS", None)
    _download(f"{folder}/SHA256SUMS", work / "SHA256SUMS", limit=_SUMS_LIMIT, report=lambda _: None)
    expected = _listed_sum(work / "SHA256SUMS", archive)
    report(f"download {archive}", 0.0)
    _download(
        f"{folder}/{archive}", work / archive, limit=SIZE_LIMIT, report=lambda done: report(f"download {archive}", done)
    )
    with (work / archive).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected:
            raise BinaryError(f"{folder}/{archive} does not have the checksum that SHA256SUMS lists")
        file.seek(0)
        report(f"unpack {archive}", None)
        if archive.endswith(".zip"):
            extract_zip(work / archive, name, into)
        else:
            with gzip.open(file) as unzipped:
                extract_tar(unzipped, name, into)


def _exact(request: str | None) -> str:
    if request is None:
        return DEFAULT
    if versions.is_exact(request):
        return request
    if request not in NEWEST:
        raise BinaryError(f"etcdlab does not know the newest release of {request}: ask for a whole version")
    return NEWEST[request]


def _listed_sum(sums: Path, name: str) -> str:
    lines = [line.split() for line in sums.read_text(errors="replace").splitlines()]
    listed = {fields[0].lower() for fields in lines if len(fields) == 2 and fields[1].removeprefix("*") == name}
    if not listed:
        raise BinaryError(f"SHA256SUMS does not list {name}: there is no release for this system")
    if len(listed) > 1:
        raise BinaryError(f"SHA256SUMS lists {name} with different checksums")
    return listed.pop()


def _download(url: str, target: Path, *, limit: int, report: Callable[[float | None], None]) -> None:
    import httpx  # 150 ms that only an installation pays

    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as response:
            hops = [hop.url.scheme for hop in (*response.history, response)]
            if hops[-1] != "https" and "https" in hops:
                raise BinaryError(f"{url} leads to {response.url}, which is not secure")
            if not response.is_success:
                raise BinaryError(f"{url} gave {response.status_code} {response.reason_phrase}")
            _save(response, target, limit=limit, report=report)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BinaryError(f"{url} cannot be downloaded: {str(error) or type(error).__name__}") from error


def _save(response: "httpx.Response", target: Path, *, limit: int, report: Callable[[float | None], None]) -> None:
    length = response.headers.get("content-length", "")
    total = int(length) if length.isdigit() and "content-encoding" not in response.headers else 0
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
    written = 0
    with target.open("wb") as file:
        for block in response.iter_bytes():
            written += len(block)
            if written > limit:
                raise BinaryError(f"{response.url} is larger than {limit >> 20} MiB")
            if time.monotonic() > deadline:
                raise BinaryError(f"{response.url} took longer than {DOWNLOAD_TIMEOUT_S:g} s")
            file.write(block)
            report(min(1.0, written / total) if total else None)
