"""From nothing to a ready lab: staged spawning, and readiness as a fact about the cluster.

A new member asks each peer for its members with a fixed 1 s timeout, and a peer whose port listens but does not serve
yet hangs it. Spawning all at once therefore stalls 1 to 2 s in a third of the boots of three members (4 to 8 s for
nine); spawning each as soon as the one before serves its peers never does, and costs 40 ms a member. Waiting for a
member to serve *clients* would be a deadlock: that needs a quorum.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

from etcdlab.errors import BootError, TimedOutError
from etcdlab.etcd import death, logfile
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.runtime.health import connect
from etcdlab.runtime.node import Node

TAIL_LINES: Final = 10
RECHECK_S: Final = 0.05
"""Seconds between looks at a cluster whose members are all healthy but do not agree yet."""


async def start_staged(nodes: Sequence[Node], *, stage_s: float) -> None:
    """Start members, each when the one before serves its peers, ended, or took longer than `stage_s`."""
    for number, node in enumerate(nodes, 1):
        node.start()
        if number < len(nodes) and not has_data(node):
            with trio.move_on_after(stage_s):
                await _serving_peers_or_down(node)


async def wait_running(nodes: Sequence[Node]) -> None:
    """Wait until all are RUNNING. Raises BootError as soon as one is down for good."""
    down: list[Node] = []

    async def look(node: Node) -> None:
        if await node.wait_settled() is not NodeState.RUNNING:
            down.append(node)
            nursery.cancel_scope.cancel()
            return
        # Its details will be asked for when all run; the TLS handshake that this takes is better done meanwhile than
        # at the end, by all together: 25 ms less of nine members' boot.
        await connect(node.client)

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(look, node)
    if down:
        raise _start_failed(down[0])


async def wait_agreed(
    status: Callable[[], Awaitable[LabStatus]], *, excused: Collection[str] = (), has_quorum: bool = True
) -> LabStatus:
    """Wait until the members agree: all healthy, one leader, this lab's ids. Returns the status that says so.

    `excused` are those that somebody has put faults on, which may have cost the quorum.
    """
    while True:
        seen = await status()
        # A member that gave no details could be a stranger's: `is_this_lab` judges only those that did.
        awaited = [node for node in seen.nodes if node.name not in excused]
        are_well = all(node.healthy and node.raft_term is not None for node in awaited)
        serves = seen.verdict in (ClusterVerdict.HEALTHY, ClusterVerdict.DEGRADED) and seen.leader is not None
        if are_well and seen.is_this_lab and (serves or not has_quorum):
            return seen
        await trio.sleep(RECHECK_S)


def has_data(node: Node) -> bool:
    """Whether the member has been part of its cluster before: it then asks nobody at start."""
    return (Path(node.plan.data_dir) / "member" / "wal").is_dir()


def boot_timeout(nodes: Mapping[str, Node], boot_s: float) -> TimedOutError:
    """The error for a boot that ran out of time, naming the members that are not ready and why."""
    late = [node for node in nodes.values() if node.state is not NodeState.RUNNING]
    reasons = [f"{node.name} is {node.state.value}" + _last_exit(node) for node in late]
    what = "; ".join(reasons) or "all members run, but do not agree on a leader and this lab's ids"
    return TimedOutError(
        f"the lab was not ready within {boot_s:g} s: {what}",
        hint="`--timeout` or [timeouts] boot gives it longer; `--keep` keeps its directory for a look at the logs.",
    )


def log_tail(node: Node) -> tuple[str, ...]:
    """Lines of a member's log for an error: from the one that told the reason on, else the last ones."""
    raw = logfile.last_lines(Path(node.plan.log), death.LINES_WANTED)
    lines = [text for line in raw if (text := line.decode(errors="replace").rstrip())]
    detail = node.last_exit.detail if node.last_exit else ""
    # What etcd prints about a wrong flag is followed by 300 lines on how to use it.
    telling = next((number for number, line in enumerate(lines) if detail and line.startswith(detail)), -TAIL_LINES)
    return tuple(lines[telling:][:TAIL_LINES])


def _start_failed(node: Node) -> BootError:
    exit_ = node.last_exit
    detail = exit_.detail if exit_ else "it was stopped"
    remedy = exit_.remedy if exit_ else ""
    return BootError(f"member {node.name} did not start: {detail}", hint=remedy, log_tail=log_tail(node))


async def _serving_peers_or_down(node: Node) -> None:
    async with trio.open_nursery() as nursery:

        async def until_down() -> None:
            await node.wait_state(lambda state: state in (NodeState.FAILED, NodeState.BACKOFF))
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_down)
        await node.serving_peers.wait()
        nursery.cancel_scope.cancel()


def _last_exit(node: Node) -> str:
    return f" ({node.last_exit.detail})" if node.last_exit and node.last_exit.detail else ""
