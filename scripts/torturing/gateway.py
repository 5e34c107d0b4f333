"""etcd as the writing client uses it: puts and linearizable reads over the JSON gateway, on one kept connection."""

import base64
import contextlib
import http.client
import ssl
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from etcdlab.etcd import api
from etcdlab.model.plan import Plan

PAGE: Final = 5000
Answer = TypeVar("Answer")


class Unanswered(Exception):
    """Whether it was done is not known."""


class _Pair(msgspec.Struct, frozen=True):
    key: str
    mod_revision: int


class _Pairs(msgspec.Struct, frozen=True):
    kvs: tuple[_Pair, ...] = ()
    more: bool = False


class Gateway:
    """One member, asked as a client."""

    def __init__(self, url: str, context: ssl.SSLContext | None, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.url: Final = url
        self._connection = (
            http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
            if context is None
            else http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=context)
        )

    def put(self, key: str, value: str) -> int:
        """Write; the revision that it got. Raises Unanswered."""
        return self._ask("/v3/kv/put", {"key": _encoded(key), "value": _encoded(value)}, api.Answered).header.revision

    def read(self, first: str, end: str) -> dict[str, int]:
        """The keys from `first` up to, not including, `end`, with their revisions: linearizable. Raises Unanswered."""
        found: dict[str, int] = {}
        while True:
            body = {"key": _encoded(first), "range_end": _encoded(end), "limit": PAGE, "keys_only": True}
            page = self._ask("/v3/kv/range", body, _Pairs)
            found |= {base64.b64decode(pair.key).decode(): pair.mod_revision for pair in page.kvs}
            if not page.more:
                return found
            first = max(found) + "\0"

    def close(self) -> None:
        """Give up the connection; the next call makes another."""
        self._connection.close()

    def _ask(self, target: str, body: dict[str, Any], kind: type[Answer]) -> Answer:
        try:
            self._connection.request("POST", target, msgspec.json.encode(body))
            answer = self._connection.getresponse()
            return api.decode(answer.status, answer.read(), kind)
        except (OSError, http.client.HTTPException, api.GatewayError) as error:
            with contextlib.suppress(OSError):
                self.close()
            raise Unanswered(f"{self.url}{target}: {error}") from error


def gateways(plan: Plan, *, timeout_s: float) -> list[Gateway]:
    """All voting members of a lab."""
    context = None
    if plan.tls is not None:
        context = ssl.create_default_context(cafile=plan.tls.ca)
        context.load_cert_chain(plan.tls.gateway.certificate, plan.tls.gateway.private_key)
    return [Gateway(url, context, timeout_s=timeout_s) for url in plan.endpoints]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
