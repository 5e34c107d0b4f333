"""The operations of the control API: one table, from which application, index and OpenAPI document are made.

An operation takes a decoded request and gives a value; it knows no HTTP but the status of its refusals.
"""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import msgspec

from etcdlab.control import wire
from etcdlab.control.openapi import Operation, document
from etcdlab.control.supervisor import Supervisor
from etcdlab.errors import UsageError
from etcdlab.model.disk import Freed
from etcdlab.model.event import Event
from etcdlab.model.healed import Healed
from etcdlab.model.link import CLIENTS, Link, all_links
from etcdlab.model.plan import Plan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.selection import select, stands_for_members
from etcdlab.model.status import LabStatus


class Api:
    """The operations on one lab."""

    def __init__(self, cluster: Supervisor) -> None:
        self._cluster = cluster
        self.operations = (
            _get("", "This list", self.index, wire.Index),
            _get("/status", "Measure the lab", self.status, LabStatus),
            _get("/plan", "The plan that the daemon works from", self.plan, Plan),
            _get("/events", "The journal", self.events, Event, takes=wire.EventsQuery, stream=True),
            _get("/logs", "The members' log records", self.logs, dict, takes=wire.LogsQuery, stream=True),
            _get("/openapi.json", "This API as OpenAPI 3.1", self.openapi, dict),
            _on_nodes("/start", "Start members; also leaves FAILED", self.start, wire.NodesRequest),
            _on_nodes("/stop", "Stop members", self.stop, wire.HoldRequest),
            _on_nodes("/restart", "Stop and start members", self.restart, wire.ForceableRequest),
            _on_nodes("/kill", "Send a signal to members", self.kill, wire.KillRequest),
            _on_nodes("/pause", "Freeze members", self.pause, wire.HoldRequest),
            _on_nodes("/resume", "Let paused members go on", self.resume, wire.NodesRequest),
            _post("/leader/move", "Have a member lead", self.move_leader, wire.LeaderRequest),
            _get("/network", "The links and what is on them", self.network, wire.NetworkAnswer),
            _post("/network/inject", "Put a fault on links", self.inject, wire.InjectRequest),
            _post("/network/heal", "Take faults off links", self.heal, wire.HealRequest),
            _post("/tls/renew", "Have leaves begin anew", self.renew, wire.RenewRequest),
            _post("/tls/authority", "Have another CA", self.rotate_authority, wire.AuthorityRequest),
            _post("/tls/inject", "Give leaves a defect", self.spoil, wire.DefectRequest),
            _post("/tls/heal", "Have leaves as they were", self.heal_leaves, wire.HealLeavesRequest),
            _post("/disk/corrupt", "Damage the data of a member", self.damage, wire.DamageRequest),
            _on_nodes("/disk/full", "Have members' disks full", self.fill_disks, wire.HoldRequest),
            _on_nodes("/disk/quota", "Restart members with another quota", self.limit_databases, wire.QuotaRequest),
            _post(
                "/disk/heal",
                "Have disks as they were",
                self.heal_disks,
                wire.HealDisksRequest,
                answer=wire.ShortagesAnswer,
            ),
            _post(
                "/disk/free", "Make space in databases, disarm NOSPACE", self.free_space, wire.FreeRequest, answer=Freed
            ),
            _post("/repair", "Make a member anew whose data is lost or damaged", self.repair, wire.RepairRequest),
            _post("/heal", "Undo all that was done on purpose", self.heal_all, wire.HealAllRequest, answer=Healed),
            _post("/chaos", "Have the journal tell of a run of a scenario", self.tell_chaos, wire.ChaosRequest),
            _post("/reset", "Make the lab pristine", self.reset, wire.ResetRequest, answer=ResetOutcome),
            _post("/shutdown", "Stop the lab and end", self.shutdown, wire.ShutdownRequest, HTTPStatus.ACCEPTED),
        )

    async def index(self, _: wire.Request) -> wire.Index:
        """What there is."""
        routes = (wire.RouteSummary(method=one.method, path=one.path, summary=one.summary) for one in self.operations)
        return wire.Index(lab=self._cluster.plan.lab, routes=tuple(routes))

    async def openapi(self, _: wire.Request) -> dict[str, Any]:
        """The document."""
        return document(self.operations)

    async def status(self, _: wire.Request) -> LabStatus:
        """Measure."""
        return await self._cluster.status()

    async def plan(self, _: wire.Request) -> Plan:
        """The plan."""
        return self._cluster.plan

    async def start(self, request: wire.NodesRequest) -> wire.NodesAnswer:
        """Start."""
        nodes = await self._meant(request.nodes)
        await self._cluster.start(nodes)
        return wire.NodesAnswer(nodes=nodes)

    async def stop(self, request: wire.HoldRequest) -> wire.NodesAnswer:
        """Stop."""
        nodes = await self._meant(request.nodes)
        await self._cluster.stop(nodes, force=request.force, for_s=request.for_s)
        return wire.NodesAnswer(nodes=nodes)

    async def restart(self, request: wire.ForceableRequest) -> wire.NodesAnswer:
        """Restart."""
        nodes = await self._meant(request.nodes)
        await self._cluster.restart(nodes, force=request.force)
        return wire.NodesAnswer(nodes=nodes)

    async def kill(self, request: wire.KillRequest) -> wire.NodesAnswer:
        """Send a signal."""
        number = signal.Signals.__members__.get(request.signal)
        if number is None:
            raise UsageError(f"this system has no signal {request.signal!r}", hint="`kill -l` lists those it has.")
        nodes = await self._meant(request.nodes)
        killed = await self._cluster.kill(nodes, signal=number, force=request.force)
        return wire.NodesAnswer(nodes=tuple(killed))

    async def pause(self, request: wire.HoldRequest) -> wire.NodesAnswer:
        """Pause."""
        nodes = await self._meant(request.nodes)
        paused = await self._cluster.pause(nodes, force=request.force, for_s=request.for_s)
        return wire.NodesAnswer(nodes=tuple(paused))

    async def resume(self, request: wire.NodesRequest) -> wire.NodesAnswer:
        """Resume."""
        nodes = await self._meant(request.nodes)
        await self._cluster.resume(nodes)
        return wire.NodesAnswer(nodes=nodes)

    async def move_leader(self, request: wire.LeaderRequest) -> wire.Acknowledgement:
        """Hand over."""
        (node,) = self._known([request.node])
        await self._cluster.move_leader(node)
        return wire.Acknowledgement()

    async def network(self, _: wire.Request) -> wire.NetworkAnswer:
        """The links."""
        return wire.NetworkAnswer(links=self._links(), faults=self._cluster.faults())

    async def inject(self, request: wire.InjectRequest) -> wire.Acknowledgement:
        """Put a fault on links."""
        links = self._known_links(request.links)
        await self._cluster.inject(links, request.fault, for_s=request.for_s, force=request.force)
        return wire.Acknowledgement()

    async def heal(self, request: wire.HealRequest) -> wire.Acknowledgement:
        """Take faults off links."""
        await self._cluster.heal(request.links and self._known_links(request.links), request.kinds)
        return wire.Acknowledgement()

    async def renew(self, request: wire.RenewRequest) -> wire.Acknowledgement:
        """Have leaves begin anew."""
        await self._cluster.renew(self._known_leaves(request.leaves))
        return wire.Acknowledgement()

    async def rotate_authority(self, request: wire.AuthorityRequest) -> wire.Acknowledgement:
        """Have another CA."""
        await self._cluster.rotate_authority(force=request.force)
        return wire.Acknowledgement()

    async def spoil(self, request: wire.DefectRequest) -> wire.Acknowledgement:
        """Give leaves a defect."""
        await self._cluster.spoil(self._known_leaves(request.leaves), request.defect, for_s=request.for_s)
        return wire.Acknowledgement()

    async def heal_leaves(self, request: wire.HealLeavesRequest) -> wire.Acknowledgement:
        """Have leaves as they were."""
        await self._cluster.heal_leaves(request.leaves and self._known_leaves(request.leaves))
        return wire.Acknowledgement()

    async def damage(self, request: wire.DamageRequest) -> wire.Acknowledgement:
        """Damage."""
        (node,) = self._known([request.node])
        await self._cluster.damage(node, request.part)
        return wire.Acknowledgement()

    async def fill_disks(self, request: wire.HoldRequest) -> wire.NodesAnswer:
        """Fill."""
        nodes = await self._meant(request.nodes)
        await self._cluster.fill_disks(nodes, force=request.force, for_s=request.for_s)
        return wire.NodesAnswer(nodes=nodes)

    async def limit_databases(self, request: wire.QuotaRequest) -> wire.NodesAnswer:
        """Limit."""
        nodes = await self._meant(request.nodes)
        await self._cluster.limit_databases(nodes, request.quota, force=request.force)
        return wire.NodesAnswer(nodes=nodes)

    async def heal_disks(self, request: wire.HealDisksRequest) -> wire.ShortagesAnswer:
        """Have disks as they were."""
        nodes = request.nodes and await self._meant(request.nodes)
        return wire.ShortagesAnswer(healed=await self._cluster.heal_disks(nodes))

    async def free_space(self, _: wire.FreeRequest) -> Freed:
        """Free."""
        return await self._cluster.free_space()

    async def repair(self, request: wire.RepairRequest) -> wire.Acknowledgement:
        """Repair."""
        (node,) = self._known([request.node])
        await self._cluster.repair(node)
        return wire.Acknowledgement()

    async def heal_all(self, _: wire.HealAllRequest) -> Healed:
        """Undo everything."""
        return await self._cluster.heal_all()

    async def tell_chaos(self, request: wire.ChaosRequest) -> wire.Acknowledgement:
        """Tell of it."""
        self._cluster.tell_chaos(request.entry)
        return wire.Acknowledgement()

    async def reset(self, _: wire.ResetRequest) -> ResetOutcome:
        """Reset."""
        return await self._cluster.reset()

    async def shutdown(self, request: wire.ShutdownRequest) -> wire.Acknowledgement:
        """Begin the end."""
        self._cluster.request_shutdown(purge=request.purge)
        return wire.Acknowledgement()

    async def events(self, query: wire.EventsQuery) -> AsyncGenerator[bytes, None]:
        """The journal's lines."""
        return _lines(self._cluster.events(since=query.since, follow=query.follow))

    async def logs(self, query: wire.LogsQuery) -> AsyncGenerator[bytes, None]:
        """The log's lines."""
        names = self._known(query.node) or tuple(node.name for node in self._cluster.plan.nodes)
        return await self._cluster.logs(names, follow=query.follow, lines=query.lines)

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(node.name for node in self._cluster.plan.select(names))

    async def _meant(self, names: Sequence[str]) -> tuple[str, ...]:
        members = [node.name for node in self._cluster.plan.nodes]
        own_names = [name for name in names if not stands_for_members(name, members)]
        known = self._known(own_names)
        return known if len(own_names) == len(names) else select(names, await self._cluster.status())

    def _links(self) -> tuple[Link, ...]:
        plan = self._cluster.plan
        return all_links([node.name for node in plan.nodes], clients=plan.has_client_links)

    def _known_links(self, links: Sequence[Link]) -> tuple[Link, ...]:
        self._known([end for link in links for end in (link.source, link.target) if end != CLIENTS])
        for link in links:
            if link.source == link.target:
                raise UsageError(f"{link.source} has no link to itself")
        return tuple(dict.fromkeys(links))

    def _known_leaves(self, stems: Sequence[str]) -> tuple[str, ...]:
        if (pki := self._cluster.plan.pki) is not None:  # else there are none, and the cluster says so
            known = [leaf.stem for leaf in pki.certificates]
            for stem in stems:
                if stem not in known:
                    message = f"lab {self._cluster.plan.lab!r} has no certificate {stem!r}"
                    raise UsageError(message, hint=f"There are: {', '.join(known)}.")
        return tuple(dict.fromkeys(stems))


async def _lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield msgspec.json.encode(event) + b"\n"


def _get(
    path: str,
    summary: str,
    call: Callable[[Any], Awaitable[Any]],
    answer: Any,
    *,
    takes: type[wire.Request] = wire.Request,
    stream: bool = False,
) -> Operation:
    return Operation(
        method="GET", path=f"/v1{path}", summary=summary, call=call, answer=answer, takes=takes, stream=stream
    )


def _on_nodes(path: str, summary: str, call: Callable[[Any], Awaitable[Any]], takes: type[wire.Request]) -> Operation:
    return _post(path, summary, call, takes, answer=wire.NodesAnswer)


def _post(
    path: str,
    summary: str,
    call: Callable[[Any], Awaitable[Any]],
    takes: type[wire.Request],
    status: HTTPStatus = HTTPStatus.OK,
    *,
    answer: Any = wire.Acknowledgement,
) -> Operation:
    return Operation(
        method="POST",
        path=f"/v1{path}",
        summary=summary,
        call=call,
        answer=answer,
        takes=takes,
        status=status,
    )
