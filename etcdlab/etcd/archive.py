"""Taking etcd's programs, and nothing else, out of an archive. An archive's own paths are never written to."""

import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from etcdlab.errors import BinaryError

PROGRAMS: Final = ("etcd", "etcdctl", "etcdutl")
SIZE_LIMIT: Final = 256 * 2**20
"""Bytes of a whole tar or of one program in a zip, unpacked. The largest so far have 70 and 26 MiB: more is a bomb."""

_BLOCK: Final = 2**20

# The last six are what the standard library raises for some garbage, and for a zip with a password.
_DAMAGE: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, TypeError, OverflowError, struct.error),
)


class Readable(Protocol):
    """What a tar is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """As of any stream."""


def extract_tar(stream: Readable, folder: str, into: Path) -> None:
    """Write the programs in `folder` of a tar stream to `into`. Raises BinaryError."""
    wanted = {f"{folder}/{program}": program for program in PROGRAMS}
    bounded: Any = _Bounded(stream)  # of a stream, tarfile only reads
    with _readable(), tarfile.open(fileobj=bounded, mode="r|") as archive:
        for member in archive:
            if program := wanted.get(member.name):
                content = archive.extractfile(member) if member.isreg() else None
                _write(content, into / program)


def extract_zip(path: Path, folder: str, into: Path) -> None:
    """Write the programs in `folder` of a zip file to `into`. Raises BinaryError."""
    wanted = {f"{folder}/{program}": program for program in PROGRAMS}
    with _readable(), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if program := wanted.get(member.filename):
                kind = stat.S_IFMT(member.external_attr >> 16)
                content = archive.open(member) if kind in (0, stat.S_IFREG) else None
                _write(content, into / program)


class _Bounded:
    """A stream that gives no more than SIZE_LIMIT: what tarfile skips costs time, and a name of 8 GB its memory."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = SIZE_LIMIT

    def read(self, size: int = -1) -> bytes:
        """As of any stream. Raises BinaryError when it was too much."""
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise BinaryError(f"the archive is larger than {SIZE_LIMIT >> 20} MiB, unpacked")
        return block


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise BinaryError(f"the archive is damaged: {error}") from error


def _write(content: IO[bytes] | None, target: Path) -> None:
    """Write one program, on disk when this returns: the rename that publishes it must not outrun its content."""
    if content is None:
        raise BinaryError(f"{target.name} in the archive is not a regular file")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    except FileExistsError:
        raise BinaryError(f"the archive has {target.name} twice") from None
    written = 0
    with content, os.fdopen(descriptor, "wb") as file:
        while block := content.read(_BLOCK):
            written += len(block)
            if written > SIZE_LIMIT:
                raise BinaryError(f"{target.name} in the archive is larger than {SIZE_LIMIT >> 20} MiB")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
