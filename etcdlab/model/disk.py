"""What a member keeps on its disk, and what that lacks on purpose."""

import enum

import msgspec

from etcdlab.model.units import Size


class Part(enum.Enum):
    """What of a data directory can be damaged: the log of changes, or the database."""

    WAL = "wal"
    DB = "db"


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """That the disk of a member is full, or (`quota`, in bytes) its database may not be larger.

    It is so since `since_s`, until `until_s` or (None) until it is healed: times of the system's monotonic clock.
    """

    node: str
    quota: int | None = None
    since_s: float
    until_s: float | None = None

    @property
    def place(self) -> tuple[str, bool]:
        """What one of these takes, in place of any that has it."""
        return self.node, self.quota is None

    def __str__(self) -> str:
        return f"full disk of {self.node}" if self.quota is None else f"quota of {Size(self.quota)} of {self.node}"


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of making space: `sizes` of members' databases in bytes, before and after, and alarms disarmed.

    `beyond` are the members whose database is beyond the quota that it was given, even now.
    """

    sizes: dict[str, tuple[int, int]]
    alarms: int
    beyond: tuple[str, ...] = ()
    version: int = 1
