"""A real lab, and real and pretended members that are weaker than they should be."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdlab.etcd.binaries import find
from etcdlab.lab import Lab
from etcdlab.model.plan import Plan
from etcdlab.model.topology import EtcdTable, Profile, TlsTable, Topology
from etcdlab.pki import store
from etcdlab.prepare.build import build
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import Ports
from etcdlab.up import Request, Watcher, up

FAST = EtcdTable(profile=Profile.FAST)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[LabDirectory]:
    """Three members with mutual TLS. Whoever changes it changes it back."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    home = tmp_path_factory.mktemp("labs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDLAB_HOME", str(home))
        request = Request(topology=Topology(name="secure", nodes=3, etcd=FAST), base=home, explicit=False)
        started = up(request, Watcher(on_event=lambda _: None, on_install=lambda _: None))
    yield started.directory
    Lab(started.directory).down(purge=True)
    started.daemon.wait()


@contextlib.contextmanager
def single_etcd(home: Path, *, without: tuple[str, ...] = (), tls: TlsTable | None = None) -> Iterator[Plan]:
    """One real etcd, started here without the flags that begin with any of `without`."""
    directory = LabDirectory(home / "weak")
    directory.path.mkdir(mode=0o700)
    with Ports() as ports:
        topology = Topology(name="weak", nodes=1, etcd=FAST, tls=tls or TlsTable())
        plan = build(topology, directory=directory, base=home, ports=ports, find=find)
        store.create(plan.pki)
        argv = [argument for argument in plan.nodes[0].argv if not argument.startswith(without)]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        try:
            said = []
            assert any("serving client traffic" in (said.append(line) or line) for line in process.stderr), said
            yield plan
        finally:
            process.kill()
            process.wait()
        process.stderr.close()


class Server:
    """A server of the test's own: for each connection, what `handle` does with it, in a thread."""

    def __init__(self, handle):
        self._handle = handle
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._handle(connection)


def anything_goes(pki: Path):
    """A handler with the lab's certificate that asks for none and takes the oldest TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server-n1.pem", pki / "server-n1-key.pem")
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1

    def handle(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(ANSWER)

    return handle
