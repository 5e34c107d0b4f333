"""Durations and sizes as people write them: "8760h", "30d", "500ms", "2GiB"."""

import re
from decimal import Decimal
from typing import Final, Self

from etcdlab.errors import UsageError

_SECONDS: Final = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_BYTES: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
MOMENT_S: Final = 0.001
"""The shortest time, in seconds, that something can be done for."""
_LONGEST: Final = 1000 * 366 * 86400
_LARGEST: Final = 2**63 - 1
"""What etcd's int64 flags hold."""

# Digits are counted: Python refuses to read integers of more than 4300, with a message that would help nobody.
_DURATION: Final = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,15})?)(?P<unit>ms|s|m|h|d)", re.ASCII)
_SIZE: Final = re.compile(r"(?P<number>\d{1,20}) *(?P<unit>[KMG]?i?B|)", re.ASCII)


class Duration(float):
    """A length of time in seconds, written as in Go with "d" for 24 h added: "1h30m", "500ms", "30d".

    What `parse` returns is counted in microseconds and `str` writes it exactly.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read a duration; a bare number is seconds. Raises ValueError with what is accepted."""
        if isinstance(text, str):
            parts = list(_DURATION.finditer(text))
            if not parts or "".join(part.group() for part in parts) != text:
                raise ValueError(f'{text!r} is not a duration: write it like "500ms", "30s", "5m", "8760h" or "30d"')
            seconds: Decimal | float = sum(
                (Decimal(part["number"]) * _SECONDS[part["unit"]] for part in parts), Decimal()
            )
        else:
            seconds = text
        if not 0 <= seconds <= _LONGEST:
            raise ValueError(f"{text!r} is not a duration: it must be between 0 and 1000 years")
        return cls(round(float(seconds), 6))

    def __str__(self) -> str:
        """The form with the largest unit that divides it: "8760h" is "365d", "0.5s" is "500ms". Else "1.5s"."""
        exact = Decimal(repr(float(self)))
        for unit, seconds in _SECONDS.items():
            if exact and exact % seconds == 0 and (unit != "ms" or exact < 1):
                return f"{int(exact / seconds)}{unit}"
        if exact and exact < 1:
            return f"{exact * 1000:f}ms"
        return f"{exact.normalize():f}s"


class Size(int):
    """A number of bytes that etcd can count, written "64KiB", "2GiB", "10MB" or as a bare number."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read a size; a bare number is bytes. Raises ValueError with what is accepted."""
        if isinstance(text, str):
            match = _SIZE.fullmatch(text)
            if match is None or match["unit"] not in _BYTES:
                raise ValueError(f'{text!r} is not a size: write it like "64KiB", "10MB" or "2GiB"')
            count = int(match["number"]) * _BYTES[match["unit"]]
        else:
            count = text
        if not 0 <= count <= _LARGEST:
            raise ValueError(f"{text!r} is not a size: it must be between 0 and 2^63 - 1 bytes")
        return cls(count)

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _BYTES[unit] == 0:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))


Time = float | str
"""As Python's users give it: seconds, or as topologies write it, "30ms"."""


def seconds(given: Time, *, least: float = 0.0) -> float:
    """That time in seconds. Raises UsageError for what is none, or shorter than `least`."""
    try:
        time_s = float(Duration.parse(given))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if time_s < least:
        raise UsageError(f"{given} is too short: at least {Duration(least)}")
    return time_s


def lasting(for_: Time | None) -> float | None:
    """How long something is to last, in seconds; None until it is undone. Raises UsageError."""
    return None if for_ is None else seconds(for_, least=MOMENT_S)


def size(given: int | str) -> int:
    """That size in bytes. Raises UsageError for what is none, or nothing."""
    try:
        count = int(Size.parse(given))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not count:
        raise UsageError("a size of 0 bytes is none")
    return count
