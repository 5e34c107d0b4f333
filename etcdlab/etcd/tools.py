"""etcdctl and etcdutl: those that came with a lab's etcd."""

import os
from pathlib import Path

from etcdlab.errors import BinaryError
from etcdlab.model.plan import Plan


def tool(plan: Plan, name: str) -> Path:
    """etcdctl or etcdutl of the lab's etcd. Raises BinaryError when it is not there."""
    hint = "`etcdlab etcd install VERSION` installs etcd with its tools; then `down` and `up` the lab."
    if plan.etcdctl is None:
        raise BinaryError(f"lab {plan.lab!r} was started without an etcdctl beside its etcd", hint=hint)
    path = Path(plan.etcdctl).with_name(name)
    if not os.access(path, os.X_OK):
        if name == "etcdutl":
            hint = f"etcdutl comes with etcd since 3.5; before, etcdctl has its commands. {hint}"
        raise BinaryError(f"{path} is not there or cannot be run", hint=hint)
    return path
