"""The journal's vocabulary: what happened in a lab, when, to whom."""

import enum
from typing import Any, Final

import msgspec


class EventKind(enum.Enum):
    """The kinds of events in a lab's journal."""

    SPAWNED = "spawned"
    ADOPTED = "adopted"
    READY = "ready"
    EXITED = "exited"
    RESTARTED = "restarted"
    FAILED = "failed"
    SIGNAL_SENT = "signal-sent"
    PAUSED = "paused"
    RESUMED = "resumed"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"
    LEADER_CHANGED = "leader-changed"
    QUORUM_LOST = "quorum-lost"
    QUORUM_REGAINED = "quorum-regained"
    STOPPED = "stopped"
    LAB_READY = "lab-ready"
    LAB_RESET = "lab-reset"
    LAB_STOPPED = "lab-stopped"
    JOURNAL_ROTATED = "journal-rotated"
    FAULT_INJECTED = "fault-injected"
    FAULT_HEALED = "fault-healed"
    NETWORK_LOST = "network-lost"
    CERTIFICATE_RENEWED = "certificate-renewed"
    AUTHORITY_ROTATED = "authority-rotated"
    DATA_DAMAGED = "data-damaged"
    REPAIRED = "repaired"
    CHAOS_BEGAN = "chaos-began"
    CHAOS_STEP = "chaos-step"
    CHAOS_REFUSED = "chaos-refused"
    CHAOS_ENDED = "chaos-ended"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the journal.

    `seq` counts from 1 over the life of the lab; `time` is the wall clock (ISO 8601, UTC, microseconds);
    `monotonic_s` is the system's monotonic clock in seconds, comparable between events of one boot of the machine;
    `node` is None for events of the lab as a whole; `detail` holds what the kind needs (pid, reason, leader, …).
    """

    seq: int
    time: str
    monotonic_s: float
    kind: EventKind
    node: str | None = None
    detail: dict[str, Any] = {}


Told = tuple[EventKind, str | None]
"""Events of a kind, of one member or any."""


def told(text: str) -> Told:
    """The events that "ready" or "leader-changed:n2" means. Raises ValueError with the kinds that there are."""
    kind, _, member = text.partition(":")
    try:
        return EventKind(kind), member or None
    except ValueError:
        kinds = ", ".join(kind.value for kind in EventKind)
        raise ValueError(f"{kind!r} is no kind of event; there are {kinds}") from None


def parse(line: bytes) -> Event | None:
    """The event on a line of the journal; None for one that a crash cut short, or of a kind that is not known yet."""
    try:
        return msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_WORDS: Final = {
    EventKind.SPAWNED: "process {pid} started",
    EventKind.ADOPTED: "process {pid} still ran",
    EventKind.EXITED: "{detail}",
    EventKind.SIGNAL_SENT: "{signal}, as asked",
    EventKind.RESTARTED: "restart {restarts}, after {delay_s:g} s",
    EventKind.FAILED: "{why} {remedy}",
    EventKind.UNHEALTHY: "runs and does not answer",
    EventKind.HEALTHY: "answers again",
    EventKind.LEADER_CHANGED: "leads since term {term}",
    EventKind.QUORUM_LOST: "{healthy} of {voters} voters healthy",
    EventKind.QUORUM_REGAINED: "{healthy} of {voters} voters healthy",
    EventKind.LAB_READY: "leader {leader}, cluster {cluster_id}",
    EventKind.LAB_RESET: "rebuilt: {why}",
    EventKind.JOURNAL_ROTATED: "the journal goes on in another file",
    EventKind.FAULT_INJECTED: "{text}",
    EventKind.FAULT_HEALED: "{text}",
    EventKind.DATA_DAMAGED: "its {part}, as asked",
    EventKind.REPAIRED: "a member anew, with id {member_id}",
    EventKind.CERTIFICATE_RENEWED: "{leaf}",
    EventKind.CHAOS_BEGAN: "{scenario}, seed {seed}, for {duration_s:g} s, run {run}",
    EventKind.CHAOS_STEP: "{text}",
    EventKind.CHAOS_REFUSED: "{text}: {why}",
    EventKind.CHAOS_ENDED: "{scenario}, {done} steps done, {refused} refused",
    EventKind.NETWORK_LOST: "the fault network's process ended and is started again",
}
"""What a kind's detail says; kinds without a line, and details that lack a part, are shown as they are."""


def describe(event: Event) -> str:
    """An event's detail in words."""
    try:
        return _WORDS[event.kind].format_map(event.detail)
    except (KeyError, TypeError, ValueError, OverflowError):
        return " ".join(f"{name}={_value(value)}" for name, value in event.detail.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
