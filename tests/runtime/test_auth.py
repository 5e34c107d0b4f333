"""Turning authentication off, over an etcdctl that tells how it was called."""

import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from etcdlab.model.certificate import AuthorityPlan, KeyType, PkiPlan, Subject
from etcdlab.model.plan import IdentityPlan, Plan
from etcdlab.pki import store
from etcdlab.runtime.auth import AuthError, disable
from tests.plans import make_plan

pytestmark = pytest.mark.trio
URL = "https://127.0.0.1:1"
AUTHORITY = AuthorityPlan(subject=Subject(CN="CA"), key=KeyType.ECDSA_P256, lifetime_s=86400)
FAKE = """#!{python} -I
import os, shutil, sys
from pathlib import Path
settings = sorted(name for name in os.environ if name.startswith("ETCDCTL"))
Path({told!r}).write_text("\\n".join([*sys.argv[1:], *settings]))
for flag in sys.argv[1:]:
    if flag.startswith(("--cert=", "--key=")):
        shutil.copy2(flag.partition("=")[2], {directory!r})
print("Error: oops", file=sys.stderr)
sys.exit({status})
"""


class Etcdctl:
    """A plan whose etcdctl is ours."""

    def __init__(self, tmp_path: Path, *, identities: tuple[IdentityPlan, ...] = (), status: int = 0) -> None:
        program, self._told = tmp_path / "etcdctl", tmp_path / "told"
        self.shown = tmp_path / "shown"
        self.shown.mkdir()
        program.write_text(
            FAKE.format(python=sys.executable, told=str(self._told), directory=str(self.shown), status=status)
        )
        program.chmod(0o700)
        plan = make_plan(tmp_path, etcdctl=str(program))
        assert plan.tls
        pki = PkiPlan(directory=str(Path(plan.tls.ca).parent), authority=AUTHORITY, certificates=())
        self.plan: Plan = msgspec.structs.replace(
            plan, pki=pki, tls=msgspec.structs.replace(plan.tls, identities=identities)
        )

    def flags(self) -> list[str]:
        return self._told.read_text().splitlines()


async def why_not(plan: Plan) -> str:
    with pytest.raises(AuthError) as caught:
        await disable(plan, URL)
    return str(caught.value)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where temporary directories go; at the end there must be none."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield
    assert list(directory.iterdir()) == []


async def test_root_is_issued_by_the_labs_ca_for_the_moment(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "elsewhere")
    etcdctl = Etcdctl(tmp_path)
    store.create(etcdctl.plan.pki)
    await disable(etcdctl.plan, URL)
    assert etcdctl.flags()[-3:] == ["auth", "disable", "ETCDCTL_API"]
    assert f"--endpoints={URL}" in etcdctl.flags()
    certificate = x509.load_pem_x509_certificate((etcdctl.shown / "root.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=root"
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() <= 3600
    certificate.verify_directly_issued_by(store.Authority.load(*authority(etcdctl.plan)).certificate)
    assert (etcdctl.shown / "root-key.pem").stat().st_mode & 0o777 == 0o600


def authority(plan: Plan) -> tuple[Path, Path]:
    directory = Path(plan.pki.directory)
    return directory / "ca.pem", directory / "ca-key.pem"


async def test_an_existing_ca_issues_with_its_own_key(tmp_path):
    theirs = tmp_path / "theirs"
    store.make_ca(theirs, AUTHORITY)
    etcdctl = Etcdctl(tmp_path)
    files = (str(theirs / "ca.pem"), str(theirs / "ca-key.pem"))
    existing = msgspec.structs.replace(AUTHORITY, existing_certificate=files[0], existing_key=files[1])
    pki = msgspec.structs.replace(etcdctl.plan.pki, authority=existing)
    await disable(msgspec.structs.replace(etcdctl.plan, pki=pki), URL)
    assert (etcdctl.shown / "root.pem").exists()


async def test_an_identity_of_root_is_used_as_it_is(tmp_path):
    for name in ("boss.pem", "boss-key.pem"):
        (tmp_path / name).touch()
    boss = IdentityPlan(
        name="boss", cn="root", certificate=str(tmp_path / "boss.pem"), private_key=str(tmp_path / "boss-key.pem")
    )
    etcdctl = Etcdctl(tmp_path, identities=(boss,))
    await disable(etcdctl.plan, URL)
    assert f"--cert={boss.certificate}" in etcdctl.flags()


async def test_the_reasons_why_it_cannot_be_done(tmp_path):
    etcdctl = Etcdctl(tmp_path, status=1)
    assert "no certificate for root could be issued: " in await why_not(etcdctl.plan)
    store.create(etcdctl.plan.pki)
    assert await why_not(etcdctl.plan) == "etcdctl failed with status 1: Error: oops"
    assert "cannot be run" in await why_not(msgspec.structs.replace(etcdctl.plan, etcdctl=str(tmp_path / "none")))
    assert "no etcdctl" in await why_not(msgspec.structs.replace(etcdctl.plan, etcdctl=None))
    assert "root's password" in await why_not(msgspec.structs.replace(etcdctl.plan, tls=None))
