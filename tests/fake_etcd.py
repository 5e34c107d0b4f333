"""A member that does as it is told: what the supervisor sees of etcd, without etcd's time and rules.

Run as a script. It serves `/health` on its metrics port and the gateway's status on its client port, and logs that it
serves its peers. What it is asked to do wrong is in its arguments.
"""

import argparse
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen-peer-urls", required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("--client-port", type=int, required=True)
    parser.add_argument("--cluster-id", required=True)
    parser.add_argument("--member-id", required=True)
    parser.add_argument("--leader-id", required=True)
    parser.add_argument("--never-healthy", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--exit", type=int)
    options = parser.parse_args()
    if options.exit is not None:
        sys.exit(options.exit)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.ignore_sigterm else signal.SIG_DFL)
    (options.data_dir / "member" / "wal").mkdir(parents=True, exist_ok=True)
    ids = {"cluster_id": int(options.cluster_id, 16), "member_id": int(options.member_id, 16)}
    status = {"header": ids, "leader": int(options.leader_id, 16), "raftTerm": 2, "version": "3.5.16"}
    health = {"health": str(not options.never_healthy).lower()}
    serve(options.client_port, status)
    serve(options.metrics_port, health)
    print('{"level":"info","msg":"serving peer traffic"}', flush=True)  # noqa: T201 - as etcd does
    signal.pause()


def serve(port: int, answer: dict[str, Any]) -> None:
    """Answer every request on `port` with this JSON, in threads."""
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever, daemon=True).start()


if __name__ == "__main__":
    main()
