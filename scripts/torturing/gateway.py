"""Linearizable reads of all that was written, beside the product's own puts."""

import base64
from typing import Final

import msgspec

from etcdlab.gateway import Gateway, client_context, encoded
from etcdlab.model.plan import Plan

PAGE: Final = 5000


class _Pair(msgspec.Struct, frozen=True):
    key: str
    mod_revision: int


class _Pairs(msgspec.Struct, frozen=True):
    kvs: tuple[_Pair, ...] = ()
    more: bool = False


def gateways(plan: Plan, *, timeout_s: float) -> list[Gateway]:
    """All voting members of a lab."""
    context = client_context(plan)
    return [Gateway(url, context, timeout_s=timeout_s) for url in plan.endpoints]


def read(gateway: Gateway, first: str, end: str) -> dict[str, int]:
    """The keys from `first` up to, not including, `end`, with their revisions: linearizable. Raises Unanswered."""
    found: dict[str, int] = {}
    while True:
        body = {"key": encoded(first), "range_end": encoded(end), "limit": PAGE, "keys_only": True}
        page = gateway.ask("/v3/kv/range", body, _Pairs)
        found |= {base64.b64decode(pair.key).decode(): pair.mod_revision for pair in page.kvs}
        if not page.more:
            return found
        first = max(found) + "\0"
