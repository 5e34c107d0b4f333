"""The result as tables and as JSON."""

from collections.abc import Sequence

import msgspec

from etcdlab.cli.layout import layout
from etcdlab.cli.result import Table
from torturing.attack import Attack
from torturing.tally import Tally

JSON_VERSION = 1


def tables(tally: Tally, attacks: Sequence[Attack]) -> str:
    """For people: what was done, by attack; what was lost, by kind; and each loss with its strike."""
    done = Table(
        header=("ATTACK", "STRIKES", "KILLS", "LOST", "LONGEST GAP", ""),
        rows=tuple(
            (
                attack.name,
                str(tally.strikes[attack.name]),
                str(tally.kills[attack.name]),
                str(sum(finding.attack == attack.name for finding in tally.findings)),
                f"{tally.gaps.get(attack.name, 0.0):.3f} s",
                f"SKIPPED: {tally.impossible[attack.name]}" if attack.name in tally.impossible else attack.text,
            )
            for attack in attacks
        ),
    )
    lost = Table(header=("LOST", ""), rows=tuple((loss.value, str(count)) for loss, count in tally.losses.items()))
    found = "\n".join(f"{one.strike} {one.attack}: {one.loss.value}: {one.text}" for one in tally.findings)
    total = f"{sum(tally.kills.values())} daemons killed, {tally.writes} writes acknowledged"
    return "\n\n".join(filter(None, (layout(done), layout(lost), found, total)))


def encode(tally: Tally, *, seed: int, profile: str) -> bytes:
    """For programs."""
    data = {
        "version": JSON_VERSION,
        "seed": seed,
        "profile": profile,
        "strikes": tally.strikes,
        "skipped": tally.impossible,
        "kills": tally.kills,
        "writes": tally.writes,
        "longest_gap_s": tally.gaps,
        "lost": {loss.name.lower(): count for loss, count in tally.losses.items()},
        "findings": tally.findings,
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
