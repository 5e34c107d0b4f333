"""What members' logs tell of refused handshakes; the words are etcd's 3.5.16, with Go 1.24."""

import datetime
import json
from pathlib import Path

import msgspec
import pytest

from etcdlab.check.refusals import refusals
from etcdlab.check.report import Port
from etcdlab.model.certificate import Defect
from etcdlab.model.event import Event, EventKind
from etcdlab.model.topology import Leaves, TlsTable, Topology
from etcdlab.pki import inspect, store
from etcdlab.pki.files import certificate_file
from etcdlab.pki.roles import plan_pki
from tests.plans import make_plan

NOW = datetime.datetime(2026, 11, 25, 17, 0, tzinfo=datetime.UTC)
EXPIRED = (
    "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: "
    "current time 2026-11-25T17:00:00Z is after 2026-11-24T18:08:00Z"
)
NOT_YET = EXPIRED.replace("is after", "is before")
FOREIGN = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
ALERT = "remote error: tls: bad certificate"


class Lab:
    """A lab's files: logs that tests write, a journal, real certificates."""

    def __init__(self, directory: Path, topology: Topology) -> None:
        self.topology = topology
        self.plan = make_plan(directory, nodes=3)
        self.pki = plan_pki(topology, directory / "pki", directory)
        store.create(self.pki)
        self.events = []
        for node in self.plan.nodes:
            Path(node.directory).mkdir(parents=True, exist_ok=True)

    def log(self, member, error, *, port="peer", at=0.0, message=None):
        time = (NOW + datetime.timedelta(seconds=at)).isoformat()
        said = {"level": "warn", "ts": time, "msg": message or f"rejected connection on {port} endpoint"}
        line = json.dumps(
            {**said, "remote-addr": "127.0.0.1:1", "server-name": "", "error": error}, separators=(",", ":")
        )
        node = next(node for node in self.plan.nodes if node.name == member)
        with Path(node.log).open("a") as file:
            file.write(f"{line}\n")

    def tell(self, kind, at=0.0, **detail):
        time = (NOW + datetime.timedelta(seconds=at)).isoformat()
        event = Event(seq=len(self.events) + 1, time=time, monotonic_s=at, kind=kind, detail=detail)
        self.events.append(event)

    def spoil(self, stem, defect, at=0.0):
        self.tell(EventKind.FAULT_INJECTED, at, leaf=stem, defect=defect.value, serial="1a", since_s=0.0)

    def heal(self, stem, defect, at):
        self.tell(EventKind.FAULT_HEALED, at, leaf=stem, defect=defect.value, serial="1a", since_s=0.0)

    def serial(self, stem):
        return inspect.describe(certificate_file(Path(self.pki.directory), stem), at=NOW).serial

    def not_after(self, stem):
        return inspect.describe(certificate_file(Path(self.pki.directory), stem), at=NOW).not_after

    def refusals(self, since=None):
        return refusals(self.plan, self.topology, self.pki, self.events, since=since)

    def texts(self):
        return [one.text for one in self.refusals()]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, Topology(name="demo", nodes=3))


def test_who_presented_what_to_whom(lab):
    lab.spoil("peer-n2", Defect.EXPIRED)
    for second in range(3):
        lab.log("n1", EXPIRED, at=second)
    [one] = lab.refusals()
    assert one.text == "n2 presented peer-n2 (serial 1a), expired at 2026-11-24T18:08:00Z, to n1"
    assert (one.member, one.port, one.presenters, one.reason) == ("n1", Port.PEER, ("n2",), Defect.EXPIRED)
    assert (one.count, one.first, one.last) == (3, NOW, NOW + datetime.timedelta(seconds=2))


def test_where_several_fit_all_are_named_and_where_none_does_nobody(lab):
    lab.log("n3", EXPIRED, at=-10)
    lab.spoil("peer-n1", Defect.EXPIRED)
    lab.spoil("peer-n2", Defect.EXPIRED)
    lab.spoil("peer-n3", Defect.EXPIRED)
    lab.spoil("client", Defect.EXPIRED)
    lab.log("n3", EXPIRED)
    lab.heal("peer-n1", Defect.EXPIRED, 20)
    lab.log("n3", EXPIRED, at=30)
    lab.tell(EventKind.LAB_STOPPED, 40)
    lab.log("n3", EXPIRED.replace("18:08", "18:09"), at=50)
    assert lab.texts() == [
        "somebody presented a certificate, expired at 2026-11-24T18:09:00Z, to n3",
        "n2 presented peer-n2 (serial 1a), expired at 2026-11-24T18:08:00Z, to n3",
        "n1 or n2 presented peer-n1 (serial 1a) or peer-n2 (serial 1a), expired at 2026-11-24T18:08:00Z, to n3",
        "somebody presented a certificate, expired at 2026-11-24T18:08:00Z, to n3",
    ]
    assert [one.presenters for one in lab.refusals()] == [(), ("n2",), ("n1", "n2"), ()]


def test_a_certificate_that_ends_by_itself_is_told_by_its_end(lab):
    end = lab.not_after("client")
    lab.log("n1", EXPIRED.replace("2026-11-24T18:08:00Z", end), port="client")
    serials = [f"{stem} (serial {lab.serial(stem)})" for stem in ("client", "gateway", "server-n1")]
    who = "client or gateway or n1's gateway"
    assert lab.texts() == [f"{who} presented {' or '.join(serials)}, expired at {end}, to n1"]


@pytest.mark.parametrize("since_healed", [False, True])
def test_a_revoked_one_is_told_by_its_number(lab, since_healed):
    number = lab.serial("peer-n2")
    if not since_healed:
        lab.spoil("peer-n2", Defect.REVOKED)
    lab.log("n1", f"transport: certificate serial 0{number} revoked")
    [one] = lab.refusals()
    assert one.presenters == ("n2",)
    assert one.text.endswith(", revoked, to n1")


OTHER_CA = "of a CA that is not the lab's"
NO_KEY, NONE_SHOWN = "tls: private key does not match public key", "tls: client didn't provide a certificate"


@pytest.mark.parametrize(
    ("port", "stem", "error", "text"),
    [
        ("client", None, ALERT, "n1 presented server-n1 (serial {}) to a client: bad certificate"),
        ("peer", None, ALERT, "n1 presented peer-n1 (serial {}) to another member: bad certificate"),
        ("peer", "peer-n1", ALERT, f"n1 presented peer-n1 (serial 1a), {OTHER_CA}, to another member: bad certificate"),
        ("client", "client", FOREIGN, f"client presented client (serial 1a), {OTHER_CA}, to n1"),
        ("client", "server-n1", FOREIGN, f"n1's gateway presented server-n1 (serial 1a), {OTHER_CA}, to n1"),
        ("client", "server-n2", FOREIGN, f"somebody presented a certificate, {OTHER_CA}, to n1"),
        ("client", None, NO_KEY, "n1 could not present server-n1: it is for another key"),
        ("client", None, NONE_SHOWN, f"somebody dialled n1: {NONE_SHOWN}"),
    ],
)
def test_whose_certificate_was_refused(lab, port, stem, error, text):
    if stem is not None:
        lab.spoil(stem, Defect.UNKNOWN_CA)
    lab.log("n1", error, port=port)
    assert lab.texts() == [text.format(lab.serial("server-n1" if port == "client" else "peer-n1"))]


def test_early_versions_do_not_say_which_port(lab):
    lab.spoil("peer-n2", Defect.NOT_YET_VALID)
    lab.log("n1", NOT_YET, message="rejected connection")
    [one] = lab.refusals()
    assert (one.port, one.presenters) == (None, ("n2",))


def test_what_is_no_refusal_is_left_out_and_what_was_before(lab):
    lab.log("n1", "EOF")
    lab.log("n1", "read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer")
    lab.log("n1", ALERT, message="something else")
    with Path(lab.plan.nodes[1].log).open("a") as file:
        file.write('{"msg":"rejected connection on peer endpoint"\n{"msg":"rejected connection on peer endpoint"}\n')
    lab.log("n1", ALERT)
    assert len(lab.refusals()) == 1
    assert lab.refusals(since=NOW + datetime.timedelta(seconds=1)) == ()


def test_what_members_share_is_any_of_theirs(tmp_path):
    lab = Lab(tmp_path, Topology(name="demo", nodes=3, tls=TlsTable(leaves=Leaves.SHARED)))
    lab.spoil("server", Defect.EXPIRED)
    lab.log("n1", EXPIRED)
    assert lab.refusals()[0].presenters == ("n2", "n3")


def test_a_file_that_cannot_be_read_is_not_needed(lab):
    certificate_file(Path(lab.pki.directory), "peer-n2").write_text("nothing")
    lab.spoil("peer-n2", Defect.EXPIRED)
    lab.log("n1", EXPIRED)
    assert lab.refusals()[0].presenters == ("n2",)
    assert msgspec.json.encode(lab.refusals())
