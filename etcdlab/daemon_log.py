"""The daemon's own log, which is also its standard output and error: bounded, and no reason to end when it is full."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 2**20
"""Bytes. A full log becomes `daemon.log.1`, in place of the one before."""


class DaemonLog(logging.Handler):
    """Writes records to `path`, and has both standard descriptors go there. Raises OSError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._path = path
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; it is lost when there is no space for it."""
        with suppress(OSError):
            if os.fstat(2).st_size > SIZE:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._open()
            os.write(2, f"{self.format(record)}\n".encode(errors="backslashreplace"))

    def _open(self) -> None:
        log = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.close(log)
