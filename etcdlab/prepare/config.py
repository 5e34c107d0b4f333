"""The topology file: TOML to Topology, every problem at once, and back to TOML."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import tomli_w

from etcdlab.errors import TopologyError
from etcdlab.model import rules
from etcdlab.model.topology import Profile, Table, Topology
from etcdlab.model.units import Duration, Size
from etcdlab.pki import roles
from etcdlab.prepare import decode, tomlfile

_Table = TypeVar("_Table", bound=Table)

_HINT: Final = "`etcdlab init` writes a file that has every key with its default."
_FLAGS: Final[Mapping[str, str]] = {"nodes": "--nodes", "name": "--name", "network.faults": "--faults"}
"""Key path -> the flag of `etcdlab up` that sets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A topology that is fit to be built, its paths absolute, and the folder that they were relative to."""

    topology: Topology
    warnings: tuple[str, ...]
    base: Path


def load(path: Path | None) -> Loaded:
    """Read a topology file; None is the default topology. Raises TopologyError with all problems."""
    if path is None:
        return Loaded(topology=Topology(), warnings=(), base=Path.cwd())
    problems: decode.Problems = {}
    topology = decode.table(Topology, tomlfile.read(path, TopologyError, hint=_HINT), "", problems)
    tomlfile.add(problems, _unsound(topology))
    base = path.absolute().parent
    if not str(base).isprintable():
        problems["directory"] = f"{str(base)!r} cannot stand in an argument of etcd: move the file"
    if problems:
        raise TopologyError([f"{path}: {where}: {sentence}" for where, sentence in problems.items()], hint=_HINT)
    warnings = tuple(f"{path}: {where}: {sentence}" for where, sentence in rules.warnings(topology))
    return Loaded(topology=_anchored(topology, base), warnings=warnings, base=base)


def load_topology(path: str | os.PathLike[str]) -> Topology:
    """Read a topology file. Raises TopologyError with all its problems."""
    return load(Path(path)).topology


def override(
    topology: Topology,
    *,
    nodes: int | None = None,
    profile: Profile | None = None,
    name: str | None = None,
    tls: bool | None = None,
    etcd: str | None = None,
    faults: bool = False,
) -> Topology:
    """Apply the flags of `etcdlab up`; None leaves what the topology says. `etcd` is a version or a path.

    Raises TopologyError, naming the flags, when the result does not hold together.
    """
    if nodes is not None and topology.node:
        raise TopologyError(
            [f"--nodes: the topology lists its {len(topology.node)} members in [[node]] tables"],
            hint="Add or remove [[node]] tables, or replace them all with `nodes = N`.",
        )
    binary: dict[str, str | None] = {}
    if etcd is not None and rules.VERSION.fullmatch(etcd):
        binary = {"version": etcd, "path": None}
    elif etcd is not None:
        # Typed in a shell, so relative to where it was typed and not to the topology file.
        binary = {"version": None, "path": str(Path(etcd).absolute())}
    replace = msgspec.structs.replace
    changed = replace(
        topology,
        name=topology.name if name is None else name,
        nodes=topology.nodes if nodes is None else nodes,
        etcd=replace(topology.etcd, profile=profile or topology.etcd.profile, **binary),
        tls=replace(topology.tls, enabled=topology.tls.enabled if tls is None else tls),
        network=replace(topology.network, faults=topology.network.faults or faults),
    )
    if problems := list(_unsound(changed)):
        raise TopologyError([f"{_FLAGS.get(where, where)}: {sentence}" for where, sentence in problems])
    return changed


def dump(topology: Topology) -> str:
    """The topology as TOML with all defaults written out, so that a later etcdlab's defaults do not change it."""
    return tomli_w.dumps(_without_empty(msgspec.to_builtins(topology, enc_hook=_to_text)))


def _anchored(topology: Topology, base: Path) -> Topology:
    """Make all paths absolute, so that the topology means the same when it is read again from the lab's directory."""

    def anchor(table: _Table, *keys: str) -> _Table:
        given = {key: path for key in keys if (path := getattr(table, key)) is not None}
        # os.path, because Path.expanduser raises for a user who is not there.
        absolute = {key: str(base / os.path.expanduser(path)) for key, path in given.items()}  # noqa: PTH111
        return msgspec.structs.replace(table, **absolute)

    tls = topology.tls
    cfssl = tls.cfssl and anchor(tls.cfssl, "config", "ca", "server", "peer", "client")
    return msgspec.structs.replace(
        topology,
        etcd=anchor(topology.etcd, "path"),
        node=tuple(anchor(node, "path", "data_dir") for node in topology.node),
        tls=msgspec.structs.replace(tls, ca=anchor(tls.ca, "certificate", "private_key"), cfssl=cfssl),
    )


def _unsound(topology: Topology) -> Iterator[rules.Problem]:
    """What the rules of the model and of the certificates say."""
    found = rules.problems(topology)
    yield from found
    # Members are not written out for a count that was refused: 10^12 of them do not fit into memory.
    refused = any(where == "nodes" for where, _ in found)
    yield from roles.problems(msgspec.structs.replace(topology, nodes=None) if refused else topology)


def _to_text(value: object) -> str:
    if isinstance(value, (Duration, Size)):
        return str(value)
    raise NotImplementedError(type(value))


def _without_empty(value: Any) -> Any:
    """TOML has no null, and an empty table or array says what leaving it out says."""
    if isinstance(value, dict):
        items = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in (None, {}, [])}
    if isinstance(value, (list, tuple)):
        return [_without_empty(item) for item in value]
    return value
