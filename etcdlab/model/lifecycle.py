"""The lifecycle of a member, as a table.

Two rules: everything that decides which state follows which is here, and this file knows neither processes nor time.
Paused and healthy are observations beside the state, never states.
"""

import enum
from typing import Final


class NodeState(enum.Enum):
    """Where a member stands. RUNNING means that it was healthy once in this incarnation."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"

    @property
    def alive(self) -> bool:
        """Whether a process is expected to exist in this state."""
        return self in (NodeState.STARTING, NodeState.RUNNING, NodeState.STOPPING)


class NodeEvent(enum.Enum):
    """What can happen to a member."""

    START = "start"
    HEALTHY = "healthy"
    STOP = "stop"
    EXITED = "exited"
    RETRY = "retry"
    GIVE_UP = "give-up"


class IllegalTransitionError(Exception):
    """An event came in a state that has no row for it: a bug in the caller."""


TRANSITIONS: Final[dict[NodeState, dict[NodeEvent, NodeState]]] = {
    NodeState.STOPPED: {NodeEvent.START: NodeState.STARTING},
    NodeState.STARTING: {
        NodeEvent.HEALTHY: NodeState.RUNNING,
        NodeEvent.STOP: NodeState.STOPPING,
        NodeEvent.EXITED: NodeState.STOPPED,
        NodeEvent.RETRY: NodeState.BACKOFF,
        NodeEvent.GIVE_UP: NodeState.FAILED,
    },
    NodeState.RUNNING: {
        NodeEvent.STOP: NodeState.STOPPING,
        NodeEvent.EXITED: NodeState.STOPPED,
        NodeEvent.RETRY: NodeState.BACKOFF,
        NodeEvent.GIVE_UP: NodeState.FAILED,
    },
    NodeState.STOPPING: {NodeEvent.EXITED: NodeState.STOPPED},
    NodeState.BACKOFF: {NodeEvent.START: NodeState.STARTING, NodeEvent.STOP: NodeState.STOPPED},
    NodeState.FAILED: {NodeEvent.START: NodeState.STARTING},
}
"""EXITED: ended and stays down. RETRY: ended and will be started again. GIVE_UP: ended, and only START helps."""


def next_state(state: NodeState, event: NodeEvent) -> NodeState:
    """The state after `event`. Raises IllegalTransitionError for a pair without a row."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransitionError(f"{event.value} in state {state.value}") from None
