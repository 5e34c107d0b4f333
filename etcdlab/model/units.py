"""Durations and sizes as people write them: "8760h", "30d", "500ms", "2GiB"."""

import re
from typing import Final, Self

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
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
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)")
_SIZE: Final = re.compile(r"(?P<number>\d+) *(?P<unit>[KMG]?i?B|)")


class Duration(float):
    """A length of time in seconds, written as in Go with "d" for 24 h added: "1h30m", "500ms", "30d"."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read a duration; a bare number is seconds. Raises ValueError with what is accepted."""
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            seconds = float(text)
        else:
            parts = list(_DURATION.finditer(str(text)))
            if not parts or "".join(part.group() for part in parts) != text:
                raise ValueError(f'{text!r} is not a duration: write it like "500ms", "30s", "5m", "8760h" or "30d"')
            seconds = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"{text!r} is not a duration: it must be finite and not negative")
        return cls(seconds)

    def __str__(self) -> str:
        """The shortest exact form in one unit: "30d", "8760h" is "365d", "0.5s" is "500ms"."""
        for unit in ("d", "h", "m", "s"):
            count = self / _SECONDS[unit]
            if self and count.is_integer():
                return f"{int(count)}{unit}"
        milliseconds = float(self) * 1000
        return f"{milliseconds:g}ms" if self else "0s"


class Size(int):
    """A number of bytes, written "64KiB", "2GiB", "10MB" or as a bare number."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read a size; a bare number is bytes. Raises ValueError with what is accepted."""
        if isinstance(text, int) and not isinstance(text, bool):
            if text < 0:
                raise ValueError(f"{text} is not a size: it must not be negative")
            return cls(text)
        match = _SIZE.fullmatch(str(text))
        if match is None or match["unit"] not in _BYTES:
            raise ValueError(f'{text!r} is not a size: write it like "64KiB", "10MB" or "2GiB"')
        return cls(int(match["number"]) * _BYTES[match["unit"]])

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _BYTES[unit] == 0:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))
