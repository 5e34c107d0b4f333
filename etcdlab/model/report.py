"""What a launcher and a starting daemon say to each other, one JSON line each, until the launcher keeps the lab."""

import enum

import msgspec

from etcdlab.model.event import Event
from etcdlab.model.status import LabStatus


class OwnerEnd(enum.Enum):
    """What becomes of a lab when its owner ends, the process that started it."""

    STAY = "stay"
    STOP = "stop"
    PURGE = "purge"


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """To the daemon, before there is a lab: one is about to be made in `directory`. Until Hold, the launcher may leave
    that empty, if it is killed.
    """

    directory: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """To the daemon, first: the lab in `directory` is its own from now on. The lab's lock comes along.

    `owner` is the launcher's pid. `is_draft` says that the lab is being made: if the launcher dies before it has said
    Keep, or the boot fails, the directory is discarded.
    """

    directory: str
    owner: int
    owner_end: OwnerEnd
    is_draft: bool


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """To the daemon, second: the plan is written, boot it within `boot_s` seconds."""

    boot_s: float


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """To the daemon, third, when it is ready: the lab is wanted. A launcher that dies before has undone it."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """From the daemon: something happened during boot."""

    event: Event


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The last word of a boot that succeeded."""

    status: LabStatus


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The last word of a boot that did not: the error, by its `code` in `etcdlab.errors`."""

    code: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()


Report = Progress | Ready | Failed
