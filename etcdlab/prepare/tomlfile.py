"""A TOML file that a person wrote: read within bounds, and refused with everything that is wrong with it."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from etcdlab import given
from etcdlab.errors import ProblemsError
from etcdlab.model.rules import Problem
from etcdlab.prepare.decode import Problems

_SIZE_LIMIT: Final = 2**18
"""Bytes. tomllib takes a time that is quadratic in the length of a dotted key: 2.6 s for 32 kB, an hour for 1 MB."""


def read(path: Path, error: type[ProblemsError], *, hint: str) -> dict[str, Any]:
    """Parse the file. Raises `error`, with the place that tomllib found."""
    try:
        return tomllib.loads(given.read(path, limit=_SIZE_LIMIT).decode("utf-8-sig"))
    except OSError as failure:
        raise error([f"{path}: cannot be read: {failure.strerror}"], hint=hint) from failure
    except UnicodeDecodeError as failure:
        raise error([f"{path}: is not UTF-8 text: {failure.reason} at byte {failure.start}"]) from failure
    except RecursionError:
        raise error([f"{path}: is not usable TOML: arrays or tables are nested too deeply"]) from None
    except ValueError as failure:  # TOMLDecodeError, and what int() says of too many digits
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(failure))
        sentence = str(failure).removesuffix(place[0]) if place else str(failure)
        where = f"{path}:{place[1]}:{place[2]}" if place else str(path)
        raise error([f"{where}: is not TOML: {sentence}"]) from failure


def add(problems: Problems, unsound: Iterable[Problem]) -> None:
    """Add what rules say of the values to what could not be read.

    Below a value that could not be read there is only a stand-in, of which there is nothing to say.
    """
    unread = tuple(problems)
    for where, sentence in unsound:
        if not any(f"{where}.".startswith((f"{bad}.", f"{bad}[")) for bad in unread):
            problems.setdefault(where, sentence)
