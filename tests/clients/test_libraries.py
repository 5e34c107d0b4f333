"""`kwargs_for` is right when the library can do everything with it: each installed one, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from etcdlab import Lab
from etcdlab.export.clients import CA_VARIABLES
from tests.clients.drivers import LIBRARIES, Driver, Etcd3Gateway

pytestmark = pytest.mark.etcd
TIMEOUT_S = 20

SPECIAL = {"etcd3": {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}}
"""etcd3 0.12 was generated with a protobuf of 2020, which today's refuses unless it is told to do it in Python."""


def run(lab: Lab, kind: type[Driver], **changed: str) -> None:
    if not kind.is_installed():
        pytest.skip(f"{kind.name} is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in CA_VARIABLES}
    home = str(lab.directory.path.parent)
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients.drivers", kind.name],
        env=environment | {"ETCDLAB_HOME": home, "ETCDLAB_LAB": lab.name} | SPECIAL.get(kind.name, {}) | changed,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [kind for kind in LIBRARIES if kind.has_tls], ids=lambda kind: kind.name)
def test_over_mutual_tls(lab, kind):
    run(lab, kind)


@pytest.mark.parametrize("kind", LIBRARIES, ids=lambda kind: kind.name)
def test_over_plain_http(plain_lab, kind):
    run(plain_lab, kind)


def test_etcd3gw_whatever_ca_the_environment_names(lab):
    run(lab, Etcd3Gateway, **dict.fromkeys(CA_VARIABLES, os.devnull))


def test_grpc_credentials(lab):
    grpc = pytest.importorskip("grpc")
    credentials = grpc.ssl_channel_credentials(**lab.kwargs_for("grpc"))
    with grpc.secure_channel(urlsplit(lab.endpoints[0]).netloc, credentials) as channel:
        grpc.channel_ready_future(channel).result(timeout=TIMEOUT_S)


def test_httpx(lab, plain_lab):
    httpx = pytest.importorskip("httpx")
    for each in (lab, plain_lab):
        with httpx.Client(**each.kwargs_for("httpx")) as client:
            assert client.post("/v3/maintenance/status", json={}).raise_for_status().json()["version"]


def test_requests_whatever_ca_the_environment_names(lab, plain_lab, monkeypatch):
    requests = pytest.importorskip("requests")
    for variable in CA_VARIABLES:
        monkeypatch.setenv(variable, os.devnull)
    for each in (lab, plain_lab):
        answer = requests.post(
            f"{each.endpoints[0]}/v3/maintenance/status", json={}, timeout=TIMEOUT_S, **each.kwargs_for("requests")
        )
        assert answer.json()["version"]
