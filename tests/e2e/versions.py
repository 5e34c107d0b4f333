"""Etcds of other versions: from the distribution's packages, kept from run to run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import platformdirs
import pytest

from etcdlab.errors import BinaryError
from etcdlab.etcd.binaries import Binary, find
from etcdlab.etcd.install import Source, install

VERSIONS = ("3.4.23", "3.5.16", "3.5.30")
"""What three Debian suites have: bookworm, trixie, sid. The first two stay; sid's moves on, and this with it."""


@contextmanager
def kept_cache() -> Iterator[None]:
    """Let etcdlab's cache be the tests' own, which is kept: `$ETCDLAB_TEST_CACHE`, else one in the user's cache."""
    kept = os.environ.get("ETCDLAB_TEST_CACHE") or platformdirs.user_cache_path("etcdlab-tests")
    with mock.patch.dict(os.environ, {"ETCDLAB_CACHE": str(Path(kept).absolute())}):
        yield


def require(version: str) -> Binary:
    """An etcd of this version, on PATH or in the cache, else fetched into that. Skips the test where there is none."""
    try:
        return find(path=None, version=version)
    except BinaryError:
        pass
    try:
        return install(version, source=Source.DEBIAN, progress=lambda _: None)
    except BinaryError as error:
        pytest.skip(f"there is no etcd {version} here: {error.message}")
