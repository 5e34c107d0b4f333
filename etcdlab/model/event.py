"""The journal's vocabulary: what happened in a lab, when, to whom."""

import enum
from typing import Any

import msgspec


class EventKind(enum.Enum):
    """The kinds of events in a lab's journal."""

    SPAWNED = "spawned"
    ADOPTED = "adopted"
    READY = "ready"
    EXITED = "exited"
    RESTARTED = "restarted"
    FAILED = "failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    LEADER_CHANGED = "leader-changed"
    QUORUM_LOST = "quorum-lost"
    QUORUM_REGAINED = "quorum-regained"
    STOPPED = "stopped"
    LAB_READY = "lab-ready"
    LAB_RESET = "lab-reset"
    LAB_STOPPED = "lab-stopped"


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


def parse(line: bytes) -> Event | None:
    """The event on a line of the journal; None for one that a crash cut short, or of a kind that is not known yet."""
    try:
        return msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
