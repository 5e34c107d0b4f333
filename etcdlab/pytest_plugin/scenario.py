"""The scenario that a test's marker names, and the seed that it is to have."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from etcdlab.pytest_plugin.settings import CHAOS_MARKER, setting

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedScenario:
    """A file, or what `Lab.chaos` takes instead; None is the scenario's own seed."""

    source: "Path | Any"
    seed: int | None


def marked_scenario(item: pytest.Item) -> MarkedScenario:
    """What the closest marker says; a path is relative to pytest's root directory. Raises pytest.UsageError."""
    marker = item.get_closest_marker(CHAOS_MARKER)
    if marker is None or len(marker.args) != 1 or not set(marker.kwargs) <= {"seed"}:
        raise pytest.UsageError(
            f'a scenario is named by @pytest.mark.{CHAOS_MARKER}("storm.toml"), perhaps with seed=7'
        )
    (source,) = marker.args
    if isinstance(source, str | os.PathLike):
        source = item.config.rootpath / source
    seed = marker.kwargs.get("seed")
    return MarkedScenario(source=source, seed=setting(item.config, "seed") if seed is None else seed)
