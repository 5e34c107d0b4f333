"""Verbs that people wait for at a prompt and scripts call in loops."""

import sys
from collections.abc import Iterator
from typing import Final

from figure import Figure
from product import timed
from setting import Setting

from etcdlab.export.env import choose_identity, variables
from etcdlab.prepare.labdir import LabDirectory

LAB: Final = "verbs"
LIMIT_S: Final = 0.15


def measure(setting: Setting) -> Iterator[Figure]:
    """`status` and `env` of three members, their output in a pipe."""
    product = setting.product
    product.run("up", "--name", LAB)
    plan = LabDirectory(product.home / LAB).load_plan()
    etcdctl = [plan.etcdctl or "etcdctl", "endpoint", "status"]
    settings = product.environment | variables(plan, choose_identity(plan, None))
    verbs: dict[str, list[float]] = {"status": [], "env": []}
    beside: dict[str, list[float]] = {"etcdctl endpoint status": [], "python -c pass": []}
    product.run("status")  # the first call compiles what it imports
    product.run("env")
    for _ in range(setting.runs):
        for verb, samples in verbs.items():
            samples.append(product.time(verb))
        beside["etcdctl endpoint status"].append(timed(etcdctl, settings))
        beside["python -c pass"].append(timed([sys.executable, "-c", "pass"], product.environment))
    product.purge(LAB)
    for (verb, samples), (other, others) in zip(verbs.items(), beside.items(), strict=True):
        yield Figure(
            name=verb, unit="s", samples=tuple(samples), beside=tuple(others), beside_name=other, target=LIMIT_S
        )
