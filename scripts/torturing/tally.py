"""What was done and what it cost. Pure."""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


class Loss(enum.Enum):
    """What an attack must not cost."""

    WRITE = "acknowledged writes lost"
    CONTENT = "members that differ"
    DUPLICATE = "members that ran twice"
    RESTART = "restarts without a reason"
    ADOPTION = "members not adopted"
    RECOVERY = "labs that did not come up again"
    SERVICE = "times that nothing was served"
    STATUS = "statuses that were not true"
    DAEMON = "daemons that ended by themselves"
    WORD = "verbs that ended badly"
    LINE = "torn lines of the journal"
    ORDER = "numbers of the journal out of order"
    EVENT = "events lost or told twice"
    LOG = "log lines lost or told twice"
    GROWTH = "things that grew"
    BUDGET = "restart budgets forgotten"
    STRANGER = "processes of others that were hit"
    ORPHAN = "orphans"
    PORT = "ports left"
    DIRECTORY = "directories left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was lost: in which strike of which attack, and what exactly."""

    loss: Loss
    strike: int
    attack: str
    text: str


class Tally:
    """Counts by attack. `begin` says to which the rest belongs until the next one."""

    def __init__(self) -> None:
        self.strike = 0
        self.attack = ""
        self.strikes: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.gaps: dict[str, float] = {}
        self.impossible: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.writes = 0

    def begin(self, strike: int, attack: str) -> None:
        """The next strike."""
        self.strike, self.attack = strike, attack
        self.strikes[attack] += 1

    def skipped(self, reason: str) -> None:
        """The strike cannot be struck on this machine."""
        self.strikes[self.attack] -= 1
        self.impossible[self.attack] = reason

    def killed(self) -> None:
        """A daemon was killed."""
        self.kills[self.attack] += 1

    def wrote(self, gap_s: float) -> None:
        """A write was acknowledged, so long after the one before."""
        self.writes += 1
        self.gaps[self.attack] = max(gap_s, self.gaps.get(self.attack, 0.0))

    def lost(self, loss: Loss, text: str) -> None:
        """Something was lost."""
        self.findings.append(Finding(loss=loss, strike=self.strike, attack=self.attack, text=text))

    @property
    def losses(self) -> Mapping[Loss, int]:
        """How often each was lost, all of them."""
        found = Counter(finding.loss for finding in self.findings)
        return {loss: found[loss] for loss in Loss}
