"""`etcdlab up`, from exec to exit, which is when the lab is ready."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from bare import BareCluster, bare_cluster
from figure import Figure
from setting import Setting

from etcdlab.etcd.log import parse
from etcdlab.model.event import Event, EventKind
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.labdir import LabDirectory

SIZES: Final = (1, 3, 5, 9)
LAB: Final = "boot"
OVERHEAD_S: Final = 0.30
SETTLE_S: Final = 0.2
"""Between two boots: purged files and killed processes take the kernel a while to be rid of."""
PAIRS_PER_RUN: Final = {Profile.FAST: 1, Profile.REALISTIC: 3}
"""With etcd's own ticks the first leader comes 0.1 to 1.1 s after the last member, by lot, with etcdlab as without
(30 pairs: median 0.26 and 0.32 s). Medians of so few are a lottery, so what it took is taken from both."""
LEADS: Final = "became leader at term"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A boot by etcdlab and one of the floor, in seconds. `before` is up to the first spawn, `after` from all ready.

    `up_election` and `floor_election` are the parts that the members waited for their first leader, all being there.
    """

    up: float
    before: float
    after: float
    floor: float
    up_election: float
    floor_election: float


def measure(setting: Setting) -> Iterator[Figure]:
    """Both profiles, with 1 to 9 members; then what is etcdlab's alone and not left to the lot of elections."""
    for profile in (Profile.FAST, Profile.REALISTIC):
        all_pairs: list[Pair] = []
        for size in SIZES:
            topology = Topology(name=LAB, nodes=size, etcd=EtcdTable(profile=profile))
            with bare_cluster(topology, setting.scratch / "floor") as cluster:
                runs = setting.runs * PAIRS_PER_RUN[profile]
                pairs = [_pair(setting, cluster, profile, size) for _ in range(runs)]
            all_pairs += pairs
            name = f"up, {profile.value}, {size} member{'s' if size > 1 else ''}"
            by_lot = profile is Profile.REALISTIC
            yield Figure(
                name=name,
                unit="s",
                samples=tuple(pair.up for pair in pairs),
                beside=tuple(pair.floor for pair in pairs),
                beside_name="etcds bare",
                is_overhead=True,
                target=None if by_lot else OVERHEAD_S,
            )
            if by_lot:
                yield Figure(
                    name=f"{name}, less the election",
                    unit="s",
                    samples=tuple(pair.up - pair.up_election for pair in pairs),
                    beside=tuple(pair.floor - pair.floor_election for pair in pairs),
                    beside_name="etcds bare",
                    is_overhead=True,
                    target=OVERHEAD_S,
                )
        before, after = tuple(pair.before for pair in all_pairs), tuple(pair.after for pair in all_pairs)
        yield Figure(name=f"up, {profile.value}, exec to first etcd", unit="s", samples=before)
        yield Figure(name=f"up, {profile.value}, last member healthy to exit", unit="s", samples=after)


def _pair(setting: Setting, cluster: BareCluster, profile: Profile, size: int) -> Pair:
    began = time.monotonic()
    setting.product.run("up", "--name", LAB, "--nodes", str(size), "--profile", profile.value)
    ended = time.monotonic()
    journal = LabDirectory(setting.product.home / LAB).events.read_bytes()
    events = [msgspec.json.decode(line, type=Event) for line in journal.splitlines()]
    up_election = _election([Path(node.log) for node in LabDirectory(setting.product.home / LAB).load_plan().nodes])
    setting.product.purge(LAB)
    time.sleep(SETTLE_S)
    floor = cluster.boot()
    floor_election = _election([Path(node.log) for node in cluster.nodes])
    cluster.discard()
    time.sleep(SETTLE_S)
    return Pair(
        up=ended - began,
        before=min(event.monotonic_s for event in events if event.kind is EventKind.SPAWNED) - began,
        after=ended - max(event.monotonic_s for event in events if event.kind is EventKind.READY),
        floor=floor,
        up_election=up_election,
        floor_election=floor_election,
    )


def _election(logs: Sequence[Path]) -> float:
    """Seconds from the last member's first words until one became leader; 0 when that was before."""
    records = [[parse(line) for line in log.read_bytes().splitlines()] for log in logs]
    began = max(next(record.time for record in told if record.time) for told in records)
    led = min(record.time for told in records for record in told if record.time and LEADS in record.message)
    return max(0.0, (led - began).total_seconds())
