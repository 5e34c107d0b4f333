"""`etcdlab reset`: a used lab made pristine for the next test."""

from typing import Final

import msgspec

from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import lab_option, verb

SLACK_S: Final = 10.0
"""Seconds beyond the daemon's own bound: for one that hangs."""


@verb("reset", example="etcdlab reset")
@lab_option
def reset(lab: str | None) -> Result:
    """Make a lab pristine: all members run, and nothing of what was done to it is left.

    Keys and their history, leases, users, roles, authentication and alarms are gone, and so are members that were
    added. The revision goes on counting. What cannot be undone in place, such as the removal of a member, is undone by
    discarding all data and booting anew.
    """
    found = attach(lab)
    outcome = found.client(timeout_s=found.plan.timeouts.boot_s + SLACK_S).reset()
    line = f"lab {found.name} is pristine" + (f": rebuilt, since {outcome.why}" if outcome.rebuilt else "")
    return Result(view=[line], data={"lab": found.name} | msgspec.to_builtins(outcome))
