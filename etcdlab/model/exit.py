"""Why a member's process ended, and whether starting it again can help."""

import enum

import msgspec


class ExitReason(enum.Enum):
    """One word for each way a member's process ends.

    KILLED is by a signal that the supervisor was asked to send, SIGNALLED by anybody else's.
    """

    REQUESTED = "requested"
    CLEAN = "clean"
    SIGNALLED = "signalled"
    KILLED = "killed"
    CRASHED = "crashed"
    PORT_TAKEN = "port-taken"
    DATA_LOST = "data-lost"
    DATA_FOREIGN = "data-foreign"
    DATA_CORRUPT = "data-corrupt"
    DATA_UNUSABLE = "data-unusable"
    REMOVED = "removed"
    BAD_FLAG = "bad-flag"
    CERTIFICATE = "certificate"
    BINARY_MISSING = "binary-missing"
    VERSION_TOO_OLD = "version-too-old"
    DISK_FULL = "disk-full"
    OUT_OF_RESOURCES = "out-of-resources"
    OUT_OF_MEMORY = "out-of-memory"
    UNKNOWN = "unknown"

    @property
    def recoverable(self) -> bool:
        """Whether the same process started again on the same directory can succeed."""
        return self in _RECOVERABLE

    @property
    def passes(self) -> bool:
        """Whether the machine is the cause and not the member, which is started again until the cause is gone."""
        return self in (ExitReason.DISK_FULL, ExitReason.OUT_OF_RESOURCES, ExitReason.PORT_TAKEN)

    @property
    def is_free(self) -> bool:
        """Whether a restart after it does not count against the member: it passes, or somebody asked for it."""
        return self.passes or self is ExitReason.KILLED


_RECOVERABLE = frozenset(
    {
        ExitReason.REQUESTED,
        ExitReason.CLEAN,
        ExitReason.SIGNALLED,
        ExitReason.KILLED,
        ExitReason.CRASHED,
        ExitReason.DISK_FULL,
        ExitReason.OUT_OF_MEMORY,
        ExitReason.OUT_OF_RESOURCES,
        ExitReason.PORT_TAKEN,
        ExitReason.UNKNOWN,
    }
)


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How one incarnation of a member ended.

    `code` is the exit code, negative for a signal (as in `subprocess`), None when the process was adopted and its
    code is unknown. `at` is the wall clock, ISO 8601 in UTC. `detail` is the evidence, `remedy` what to do next.
    """

    code: int | None
    reason: ExitReason
    at: str
    detail: str = ""
    remedy: str = ""
