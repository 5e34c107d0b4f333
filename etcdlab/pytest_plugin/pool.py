"""The labs of a test session: started when one is asked for, used again when their shape is asked for again."""

import contextlib
import itertools
import secrets
from dataclasses import dataclass
from typing import Final

from etcdlab.errors import NotRunningError
from etcdlab.lab import Lab
from etcdlab.pytest_plugin.shape import Shape


@dataclass(eq=False, kw_only=True)
class _Entry:
    lab: Lab
    shape: Shape
    is_leased: bool = True
    is_kept: bool = False
    used: int = 0

    @property
    def is_idle(self) -> bool:
        return not self.is_leased and not self.is_kept


class Pool:
    """Labs that tests lease. `limit` is how many may run before idle ones are closed, the least recently used first.

    With `keep` the labs of failed tests outlive the session, so none of them is tied to this process.
    """

    def __init__(self, *, worker: str, limit: int, keep: bool) -> None:
        self._worker = worker
        self._limit = limit
        self._keep = keep
        self._entries: list[_Entry] = []
        self._clock: Final = itertools.count(1)

    @property
    def labs(self) -> list[Lab]:
        """All of them."""
        return [entry.lab for entry in self._entries]

    def lease(self, shape: Shape) -> Lab:
        """A pristine lab of this shape, the caller's until it is given back. Raises what `Lab.up` does."""
        for entry in [entry for entry in self._entries if entry.shape == shape and entry.is_idle]:
            if entry.lab.is_running():
                entry.is_leased = True
                return self.pristine(entry.lab)
            self._close(entry)  # a test ended it
        idle = sorted((entry for entry in self._entries if entry.is_idle), key=lambda entry: entry.used)
        for entry in idle[: max(0, len(self._entries) - self._limit + 1)]:
            self._close(entry)
        return self.make(shape)

    def make(self, shape: Shape) -> Lab:
        """A new lab of this shape, the caller's."""
        lab = Lab.up(
            shape.topology,
            name=f"pytest-{self._worker}-{secrets.token_hex(4)}",
            nodes=shape.nodes,
            profile=shape.profile,
            tls=shape.tls,
            faults=bool(shape.faults),
            etcd=shape.etcd,
            timeout=shape.timeout,
            tied=not self._keep,
        )
        self._entries.append(_Entry(lab=lab, shape=shape, used=next(self._clock)))
        return lab

    def pristine(self, lab: Lab) -> Lab:
        """The lab as it was when it was new, but for its revision."""
        self._entry(lab).used = next(self._clock)
        lab.reset()
        return lab

    def give_back(self, lab: Lab) -> None:
        """End a lease."""
        self._entry(lab).is_leased = False

    def discard(self, lab: Lab) -> None:
        """End a lease and the lab, unless it is to be kept."""
        entry = self._entry(lab)
        if not entry.is_kept:
            self._close(entry)

    def keep(self, lab: Lab) -> bool:
        """Have the lab of a failed test outlive the session, if that is wanted; whether it is."""
        if self._keep:
            self._entry(lab).is_kept = True
        return self._keep

    def is_usable(self, lab: Lab) -> bool:
        """Whether a test can have it: one that failed may have it kept as it left it, and any may have ended it."""
        return not self._entry(lab).is_kept and lab.is_running()

    def close(self) -> None:
        """End all labs but those to be kept."""
        with contextlib.ExitStack() as stack:
            for entry in self._entries:
                if not entry.is_kept:
                    stack.callback(_end, entry.lab)
        self._entries.clear()

    def has(self, lab: Lab) -> bool:
        """Whether it is one of these."""
        return any(entry.lab is lab for entry in self._entries)

    def _close(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        _end(entry.lab)

    def _entry(self, lab: Lab) -> _Entry:
        return next(entry for entry in self._entries if entry.lab is lab)


def _end(lab: Lab) -> None:
    with contextlib.suppress(NotRunningError):  # a test has removed it
        lab.down(purge=True)
