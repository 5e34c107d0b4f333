"""Defects of leaves as a daemon has them: in their time, in the journal, and in the next daemon."""

import contextlib

import pytest
import trio

from etcdlab.errors import CertificateError, LabStateError
from etcdlab.model.certificate import AuthorityPlan, Defect, KeyType, PkiPlan, Subject
from etcdlab.model.event import EventKind
from etcdlab.runtime import certificates
from etcdlab.runtime.certificates import Certificates
from etcdlab.runtime.journal import Journal, read

pytestmark = pytest.mark.trio
BOUND_S = 30


class Files:
    """In the place of real files: what was done, and what cannot be."""

    def __init__(self, monkeypatch):
        self.done = []
        self.failures = 0
        monkeypatch.setattr(certificates, "_inject", self._inject)
        monkeypatch.setattr(certificates, "_renew", lambda _, stem: self.done.append((stem, "renewed")))
        monkeypatch.setattr(certificates, "_heal", self._heal)

    def _inject(self, _, stem, defect):
        self.done.append((stem, defect))
        return "1a"

    def _heal(self, _, stem):
        if self.failures:
            self.failures -= 1
            raise CertificateError("the disk is full")
        self.done.append((stem, None))


@pytest.fixture
def files(monkeypatch):
    return Files(monkeypatch)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "events.jsonl"


@contextlib.asynccontextmanager
async def supervised(path, *, tls=True):
    authority = AuthorityPlan(subject=Subject(), key=KeyType.ECDSA_P256, lifetime_s=1)
    journal = Journal(path)
    kept = Certificates(PkiPlan(directory="/pki", authority=authority, certificates=()) if tls else None, journal)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.run)
            yield kept
            nursery.cancel_scope.cancel()
    journal.close()


def told(path):
    return [(event.kind, event.detail["text"]) for event in read(path)]


async def wait_whole(kept):
    while kept.defects:
        await kept._changed.wait()


async def test_they_are_there_when_it_is_said_and_in_the_journal(files, journal):
    async with supervised(journal) as kept:
        await kept.inject(["peer-n1", "server-n1"], Defect.EXPIRED, for_s=None)
        await kept.inject(["peer-n1"], Defect.WRONG_SAN, for_s=None)
        assert {(one.stem, one.defect) for one in kept.defects} == {
            ("peer-n1", Defect.WRONG_SAN),
            ("server-n1", Defect.EXPIRED),
        }
        await kept.heal(["peer-n1"])
        await kept.heal()
        assert kept.defects == ()
    assert files.done[-2:] == [("peer-n1", None), ("server-n1", None)]
    assert told(journal) == [
        (EventKind.FAULT_INJECTED, "expired certificate peer-n1"),
        (EventKind.FAULT_INJECTED, "expired certificate server-n1"),
        (EventKind.FAULT_INJECTED, "wrong-san certificate peer-n1"),
        (EventKind.FAULT_HEALED, "wrong-san certificate peer-n1"),
        (EventKind.FAULT_HEALED, "expired certificate server-n1"),
    ]


async def test_each_is_healed_in_its_time(files, journal):
    async with supervised(journal) as kept:
        await kept.inject(["client"], Defect.EXPIRED, for_s=500)
        await kept.inject(["peer-n1"], Defect.EXPIRED, for_s=0.05)
        while len(kept.defects) == 2:
            await kept._changed.wait()
        assert [one.stem for one in kept.defects] == ["client"]
    assert (EventKind.FAULT_INJECTED, "expired certificate peer-n1 for 0.05 s") in told(journal)


@pytest.mark.parametrize("for_s", [0.05, None])
async def test_the_next_daemon_goes_on_with_them(files, journal, for_s):
    async with supervised(journal) as kept:
        await kept.inject(["peer-n1"], Defect.EXPIRED, for_s=for_s)
        before = kept.defects
    async with supervised(journal) as kept:
        assert kept.defects == before
        if for_s is None:
            await kept.heal()
        await wait_whole(kept)
    assert files.done[-1] == ("peer-n1", None)


async def test_what_cannot_be_healed_is_tried_again(files, journal, monkeypatch, caplog):
    monkeypatch.setattr(certificates, "RETRY_S", 0.001)
    files.failures = 2
    async with supervised(journal) as kept:
        await kept.inject(["peer-n1"], Defect.EXPIRED, for_s=0.01)
        await wait_whole(kept)
    assert [record.message for record in caplog.records] == ["the disk is full"] * 2


async def test_a_renewed_one_has_no_defect(files, journal):
    async with supervised(journal) as kept:
        await kept.inject(["peer-n1"], Defect.EXPIRED, for_s=None)
        await kept.renew(["peer-n1", "client"])
        assert kept.defects == ()
    assert files.done[-3:] == [("peer-n1", None), ("peer-n1", "renewed"), ("client", "renewed")]
    renewed = [event.detail for event in read(journal) if event.kind is EventKind.CERTIFICATE_RENEWED]
    assert renewed == [{"leaf": "peer-n1"}, {"leaf": "client"}]


async def test_without_tls_there_is_nothing_to_spoil(files, journal):
    async with supervised(journal, tls=False) as kept:
        with pytest.raises(LabStateError, match="without TLS"):
            await kept.inject(["peer-n1"], Defect.EXPIRED, for_s=None)
        with pytest.raises(LabStateError, match="without TLS"):
            await kept.renew(["peer-n1"])
        await kept.heal()
