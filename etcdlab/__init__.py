"""etcdlab: a local supervisor for secure multi-member etcd test clusters.

    from etcdlab import Lab

    with Lab.up(nodes=3, profile="fast") as lab:
        print(lab.endpoints, lab.ca_cert, lab.client_cert, lab.client_key)

The errors that it raises are in `etcdlab.errors`.
"""

TYPE_CHECKING = False  # typing's own takes 9 ms to import, and the daemon's interpreter is started after this
if TYPE_CHECKING:
    from etcdlab.lab import Lab
    from etcdlab.member import Member
    from etcdlab.model.topology import Topology
    from etcdlab.prepare.config import load_topology

__version__ = "0.1.0"

__all__ = ["Lab", "Member", "Topology", "__version__", "load_topology"]

_HOMES = {
    "Lab": "etcdlab.lab",
    "Member": "etcdlab.member",
    "Topology": "etcdlab.model.topology",
    "load_topology": "etcdlab.prepare.config",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used: no verb and no user pays for what they do not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
