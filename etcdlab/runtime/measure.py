"""The lab's status: every member asked at once, then one view of what they said."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import trio

from etcdlab.etcd import api
from etcdlab.etcd.api import hexadecimal
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import Plan
from etcdlab.model.quorum import quorum
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus
from etcdlab.runtime.health import Measurement, leader_of, measure
from etcdlab.runtime.node import Node

_DOWN = Measurement(healthy=False, status=None)
_PAUSED = Measurement(healthy=False, status=None, problem="paused")


async def measure_lab(plan: Plan, nodes: Mapping[str, Node]) -> LabStatus:
    """Measure all members in parallel, each within the plan's probe bound."""
    found: dict[str, Measurement] = {}

    async def ask(node: Node) -> None:
        found[node.name] = await measure(node.metrics, node.client, probe_s=plan.timeouts.probe_s)

    async with trio.open_nursery() as nursery:
        for node in nodes.values():
            if node.paused:
                found[node.name] = _PAUSED
            elif node.process is None:
                found[node.name] = _DOWN
            else:
                nursery.start_soon(ask, node)
    return view(plan, nodes, found)


def view(plan: Plan, nodes: Mapping[str, Node], found: Mapping[str, Measurement]) -> LabStatus:
    """Put together what was found. A member that answers with ids of another cluster is not healthy here."""
    leader_id = leader_of(m for name, m in found.items() if not _stranger(plan, nodes[name], m))
    views = tuple(_node_view(plan, node, found[node.name], leader_id) for node in nodes.values())
    clusters = {hexadecimal(m.status.header.cluster_id) for m in found.values() if m.status is not None}
    alarms = {alarm for m in found.values() if m.status is not None for alarm in api.raised(m.status)}
    return LabStatus(
        lab=plan.lab,
        verdict=verdict(plan, nodes, views, can_write=not alarms),
        cluster_id=plan.cluster_id if plan.cluster_id in clusters else next(iter(sorted(clusters)), None),
        is_this_lab=not any(_stranger(plan, nodes[name], m) for name, m in found.items()),
        leader=next((node.name for node in views if node.is_leader), None),
        nodes=views,
        problems=tuple(_told(plan, alarms)),
    )


def verdict(plan: Plan, nodes: Mapping[str, Node], views: tuple[NodeStatus, ...], *, can_write: bool) -> ClusterVerdict:
    """One word: all healthy, enough healthy or an alarm, too few, or nothing runs nor will unless asked to."""
    if all(node.state in (NodeState.STOPPED, NodeState.FAILED) for node in nodes.values()):
        return ClusterVerdict.STOPPED
    if can_write and all(node.healthy for node in views):
        return ClusterVerdict.HEALTHY
    healthy = sum(node.healthy for node in views if not node.is_learner)
    return ClusterVerdict.DEGRADED if healthy >= quorum(len(plan.voters)) else ClusterVerdict.NO_QUORUM


def _node_view(plan: Plan, node: Node, found: Measurement, leader_id: str | None) -> NodeStatus:
    status = found.status
    uptime_s = node.uptime_s
    usage = node.meter.look(node.process.identity, uptime_s=uptime_s) if node.process and uptime_s is not None else None
    stranger = _stranger(plan, node, found)
    return NodeStatus(
        name=node.name,
        state=node.state,
        healthy=found.healthy and not stranger,
        paused=node.paused,
        is_leader=status is not None and not stranger and node.plan.member_id == leader_id,
        is_learner=status.is_learner if status else node.plan.learner,
        member_id=node.plan.member_id,
        pid=node.process.identity.pid if node.process else None,
        restarts=node.restarts,
        uptime_s=None if uptime_s is None else round(uptime_s, 3),
        client_url=node.plan.client_url,
        peer_url=node.plan.peer_url,
        metrics_url=node.plan.metrics_url,
        raft_term=status.raft_term if status else None,
        raft_index=status.raft_index if status else None,
        applied_index=status.applied_index if status else None,
        db_size=status.db_size if status else None,
        etcd_version=status.version if status else node.plan.etcd_version,
        cpu_percent=usage.cpu_percent if usage else None,
        rss_bytes=usage.rss_bytes if usage else None,
        last_exit=node.last_exit,
        problem=stranger or found.problem or _lost_data(node),
    )


def _told(plan: Plan, alarms: Collection[api.Alarm]) -> Iterator[str]:
    for kind in sorted({alarm.alarm for alarm in alarms}):
        members = {hexadecimal(alarm.member_id) for alarm in alarms if alarm.alarm == kind}
        names = [node.name for node in plan.nodes if node.member_id in members]
        who = ", ".join(names) or "a member that was removed"
        yield f"the alarm {kind} is raised, by {who}: all members refuse to write; {_way_back(kind, names)}"


def _way_back(alarm: str, names: Sequence[str]) -> str:
    if alarm == api.NO_SPACE:
        return "`etcdlab disk free` makes space and disarms it"
    if alarm == api.CORRUPT and names:
        return (
            f"the data of {', '.join(names)} differ from the others': `etcdlab stop {names[0]}` and "
            f"`etcdlab repair {names[0]}` make {names[0]} anew"
        )
    return "`etcdlab ctl -- alarm disarm` disarms it"


def _lost_data(node: Node) -> str:
    """What is wrong with a member that serves and has no data directory any more: etcd itself does not notice."""
    data = Path(node.plan.data_dir)
    if node.state is not NodeState.RUNNING or (data / "member").is_dir():
        return ""
    return f"its data directory {data} is gone: it runs on with deleted files, and will not start again"


def _stranger(plan: Plan, node: Node, found: Measurement) -> str:
    """What is wrong with the ids that this member answered with; nothing is for a member that did not answer."""
    if found.status is None:
        return ""
    cluster, member = hexadecimal(found.status.header.cluster_id), hexadecimal(found.status.header.member_id)
    if (cluster, member) == (plan.cluster_id, node.plan.member_id):
        return ""
    return f"answers as member {member} of cluster {cluster}, which this lab did not make"
