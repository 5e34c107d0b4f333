"""The client: it writes all the while, fails over, and remembers what was acknowledged."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Self

from etcdlab.gateway import Unanswered
from etcdlab.model.plan import Plan
from torturing.gateway import gateways, read
from torturing.tally import Tally

PREFIX: Final = "torture/"
END: Final = "torture0"
"""The first key after all with the prefix: 0 follows the slash."""
PACE_S: Final = 0.005
ANSWER_S: Final = 0.5
"""A write that a follower has passed on to a leader that died is lost, and etcd says so after 5 s: who waits for it has
a longer gap than the cluster.
"""
READ_S: Final = 30.0
PATIENCE_S: Final = 20.0


class Ledger:
    """The acknowledged writes: keys, each written once, and the revisions that they got. Pure."""

    def __init__(self, revisions: Mapping[str, int] = MappingProxyType({})) -> None:
        self._revisions = dict(revisions)

    def __len__(self) -> int:
        return len(self._revisions)

    def note(self, key: str, revision: int) -> None:
        """A write was acknowledged."""
        self._revisions[key] = revision

    def copy(self) -> "Ledger":
        """What was acknowledged until now: a read that begins afterwards must find it."""
        return Ledger(self._revisions)

    def missing(self, found: Mapping[str, int], *, since: str = "") -> list[str]:
        """What is not `found` as it was acknowledged, in words, of the keys from `since` on."""
        return [
            f"{key} was acknowledged with revision {revision} and "
            + (f"has {found[key]}" if key in found else "is not there")
            for key, revision in self._revisions.items()
            if key >= since and found.get(key) != revision
        ]


class Writer:
    """A thread that puts one unique key after the other. A context manager: it ends with the block."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self.ledger = Ledger()
        self._plan = plan
        self._tally = tally
        self._gateways = gateways(plan, timeout_s=ANSWER_S)
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._acknowledged = threading.Condition()
        self._last_at: float | None = None
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def next_key(self) -> str:
        """The key after all that were tried."""
        return _key(self._count)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written inside the block, and the time does not count as a gap."""
        with self._turn:
            yield
            self._last_at = None

    def forget(self) -> None:
        """What was acknowledged may be gone now. While paused."""
        self.ledger = Ledger()

    def wait_acknowledged(self) -> bool:
        """Wait for a write that is acknowledged from now on; False when there was none for PATIENCE_S."""
        now = time.monotonic()
        with self._acknowledged:
            return self._acknowledged.wait_for(lambda: (self._last_at or 0) > now, PATIENCE_S)

    def missing(self, since: str = "") -> list[str]:
        """What was acknowledged and a linearizable read does not find, of the keys from `since` on."""
        ledger, problems = self.ledger.copy(), []
        for gateway in gateways(self._plan, timeout_s=READ_S):
            with contextlib.closing(gateway):
                try:
                    return ledger.missing(read(gateway, since or PREFIX, END), since=since)
                except Unanswered as error:
                    problems.append(str(error))
        return [f"nobody answered a linearizable read: {'; '.join(problems)}"]

    def _run(self) -> None:
        number = 0
        while not self._ended.wait(PACE_S):
            with self._turn:
                gateway = self._gateways[number % len(self._gateways)]
                key = self.next_key
                self._count += 1
                try:
                    revision = gateway.put(key, f"value of {key}")
                except Unanswered:
                    number += 1
                    continue
                now = time.monotonic()
                self.ledger.note(key, revision)
                self._tally.wrote(0.0 if self._last_at is None else now - self._last_at)
                with self._acknowledged:
                    self._last_at = now
                    self._acknowledged.notify_all()


def _key(number: int) -> str:
    return f"{PREFIX}{number:09}"
