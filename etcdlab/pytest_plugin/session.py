"""What the fixtures of one test session share: its labs, or the cluster that is used instead."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

from etcdlab.pytest_plugin.existing import ExistingCluster, existing_cluster
from etcdlab.pytest_plugin.settings import setting
from etcdlab.pytest_plugin.shape import resolve

if TYPE_CHECKING:
    from etcdlab.lab import Lab
    from etcdlab.model.topology import Topology
    from etcdlab.pytest_plugin.pool import Pool

MAX_LABS: Final = 3
SHARED_LAB: Final = "etcdlab_shared_lab"
"""The key under which the controller tells its xdist workers the name of the lab that they share."""


class LabFactory:
    """Makes labs of one test's own; `labs` are those that it made."""

    def __init__(self, config: pytest.Config, pool: "Pool") -> None:
        self._config = config
        self._pool = pool
        self.labs: list[Lab] = []

    def __call__(self, topology: "Topology | str | os.PathLike[str] | None" = None, **shape: Any) -> "Lab":
        """Make a lab and wait until it is ready. Raises what `Lab.up` does."""
        lab = self._pool.make(resolve(self._config, {"topology": topology, **shape}))
        self.labs.append(lab)
        return lab


class Session:
    """The plugin's state, from the first fixture that needs it."""

    def __init__(self, config: pytest.Config) -> None:
        from etcdlab.pytest_plugin.pool import Pool  # a suite that asks for no lab does not pay for this import

        self._config = config
        self._input: Mapping[str, Any] = getattr(config, "workerinput", {})
        self.existing: ExistingCluster | None = existing_cluster(config)
        self.is_shared = bool(setting(config, "shared"))
        self.pool: Pool = Pool(
            worker=self._input.get("workerid", "main"),
            limit=setting(config, "max_labs") or MAX_LABS,
            keep=bool(setting(config, "keep")),
        )

    @property
    def shared_lab(self) -> str | None:
        """The name of the lab that all xdist workers share, if they do."""
        return self._input.get(SHARED_LAB)

    @contextlib.contextmanager
    def leased(self, *layers: Mapping[str, Any]) -> "Iterator[Lab]":
        """A pristine lab of the shape that `layers` and the settings ask for."""
        lab = self.pool.lease(resolve(self._config, *layers))
        try:
            yield lab
        finally:
            self.pool.give_back(lab)
