"""The members' logs as one stream: what they have, merged by time, and what comes."""

import itertools
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

from etcdlab.etcd import log, logfile
from etcdlab.runtime.broadcast import Broadcast

CHUNK: Final = 200
"""Old lines sent at once: 100,000 of them are neither held in memory nor waited for."""


async def log_stream(
    paths: Mapping[str, Path], arriving: Broadcast[tuple[str, list[bytes]]], *, follow: bool, lines: int
) -> AsyncGenerator[bytes, None]:
    """The last `lines` of each member's log as LogLines in NDJSON, then (`follow`) those `arriving`."""
    with arriving.follow() as live:
        # What is written while the files are read may come twice: once from the file, once live.
        history = (_line(name, record) for name, record in logfile.read(paths, lines))
        while batch := await trio.to_thread.run_sync(list, itertools.islice(history, CHUNK)):
            yield b"".join(batch)
        if follow:
            async for name, new in live:
                if name in paths:
                    yield b"".join(_line(name, log.parse(line)) for line in new)


def _line(name: str, record: log.Record) -> bytes:
    return msgspec.json.encode(log.LogLine.of(name, record)) + b"\n"
