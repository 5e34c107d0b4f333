"""The kind of lab that a test asks for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from etcdlab.pytest_plugin.settings import MARKER, read, setting

if TYPE_CHECKING:
    from etcdlab.model.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A kind of lab; None is what the topology says, or etcdlab's default. A lab can stand in for one of equal shape.

    `topology` is a file or a Topology, `etcd` a version or a path, `timeout` how many seconds a lab has to come up.
    """

    topology: "Topology | Path | None" = None
    nodes: int | None = None
    profile: str | None = None
    tls: bool | None = None
    faults: bool | None = None
    etcd: str | None = None
    timeout: float | None = None


_KEYS: Final = tuple(field.name for field in fields(Shape))


def marked(node: pytest.Item | pytest.Collector) -> list[Mapping[str, Any]]:
    """What the node's markers say of its lab, the closest first. Raises pytest.UsageError."""
    markers = list(node.iter_markers(MARKER))
    if any(marker.args for marker in markers):
        raise pytest.UsageError(f"@pytest.mark.{MARKER} takes keywords only, as in {MARKER}(nodes=5)")
    return [marker.kwargs for marker in markers]


def resolve(config: pytest.Config, *layers: Mapping[str, Any]) -> Shape:
    """The shape that `layers` (the first counts most) and the plugin's settings ask for. Raises pytest.UsageError.

    Without a topology the profile is `fast`: tests want etcd's behaviour, rarely its patience.
    """
    for layer in layers:
        _check_keys(layer)
    values: dict[str, Any] = {}
    for key in _KEYS:
        said = next((layer[key] for layer in layers if layer.get(key) is not None), None)
        values[key] = setting(config, key) if said is None else _value(config, key, said)
    if values["topology"] is None and values["profile"] is None:
        values["profile"] = "fast"
    return Shape(**values)


def _check_keys(layer: Mapping[str, Any]) -> None:
    for key in layer:
        if key not in _KEYS:
            import difflib  # 2 ms that only this message needs

            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise pytest.UsageError(f"a lab has no {key!r}, only {', '.join(_KEYS)}{hint}")


def _value(config: pytest.Config, key: str, said: Any) -> Any:
    """What a test says, read as if it were in the ini file: so equal shapes are equal however they were said."""
    if key == "topology" and not isinstance(said, str | os.PathLike):
        return said
    return read(key, str(getattr(said, "value", said)), key, config.rootpath)
