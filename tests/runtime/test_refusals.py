"""Refused handshakes of peers, as lines of members' logs tell of them."""

import pytest
import trio

from etcdlab.runtime.refusals import RECENT_S, Refusals

pytestmark = pytest.mark.trio
REFUSED = b'{"msg":"rejected connection on peer endpoint","error":"tls: failed to verify certificate: x509: expired"}'


async def test_who_was_dialled_is_named_for_a_while(autojump_clock):
    refusals = Refusals()
    assert refusals.problem() == ""
    refusals.on_line("n3", REFUSED)
    await trio.sleep(RECENT_S - 1)
    refusals.on_line("n2", REFUSED)
    assert refusals.problem().startswith("handshakes of peers with n2, n3 fail, within the last 10 s")
    await trio.sleep(2)
    assert refusals.problem().startswith("handshakes of peers with n2 fail")
    await trio.sleep(RECENT_S)
    assert refusals.problem() == ""


@pytest.mark.parametrize(
    "line",
    [
        b'{"msg":"rejected connection on client endpoint","error":"tls: bad certificate"}',
        b'{"msg":"rejected connection on peer endpoint","error":"EOF"}',
        b'{"msg":"lost TCP streaming connection","error":"tls: bad certificate"}',
    ],
)
async def test_what_is_no_such_refusal(line):
    refusals = Refusals()
    refusals.on_line("n1", line)
    assert refusals.problem() == ""
