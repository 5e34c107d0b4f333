"""`etcdlab down`, with and without the data."""

from collections.abc import Iterator
from typing import Final

from bare import bare_cluster
from figure import Figure
from setting import Setting

from etcdlab.model.topology import Topology

LAB: Final = "stop"
DOWN_S: Final = 1.5
PURGE_S: Final = 0.3


def measure(setting: Setting) -> Iterator[Figure]:
    """Three members with etcd's own ticks."""
    product, stopped, purged = setting.product, list[tuple[float, float]](), list[tuple[float, float]]()
    with bare_cluster(Topology(name=LAB), setting.scratch / "floor") as cluster:
        for _ in range(setting.runs):
            product.run("up", "--name", LAB)
            cluster.boot()
            stopped.append((product.time("down", "--lab", LAB), cluster.stop()))
            cluster.discard()
            product.run("up", "--name", LAB)
            cluster.boot()
            purged.append((product.time("down", "--purge", "--lab", LAB), cluster.discard()))
    for verb, pairs, target in (("down", stopped, DOWN_S), ("down --purge", purged, PURGE_S)):
        yield Figure(
            name=f"{verb}, realistic, 3 members",
            unit="s",
            samples=tuple(ours for ours, _ in pairs),
            beside=tuple(bare for _, bare in pairs),
            beside_name="etcds ended bare",
            target=target,
        )
