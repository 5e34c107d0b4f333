"""What a member costs: CPU and memory of its process, as the system accounts for them."""

import msgspec
import trio

from etcdlab.prepare.process import ProcessIdentity, consumption

SHORTEST_S = 0.2
"""Seconds: the system counts CPU in ticks of 10 ms, so a rate over less than this says nothing."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu_percent` of one core since the last look (over the whole life, at the first); `rss_bytes` now."""

    cpu_percent: float | None = None
    rss_bytes: int | None = None


class UsageMeter:
    """Looks at one member's process, remembering the last look."""

    def __init__(self) -> None:
        self._identity: ProcessIdentity | None = None
        self._looked_at = 0.0
        self._cpu_s = 0.0
        self._percent = 0.0

    def look(self, identity: ProcessIdentity, *, uptime_s: float) -> Usage:
        """Measure; nothing is known of a process that is gone or not ours to see."""
        used = consumption(identity.pid)
        if used is None:
            return Usage()
        cpu_s, rss_bytes = used
        now = trio.current_time()
        if identity != self._identity:
            self._identity, self._looked_at, self._cpu_s = identity, now - uptime_s, 0.0
        elapsed_s = now - self._looked_at
        if elapsed_s >= SHORTEST_S:
            self._percent = round(100 * (cpu_s - self._cpu_s) / elapsed_s, 1)
            self._looked_at, self._cpu_s = now, cpu_s
        return Usage(cpu_percent=self._percent, rss_bytes=rss_bytes)
