"""Plans of members whose links can have faults."""

import msgspec

from etcdlab.model.plan import LinksPlan, NodePlan
from etcdlab.prepare.ports import Ports


def with_links(node: NodePlan, number: int, ports: Ports) -> NodePlan:
    """The member with ports that are free, behind a fault network."""
    links = LinksPlan(
        address=f"192.0.2.{number}:2380", proxy_port=ports.choose(), own_client_port=ports.choose()
    )  # fmt: skip
    return msgspec.structs.replace(node, links=links, client_port=ports.choose(), peer_port=ports.choose())
