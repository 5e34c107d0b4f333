"""The one place that prints. Colour and tables on a terminal, plain aligned text in a pipe, JSON when asked."""

import errno
import functools
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.errors import BootError, EtcdlabError
from etcdlab.model.text import printable, printable_lines

STYLES = {"good": "green", "bad": "bold red", "warning": "yellow", "quiet": "dim"}
JSON_VERSION = 1
OUTPUT_LOST: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""Why output cannot be written: the disk is full, the terminal is gone, the descriptor was closed."""


def render(result: Result, *, as_json: bool) -> None:
    """Print a command's result on stdout, its warnings on stderr."""
    for warning in result.warnings:
        message(f"warning: {warning}", style="warning")
    if as_json and result.data is not None:
        print(encode(result.data), flush=True)
    else:
        show(result.view)


def encode(data: Any) -> str:
    """One versioned JSON object, indented."""
    builtins = msgspec.to_builtins(data, str_keys=True)
    return msgspec.json.format(msgspec.json.encode({"version": JSON_VERSION, **builtins}), indent=2).decode()


def show(view: View) -> None:
    """Print a view as it comes, flushing each part so that a follower sees it at once."""
    on_terminal = sys.stdout.isatty()
    for part in view:
        if isinstance(part, str):
            # In a pipe as it is, since it may be a script, JSON or a log as etcd wrote it.
            print(printable_lines(part) if on_terminal else part, flush=True)
        elif on_terminal:
            _console(sys.stdout).print(_rich(part), soft_wrap=isinstance(part, Cell))
        else:
            print(printable_lines(part.text) if isinstance(part, Cell) else plain(part), flush=True)


def plain(table: Table) -> str:
    """A table as aligned text, two spaces between columns, nothing at line ends."""
    rows = [table.header, *(tuple(printable(_text(cell)) for cell in row) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def error(failure: EtcdlabError, *, as_json: bool) -> None:
    """Tell a person (stderr) or a program (`--json`: stdout) what went wrong and what to do next."""
    if as_json:
        # A path on the command line need not be UTF-8, as JSON must.
        said = {"message": failure.message, "hint": failure.hint}
        told = {name: text.encode(errors="backslashreplace").decode() for name, text in said.items()}
        print(encode({"error": {"code": failure.code, **told}}), flush=True)
        return
    message(f"error: {failure.message}", style="bad")
    if isinstance(failure, BootError):
        for line in failure.log_tail:
            message(f"  | {line}", style="quiet")
    if failure.hint:
        message(f"hint: {failure.hint}")


def message(text: str, *, style: str = "") -> None:
    """One message on stderr, coloured on a terminal. Where it cannot be written it is missed, and stops nothing."""
    text = printable_lines(text)
    try:
        if style and sys.stderr.isatty():
            _console(sys.stderr).print(text, style=STYLES[style], markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long-lived as the process


def output_lost(error: OSError) -> None:
    """Tell that the result could not be written, and let Python not try again at its end and tell of that."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long-lived as the process
    message(f"error: the output could not be written: {error.strerror}", style="bad")


@functools.cache
def _console(file: TextIO) -> Any:
    from rich.console import Console  # 45 ms that pipes and --json do not pay

    return Console(file=file)


def _rich(part: Cell | Table) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    if isinstance(part, Cell):
        return Text(printable_lines(part.text), style=STYLES[part.style])
    grid = RichTable(*part.header, box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in part.rows:
        grid.add_row(*(Text(printable(_text(cell)), _style(cell)) for cell in row))
    return grid


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _style(cell: str | Cell) -> str:
    return STYLES[cell.style] if isinstance(cell, Cell) else ""
