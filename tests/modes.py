"""A block in which the modes and owners of files mean something, also to root.

For root they mean nothing, and to become another user would take the interpreter away where that user may not read
it. So root gives up what lets it pass by modes: this thread for as long as the block lasts, and the processes that it
starts meanwhile for good.
"""

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from typing import Final

import pytest

_PR_SET_SECUREBITS: Final = 28
_ROOT_IS_NOBODY: Final = 1 << 0 | 1 << 2
"""SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP (capabilities(7)): what root executes gets no capabilities, and access(2)
takes account of those that were given up."""
_VERSION_3: Final = 0x20080522
_PASS_BY_MODES: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


@contextlib.contextmanager
def obeyed() -> Iterator[None]:
    """Do without root's rights to files. Skips the test where that cannot be had."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root can give up its rights to files on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _VERSION_3, 0)
    rights = ctypes.create_string_buffer(24)
    if libc.capget(header, rights) or libc.prctl(_PR_SET_SECUREBITS, _ROOT_IS_NOBODY, 0, 0, 0):
        pytest.skip(f"root may not give up its rights to files: {os.strerror(ctypes.get_errno())}")
    effective, *others = struct.unpack("=6I", rights.raw)
    try:
        libc.capset(header, struct.pack("=6I", effective & ~_PASS_BY_MODES, *others))
        yield
    finally:
        libc.capset(header, rights)
        libc.prctl(_PR_SET_SECUREBITS, 0, 0, 0, 0)
