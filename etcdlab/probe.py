"""Whether a lab can be written to, all the while: a thread that puts one key again and again, and notes when."""

import contextlib
import threading
import time
from itertools import pairwise
from typing import Final, Self

from etcdlab.gateway import Gateway, Unanswered, client_context
from etcdlab.history import Mark
from etcdlab.model.plan import Plan

KEY: Final = "etcdlab/probe"
EVERY_S: Final = 0.01
ANSWER_S: Final = 0.5
"""A write that a follower has passed on to a leader that died is lost, and etcd says so after 5 s: who waits for it has
a longer gap than the cluster.
"""


class Probe:
    """A context manager: it writes inside the block. After a write that fails it tries the next member.

    The key stays; what was written counts as any write does.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._gateways = self._connected()
        self._acknowledged: list[float] = []
        self._failures: list[float] = []
        self._began_s = 0.0
        self._ended_s: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="etcdlab-probe", daemon=True)

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._ended_s = time.monotonic()
        for gateway in self._gateways:
            with contextlib.suppress(OSError):
                gateway.close()

    @property
    def writes(self) -> int:
        """How many were acknowledged."""
        return len(self._acknowledged)

    def failures(self, *, since: Mark | None = None) -> int:
        """How many were not, though the next may have been at once."""
        return sum(since is None or at_s >= since.at_s for at_s in list(self._failures))

    def unavailable(self, *, since: Mark | None = None) -> float:
        """The longest time in seconds without an acknowledged write, since then: up to now, or the block's end."""
        begin_s = self._began_s if since is None else since.at_s
        moments = [begin_s, *(at_s for at_s in list(self._acknowledged) if at_s > begin_s)]
        moments.append(self._ended_s or time.monotonic())
        return max(later - sooner for sooner, later in pairwise(moments))

    def _connected(self) -> list[Gateway]:
        context = client_context(self._plan)
        return [Gateway(url, context, timeout_s=ANSWER_S) for url in self._plan.endpoints]

    def _run(self) -> None:
        turn = 0
        while not self._ended.wait(EVERY_S):
            try:
                self._gateways[turn % len(self._gateways)].put(KEY, "")
            except Unanswered:
                self._failures.append(time.monotonic())
                turn += 1
                # With the files as they are now: certificates may have been renewed since.
                with contextlib.suppress(OSError):
                    self._gateways = self._connected()
            else:
                self._acknowledged.append(time.monotonic())
