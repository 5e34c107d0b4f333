"""`etcdlab plan`: what `etcdlab up` would run. Creates nothing."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.topology import TopologyOptions, read, topology_options
from etcdlab.cli.verb import verb
from etcdlab.etcd import binaries
from etcdlab.model.certificate import PkiPlan, Subject
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.units import Duration
from etcdlab.prepare.build import build
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import Ports


@verb("plan", example="etcdlab plan three.toml --profile fast")
@topology_options
def plan(**options: Unpack[TopologyOptions]) -> Result:
    """Show what `up` would run: ports, paths, certificates, every argument. Creates nothing.

    Ports that the topology leaves open, and a token, are chosen anew each time.
    """
    loaded = read(options)
    directory = LabDirectory.named(loaded.topology.name)
    with Ports() as ports:
        decided = build(loaded.topology, directory=directory, base=loaded.base, ports=ports, find=binaries.find)
    return Result(view=_view(decided), data=decided, warnings=loaded.warnings)


def _view(decided: Plan) -> View:
    yield f"lab        {decided.lab}"
    yield f"directory  {decided.directory}"
    yield f"socket     {decided.socket}"
    yield ""
    yield Table(
        header=("MEMBER", "ROLE", "ETCD", "CLIENT", "PEER", "METRICS", "DATA"),
        rows=tuple(_row(node, Path(decided.directory)) for node in decided.nodes),
    )
    if decided.pki is not None:
        yield ""
        yield Table(
            header=("CERTIFICATE", "SUBJECT", "KEY", "LIFETIME", "HOSTS"), rows=tuple(_certificates(decided.pki))
        )
    for node in decided.nodes:
        yield ""
        yield Cell(f"# {node.name}", "quiet")
        yield command_line(node)


def command_line(node: NodePlan) -> str:
    """The member's command, fit to be pasted into a shell."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in node.env.items()), shlex.join(node.argv)])


def _row(node: NodePlan, directory: Path) -> tuple[str, ...]:
    role = "learner" if node.learner else "voter"
    data = Path(node.data_dir)
    shown = data.relative_to(directory) if data.is_relative_to(directory) else data
    return (
        node.name,
        role,
        node.etcd_version,
        node.client_url,
        str(node.peer_port),
        str(node.metrics_port),
        str(shown),
    )


def _certificates(pki: PkiPlan) -> Iterator[tuple[str, ...]]:
    authority = pki.authority
    if authority.existing_certificate is not None:
        yield ("ca.pem", f"as in {authority.existing_certificate}", "", "", "")
    else:
        yield ("ca.pem", _name(authority.subject), authority.key.value, _time(authority.lifetime_s), "")
    for leaf in pki.certificates:
        yield (f"{leaf.stem}.pem", _name(leaf.subject), leaf.key.value, _time(leaf.lifetime_s), " ".join(leaf.hosts))


def _name(subject: Subject) -> str:
    parts = {part: getattr(subject, part) for part in subject.__struct_fields__}
    return ",".join(f"{part}={value}" for part, value in parts.items() if value)


def _time(seconds: float) -> str:
    return str(Duration(seconds))
