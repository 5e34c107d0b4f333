"""Handing leadership from one member to another."""

import trio

from etcdlab.errors import LabStateError, TimedOutError
from etcdlab.etcd import api
from etcdlab.model.status import NodeStatus
from etcdlab.runtime.gateway import make
from etcdlab.runtime.http import Endpoint, Unreachable


async def move(leader: Endpoint, target: NodeStatus, *, bound_s: float) -> None:
    """Have `target` lead in place of the member that is asked. Raises LabStateError, TimedOutError after `bound_s`."""
    require_fit(target)
    assert target.member_id is not None
    call = api.transfer_leadership(int(target.member_id, 16))
    try:
        with trio.fail_after(bound_s):
            await make(leader, call)
    except trio.TooSlowError as error:
        raise TimedOutError(
            f"{target.name} does not lead after {bound_s:g} s", hint="`etcdlab net` and `etcdlab logs` may say why."
        ) from error
    except (Unreachable, api.GatewayError) as error:
        raise LabStateError(
            f"the leader could not hand over to {target.name}: {error}",
            hint="With auth on, newer etcds want a user for this: `etcdlab ctl -- move-leader`.",
        ) from error


def require_fit(target: NodeStatus) -> None:
    """Raise LabStateError for a member that cannot lead: etcd would try for two elections' time."""
    why = ""
    if target.is_learner:
        why = "a learner has no vote"
    elif target.paused:
        why = f"it is paused; `etcdlab resume {target.name}` lets it go on"
    elif not target.healthy:
        why = f"it is {target.state.value} and not healthy"
    if why:
        raise LabStateError(f"{target.name} cannot lead: {why}")
