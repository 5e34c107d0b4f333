"""Finding etcd: the topology's path, then etcdlab's own cache, then PATH. Installs nothing."""

import enum
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from etcdlab.errors import BinaryError
from etcdlab.etcd import version as versions
from etcdlab.etcd.search import on_path
from etcdlab.ownership import exposure

REMEDIES = (
    "Install one for etcdlab alone with `etcdlab etcd install`, name one with `path` under [etcd] "
    "or `etcdlab up --etcd PATH`, or put one on PATH."
)


CACHE_REMEDY = "Set ETCDLAB_CACHE to a directory of yours, or to a new one."


class Origin(enum.Enum):
    """Where a binary was found."""

    TOPOLOGY = "topology"
    CACHE = "cache"
    PATH = "path"


class Binary(msgspec.Struct, frozen=True, kw_only=True):
    """An etcd that can run a member, with its tools where they are: absolute paths.

    `warnings` is what a user of this version should know.
    """

    etcd: str
    version: str
    etcdctl: str | None
    etcdutl: str | None
    origin: Origin
    warnings: tuple[str, ...] = ()

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor, by which flags differ: (3, 5)."""
        return versions.numbers(self.version)[:2]


def cache_directory() -> Path:
    """Where etcdlab keeps what can be fetched again: `$ETCDLAB_CACHE`, else its directory in the user's cache."""
    if chosen := os.environ.get("ETCDLAB_CACHE"):
        return Path(chosen).absolute()
    import platformdirs  # 20 ms that a user of $ETCDLAB_CACHE does not pay

    return platformdirs.user_cache_path("etcdlab")


def installed_directory() -> Path:
    """The cache's installed etcds, one directory each, named after its version."""
    return cache_directory() / "etcd"


def installed() -> list[str]:
    """The versions in the cache, newest first, whether or not they still work."""
    try:
        names = [path.name for path in installed_directory().iterdir()]
    except OSError:
        return []
    return sorted(filter(versions.is_exact, names), key=versions.age, reverse=True)


def find(*, path: str | None, version: str | None) -> Binary:
    """The etcd to run: the one at `path` and no other; else the newest in the cache; else the one on PATH.

    `version` is "3.5" for any of that minor or "3.5.16", and None for any. Raises BinaryError with what was looked at
    and why each would not do, and UsageError when `version` is not one.
    """
    request = None if version is None else versions.requested(version)
    if path is not None:
        return _at_path(path, request)
    refused: list[str] = []
    for candidate, origin in candidates(request):
        try:
            binary = probe(candidate, origin)
        except BinaryError as error:
            refused.append(error.message)
            continue
        if versions.matches(binary.version, request):
            return binary
        refused.append(f"{binary.etcd} is version {binary.version}")
    raise _nothing_usable(request, refused)


def probe(etcd: Path, origin: Origin) -> Binary:
    """Look at one binary and its tools. Raises BinaryError, naming it, when it cannot run a member."""
    try:
        is_file = stat.S_ISREG(etcd.stat().st_mode)
    except (OSError, ValueError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be looked at: {error}"
        raise BinaryError(f"{etcd} {why}", hint=REMEDIES) from error
    if not is_file:
        raise BinaryError(f"{etcd} is not a file", hint=REMEDIES)
    if not os.access(etcd, os.X_OK):
        raise BinaryError(f"{etcd} is not executable", hint=f"`chmod +x {etcd}` makes it so.")
    if origin is Origin.CACHE:
        for place in (etcd.parent, etcd.parent.parent):
            if danger := exposure(place):
                raise BinaryError(f"{place}, in the cache, {danger}", hint=CACHE_REMEDY)
    try:
        version = versions.of_binary(etcd, memory=cache_directory() / "versions.json")
    except BinaryError as error:
        raise BinaryError(f"{etcd} {error.message}", hint=REMEDIES) from error
    if reason := versions.refusal(version):
        raise BinaryError(f"{etcd}: {reason}", hint=REMEDIES)
    return Binary(
        etcd=str(etcd),
        version=version,
        etcdctl=_tool("etcdctl", etcd, origin),
        etcdutl=_tool("etcdutl", etcd, origin),
        origin=origin,
        warnings=versions.warnings(version),
    )


def candidates(request: str | None = None) -> Iterator[tuple[Path, Origin]]:
    """Where an etcd may be, in the order that `find` looks: the cache's versions that fit, newest first, then PATH."""
    for version in installed():
        if versions.matches(version, request):
            yield installed_directory() / version / "etcd", Origin.CACHE
    if etcd := on_path("etcd"):
        yield etcd, Origin.PATH


def _at_path(path: str, request: str | None) -> Binary:
    binary = probe(Path(path).expanduser().absolute(), Origin.TOPOLOGY)
    if not versions.matches(binary.version, request):
        raise BinaryError(
            f"{binary.etcd} is version {binary.version}, and version {request} was asked for",
            hint="Give the path or the version, not both.",
        )
    return binary


def _tool(name: str, etcd: Path, origin: Origin) -> str | None:
    beside = etcd.with_name(name)
    if os.access(beside, os.X_OK):
        return str(beside)
    # A tool of another version misreads etcd's files, so that PATH is only asked for what it goes with.
    elsewhere = on_path(name) if origin is Origin.PATH else None
    return str(elsewhere) if elsewhere else None


def _nothing_usable(request: str | None, refused: list[str]) -> BinaryError:
    have = ", ".join(installed()) or "nothing"
    looked = [f"the cache {installed_directory()} has {have}", *refused]
    if on_path("etcd") is None:
        looked.append("there is no etcd on PATH" + (", as far as it is absolute" if shutil.which("etcd") else ""))
    wanted = "etcd" if request is None else f"etcd {request}"
    return BinaryError(f"no usable {wanted} was found:\n" + "\n".join(f"  - {line}" for line in looked), hint=REMEDIES)
