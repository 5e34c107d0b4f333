"""Files that a user names: read whole, within bounds of size and time, whatever is there in truth."""

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SIZE_LIMIT: Final = 2**20
"""Bytes. A machine's whole bundle of CAs has a fifth of it."""
PIPE_S: Final = 5.0
"""Seconds for which a pipe (`etcdlab up <(jsonnet lab.jsonnet)`) may take to be written."""
_BLOCK: Final = 2**16


def read(path: Path, *, limit: int = SIZE_LIMIT) -> bytes:
    """The content of a file or pipe. Raises OSError, also for a device, a silent pipe, and more than `limit` bytes."""
    # Not blocking, since to open a pipe waits for who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe", str(path))
        content = bytearray()
        for block in _piped(descriptor) if stat.S_ISFIFO(mode) else iter(lambda: os.read(descriptor, _BLOCK), b""):
            content += block
            if len(content) > limit:
                raise OSError(errno.EFBIG, f"it has more than {limit >> 10} KiB", str(path))
        return bytes(content)
    finally:
        os.close(descriptor)


def _piped(descriptor: int) -> Iterator[bytes]:
    """What is written to a pipe, until nobody has it open for that any more."""
    deadline = time.monotonic() + PIPE_S
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    begun = False
    while True:
        with contextlib.suppress(BlockingIOError):
            while block := os.read(descriptor, _BLOCK):
                begun = True
                yield block
            # Nobody writes: any more, or yet. Of the first, poll does not tell a pipe that was opened only afterwards.
            if begun:
                return
        events = waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not events:
            raise OSError(errno.ETIMEDOUT, f"it is a pipe that was not written within {PIPE_S:g} s")
        if not events[0][1] & select.POLLIN:
            return
