"""The one place that prints. Colour and tables on a terminal, plain aligned text in a pipe, JSON when asked."""

import errno
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import click
import msgspec

from etcdlab.cli.layout import HEADER, layout
from etcdlab.cli.result import Cell, Result, View
from etcdlab.errors import BootError, EtcdlabError
from etcdlab.model.text import printable_lines

STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "quiet": {"dim": True},
    HEADER: {"bold": True},
}
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
            text = printable_lines(part) if on_terminal else part
        elif isinstance(part, Cell):
            text = _paint(Cell(printable_lines(part.text), part.style), sys.stdout)
        else:  # asked for each time: a terminal may be resized meanwhile
            width = shutil.get_terminal_size().columns if on_terminal else None
            text = layout(part, width=width, paint=lambda cell: _paint(cell, sys.stdout))
        print(text, flush=True)


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
    try:
        print(_paint(Cell(printable_lines(text), style), sys.stderr), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long-lived as the process


def output_lost(error: OSError) -> None:
    """Tell that the result could not be written, and let Python not try again at its end and tell of that."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long-lived as the process
    message(f"error: the output could not be written: {error.strerror}", style="bad")


def _paint(cell: Cell, file: TextIO) -> str:
    """Its text, in its colour if `file` is a terminal that has colours and nobody has said NO_COLOR."""
    if not cell.style or not file.isatty() or os.environ.get("NO_COLOR"):
        return cell.text
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        return cell.text
    return click.style(cell.text, **STYLES[cell.style])
