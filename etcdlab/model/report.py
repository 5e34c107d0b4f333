"""What a launcher and a starting daemon say to each other, one JSON line each, until the daemon's last word."""

import msgspec

from etcdlab.model.event import Event
from etcdlab.model.status import LabStatus


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """To the daemon: the lab in `directory` is planned, boot it within `boot_s` seconds. Its lock comes along.

    A daemon that is `tied` ends when its standard input does, that is, when its owner dies.
    """

    directory: str
    boot_s: float
    tied: bool


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
