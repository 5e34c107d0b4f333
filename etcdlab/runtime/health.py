"""Measuring members: their health (plain HTTP on the metrics listener) and their details (JSON gateway).

The metrics listener answers without certificates and while the client port still hangs in its TLS handshake for want
of a quorum; a bound belongs on every request all the same, since `/health` can take 7 s just after quorum is lost.
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import trio

from etcdlab.etcd import api
from etcdlab.runtime.http import Endpoint, Unreachable

FAST_POLL_S: Final = 0.01
SLOW_POLL_S: Final = 0.25
BACKING_OFF: Final = 1.05
"""A member that says it serves clients is asked every 10 ms at first, then ever more rarely."""
UNTOLD_POLL_S: Final = 0.1
"""Seconds between questions to a member that has not said so: in case its log does not tell."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one member said when asked; `problem` says why `status` is None."""

    healthy: bool
    status: api.MemberStatus | None
    problem: str = ""


async def is_healthy(metrics: Endpoint) -> bool:
    """Whether the member answers a linearizable read right now. Does not raise."""
    try:
        status, body = await metrics.get(api.HEALTH)
        return api.decode(status, body, api.Health).healthy
    except (Unreachable, api.GatewayError):
        return False


async def connect(client: Endpoint) -> None:
    """Have the connection that later questions will use. Does not raise."""
    with contextlib.suppress(Unreachable):
        await client.get(api.VERSION)


async def wait_healthy(metrics: Endpoint, serving: trio.Event) -> None:
    """Wait until the member is healthy; `serving` is set when its log says that it serves clients, just before."""
    pause = FAST_POLL_S
    while True:
        # One bound for each try: a request that hangs in a cluster without quorum must not hide the recovery.
        with trio.move_on_after(1):
            if await is_healthy(metrics):
                return
        if serving.is_set():
            await trio.sleep(pause)
            pause = min(pause * BACKING_OFF, SLOW_POLL_S)
        else:
            with trio.move_on_after(UNTOLD_POLL_S):
                await serving.wait()


async def measure(metrics: Endpoint, client: Endpoint, *, probe_s: float) -> Measurement:
    """Ask one member for its health and its details, each within `probe_s` seconds."""
    healthy = False
    status: api.MemberStatus | None = None
    problem = ""

    async def ask_health() -> None:
        nonlocal healthy
        with trio.move_on_after(probe_s):
            healthy = await is_healthy(metrics)

    async def ask_details() -> None:
        nonlocal status, problem
        with trio.move_on_after(probe_s) as scope:
            try:
                status = api.decode(*await client.post(api.STATUS), api.MemberStatus)
            except (Unreachable, api.GatewayError) as error:
                problem = str(error)
        if scope.cancelled_caught:
            problem = f"no answer within {probe_s:g} s"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_health)
        nursery.start_soon(ask_details)
    return Measurement(healthy=healthy, status=status, problem=problem)


async def add_member(client: Endpoint, peer_url: str, *, learner: bool, known: Sequence[str]) -> str:
    """Add a member and return its id; one that an earlier daemon added (not among `known`) is found, not doubled.

    Retries while etcd says "not now": a new cluster refuses member changes until all voters have been connected
    for 5 s (etcd 3.5 server.go, HealthInterval), and who was added, removed and is added again in one second gets the
    id that was removed, of which it says "member not found" (membership/member.go, computeMemberId). The bound is the
    caller's. Raises Unreachable or GatewayError.
    """
    members = api.decode(*await client.post(api.MEMBER_LIST), api.MemberList).members
    for member in members:
        if peer_url in member.peer_urls and api.hexadecimal(member.id) not in known:
            return api.hexadecimal(member.id)
    while True:
        answer = await client.post(api.MEMBER_ADD, api.member_add_body(peer_url, learner=learner))
        try:
            return api.hexadecimal(api.decode(*answer, api.MemberAdded).member.id)
        except api.GatewayError as error:
            if error.code not in (api.UNAVAILABLE, api.NOT_FOUND):
                raise
        await trio.sleep(SLOW_POLL_S)


def leader_of(measurements: Iterable[Measurement]) -> str | None:
    """The leader's id that the members agree on in the highest term; None when there is none."""
    answers = [m.status for m in measurements if m.status is not None and m.status.leader]
    if not answers:
        return None
    latest = max(answers, key=lambda status: status.raft_term)
    return api.hexadecimal(latest.leader)
