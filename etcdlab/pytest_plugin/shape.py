"""The kind of lab that a test asks for."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import pytest

from etcdlab.pytest_plugin.settings import setting

if TYPE_CHECKING:
    from etcdlab.model.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A kind of lab; None is what the topology says, or etcdlab's default. A lab can stand in for one of equal shape.

    `topology` is a file or a Topology, `etcd` a version or a path, `timeout` how many seconds a lab has to come up.
    """

    topology: "Topology | str | os.PathLike[str] | None" = None
    nodes: int | None = None
    profile: str | None = None
    tls: bool | None = None
    etcd: str | None = None
    timeout: float | None = None


_KEYS: Final = tuple(field.name for field in fields(Shape))


def resolve(config: pytest.Config, *layers: Mapping[str, Any]) -> Shape:
    """The shape that `layers` (the first counts most) and the plugin's settings ask for. Raises pytest.UsageError.

    Without a topology the profile is `fast`: tests want etcd's behaviour, rarely its patience.
    """
    for layer in layers:
        if unknown := [key for key in layer if key not in _KEYS]:
            close = difflib.get_close_matches(unknown[0], _KEYS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise pytest.UsageError(f"a lab has no {unknown[0]!r}, only {', '.join(_KEYS)}{hint}")
    values: dict[str, Any] = {}
    for key in _KEYS:
        said = next((layer[key] for layer in layers if layer.get(key) is not None), None)
        values[key] = setting(config, key) if said is None else said
    if values["topology"] is None and values["profile"] is None:
        values["profile"] = "fast"
    return Shape(**values)
