"""A lab for each module here, with TLS and one without."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdlab import Lab


@pytest.fixture(scope="package")
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lab-") as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDLAB_HOME", home)
        yield Path(home)


@pytest.fixture(scope="package")
def lab(_home: Path) -> Iterator[Lab]:
    with Lab.up(nodes=3, profile="fast") as lab:
        yield lab


@pytest.fixture(scope="package")
def plain_lab(_home: Path) -> Iterator[Lab]:
    with Lab.up(nodes=1, profile="fast", tls=False) as lab:
        yield lab
