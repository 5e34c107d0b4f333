"""Asking members something over their JSON gateways, each on the connection that its Node keeps."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import trio

from etcdlab.etcd import api
from etcdlab.runtime.http import Endpoint, Unreachable
from etcdlab.runtime.node import Node

_NOT_NOW: Final = (api.UNAVAILABLE, api.UNKNOWN)


class NotDoneError(Exception):
    """What was asked for was not done. The message says why."""


class RefusedError(NotDoneError):
    """A member answered that it will not."""


async def spread(voters: Sequence[Node], calls: Sequence[api.Call]) -> list[Any]:
    """Make independent calls, each on the first connection that is free. Their answers, in the order of the calls."""
    answers: list[Any] = [None] * len(calls)
    pending = iter(enumerate(calls))

    async def work(node: Node) -> None:
        for number, call in pending:
            answers[number] = await ask(node, call)

    await each(voters, work)
    return answers


async def each(nodes: Iterable[Node], act: Callable[[Node], Awaitable[None]]) -> None:
    """Do this with all members at once. Raises the first NotDoneError, when all have ended."""
    failures: list[NotDoneError] = []

    async def one(node: Node) -> None:
        try:
            await act(node)
        except NotDoneError as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(one, node)
    if failures:
        raise failures[0]


async def make(connection: Endpoint, call: api.Call) -> Any:
    """Make a call over this connection; its answer. Raises Unreachable, GatewayError."""
    return api.decode(*await connection.post(call.target, msgspec.json.encode(call.body)), call.kind)


async def ask(node: Node, call: api.Call) -> Any:
    """Ask one member. Raises NotDoneError, RefusedError when it is the member that does not want to."""
    try:
        return await make(node.client, call)
    except Unreachable as error:
        raise NotDoneError(f"{node.name} did not answer {call.target}: {error}") from error
    except api.GatewayError as error:
        if error.code is not None and error.code == call.may_fail:
            return call.kind()
        if error.code in _NOT_NOW:
            raise NotDoneError(f"{node.name} could not do {call.target}: {error}") from error
        raise RefusedError(f"{node.name} refused {call.target}: {error}") from error
