"""Ports: chosen, held across processes, left to etcd, and whose a taken one is."""

import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from etcdlab.errors import PortTakenError
from etcdlab.prepare import ports as module
from etcdlab.prepare.ports import LOOPBACK, LOWEST, Ports, ephemeral_start, holder, is_free

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a chosen port is not held")


@contextlib.contextmanager
def listening(host: str = LOOPBACK, port: int = 0, family: int = socket.AF_INET) -> Iterator[int]:
    """Listen as Go programs do, etcd among them."""
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen()
        yield listener.getsockname()[1]


def can_bind(port: int) -> bool:
    """Whether the port is free for somebody who wants it alone."""
    with socket.socket() as other:
        try:
            other.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@pytest.fixture
def same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin to choose at the same port each time."""
    start = random.randrange(1000)
    monkeypatch.setattr(random, "randrange", lambda _: start)


def test_ports_are_chosen_below_the_ephemeral_range_and_never_twice() -> None:
    with Ports() as ports:
        chosen = [ports.choose() for _ in range(100)]
    assert len(set(chosen)) == 100
    assert all(LOWEST <= port < max(ephemeral_start(), LOWEST + 1000) for port in chosen)


def test_chosen_ports_differ_from_time_to_time() -> None:
    chosen = set()
    for _ in range(10):
        with Ports() as ports:
            chosen.add(ports.choose())
    assert len(chosen) > 1


@pytest.mark.usefixtures("same_place")
def test_ports_of_other_labs_are_avoided() -> None:
    with Ports() as ports:
        first = [ports.choose() for _ in range(3)]
    with Ports(avoid=first[:2]) as ports:
        assert ports.choose() not in first[:2]
        assert ports.claim(first[0]) == first[0], "a topology may name it all the same"


@linux_only
def test_a_held_port_is_left_to_etcd_and_to_nobody_else() -> None:
    with Ports() as ports:
        port = ports.choose()
        assert not can_bind(port)
        with listening(port=port), pytest.raises(PortTakenError):
            Ports().claim(port)
    assert can_bind(port)


@linux_only
def test_a_claimed_port_is_held_too() -> None:
    with listening() as port:
        pass
    with Ports() as ports:
        assert ports.claim(port) == port
        assert not can_bind(port)
        with listening(port=port):
            pass
    assert can_bind(port)


CHOOSE_30 = f"""
import json, random, sys
random.randrange = lambda _: int(sys.argv[1])
sys.path.insert(0, {str(Path(module.__file__).parents[2])!r})
from etcdlab.prepare.ports import Ports
with Ports() as ports:
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([ports.choose() for _ in range(30)]), flush=True)
    sys.stdin.readline()
"""


@linux_only
def test_processes_that_choose_at_once_never_choose_the_same() -> None:
    """All try the same ports in the same order, which is the worst case."""
    with contextlib.ExitStack() as stack:
        start, children = str(random.randrange(1000)), []
        for _ in range(4):
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CHOOSE_30, start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(child.kill)
            children.append(child)
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        chosen = [json.loads(child.stdout.readline()) for child in children if child.stdout]
        for child in children:
            child.communicate("end\n")
    together = list(itertools.chain.from_iterable(chosen))
    assert len(together) == len(set(together)) == 120


CLAIM = f"""
import sys
sys.path.insert(0, {str(Path(module.__file__).parents[2])!r})
from etcdlab.errors import PortTakenError
from etcdlab.prepare.ports import Ports
with Ports() as ports:
    print("ready", flush=True)
    port = int(sys.stdin.readline())
    try:
        ports.claim(port)
        print("won", flush=True)
    except PortTakenError as error:
        print(error, flush=True)
    sys.stdin.readline()
"""


@linux_only
def test_of_processes_that_claim_one_port_at_once_one_wins_and_is_named_to_the_others() -> None:
    with Ports() as ports:
        port = ports.choose()
    with contextlib.ExitStack() as stack:
        children = []
        for _ in range(4):
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(child.kill)
            children.append(child)
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write(f"{port}\n")
            child.stdin.flush()
        said = {child.pid: child.stdout.readline().strip() for child in children if child.stdout}
        [winner] = [pid for pid, word in said.items() if word == "won"]
        reason = f"port {port} on 127.0.0.1 is taken by another lab that is just being started (pid {winner})"
        assert sorted(said.values()) == [reason] * 3 + ["won"]
        for child in children:
            child.communicate("end\n")
    with Ports() as ports:
        assert ports.claim(port) == port


@linux_only
def test_a_port_that_one_lab_has_chosen_is_not_anothers_to_claim_nor_the_other_way_round() -> None:
    with Ports() as ports:
        chosen = ports.choose()
        with pytest.raises(PortTakenError, match=rf"just being started \(pid {os.getpid()}\)"):
            Ports().claim(chosen)
    with Ports() as ports:
        ports.claim(chosen)
        assert Ports()._hold(chosen, exclusively=True) is not None


@linux_only
def test_a_reservation_dies_with_its_process() -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHOOSE_30, "500"], input="go\nend\n", capture_output=True, text=True, check=True
    )
    port = json.loads(child.stdout.splitlines()[1])[0]
    with Ports() as ports:
        assert ports.claim(port) == port


def test_a_taken_port_names_its_holder() -> None:
    with listening() as port, pytest.raises(PortTakenError) as caught:
        Ports().claim(port)
    own = f"{psutil.Process().name()} (pid {os.getpid()})"
    assert caught.value.message == f"port {port} on 127.0.0.1 is taken by {own}"
    assert "give another port" in caught.value.hint


@pytest.mark.parametrize(("host", "family"), [("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)])
@pytest.mark.usefixtures("same_place")
def test_a_listener_on_all_addresses_has_the_port_too(host: str, family: int) -> None:
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Ports() as ports:
        free = ports.choose()
    with listening(host, free, family):
        with pytest.raises(PortTakenError, match=rf"\(pid {os.getpid()}\)"):
            Ports().claim(free)
        with Ports() as ports:
            assert ports.choose() != free


def test_an_end_of_a_connection_has_its_port_too() -> None:
    with listening() as port, socket.create_connection((LOOPBACK, port)) as connection:
        own = connection.getsockname()[1]
        # Not this process for certain: somebody else's connection to another port may have the same number.
        with pytest.raises(PortTakenError, match=r"is taken by .+ \(pid \d+\)"):
            Ports().claim(own)


@linux_only
def test_a_port_that_its_lab_used_a_moment_ago_can_be_claimed() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as connection:
            server.accept()[0].close()  # it closes first, so that its end is left in TIME_WAIT
            assert connection.recv(1) == b""
    assert not can_bind(port)
    with Ports() as ports:
        assert ports.claim(port) == port


def test_when_no_port_is_free_it_says_so() -> None:
    end = max(ephemeral_start(), LOWEST + 1000)
    with pytest.raises(PortTakenError, match=f"no port between {LOWEST} and {end - 1} is free"):
        Ports(avoid=range(LOWEST, end)).choose()


def test_a_port_that_only_root_may_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.socket, "socket", Refused)
    with pytest.raises(PortTakenError, match=r"port 80 on \S+ is for privileged users only"):
        Ports().claim(80)


def test_the_holder_may_be_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> list[object]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert holder(1) == "another process (of another user, or in another container)"


@linux_only
def test_a_reservation_that_ends_while_its_holder_is_looked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reservation = contextlib.ExitStack()
    port = reservation.enter_context(Ports()).choose()

    def look(kind: str) -> list[object]:
        reservation.close()
        return []

    monkeypatch.setattr(psutil, "net_connections", look)
    assert holder(port) == f"another lab that is just being started (pid {os.getpid()})"


def test_the_ephemeral_range_is_the_kernels_or_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "40000\t60999\n")
    assert ephemeral_start() == 40000

    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert ephemeral_start() == 32768


def test_a_port_is_free_for_etcd_when_nobody_listens_on_it():
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
