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
from etcdlab.model.event import Event
from etcdlab.model.link import CLIENTS, Link, all_links
from etcdlab.model.plan import Plan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.status import LabStatus


class UnknownNodeError(UsageError):
    """A name that no member has; travels as its base class."""


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
            _post("/start", "Start members; also leaves FAILED", self.start, wire.NodesRequest),
            _post("/stop", "Stop members", self.stop, wire.ForceableRequest),
            _post("/restart", "Stop and start members", self.restart, wire.ForceableRequest),
            _post("/kill", "Send a signal to members", self.kill, wire.KillRequest),
            _post("/pause", "Freeze members", self.pause, wire.ForceableRequest),
            _post("/resume", "Let paused members go on", self.resume, wire.NodesRequest),
            _get("/network", "The links and what is on them", self.network, wire.NetworkAnswer),
            _post("/network/inject", "Put a fault on links", self.inject, wire.InjectRequest),
            _post("/network/heal", "Take faults off links", self.heal, wire.HealRequest),
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

    async def start(self, request: wire.NodesRequest) -> wire.Acknowledgement:
        """Start."""
        await self._cluster.start(self._known(request.nodes))
        return wire.Acknowledgement()

    async def stop(self, request: wire.ForceableRequest) -> wire.Acknowledgement:
        """Stop."""
        await self._cluster.stop(self._known(request.nodes), force=request.force)
        return wire.Acknowledgement()

    async def restart(self, request: wire.ForceableRequest) -> wire.Acknowledgement:
        """Restart."""
        await self._cluster.restart(self._known(request.nodes), force=request.force)
        return wire.Acknowledgement()

    async def kill(self, request: wire.KillRequest) -> wire.Acknowledgement:
        """Send a signal."""
        number = signal.Signals.__members__.get(request.signal)
        if number is None:
            raise UsageError(f"this system has no signal {request.signal!r}", hint="`kill -l` lists those it has.")
        await self._cluster.kill(self._known(request.nodes), signal=number, force=request.force)
        return wire.Acknowledgement()

    async def pause(self, request: wire.ForceableRequest) -> wire.Acknowledgement:
        """Pause."""
        await self._cluster.pause(self._known(request.nodes), force=request.force)
        return wire.Acknowledgement()

    async def resume(self, request: wire.NodesRequest) -> wire.Acknowledgement:
        """Resume."""
        await self._cluster.resume(self._known(request.nodes))
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
        members = [node.name for node in self._cluster.plan.nodes]
        unknown = [name for name in names if name not in members]
        if unknown:
            lab = self._cluster.plan.lab
            message = f"lab {lab!r} has no member " + ", ".join(repr(name) for name in unknown)
            raise UnknownNodeError(message, hint=f"Its members: {', '.join(members)}.")
        return tuple(dict.fromkeys(names))

    def _links(self) -> tuple[Link, ...]:
        plan = self._cluster.plan
        return all_links([node.name for node in plan.nodes], clients=plan.has_client_links)

    def _known_links(self, links: Sequence[Link]) -> tuple[Link, ...]:
        self._known([end for link in links for end in (link.source, link.target) if end != CLIENTS])
        for link in links:
            if link.source == link.target:
                raise UsageError(f"{link.source} has no link to itself")
        return tuple(dict.fromkeys(links))


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
