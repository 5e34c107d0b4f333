"""`etcdlab up`, from exec to exit, which is when the lab is ready."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from bare import BareCluster, bare_cluster
from figure import Figure
from setting import Setting

from etcdlab.model.event import Event, EventKind
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.labdir import LabDirectory

SIZES: Final = (1, 3, 5, 9)
LAB: Final = "boot"
OVERHEAD_S: Final = 0.30
SETTLE_S: Final = 0.2
"""Between two boots: purged files and killed processes take the kernel a while to be rid of."""
PAIRS_PER_RUN: Final = {Profile.FAST: 1, Profile.REALISTIC: 3}
"""With etcd's own ticks the first election comes 0.1 to 1.1 s after the start, by lot: medians of few are a lottery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A boot by etcdlab and one of the floor, in seconds. `before` is up to the first spawn, `after` from all ready."""

    up: float
    before: float
    after: float
    floor: float


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
            yield Figure(
                name=f"up, {profile.value}, {size} member{'s' if size > 1 else ''}",
                unit="s",
                samples=tuple(pair.up for pair in pairs),
                beside=tuple(pair.floor for pair in pairs),
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
    setting.product.purge(LAB)
    time.sleep(SETTLE_S)
    floor = cluster.boot()
    cluster.discard()
    time.sleep(SETTLE_S)
    return Pair(
        up=ended - began,
        before=min(event.monotonic_s for event in events if event.kind is EventKind.SPAWNED) - began,
        after=ended - max(event.monotonic_s for event in events if event.kind is EventKind.READY),
        floor=floor,
    )
