"""Making space in members' databases, and the end of the alarm NOSPACE, which alone ends nothing."""

from collections.abc import Collection, Sequence

from etcdlab.etcd import api
from etcdlab.model.disk import Freed
from etcdlab.runtime.gateway import NotDoneError, ask, each, spread
from etcdlab.runtime.node import Node


async def free(voters: Sequence[Node]) -> Freed:
    """Forget the history of keys, give the space back, and disarm the alarm if it is raised. Raises NotDoneError."""
    before = await _sizes(voters)
    listed, status = await spread(voters, [api.LIST_ALARMS, api.TELL_STATUS])
    await spread(voters, [api.compact(status.header.revision, physical=True)])
    alarms = [alarm for alarm in listed.alarms if alarm.alarm == api.NO_SPACE]
    after = await make_space(voters, alarms)
    return Freed(
        sizes={name: (before[name], after[name]) for name in before},
        alarms=len(alarms),
        beyond=tuple(node.name for node in voters if node.quota is not None and after[node.name] >= node.quota),
    )


async def disarm(voters: Sequence[Node], members: Collection[str | None]) -> None:
    """Disarm what these members (their ids) have raised for a quota that they have no more. Raises NotDoneError."""
    [listed] = await spread(voters, [api.LIST_ALARMS])
    raised = [alarm for alarm in listed.alarms if alarm.alarm == api.NO_SPACE]
    await spread(voters, [api.disarm(alarm) for alarm in raised if api.hexadecimal(alarm.member_id) in members])


async def make_space(voters: Sequence[Node], alarms: Sequence[api.Alarm]) -> dict[str, int]:
    """Give free pages back to the system, since etcd counts them against the quota, then disarm: the sizes then."""
    sizes = {"": 0}
    # Only the member that was asked to compact has waited for its own to be done: the others are compared with it.
    while max(sizes.values()) >= 2 * min(sizes.values()):
        await each(voters, lambda node: ask(node, api.DEFRAGMENT))
        sizes = await _sizes(voters)
    await spread(voters, [api.disarm(alarm) for alarm in alarms])
    [left] = await spread(voters, [api.LIST_ALARMS])
    if any(alarm.alarm == api.NO_SPACE for alarm in left.alarms):
        raise NotDoneError(f"the alarm {api.NO_SPACE} came back")
    return sizes


async def _sizes(voters: Sequence[Node]) -> dict[str, int]:
    return {node.name: (await ask(node, api.TELL_STATUS)).db_size for node in voters}
