"""A lab without its daemon, as it is."""

from etcdlab.launch import living_members
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabPhase, LabStatus, NodeStatus
from etcdlab.prepare.labdir import LabDirectory


def status(directory: LabDirectory) -> LabStatus:
    """What its plan and its processes tell. Raises NotRunningError, LabStateError."""
    plan = directory.load_plan()
    living = living_members(directory)
    nodes = tuple(
        NodeStatus(
            name=node.name,
            state=NodeState.RUNNING if node.name in living else NodeState.STOPPED,
            healthy=False,
            paused=False,
            is_leader=False,
            is_learner=node.learner,
            member_id=node.member_id,
            pid=living[node.name].identity.pid if node.name in living else None,
            restarts=0,
            uptime_s=None,
            client_url=node.client_url,
            peer_url=node.peer_url,
            metrics_url=node.metrics_url,
            etcd_version=node.etcd_version,
            problem="runs without its daemon, unsupervised" if node.name in living else "",
        )
        for node in plan.nodes
    )
    return LabStatus(
        lab=plan.lab,
        verdict=ClusterVerdict.STOPPED,
        phase=LabPhase.DOWN,
        cluster_id=None,
        is_this_lab=True,
        leader=None,
        nodes=nodes,
    )
