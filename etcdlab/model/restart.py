"""When to start a member again: policy, backoff and budget. Pure: `now` comes in as a parameter, in seconds."""

import enum
from typing import Final

import msgspec

from etcdlab.model.exit import Exit, ExitReason

MOST_DOUBLINGS: Final = 60
"""A float cannot be doubled for ever, and no backoff is that long."""


class RestartPolicy(enum.Enum):
    """Which exits that nobody asked for are followed by a restart."""

    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    NEVER = "never"


class RestartRules(msgspec.Struct, frozen=True, kw_only=True):
    """The restart settings of a lab, all times in seconds.

    The first restart after a healthy period is immediate; then `backoff_s` doubles up to `backoff_max_s`. After
    `healthy_after_s` of uninterrupted running the backoff starts over. More than `budget` restarts in `window_s` is
    FAILED; those for reasons that pass are not counted. What somebody had killed is started again at once, and that
    counts as nothing.
    """

    policy: RestartPolicy = RestartPolicy.ON_FAILURE
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    healthy_after_s: float = 10.0
    budget: int = 10
    window_s: float = 300.0


class History(msgspec.Struct, frozen=True):
    """What the rules need to remember of a member: recent restart times and failures in a row."""

    restarts: tuple[float, ...] = ()
    failures: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do after an exit: restart after `delay_s`, or (None) not, with the reason why not."""

    delay_s: float | None
    history: History
    why_not: str = ""
    failed: bool = False


def judge(rules: RestartRules, history: History, exit_: Exit, *, now: float, healthy_for_s: float) -> Verdict:
    """Decide what follows an exit that nobody asked for.

    `healthy_for_s` is how long this incarnation was RUNNING (0 if it never was). `failed` in the verdict tells
    FAILED apart from a member that simply stays STOPPED.
    """
    if not exit_.reason.recoverable:
        return Verdict(delay_s=None, history=history, why_not=exit_.detail, failed=True)
    if rules.policy is RestartPolicy.NEVER:
        return Verdict(delay_s=None, history=history, why_not="the restart policy is never", failed=exit_.code != 0)
    if rules.policy is RestartPolicy.ON_FAILURE and exit_.code == 0:
        return Verdict(delay_s=None, history=history, why_not="it ended by itself with status 0")
    recent = tuple(at for at in history.restarts if now - at < rules.window_s)
    if exit_.reason is ExitReason.KILLED:
        return Verdict(delay_s=0.0, history=History(recent, history.failures))
    if len(recent) >= rules.budget and not exit_.reason.passes:
        why_not = f"it was restarted {len(recent)} times within {rules.window_s:g} s, the whole budget"
        return Verdict(delay_s=None, history=History(recent, history.failures), why_not=why_not, failed=True)
    failures = 0 if healthy_for_s >= rules.healthy_after_s else history.failures
    if failures == 0 and healthy_for_s == 0:
        failures = 1  # it never worked: there is no health for an immediate restart to return to
    delay = min(rules.backoff_s * 2.0 ** min(failures - 1, MOST_DOUBLINGS), rules.backoff_max_s) if failures else 0.0
    spent = recent if exit_.reason.passes else (*recent, now)
    return Verdict(delay_s=delay, history=History(spent, failures + 1))
