"""What travels over the control socket beside the model's own values: requests, acknowledgement, index, error."""

from typing import Annotated

import msgspec

from etcdlab.model.certificate import Defect
from etcdlab.model.chaos import AnyEntry
from etcdlab.model.disk import Part, Shortage
from etcdlab.model.link import AnyFault, FaultKind, Link, LinkFault

WIRE_VERSION = 1

Names = Annotated[
    tuple[str, ...],
    msgspec.Meta(min_length=1, description="Names of members, or what they are now: leader, followers, quorum, all."),
]
Seconds = Annotated[float, msgspec.Meta(gt=0, description="Seconds until it is undone.")]
Force = Annotated[bool, msgspec.Meta(description="Go on even if the cluster loses quorum.")]
Follow = Annotated[bool, msgspec.Meta(description="Keep the stream open and send what comes.")]
SignalName = Annotated[
    str, msgspec.Meta(pattern="^SIG[A-Z0-9]+$", description="The signal's name.", examples=["SIGTERM"])
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a client sends."""


class NodesRequest(Request, frozen=True):
    """Body of `start` and `resume`."""

    nodes: Names


class ForceableRequest(Request, frozen=True):
    """Body of `restart`."""

    nodes: Names
    force: Force = False


class HoldRequest(Request, frozen=True):
    """Body of `stop`, `pause` and `disk/full`."""

    nodes: Names
    force: Force = False
    for_s: Seconds | None = None


class KillRequest(Request, frozen=True):
    """Body of `kill`."""

    nodes: Names
    signal: SignalName = "SIGKILL"
    force: Force = False


class InjectRequest(Request, frozen=True):
    """Body of `network/inject`: a fault and the links that get it, in place of one of its kind."""

    links: Annotated[tuple[Link, ...], msgspec.Meta(min_length=1, description='Directions; "clients" is an end, too.')]
    fault: AnyFault
    for_s: Seconds | None = None
    force: Force = False


class HealRequest(Request, frozen=True):
    """Body of `network/heal`; may be left out, and then everything is healed."""

    links: Annotated[tuple[Link, ...], msgspec.Meta(description="Only these.")] | None = None
    kinds: Annotated[tuple[FaultKind, ...], msgspec.Meta(description="Only these kinds of faults.")] | None = None


class NetworkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The links that can have faults, and what is on them."""

    links: tuple[Link, ...]
    faults: tuple[LinkFault, ...]
    version: int = WIRE_VERSION


class LeaderRequest(Request, frozen=True):
    """Body of `leader/move`."""

    node: Annotated[str, msgspec.Meta(description="The member that is to lead.")]


Leaves = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description='File stems: "peer-n1", "client".')]


class DefectRequest(Request, frozen=True):
    """Body of `tls/inject`."""

    leaves: Leaves
    defect: Defect
    for_s: Seconds | None = None


class RenewRequest(Request, frozen=True):
    """Body of `tls/renew`."""

    leaves: Leaves


class AuthorityRequest(Request, frozen=True):
    """Body of `tls/authority`; may be left out."""

    force: Force = False


class HealLeavesRequest(Request, frozen=True):
    """Body of `tls/heal`; may be left out, and then everything is healed."""

    leaves: Leaves | None = None


class DamageRequest(Request, frozen=True):
    """Body of `disk/corrupt`."""

    node: Annotated[str, msgspec.Meta(description="A member that is down.")]
    part: Part = Part.WAL


class QuotaRequest(Request, frozen=True):
    """Body of `disk/quota`."""

    nodes: Names
    quota: Annotated[int, msgspec.Meta(gt=0, description="Bytes that a database may have.")]
    force: Force = False


class HealDisksRequest(Request, frozen=True):
    """Body of `disk/heal`; may be left out, and then everything is healed."""

    nodes: Names | None = None


class FreeRequest(Request, frozen=True):
    """Body of `disk/free`; there is nothing to say, so it may be left out."""


class RepairRequest(Request, frozen=True):
    """Body of `repair`."""

    node: Annotated[str, msgspec.Meta(description="A member that does not serve.")]


class HealAllRequest(Request, frozen=True):
    """Body of `heal`; there is nothing to say, so it may be left out."""


class ResetRequest(Request, frozen=True):
    """Body of `reset`; there is nothing to say, so it may be left out."""


class ChaosRequest(Request, frozen=True):
    """Body of `chaos`."""

    entry: AnyEntry


class ShutdownRequest(Request, frozen=True):
    """Body of `shutdown`; may be left out."""

    purge: Annotated[bool, msgspec.Meta(description="Discard the lab's data and directory.")] = False


class EventsQuery(Request, frozen=True):
    """Query of the event stream."""

    since: Annotated[int, msgspec.Meta(ge=0, description="Only events with a greater `seq`.")] = 0
    follow: Follow = False


class LogsQuery(Request, frozen=True):
    """Query of the log stream."""

    node: Annotated[tuple[str, ...], msgspec.Meta(description="Members; all if left out. May be repeated.")] = ()
    lines: Annotated[int, msgspec.Meta(ge=0, le=100_000, description="How many old lines of each member.")] = 100
    follow: Follow = False


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """The request was carried out (200), or taken on (202)."""

    version: int = WIRE_VERSION


class NodesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The request was carried out, on these members."""

    nodes: tuple[str, ...]
    version: int = WIRE_VERSION


class ShortagesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What disks lacked until now."""

    healed: tuple[Shortage, ...]
    version: int = WIRE_VERSION


class RouteSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the index."""

    method: str
    path: str
    summary: str


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What this API offers."""

    lab: str
    routes: tuple[RouteSummary, ...]
    version: int = WIRE_VERSION


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is one of `etcdlab.errors`, or "internal" for a bug in the daemon."""

    code: str
    message: str
    hint: str = ""


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer with a status of 400 and above."""

    error: ErrorBody
    version: int = WIRE_VERSION
