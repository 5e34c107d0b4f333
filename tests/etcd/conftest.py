"""Releases of etcd on loopback, and a cache for what is installed of them."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

VERSION = "3.5.99"
LINUX = f"etcd-v{VERSION}-linux-amd64"


class Releases:
    """A server of releases on loopback: `files` by path, and `requests`, the paths asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.promise = 0
        self.stall = threading.Event()
        self.stall.set()
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                releases.requests.append(self.path)
                content = releases.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                longer = releases.promise if "SHA256SUMS" not in self.path else 0
                self.send_header("Content-Length", str(len(content) + longer))
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()
                if longer:
                    releases.stall.wait()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def offer(self, content: bytes, *, name: str = f"{LINUX}.tar.gz", listed: str | None = None) -> None:
        """Publish an archive, and the sum of it or of what is `listed`."""
        digest = listed or hashlib.sha256(content).hexdigest()
        self.files[f"/v{VERSION}/{name}"] = content
        self.files[f"/v{VERSION}/SHA256SUMS"] = f"{'0' * 64}  other.tar.gz\n{digest}  {name}\n".encode()


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    """Where releases come from, for a 64-bit PC with Linux."""
    server = Releases()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("ETCDLAB_RELEASE_URL", f"{server.url}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    yield server
    server.stall.set()
    server.server.shutdown()
    thread.join()
    server.server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of etcdlab's own."""
    monkeypatch.setenv("ETCDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
