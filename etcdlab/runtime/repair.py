"""A member whose data is lost or damaged, made a member anew: removed from the cluster, added, and started empty.

The dead member goes first: etcd adds none to a cluster of which a member does not answer (until 3.5.30; 3.5 server.go,
`isConnectedFullySince`), and with one member less it does. Started with its old id and no data it would be refused, or
would have forgotten what it acknowledged.
"""

from typing import Final

import msgspec

from etcdlab.errors import LabStateError
from etcdlab.etcd import api
from etcdlab.model.plan import NodePlan
from etcdlab.model.quorum import quorum
from etcdlab.model.status import LabStatus
from etcdlab.runtime.gateway import make
from etcdlab.runtime.health import add_member
from etcdlab.runtime.http import Endpoint, Unreachable

_CLUSTER: Final = "--initial-cluster="
_STATE: Final = "--initial-cluster-state="


def choose_helper(name: str, status: LabStatus) -> str:
    """A member that serves and can have `name` removed and added. Raises LabStateError."""
    voters = [node for node in status.nodes if not node.is_learner]
    serving = [node.name for node in voters if node.healthy and not node.paused]
    if name in serving:
        raise LabStateError(f"{name} serves: there is nothing to repair", hint=f"`etcdlab stop {name}` stops it.")
    if len(serving) < (wanted := quorum(len(voters))):
        raise LabStateError(
            f"{name} cannot be repaired: {len(serving)} other voting members serve, and it takes {wanted}",
            hint="`etcdlab status` shows them; `etcdlab reset` begins anew with empty data.",
        )
    return serving[0]


async def replace_member(node: NodePlan, helper: Endpoint) -> NodePlan:
    """Have the cluster forget a member and know it anew: the plan to start it by, once, on an empty data directory.

    The alarms that it had raised go with it: they would outlive the member, and with them all refuse to write. Asks
    `helper`, a member that serves, until the cluster takes it; the bound is the caller's. Raises LabStateError.
    """
    try:
        listed: api.MemberList = await make(helper, api.LIST_MEMBERS)
        for member in listed.members:
            if node.peer_url in member.peer_urls:
                await make(helper, api.remove_member(member))
                for alarm in (await make(helper, api.LIST_ALARMS)).alarms:
                    if alarm.member_id == member.id:
                        await make(helper, api.disarm(alarm))
        member_id = await add_member(helper, node.peer_url, learner=node.learner, known=())
    except (Unreachable, api.GatewayError) as error:
        raise LabStateError(
            f"{node.name} could not be removed and added: {error}",
            hint="With auth on, etcd wants a user for this: `etcdlab ctl -- member remove` and `member add`.",
        ) from error
    others = [member for member in listed.members if node.peer_url not in member.peer_urls]
    cluster = [f"{member.name}={url}" for member in others for url in member.peer_urls]
    changed = {_CLUSTER: ",".join([*cluster, f"{node.name}={node.peer_url}"]), _STATE: "existing"}
    argv = tuple(
        next((flag + value for flag, value in changed.items() if argument.startswith(flag)), argument)
        for argument in node.argv
    )
    return msgspec.structs.replace(node, member_id=member_id, argv=argv)
