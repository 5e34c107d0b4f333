"""A follower is killed: how long until it is healthy again, and what the daemon adds to etcd's own time."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bare import BareCluster, bare_cluster, is_healthy, wait_for, wait_healthy
from figure import Figure
from product import CannotMeasure
from setting import Setting

from etcdlab.model.plan import NodePlan
from etcdlab.model.topology import EtcdTable, Profile, RestartTable, Topology
from etcdlab.model.units import Duration
from etcdlab.prepare import config
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord

LAB: Final = "restart"
MORE_MS: Final = 20.0
SETTLE_S: Final = 0.25
"""Between two kills: longer than `healthy_after`, after which a restart is immediate again."""
HEARTBEAT_S: Final = 0.1
"""etcd's own `--heartbeat-interval`.

A restarted member is healthy when a heartbeat of the leader reaches it. Kills are spread evenly over the interval: at a
constant time after the last recovery they would all meet it in the same phase, another one in each cluster, and the
two sides would differ by up to 50 ms for that alone.
"""
PAIRS_PER_RUN: Final = 6
Times = tuple[float, float]
"""Milliseconds from a kill to healthy, and to the new process."""


def measure(setting: Setting) -> Iterator[Figure]:
    """Both profiles, three members; then those that the daemon adopted, beside those that it started."""
    yield from _measure_started(setting)
    yield from _measure_adopted(setting)


def _measure_started(setting: Setting) -> Iterator[Figure]:
    for profile in (Profile.FAST, Profile.REALISTIC):
        topology = _topology(profile)
        setting.product.run("up", _file(setting, topology))
        with bare_cluster(topology, setting.scratch / "floor") as cluster:
            cluster.boot()
            count = setting.runs * PAIRS_PER_RUN
            waits = [SETTLE_S + HEARTBEAT_S * number / count for number in range(count)]
            pairs = [(_supervised(setting, wait_s), _bare(cluster, wait_s)) for wait_s in waits]
        setting.product.purge(LAB)
        yield from _figures(profile.value, pairs, beside_name="etcd respawned bare")


def _measure_adopted(setting: Setting) -> Iterator[Figure]:
    """An adopted member's end is seen by its pidfd, a started one's by being its parent."""
    file = _file(setting, _topology(Profile.FAST))
    setting.product.run("up", file)
    pairs = []
    count = setting.runs * PAIRS_PER_RUN
    for number in range(count):
        wait_s = SETTLE_S + HEARTBEAT_S * number / count
        daemon = setting.product.daemon(LAB)
        daemon.kill()
        daemon.wait()
        setting.product.run("up", file)
        pairs.append((_supervised(setting, wait_s), _supervised(setting, wait_s)))
    setting.product.purge(LAB)
    yield from _figures("adopted", pairs, beside_name="started by the daemon")


def _figures(what: str, pairs: Sequence[tuple[Times, Times]], *, beside_name: str) -> Iterator[Figure]:
    for place, name in enumerate(("to healthy", "to its new process")):
        yield Figure(
            name=f"SIGKILL {name}, {what}",
            unit="ms",
            samples=tuple(ours[place] for ours, _ in pairs),
            beside=tuple(others[place] for _, others in pairs),
            beside_name=beside_name,
            is_overhead=True,
            target=MORE_MS if place == 0 else None,
        )


def _topology(profile: Profile) -> Topology:
    return Topology(
        name=LAB,
        etcd=EtcdTable(profile=profile),
        restart=RestartTable(healthy_after=Duration(0.1), budget=10**6),
    )


def _file(setting: Setting, topology: Topology) -> Path:
    file = setting.scratch / "restart.toml"
    file.write_text(config.dump(topology))
    return file


def _supervised(setting: Setting, wait_s: float) -> tuple[float, float]:
    """Milliseconds from the kill to healthy, and to the spawn, under the daemon."""
    directory = LabDirectory(setting.product.home / LAB)
    status = setting.product.status(LAB)
    follower = next(node for node in status.nodes if not node.is_leader)
    node = next(node for node in directory.load_plan().nodes if node.name == follower.name)
    assert follower.pid
    time.sleep(wait_s)
    killed = time.monotonic()
    os.kill(follower.pid, signal.SIGKILL)
    healthy = _healthy_again(node)
    record = ProcessRecord.of_living(directory.node(node.name))
    if record is None:
        raise CannotMeasure(f"{node.name} is healthy but has no process record")
    return (healthy - killed) * 1000, (record.spawned_s - killed) * 1000


def _bare(cluster: BareCluster, wait_s: float) -> tuple[float, float]:
    """The same where somebody stands by who does nothing but spawn it again."""
    leader = cluster.leader()
    node = next(node for node in cluster.nodes if node is not leader)
    time.sleep(wait_s)
    killed = time.monotonic()
    cluster.signal(node, signal.SIGKILL)
    cluster.reap(node)
    cluster.spawn(node)
    spawned = time.monotonic()
    return (_healthy_again(node) - killed) * 1000, (spawned - killed) * 1000


def _healthy_again(node: NodePlan) -> float:
    wait_for(f"{node.name} is gone", lambda: not is_healthy(node.metrics_port))
    wait_healthy(node)
    return time.monotonic()
