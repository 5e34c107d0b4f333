"""The scenario file: TOML, or a table in Python, to Scenario, every problem at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from etcdlab.errors import ScenarioError
from etcdlab.model.scenario import Scenario, problems
from etcdlab.model.step import TIMES
from etcdlab.prepare import decode, tomlfile

_HINT: Final = '`configs/chaos` and README.md, "Break it", show what a scenario can have.'


def load(source: str | os.PathLike[str] | Mapping[str, Any] | Scenario) -> Scenario:
    """A scenario from its file or a table with the same keys. Raises ScenarioError with all its problems."""
    if isinstance(source, Scenario):
        return source
    if isinstance(source, Mapping):
        return parse(source, "scenario")
    path = Path(source)
    scenario = parse(tomlfile.read(path, ScenarioError, hint=_HINT), str(path))
    return scenario if scenario.name else msgspec.structs.replace(scenario, name=path.stem)


def parse(table: Mapping[str, Any], where: str) -> Scenario:
    """A scenario from plain data, which messages call `where`. Raises ScenarioError with all its problems."""
    found: decode.Problems = {}
    scenario = decode.table(Scenario, dict(table), "", found)
    # Of a step whose time cannot be read nobody knows that it has none.
    timeless = {path.rpartition(".")[0] for path in found if path.endswith(tuple(f".{key}" for key in TIMES))}
    tomlfile.add(found, (problem for problem in problems(scenario) if problem[0] not in timeless))
    if found:
        raise ScenarioError([f"{where}: {key}: {sentence}" for key, sentence in found.items()], hint=_HINT)
    return scenario
