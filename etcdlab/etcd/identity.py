"""The ids that etcd derives for a new cluster, so that a lab knows its own members before it has ever asked them.

Source: etcd `server/etcdserver/api/membership`, `computeMemberID` (member.go) and `genID` (cluster.go), the same from
3.4 to 3.7: SHA-1, first eight bytes, big endian. A member added later also hashes the time and cannot be foretold.
"""

import hashlib
from collections.abc import Iterable


def member_id(peer_url: str, token: str) -> str:
    """The id of an initial member, 16 hex digits; `token` is the cluster's `--initial-cluster-token`."""
    return _first_eight_bytes(peer_url.encode() + token.encode())


def cluster_id(member_ids: Iterable[str]) -> str:
    """The id of a cluster with these initial members, 16 hex digits."""
    return _first_eight_bytes(b"".join(sorted(bytes.fromhex(member) for member in member_ids)))


def _first_eight_bytes(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]
