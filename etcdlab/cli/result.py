"""What a command returns: data for programs, a view for people, a status for the shell. Prints nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from etcdlab.errors import ExitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header. A cell may carry a style of `render.STYLES`, as `Cell`."""

    header: tuple[str, ...]
    rows: tuple[tuple["str | Cell", ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with a meaning that a terminal shows as colour: "good", "bad", "warning" or "quiet"."""

    text: str
    style: str


View = Iterable[str | Cell | Table]
"""What a person reads, in order. May be lazy and endless (`logs -f`): it is printed as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a command.

    `data` is the one JSON object that `--json` prints; `version` is put first if it has none. With `--json` the view
    is not consumed, unless `data` is None: then the view is a stream of JSON lines by itself. `then` is what goes on
    when all that has been printed.
    """

    view: View = ()
    data: Any = None
    exit_status: ExitStatus = ExitStatus.DONE
    warnings: tuple[str, ...] = field(default=())
    then: Callable[[], None] | None = None
