"""etcd's log, line by line: bytes in, a record out; a record in, a line for people out. Reads no files.

Three kinds of lines are known: zap's JSON (etcd 3.5 and later, 3.4 with `--logger=zap`), capnslog's text (3.4's
default) and grpc's or Go's own text. Whatever else comes (a Go stack, half a line, garbage) is a record without time
whose message is the line itself.
"""

import enum
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

import msgspec

from etcdlab.model.text import printable


class Level(enum.Enum):
    """How grave a line is; the values are the words that people type and read."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    PANIC = "panic"
    FATAL = "fatal"

    @property
    def rank(self) -> int:
        """Position in the order of gravity, from 0 for debug."""
        return _RANKS[self]


_RANKS: Final = {level: rank for rank, level in enumerate(Level)}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `time` is aware and in UTC, or None when the line has none; `raw` has no newline."""

    time: datetime | None
    level: Level
    message: str
    fields: dict[str, Any]
    raw: bytes

    @property
    def continues(self) -> bool:
        """Whether the line says nothing of itself and belongs to the one before it, as a Go stack does."""
        return self.time is None and self.level is Level.INFO


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A record as programs get it, with the member's name. `time` is ISO 8601 in UTC, null if the line has none."""

    node: str
    time: datetime | None
    level: Level
    message: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, node: str, record: Record) -> Self:
        """The line of `node` that `record` was read from."""
        return cls(node=node, time=record.time, level=record.level, message=record.message, fields=record.fields)


_ZAP_LEVELS: Final = {level.value: level for level in Level} | {"warn": Level.WARNING, "dpanic": Level.PANIC}
_LETTERS: Final = {
    "D": Level.DEBUG,
    "T": Level.DEBUG,
    "I": Level.INFO,
    "N": Level.INFO,
    "W": Level.WARNING,
    "E": Level.ERROR,
    "C": Level.FATAL,
}
_GRPC_LEVELS: Final = {"INFO": Level.INFO, "WARNING": Level.WARNING, "ERROR": Level.ERROR, "FATAL": Level.FATAL}
_DEATHS: Final = {"panic: ": Level.PANIC, "fatal error: ": Level.FATAL}
_CAPNSLOG: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) (?P<level>[DTINWEC]) \| (?P<message>.*)", re.DOTALL
)
_GRPC: Final = re.compile(
    r"(?:(?P<level>INFO|WARNING|ERROR|FATAL): )?(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?) (?P<message>.*)",
    re.DOTALL,
)


def parse(line: bytes) -> Record:
    """Read one line, with or without its newline. Never raises, whatever the bytes are."""
    raw = line.rstrip(b"\r\n")
    if raw.startswith(b"{"):
        try:
            fields = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _text(raw)
        return Record(
            level=_zap_level(fields.pop("level", None)),
            time=_zap_time(fields.pop("ts", None)),
            message=str(fields.pop("msg", "")),
            fields=fields,
            raw=raw,
        )
    return _text(raw)


def _zap_level(value: Any) -> Level:
    return _ZAP_LEVELS.get(value, Level.INFO) if isinstance(value, str) else Level.INFO


def _zap_time(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            return _utc(datetime.fromisoformat(value))
        if isinstance(value, int | float):  # zap's own default encoding, seconds since 1970
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def _text(raw: bytes) -> Record:
    text = raw.decode("utf-8", "backslashreplace")
    if match := _CAPNSLOG.fullmatch(text):
        return _dated(match, _LETTERS[match["level"]], raw)
    if match := _GRPC.fullmatch(text):
        return _dated(match, _GRPC_LEVELS.get(match["level"] or "", Level.INFO), raw)
    level = next((level for start, level in _DEATHS.items() if text.startswith(start)), Level.INFO)
    return Record(time=None, level=level, message=text, fields={}, raw=raw)


def _dated(match: re.Match[str], level: Level, raw: bytes) -> Record:
    # Both loggers write the machine's local time and no offset.
    try:
        time = datetime.fromisoformat(match["time"].replace("/", "-")).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return Record(time=None, level=level, message=match.string, fields={}, raw=raw)
    return Record(time=time, level=level, message=match["message"], fields={}, raw=raw)


_QUIET: Final = frozenset({"caller", "stacktrace", "logger", "local-member-id", "error", "git-sha", "go-version"})
"""Fields that `render` leaves out (`error` comes first instead): where in the source, and what every line repeats."""

_FIELDS_SHOWN: Final = 8
"""`starting an etcd server` has 40 fields, and the plan shows them better."""

_VALUE_WIDTH: Final = 80
_TAGS: Final = {level: level.value.upper()[:5].ljust(5) for level in Level} | {Level.WARNING: "WARN "}


def render(record: Record) -> str:
    """One line for a person: local time with milliseconds, level, message, then what the fields say. Safe to print."""
    if record.time is None:
        return printable(record.message)
    clock = _local(record.time).strftime("%H:%M:%S.%f")[:-3]
    return f"{clock} {_TAGS[record.level]} {printable(record.message)}{_fields(record.fields)}"


def _local(time: datetime) -> datetime:
    try:
        return time.astimezone()
    except (OverflowError, ValueError):  # in the first or last hours that there are
        return time


def _fields(fields: Mapping[str, Any]) -> str:
    shown = [(name, value) for name, value in fields.items() if name not in _QUIET]
    if "error" in fields:
        shown.insert(0, ("error", fields["error"]))
    words = [f"{printable(name)}={_value(value)}" for name, value in shown[:_FIELDS_SHOWN]]
    if len(shown) > _FIELDS_SHOWN:
        words.append(f"… {len(shown) - _FIELDS_SHOWN} more")
    return "  " + " ".join(words) if words else ""


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    if len(text) > _VALUE_WIDTH:
        text = text[: _VALUE_WIDTH - 1] + "…"
    return f'"{text}"' if " " in text or not text else text
