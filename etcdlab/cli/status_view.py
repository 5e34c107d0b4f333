"""A lab's status for people. Apart from the verbs: `up` shows it too, and must not import what talks to daemons."""

from collections.abc import Iterable
from typing import Final

from etcdlab.cli.result import Cell, Table, View
from etcdlab.model.link import Link, LinkFault, in_words
from etcdlab.model.status import ClusterVerdict, LabPhase, LabStatus, NodeStatus

_STYLES: Final = {
    ClusterVerdict.HEALTHY: "good",
    ClusterVerdict.DEGRADED: "warning",
    ClusterVerdict.NO_QUORUM: "bad",
    ClusterVerdict.STOPPED: "quiet",
}
# Three tables, since 80 columns are to do for each.
_PROCESSES: Final = ("MEMBER", "STATE", "HEALTH", "ROLE", "PID", "UP", "RESTARTS", "CPU", "MEMORY")
_PLACES: Final = ("MEMBER", "CLIENT", "PEER", "METRICS", "ETCD", "LAST EXIT")
_RAFT: Final = ("MEMBER", "ID", "TERM", "INDEX", "APPLIED", "DB")


def status_view(measured: LabStatus) -> View:
    """A lab's status for people: a line, the members as processes, their places, the cluster, and what is wrong."""
    yield Cell(_headline(measured), _STYLES[measured.verdict])
    yield Table(header=_PROCESSES, rows=tuple(_process_row(node) for node in measured.nodes))
    yield Table(header=_PLACES, rows=tuple(_place_row(node) for node in measured.nodes))
    yield Table(header=_RAFT, rows=tuple(_raft_row(node) for node in measured.nodes))
    for problem in measured.problems:
        yield Cell(problem, "warning")
    for fault, links in _on_links(measured.faults).items():
        yield Cell(f"injected: {fault}: {in_words(sorted(links))}", "warning")
    for defect in measured.defects:
        yield Cell(f"injected: {defect.defect.value} certificate {defect.stem}", "warning")
    for shortage in measured.shortages:
        yield Cell(f"injected: {shortage}", "warning")
    for node in measured.nodes:
        if node.problem:
            yield Cell(f"{node.name}: {node.problem}", "warning")
        if node.last_exit is not None and node.last_exit.detail and not node.healthy:
            yield Cell(f"{node.name}: last exit: {node.last_exit.detail}", "warning")
            if node.last_exit.remedy:
                yield f"  {node.last_exit.remedy}"


def verdict_cell(measured: LabStatus) -> Cell:
    """The verdict, in its colour."""
    return Cell(measured.verdict.value, _STYLES[measured.verdict])


def _headline(measured: LabStatus) -> str:
    parts = [f"{measured.lab}: {measured.verdict.value}"]
    if measured.phase in (LabPhase.STARTING, LabPhase.STOPPING):
        parts.append(f"just {measured.phase.value}")
    if measured.phase is LabPhase.DOWN and any(node.pid for node in measured.nodes):
        parts.append(f"its daemon is gone and members run on: `etcdlab up --name {measured.lab}` takes them over")
    if measured.leader:
        parts.append(f"leader {measured.leader}")
    if measured.cluster_id:
        parts.append(f"cluster {measured.cluster_id}")
    if not measured.is_this_lab:
        parts.append("NOT THIS LAB'S CLUSTER: another process answers on its ports")
    return ", ".join(parts)


def _process_row(node: NodeStatus) -> tuple[str | Cell, ...]:
    role = "leader" if node.is_leader else "learner" if node.is_learner else "follower" if node.healthy else "-"
    health = Cell("paused", "warning") if node.paused else Cell("healthy", "good") if node.healthy else Cell("-", "bad")
    return (
        node.name,
        node.state.value,
        health,
        role,
        _text(node.pid),
        "-" if node.uptime_s is None else _uptime(node.uptime_s),
        str(node.restarts),
        "-" if node.cpu_percent is None else f"{node.cpu_percent:.1f} %",
        "-" if node.rss_bytes is None else f"{node.rss_bytes / 2**20:.0f} MiB",
    )


def _place_row(node: NodeStatus) -> tuple[str, ...]:
    exit_ = node.last_exit
    return (
        node.name,
        node.client_url,
        _peer(node.peer_url),
        node.metrics_url.rpartition(":")[2],
        node.etcd_version or "-",
        f"{exit_.reason.value} {exit_.at[11:19]}Z" if exit_ else "-",
    )


def _raft_row(node: NodeStatus) -> tuple[str, ...]:
    return (
        node.name,
        node.member_id or "-",
        _text(node.raft_term),
        _text(node.raft_index),
        _text(node.applied_index),
        "-" if node.db_size is None else f"{node.db_size / 1024:.0f} KiB",
    )


def _peer(url: str) -> str:
    """The port, or in a fault network, where all have the same, the address."""
    place = url.rpartition("/")[2]
    return place if place.startswith("192.0.2.") else place.rpartition(":")[2]


def _on_links(faults: Iterable[LinkFault]) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for active in faults:
        found.setdefault(str(active.fault), []).append(active.link)
    return found


def _text(number: int | None) -> str:
    return "-" if number is None else str(number)


def _uptime(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
