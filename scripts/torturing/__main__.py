"""Attack a lab's supervisor while a client writes, and count what was lost.

The attacks, their order and their delays follow from the seed alone. What they meet does not: the machine decides
what a daemon is doing 100 ms after it began. So a replay strikes the same blows, and may have to be repeated.
"""

import argparse
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from etcdlab.interruption import Interrupted, end_by
from etcdlab.model.topology import Profile
from torturing import hostile, kills, network, remains, report, resources, rivals, signals, sweep
from torturing.attack import Attack, sequence
from torturing.field import Field
from torturing.ground import ground
from torturing.siege import Siege
from torturing.tally import Tally

GROUPS: Final[Mapping[str, tuple[Attack, ...]]] = {
    "kills": kills.ATTACKS,
    "signals": signals.ATTACKS,
    "sweep": sweep.ATTACKS,
    "hostile": hostile.ATTACKS,
    "network": network.ATTACKS,
    "rivals": rivals.ATTACKS,
    "remains": remains.ATTACKS,
    "resources": resources.ATTACKS,
}
MINUTES: Final = 30.0


def main() -> int:
    """Attack. 1 when anything was lost."""
    options = arguments()
    attacks = chosen(options.attacks)
    tally = Tally()
    print(f"seed {options.seed}", file=sys.stderr)
    ended_by = None
    try:
        with ground("torture", tally) as home:
            os.environ["ETCDLAB_HOME"] = str(home)  # as the verbs have it
            besiege(options, attacks, tally, home)
    except Interrupted as interrupted:
        ended_by = interrupted.number
    print(report.tables(tally, attacks))
    if options.json is not None:
        options.json.write_bytes(report.encode(tally, seed=options.seed, profile=options.profile))
    if tally.findings:
        names = [*options.attacks, *(["--faults"] if options.faults else [])]
        words = " ".join([*names, f"--seed {options.seed} --profile {options.profile} --runs {tally.strike}"])
        print(f"\nThe same blows again: scripts/torture {words}")
    if ended_by is not None:
        sys.stdout.flush()
        end_by(ended_by)
    return 1 if tally.findings else 0


def besiege(options: argparse.Namespace, attacks: list[Attack], tally: Tally, home: Path) -> None:
    """Strike until there were enough kills or strikes, or the time is over."""
    field = Field(home, Profile(options.profile), tally, faults=options.faults)
    siege = Siege(field, tally)
    deadline = time.monotonic() + options.minutes * 60
    try:
        with field.writer:
            for number, attack, chance in islice(sequence(attacks, options.seed), options.runs):
                if sum(tally.kills.values()) >= options.kills or time.monotonic() > deadline:
                    break
                began, killed, lost = time.monotonic(), sum(tally.kills.values()), len(tally.findings)
                went_on = siege.strike(number, attack, chance)
                print(
                    f"{number:4} {attack.name:20} {sum(tally.kills.values()) - killed} killed, "
                    f"{len(tally.findings) - lost} lost, {time.monotonic() - began:4.1f} s; "
                    f"{sum(tally.kills.values())} killed, {len(tally.findings)} lost so far",
                    file=sys.stderr,
                )
                for finding in tally.findings[lost:]:
                    print(f"     {finding.loss.value}: {finding.text}", file=sys.stderr)
                if not went_on:
                    break
        siege.end(without_daemon=options.seed % 2 == 1)
    finally:
        if options.keep is not None and field.directory.path.exists():
            shutil.copytree(field.directory.path, options.keep, ignore=shutil.ignore_patterns("*.sock", "pki"))


def chosen(names: Sequence[str]) -> list[Attack]:
    """The attacks of these names, and those of the groups of these names; all when there are none."""
    return [
        attack
        for group, attacks in GROUPS.items()
        for attack in attacks
        if not names or group in names or attack.name in names
    ]


def arguments() -> argparse.Namespace:
    """The command line."""
    listed = "\n".join(
        f"{group}:\n" + "\n".join(f"  {attack.name:20} {attack.text}" for attack in attacks)
        for group, attacks in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description=f"Attack a lab's supervisor while a client writes; nothing may be lost.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*GROUPS, *(attack.name for attacks in GROUPS.values() for attack in attacks)]
    parser.add_argument(
        "attacks", nargs="*", choices=[[], *names], metavar="ATTACK", help="attacks and groups of them (default: all)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), metavar="S", help="(default: a new one)")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="daemons to kill (default: 100)")
    parser.add_argument("--runs", type=int, metavar="N", help="strikes at most (default: no bound)")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help=f"at most (default: {MINUTES:g})")
    parser.add_argument("--profile", choices=[profile.value for profile in Profile], default=Profile.FAST.value)
    parser.add_argument("--faults", action="store_true", help="a lab with a fault network, for the group network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result for programs")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy a lab that did not come up to DIR")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
