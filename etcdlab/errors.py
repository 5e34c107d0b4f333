"""Every error etcdlab raises on purpose: one shallow tree.

Each class fixes a `code` (stable, for scripts) and an `exit_status`; each instance says in its message what was tried
and what was found, and in its `hint` what to do next.
"""

import enum
import errno
from collections.abc import Sequence
from typing import ClassVar, Final

_EXHAUSTION: Final = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS)


class ExitStatus(enum.IntEnum):
    """What the command line returns to the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    DEGRADED = 4
    NO_QUORUM = 5
    TIMED_OUT = 6


class EtcdlabError(Exception):
    """Base of the tree; catch this to catch them all."""

    code: ClassVar[str] = "failed"
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EtcdlabError):
    """The request makes no sense as given."""

    code = "usage"
    exit_status = ExitStatus.USAGE


class UnknownMemberError(UsageError):
    """A name that no member of the lab has."""

    code = "unknown-member"


class ProblemsError(UsageError):
    """What was given has problems; `problems` holds one line for each, all of them."""

    code = "problems"

    def __init__(self, problems: Sequence[str], *, hint: str = "") -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = tuple(problems)


class TopologyError(ProblemsError):
    """A topology has problems."""

    code = "topology"


class ScenarioError(ProblemsError):
    """A scenario has problems, by itself or for the lab that it is meant for."""

    code = "scenario"


class NotRunningError(EtcdlabError):
    """There is no such lab, or its daemon does not run."""

    code = "not-running"
    exit_status = ExitStatus.NOT_RUNNING


class LabStateError(EtcdlabError):
    """The lab's directory holds what this command cannot work with."""

    code = "lab-state"


class PortTakenError(EtcdlabError):
    """A port that the topology asks for is held by another process."""

    code = "port-taken"


class CertificateError(EtcdlabError):
    """A certificate or key could not be read, made or used."""

    code = "certificate"


class BinaryError(EtcdlabError):
    """No usable etcd binary was found, or one could not be installed."""

    code = "binary"


class BootError(EtcdlabError):
    """The lab did not become ready; `log_tail` has the failed member's last log lines."""

    code = "boot"

    def __init__(self, message: str, *, hint: str = "", log_tail: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.log_tail = tuple(log_tail)


class QuorumError(EtcdlabError):
    """The operation would lose quorum and was not forced."""

    code = "quorum"


class ToolError(EtcdlabError):
    """etcdctl or etcdutl ended with an error."""

    code = "tool"


class TimedOutError(EtcdlabError):
    """A bound that the caller set ran out."""

    code = "timed-out"
    exit_status = ExitStatus.TIMED_OUT


class ControlError(EtcdlabError):
    """The control socket was reached but its answer could not be used."""

    code = "control"


def is_exhaustion(error: OSError) -> bool:
    """Whether the system lacked what will be there again: descriptors, processes, memory."""
    return error.errno in _EXHAUSTION


def by_code(code: str) -> type[EtcdlabError]:
    """The class whose `code` this is, for an error that came over a socket or a pipe; ControlError if none is."""
    pending = [EtcdlabError]
    while pending:
        kind = pending.pop()
        if kind.code == code:
            return kind
        pending += kind.__subclasses__()
    return ControlError
