"""Member: the synchronous handle on one member of a lab."""

import re
import signal as signals
from pathlib import Path
from typing import TYPE_CHECKING

from etcdlab import history
from etcdlab.history import Mark
from etcdlab.model.disk import Part
from etcdlab.model.plan import NodePlan
from etcdlab.model.status import NodeStatus
from etcdlab.model.units import Time, lasting, size

if TYPE_CHECKING:
    from etcdlab.lab import Lab


class Member:
    """One member, by name. What would cost the cluster its quorum raises QuorumError unless it is `force`d."""

    def __init__(self, lab: "Lab", name: str) -> None:
        self._lab = lab
        self.name = name

    def __repr__(self) -> str:
        return f"<Member {self.name} of lab {self._lab.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and (self._lab.directory.path, self.name) == (
            other._lab.directory.path,
            other.name,
        )

    def __hash__(self) -> int:
        return hash((self._lab.directory.path, self.name))

    @property
    def plan(self) -> NodePlan:
        """What was decided for it: ports, URLs, paths, arguments."""
        return self._lab.plan.select([self.name])[0]

    @property
    def endpoint(self) -> str:
        """Its client URL."""
        return self.plan.client_url

    @property
    def log(self) -> Path:
        """The file that etcd writes its log to."""
        return Path(self.plan.log)

    @property
    def pid(self) -> int | None:
        """Its process, if there is one. Another one after each restart."""
        return self.status().pid

    def status(self) -> NodeStatus:
        """Measured now."""
        return next(node for node in self._lab.status().nodes if node.name == self.name)

    def start(self) -> None:
        """Start it and wait until it runs. Also leaves FAILED."""
        self._lab.client().start([self.name])

    def stop(self, *, for_: Time | None = None, force: bool = False) -> None:
        """Stop it; it stays stopped until it is started, or that time is over."""
        self._lab.client().stop([self.name], force=force, for_s=lasting(for_))

    def restart(self, *, force: bool = False) -> None:
        """Stop and start it."""
        self._lab.client().restart([self.name], force=force)

    def kill(self, signal: signals.Signals = signals.SIGKILL, *, force: bool = False) -> None:
        """Signal its process. What dies of it is started again at once, and at no cost to its restart budget.

        Raises LabStateError when it has none.
        """
        self._lab.client().kill([self.name], signal=signal, force=force)

    def pause(self, *, for_: Time | None = None, force: bool = False) -> None:
        """Freeze its process until it is resumed, or that time is over: it does nothing, its connections stay open.

        Raises LabStateError when it has none.
        """
        self._lab.client().pause([self.name], force=force, for_s=lasting(for_))

    def resume(self) -> None:
        """Let it go on."""
        self._lab.client().resume([self.name])

    def corrupt(self, part: Part = Part.WAL) -> None:
        """Damage its data, while it is down, so that it cannot start. Raises LabStateError."""
        self._lab.client().damage(self.name, part)

    def fill_disk(self, *, for_: Time | None = None, force: bool = False) -> None:
        """Have its disk full until it is healed, or that time is over: what it writes then ends it, to no loss."""
        self._lab.client().fill_disks([self.name], force=force, for_s=lasting(for_))

    def limit_database(self, quota: int | str, *, force: bool = False) -> None:
        """Restart it with this quota, bytes or "64KiB", until it is healed: what exceeds it raises NOSPACE."""
        self._lab.client().limit_databases([self.name], size(quota), force=force)

    def heal_disk(self) -> None:
        """Have its disk as it was; with another quota it is restarted."""
        self._lab.client().heal_disks([self.name])

    def repair(self) -> None:
        """Make it anew: removed from the cluster, added, started with empty data. Raises LabStateError if it serves."""
        self._lab.client().repair(self.name)

    def log_lines(self, *, since: Mark | None = None) -> list[str]:
        """What it has logged since `since`, or all of the newest part of its log."""
        return history.log_lines(self.log, self.name, since)

    def wait_for_log(self, pattern: "str | re.Pattern[str]", *, since: Mark | None = None, timeout: float = 30) -> str:
        """The first line of its log with `pattern` (`re.search`) after `since`, or from now on.

        Raises TimedOutError after `timeout` seconds.
        """
        return history.wait_for_line({self.name: self.log}, pattern, since=since, timeout=timeout)
