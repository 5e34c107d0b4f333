"""A member as a client has it: asked over etcd's JSON gateway, on one kept connection. Blocks."""

import base64
import contextlib
import http.client
import ssl
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from etcdlab.etcd import api
from etcdlab.model.plan import Plan

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """Whether it was done is not known."""


class Gateway:
    """One member. `timeout_s` bounds each wait for it, in seconds."""

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
        return self.ask("/v3/kv/put", {"key": encoded(key), "value": encoded(value)}, api.Answered).header.revision

    def ask(self, target: str, body: Mapping[str, Any], kind: type[Answer]) -> Answer:
        """Any request. Raises Unanswered, also for a refusal."""
        try:
            self._connection.request("POST", target, msgspec.json.encode(body))
            answer = self._connection.getresponse()
            return api.decode(answer.status, answer.read(), kind)
        except (OSError, http.client.HTTPException, api.GatewayError) as error:
            with contextlib.suppress(OSError):
                self.close()
            raise Unanswered(f"{self.url}{target}: {error}") from error

    def close(self) -> None:
        """Give up the connection; the next call makes another."""
        self._connection.close()


def client_context(plan: Plan) -> ssl.SSLContext | None:
    """As whom the gateways of a lab are asked; None without TLS."""
    if plan.tls is None:
        return None
    context = ssl.create_default_context(cafile=plan.tls.ca)
    context.load_cert_chain(plan.tls.gateway.certificate, plan.tls.gateway.private_key)
    return context


def encoded(text: str) -> str:
    """As the gateway takes keys and values."""
    return base64.b64encode(text.encode()).decode()
