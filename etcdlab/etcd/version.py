"""Versions of etcd: as text, as asked for, and as a binary says itself. Knows nothing of where binaries are."""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from etcdlab.errors import BinaryError, UsageError
from etcdlab.ownership import make_directory

OLDEST: Final = (3, 4)
NEWEST: Final = (3, 7)
"""The minors whose flags etcdlab knows."""

_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)([-+~.][0-9A-Za-z.+~-]+)?")
_REQUEST: Final = re.compile(rf"\d+\.\d+|{_VERSION.pattern}")
_SAID: Final = re.compile(r"^etcd Version: (\S+)$", re.MULTILINE)
_ASK_TIMEOUT_S: Final = 10.0


def requested(text: str) -> str:
    """Check a version as a user asks for it: "3.5" (any of that minor) or "3.5.16", with or without a "v" before it.

    Raises UsageError when it is neither.
    """
    version = text.removeprefix("v")
    if not _REQUEST.fullmatch(version):
        raise UsageError(f"{text!r} is not a version of etcd", hint='Write it like "3.5" or "3.5.16".')
    return version


def is_exact(request: str) -> bool:
    """Whether the request names one version and not a minor."""
    return _VERSION.fullmatch(request) is not None


def matches(version: str, request: str | None) -> bool:
    """Whether a version is what was asked for; None asks for any."""
    return request is None or version == request or (not is_exact(request) and version.startswith(f"{request}."))


def numbers(version: str) -> tuple[int, int, int]:
    """Major, minor and patch. Raises ValueError when it is not a version."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version!r} is not a version of etcd")
    return int(match[1]), int(match[2]), int(match[3])


def age(version: str) -> tuple[tuple[int, int, int], bool, str]:
    """Sort key, oldest first: a release comes after its own candidates ("3.6.0-rc.1")."""
    suffix = version.partition("-")[2]
    return numbers(version), not suffix, suffix


def refusal(version: str) -> str:
    """Why etcdlab cannot run this version, or any of this minor; "" when it can."""
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        # The supervisor reads why a member died from its log, and the zap logger came with 3.4.
        return f"etcd {version} is older than 3.4 and writes no JSON log, which etcdlab needs"
    return ""


def warnings(version: str) -> tuple[str, ...]:
    """What a user of this version should know."""
    if (3, 5, 0) <= numbers(version) <= (3, 5, 2):
        # etcd-io/etcd#13766, fixed in 3.5.3.
        return (f"etcd {version} can make members' data differ after a crash: use it for upgrade tests only",)
    if numbers(version)[:2] > NEWEST:
        newest = ".".join(map(str, NEWEST))
        return (f"etcd {version} is newer than this etcdlab knows: it gets the flags of {newest}",)
    return ()


class _Remembered(msgspec.Struct, frozen=True):
    size: int
    mtime_ns: int
    inode: int
    version: str


def of_binary(path: Path, *, memory: Path) -> str:
    """The version that the etcd at `path` has. Raises BinaryError when it does not say one.

    Asking costs 20 to 40 ms, so that the answer is remembered in the file `memory` until the binary changes.
    """
    status = path.stat()
    known = _recall(memory)
    entry = known.get(str(path))
    if entry is not None and (entry.size, entry.mtime_ns, entry.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    ):
        return entry.version
    version = ask(path)
    if not _is_script(path):
        known[str(path)] = _Remembered(status.st_size, status.st_mtime_ns, status.st_ino, version)
        _remember(memory, known)
    return version


def ask(path: Path) -> str:
    """Run the binary for its version. Raises BinaryError, without naming it, when it gives none."""
    try:
        answer = subprocess.run(
            (path, "--version"), capture_output=True, text=True, errors="replace", timeout=_ASK_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise BinaryError(f"cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise BinaryError(f"did not answer `--version` within {_ASK_TIMEOUT_S:g} s") from error
    said = _SAID.search(answer.stdout)
    if said is None or not is_exact(said[1]):
        words = (answer.stdout + answer.stderr).strip().splitlines()
        raise BinaryError(
            f"does not work as etcd: `--version` gave status {answer.returncode} and {words[0] if words else ''!r}"
        )
    return said[1]


def _is_script(path: Path) -> bool:
    """A version manager's shim may run another etcd tomorrow without having changed: it is asked each time."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _recall(memory: Path) -> dict[str, _Remembered]:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=dict[str, _Remembered])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _remember(memory: Path, known: dict[str, _Remembered]) -> None:
    """Replace the file whole. One that cannot be written costs the next caller 30 ms and is no error."""
    with contextlib.suppress(OSError):
        make_directory(memory.parent, mode=0o755)
        descriptor, temporary = tempfile.mkstemp(dir=memory.parent, prefix=f".{memory.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(known))
        os.replace(temporary, memory)  # noqa: PTH105 - mkstemp gives a str
