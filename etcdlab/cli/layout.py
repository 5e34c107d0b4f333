"""A table as lines of text, within a width or as wide as it comes out. Pure."""

import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

from etcdlab.cli.result import Cell, Table
from etcdlab.model.text import printable

GAP: Final = "  "
LEAST: Final = 20
"""Columns that the last column of a table gets at least, or the table is shown in blocks."""
HEADER: Final = "header"

Paint = Callable[[Cell], str]
"""A cell's text with what makes its style visible, which takes no columns."""


def layout(table: Table, *, width: int | None = None, paint: Paint = lambda cell: cell.text) -> str:
    """Aligned columns, and nothing at line ends.

    What is wider than `width` has its last column wrapped; if that is not enough, each row becomes a block of lines.
    No value is ever cut short: a table is where people copy addresses and paths from.
    """
    header = [Cell(name, HEADER) for name in table.header]
    rows = [[_printable(cell) for cell in row] for row in table.rows]
    widths = [max(columns(cell.text) for cell in column) for column in zip(header, *rows, strict=True)]
    if width is not None:
        room = width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        if room < min(widths[-1], LEAST):
            return "\n".join(_block(header, row, paint) for row in rows)
        widths[-1] = min(widths[-1], room)
    return "\n".join(_line(row, widths, paint) for row in (header, *rows))


def columns(text: str) -> int:
    """How many columns of a terminal this takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _line(row: Sequence[Cell], widths: Sequence[int], paint: Paint) -> str:
    *cells, last = row
    before = "".join(paint(cell) + _padding(cell, width) for cell, width in zip(cells, widths[:-1], strict=True))
    if not last.text.strip():
        return before.rstrip()
    indent = "\n" + " " * (sum(widths[:-1]) + len(GAP) * len(cells))
    wrapped = textwrap.wrap(last.text, widths[-1], break_on_hyphens=False)
    return before + indent.join(paint(Cell(part, last.style)) for part in wrapped)


def _block(header: Sequence[Cell], row: Sequence[Cell], paint: Paint) -> str:
    width = max(columns(name.text) for name in header)
    return "".join(
        f"{paint(name)}{_padding(name, width)}{paint(cell)}\n"
        for name, cell in zip(header, row, strict=True)
        if cell.text
    )


def _padding(cell: Cell, width: int) -> str:
    return " " * (width - columns(cell.text)) + GAP


def _printable(cell: str | Cell) -> Cell:
    return Cell(printable(cell.text), cell.style) if isinstance(cell, Cell) else Cell(printable(cell), "")
