"""The document describes what is served, no more and no less, and the answers are as described."""

import json

import msgspec
import pytest

from etcdlab.control import wire
from etcdlab.control.api import Api
from etcdlab.control.wire import Index
from tests.control.fake import FakeSupervisor

pytestmark = pytest.mark.trio


NODES = b'{"nodes":["n1"]}'
BODIES = {
    wire.NodesRequest: NODES,
    wire.ForceableRequest: NODES,
    wire.HoldRequest: NODES,
    wire.KillRequest: NODES,
    wire.DefectRequest: b'{"leaves":["server-n1"],"defect":"expired"}',
    wire.RenewRequest: b'{"leaves":["server-n1"]}',
    wire.DamageRequest: b'{"node":"n1"}',
    wire.QuotaRequest: b'{"nodes":["n1"],"quota":65536}',
    wire.RepairRequest: b'{"node":"n1"}',
    wire.ChaosRequest: b'{"entry":{"type":"refused","run":"1","number":1,"text":"kill n1","why":"quorum"}}',
    wire.LeaderRequest: b'{"node":"n1"}',
    wire.InjectRequest: b'{"links":[{"source":"n1","target":"clients"}],"fault":{"type":"delay","delay_s":0.03}}',
}


@pytest.fixture
async def document(lab):
    return json.loads((await lab.ask("GET", "/v1/openapi.json")).content)


def references(value):
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


async def test_every_route_of_the_index_is_described_and_no_other(lab, document):
    index = msgspec.json.decode((await lab.ask("GET", "/v1")).content, type=Index)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in index.routes}


async def test_the_document_is_whole(document):
    assert document["openapi"] == "3.1.0"
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= schemas
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert "default" in operation["responses"]


async def test_requests_are_described(document):
    stop = document["paths"]["/v1/stop"]["post"]["requestBody"]
    assert stop["required"]
    assert stop["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/HoldRequest"}
    assert not document["paths"]["/v1/shutdown"]["post"]["requestBody"]["required"]
    parameters = {parameter["name"]: parameter for parameter in document["paths"]["/v1/logs"]["get"]["parameters"]}
    assert set(parameters) == {"node", "lines", "follow"}
    assert parameters["node"]["schema"]["type"] == "array"
    assert parameters["lines"]["schema"]["minimum"] == 0


@pytest.mark.parametrize(
    "operation", Api(FakeSupervisor()).operations, ids=lambda operation: f"{operation.method}-{operation.path}"
)
async def test_every_answer_is_what_is_described(lab, document, operation):
    body = BODIES.get(operation.takes, b"") if operation.method == "POST" else b""
    answer = await lab.ask(operation.method, operation.path, body)
    described = document["paths"][operation.path][operation.method.lower()]["responses"][str(answer.status)]
    assert answer.headers["content-type"] in described["content"]
    if operation.stream:
        # Chunked: the sizes are on lines of their own.
        lines = [line for line in answer.content.splitlines() if line.startswith(b"{")]
        assert len(lines) >= 3
    else:
        lines = [answer.content]
    for line in lines:
        msgspec.json.decode(line, type=operation.answer)
