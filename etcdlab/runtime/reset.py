"""A used lab made pristine in place: what is left of the last test is looked for, and undone.

Independent requests are spread over the members' kept connections. What stands in the way ends the attempt with a
reason, and the cluster rebuilds.
"""

import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from etcdlab.errors import BootError
from etcdlab.etcd import api
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.prepare.process import ProcessRecord
from etcdlab.runtime import auth, boot
from etcdlab.runtime.child import AdoptedProcess
from etcdlab.runtime.freeing import make_space
from etcdlab.runtime.gateway import NotDoneError, RefusedError, ask, each, spread
from etcdlab.runtime.health import FAST_POLL_S, wait_healthy
from etcdlab.runtime.node import Node

IN_PLACE_S: Final = 5.0
"""Seconds that it may take: a member's restart takes less, and to rebuild takes less than to wait on."""
TRY_S: Final = 0.5
"""Seconds after which a member that does not answer is asked again: what it sent to a leader that was lost is lost."""


async def undo(plan: Plan, nodes: Mapping[str, Node]) -> None:
    """Undo what was done to the lab. Raises NotDoneError, also after IN_PLACE_S.

    Once it returns, every voting member has answered a linearizable read: it has applied all that was undone.
    """
    with trio.move_on_after(min(IN_PLACE_S, plan.timeouts.boot_s / 2)) as scope:
        await _bring_back(nodes.values())
        voters = [nodes[node.name] for node in plan.voters]
        users = await _wait_serving(plan, voters)
        await _clear(plan, voters, users)
        await each(voters, lambda node: wait_healthy(node.metrics, node.serving_clients))
    if scope.cancelled_caught:
        raise NotDoneError("the members were not ready in time to undo it")


def wipe(nodes: Iterable[NodePlan]) -> None:
    """Remove what members keep in their data directories."""
    for node in nodes:
        shutil.rmtree(Path(node.data_dir) / "member", ignore_errors=True)


async def end_left(nodes: Iterable[NodePlan]) -> None:
    """End the members that a daemon left which was killed in the middle of a rebuild."""
    for node in nodes:
        if (record := ProcessRecord.of_living(Path(node.directory))) is not None:
            process = AdoptedProcess(record.identity)
            process.signal(signal.SIGKILL)
            await process.wait()


async def _bring_back(nodes: Iterable[Node]) -> None:
    """Have every member run that should."""
    absent = []
    for node in nodes:
        node.signal(signal.SIGCONT)  # also for one that was frozen behind the supervisor's back
        node.start()
        if node.state is not NodeState.RUNNING:
            absent.append(node)
        elif not boot.has_data(node):  # which the member itself does not notice
            raise NotDoneError(f"the data directory of {node.name} is gone")
    if absent:
        try:
            await boot.wait_running(absent)
        except BootError as error:
            raise NotDoneError(error.message) from error


async def _wait_serving(plan: Plan, voters: Sequence[Node]) -> tuple[str, ...]:
    """Wait until every voter takes part again, and turn authentication off if it is on. The users that there are.

    The question goes through raft. So a member that answers it has a leader and has caught up, and what it is asked
    for next of its own knowledge is not stale; and with authentication on it is refused, in every version of etcd.
    """
    try:
        return await _users(voters)
    except RefusedError as refusal:
        try:
            await auth.disable(plan, voters[0].plan.client_url)
        except auth.AuthError as error:
            raise NotDoneError(f"authentication seems to be on ({refusal}) and stays on: {error}") from error
    return await _users(voters)


async def _users(voters: Sequence[Node]) -> tuple[str, ...]:
    found: tuple[str, ...] = ()

    async def look(node: Node) -> None:
        nonlocal found
        found = (await _ask_patiently(node, api.LIST_USERS)).users

    await each(voters, look)
    return found


async def _clear(plan: Plan, voters: Sequence[Node], users: Sequence[str]) -> None:
    listed, roles, alarms, leases, deleted = await spread(
        voters, [api.LIST_MEMBERS, api.LIST_ROLES, api.LIST_ALARMS, api.LIST_LEASES, api.DELETE_ALL_KEYS]
    )
    strangers = _strangers(plan, listed.members)
    other_alarms = [alarm.alarm for alarm in alarms.alarms if alarm.alarm != api.NO_SPACE]
    if other_alarms:
        raise NotDoneError(f"the alarm {other_alarms[0]} is raised")
    if alarms.alarms and len(voters) < len(plan.nodes):
        raise NotDoneError("the database is full, and a learner's cannot be defragmented")
    await spread(
        voters,
        [
            api.compact(deleted.header.revision, physical=bool(alarms.alarms)),
            *map(api.remove_member, strangers),
            *map(api.revoke, leases.leases),
            *map(api.delete_user, users),
            *map(api.delete_role, roles.roles),
        ],
    )
    if alarms.alarms:
        await make_space(voters, alarms.alarms)


def _strangers(plan: Plan, members: Sequence[api.Member]) -> list[api.Member]:
    """The members that the plan does not have. Raises NotDoneError when one that it has is not as it was."""
    listed = {api.hexadecimal(member.id): member for member in members}
    for node in plan.nodes:
        member = listed.pop(node.member_id or "", None)
        if member is None:
            raise NotDoneError(f"member {node.name} was removed from the cluster")
        if member.is_learner != node.learner:
            raise NotDoneError(f"learner {node.name} was promoted")
        if member.peer_urls != (node.peer_url,):
            raise NotDoneError(f"the peer URL of {node.name} was changed")
    return list(listed.values())


async def _ask_patiently(node: Node, call: api.Call) -> Any:
    """Ask one member until it answers or is down: it may have no leader yet, or just be started again."""
    while node.state is not NodeState.FAILED:
        with trio.move_on_after(TRY_S):
            try:
                return await ask(node, call)
            except RefusedError:
                raise
            except NotDoneError:
                await trio.sleep(FAST_POLL_S)
    raise NotDoneError(f"{node.name} failed" + (f": {node.last_exit.detail}" if node.last_exit else ""))
