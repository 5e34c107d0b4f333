"""The client against the real server: every method, every kind of error."""

import signal

import pytest
import trio
import trio.testing

from etcdlab.control.client import Client
from etcdlab.control.listener import bind
from etcdlab.errors import (
    BinaryError,
    BootError,
    ControlError,
    EtcdlabError,
    NotRunningError,
    QuorumError,
    TimedOutError,
    TopologyError,
    UnknownMemberError,
    UsageError,
)
from tests.control.fake import HEALED, PLAN, RESET, STATUS, event

pytestmark = pytest.mark.trio


async def test_status_arrives_as_it_was_measured(lab):
    assert await lab.run(lab.client.status) == STATUS


async def test_plan_arrives_as_it_is(lab):
    assert await lab.run(lab.client.plan) == PLAN


@pytest.mark.parametrize(
    ("verb", "args", "kwargs", "call"),
    [
        ("start", [["n1"]], {}, ("start", ("n1",))),
        ("stop", [["n1", "n2"]], {"force": True}, ("stop", ("n1", "n2"), True, None)),
        ("stop", [["n1", "n1"]], {}, ("stop", ("n1",), False, None)),
        ("restart", [["n3"]], {}, ("restart", ("n3",), False)),
        ("kill", [["n2"]], {}, ("kill", ("n2",), signal.SIGKILL, False)),
        ("kill", [["n2"]], {"signal": signal.SIGTERM, "force": True}, ("kill", ("n2",), signal.SIGTERM, True)),
        ("pause", [["n2"]], {"for_s": 2}, ("pause", ("n2",), False, 2)),
        ("move_leader", ["n2"], {}, ("move_leader", "n2")),
        ("resume", [["n2"]], {}, ("resume", ("n2",))),
        ("shutdown", [], {}, ("shutdown", False)),
        ("shutdown", [], {"purge": True}, ("shutdown", True)),
    ],
)
async def test_a_verb_reaches_the_supervisor(lab, verb, args, kwargs, call):
    await lab.run(getattr(lab.client, verb), *args, **kwargs)
    assert lab.supervisor.calls == [call]


async def test_a_reset_says_how_it_was_done(lab):
    assert await lab.run(lab.client.reset) == RESET
    assert lab.supervisor.calls == [("reset",)]


async def test_healing_says_what_was_undone(lab):
    assert await lab.run(lab.client.heal_all) == HEALED
    assert lab.supervisor.calls == [("heal_all",)]


async def test_events_of_the_past_end_by_themselves(lab):
    assert await lab.run(lambda: list(lab.client.events(since=1))) == [event(2), event(3)]


async def test_a_follower_gets_what_comes(lab):
    def follow():
        events = lab.client.events(follow=True)
        first = [next(events).seq for _ in range(3)]
        trio.from_thread.run_sync(grow)
        first.append(next(events).seq)
        events.close()
        return first

    def grow():
        lab.supervisor.journal.append(event(4))
        lab.supervisor.grown.set()

    assert await lab.run(follow) == [1, 2, 3, 4]
    await lab.supervisor.left.wait()


async def test_logs_are_records_of_the_named_members(lab):
    records = await lab.run(lambda: list(lab.client.logs(["n1", "n2"], lines=7)))
    assert lab.supervisor.calls == [("logs", ("n1", "n2"), False, 7)]
    assert [(record["node"], record["msg"]) for record in records] == [
        ("n1", "a"),
        ("n1", "b"),
        ("n2", "a"),
        ("n2", "b"),
    ]


async def test_logs_of_nobody_in_particular_are_everybodys(lab):
    await lab.run(lambda: list(lab.client.logs()))
    assert lab.supervisor.calls == [("logs", ("n1", "n2", "n3"), False, 100)]


@pytest.mark.parametrize(
    "failure",
    [
        UsageError("a", hint="b"),
        TopologyError(["one", "two"], hint="b"),
        BinaryError("a"),
        BootError("a", hint="b"),
        QuorumError("a", hint="b"),
        TimedOutError("a"),
    ],
    ids=lambda failure: failure.code,
)
async def test_a_failure_is_raised_again(lab, failure):
    lab.supervisor.failure = failure
    raised = await lab.refused(lab.client.stop, ["n1"])
    assert type(raised) is type(failure)
    assert (raised.message, raised.hint) == (failure.message, failure.hint)


async def test_an_unknown_member_is_named(lab):
    raised = await lab.refused(lab.client.stop, ["n1", "n9"])
    assert type(raised) is UnknownMemberError
    assert "'n9'" in raised.message
    assert "n1, n2, n3" in raised.message
    assert lab.supervisor.calls == []


async def test_a_bug_is_not_hidden(lab, caplog):
    lab.supervisor.failure = ZeroDivisionError("oops")
    raised = await lab.refused(lab.client.stop, ["n1"])
    assert type(raised) is ControlError
    assert "ZeroDivisionError: oops" in raised.message
    await trio.testing.wait_all_tasks_blocked()
    assert "Traceback" in caplog.text
    assert await lab.run(lab.client.status) == STATUS


async def test_a_daemon_that_is_busy_is_not_waited_for_longer_than_said(lab):
    lab.supervisor.gate = trio.Event()
    raised = await lab.refused(Client(lab.path, timeout_s=0.05).status)
    assert type(raised) is TimedOutError


async def test_a_verb_is_carried_out_though_its_client_left(lab):
    lab.supervisor.gate, lab.supervisor.failure = trio.Event(), UsageError("a")
    await lab.refused(Client(lab.path, timeout_s=0.05).stop, ["n1"])
    await trio.testing.wait_all_tasks_blocked()
    lab.supervisor.gate.set()
    await lab.wait_no_connection()
    assert lab.supervisor.failure is None  # it was raised


async def test_no_socket_means_not_running(tmp_path):
    with pytest.raises(NotRunningError, match="no daemon listens"):
        await trio.to_thread.run_sync(Client(str(tmp_path / "control.sock"), timeout_s=1).status)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", NotRunningError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", NotRunningError),
        (b"SSH-2.0-OpenSSH\r\n", ControlError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ControlError),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops", ControlError),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error_for_people(tmp_path, answer, kind):
    path = str(tmp_path / "control.sock")

    def ask():
        try:
            Client(path, timeout_s=20).status()
        except EtcdlabError as error:
            return error

    with bind(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reply_once, trio.socket.from_stdlib_socket(listener), answer)
            raised = await trio.to_thread.run_sync(ask)
    assert type(raised) is kind
    assert path in raised.message


async def reply_once(listener, answer):
    connection, _ = await listener.accept()
    async with trio.SocketStream(connection) as stream:
        await stream.receive_some()
        await stream.send_all(answer)
