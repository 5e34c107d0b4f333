"""A directory of certificates: which file is where and with which mode, and how a plan becomes files.

The names are cfssljson's: `<stem>.pem`, `<stem>-key.pem`, `<stem>.csr`; the CA's stem is `ca`.
"""

import contextlib
import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from etcdlab import given, ownership
from etcdlab.errors import CertificateError, LabStateError
from etcdlab.interruption import uninterrupted
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, PkiPlan
from etcdlab.ownership import exposure
from etcdlab.pki.authority import Authority, Issued, load_key, make_authority, make_keys
from etcdlab.pki.files import AUTHORITY, all_files, certificate_file, key_file, request_file, revocation_file

_PUBLIC: Final = 0o644
_SECRET: Final = 0o600


def create(plan: PkiPlan) -> None:
    """Make everything that `plan` lists, in a new directory.

    Of an existing CA the certificate is copied, for members must trust it, and its key is not: nothing in a lab needs
    it once the leaves are issued, and whoever keeps a CA wants one copy of its key. Its leaves end with it.

    Raises CertificateError if an existing CA cannot be used, or a file is there already or cannot be written.
    """
    directory = Path(plan.directory)
    now = datetime.datetime.now(datetime.UTC)
    leaves = plan.certificates
    kinds = [leaf.key for leaf in leaves]
    if plan.authority.existing_certificate is not None and plan.authority.existing_key is not None:
        source = Path(plan.authority.existing_certificate)
        authority = Authority.load(source, Path(plan.authority.existing_key))
        leaves = tuple(within(leaf, authority, at=now) for leaf in leaves)
        keys = make_keys(kinds)
        make_directory(directory)
        _write(certificate_file(directory, AUTHORITY), given.read(source), mode=_PUBLIC, replace=False)
    else:
        authority_key, *keys = make_keys([plan.authority.key, *kinds])
        issued = make_authority(plan.authority, authority_key, at=now)
        authority = Authority(issued.certificate, issued.key)
        make_directory(directory)
        write(directory, AUTHORITY, issued)
    write_revocations(directory, authority, ())
    for leaf, key in zip(leaves, keys, strict=True):
        write(directory, leaf.stem, authority.issue(leaf, key, at=now))


def make_ca(directory: Path, plan: AuthorityPlan, *, replace: bool = False) -> Issued:
    """Make a CA in `directory`. Raises CertificateError if there is one (unless `replace`)."""
    if not replace:
        refuse_to_overwrite(directory, AUTHORITY)
    issued = make_authority(plan, make_keys([plan.key])[0], at=datetime.datetime.now(datetime.UTC))
    with uninterrupted():
        make_directory(directory)
        write(directory, AUTHORITY, issued, replace=replace)
    return issued


def within(leaf: CertificatePlan, authority: Authority, *, at: datetime.datetime) -> CertificatePlan:
    """`leaf`, made short enough to end with its CA. Raises CertificateError if the CA has expired."""
    left = (authority.end - at).total_seconds()
    if left <= 0:
        raise CertificateError(f"the CA expired at {authority.end:%Y-%m-%d %H:%M:%S} UTC", hint="Name another CA.")
    return msgspec.structs.replace(leaf, lifetime_s=min(leaf.lifetime_s, left))


def make_directory(directory: Path) -> None:
    """Make `directory`, readable by its owner alone; one that exists stays as it is.

    Raises CertificateError, also for one in which others can put their own CA in the place of ours.
    """
    try:
        ownership.make_directory(directory)
    except OSError as error:
        raise CertificateError(f"the directory {directory} cannot be made: {error.strerror}") from None
    if danger := exposure(directory):
        raise CertificateError(f"the directory {directory} {danger}", hint="Choose a new one, or one of yours.")


def write(directory: Path, stem: str, issued: Issued, *, replace: bool = False) -> None:
    """Write the three files of a certificate. Raises CertificateError if one exists (unless `replace`)."""
    if not replace:
        refuse_to_overwrite(directory, stem)
    with uninterrupted():
        # The key first: whoever waits for the certificate finds its key there.
        _write(key_file(directory, stem), issued.key_pem, mode=_SECRET, replace=replace)
        _write(certificate_file(directory, stem), issued.certificate_pem, mode=_PUBLIC, replace=replace)
        _write(request_file(directory, stem), issued.request_pem, mode=_PUBLIC, replace=replace)


def own_authority(plan: PkiPlan) -> Authority:
    """The CA that a lab made for itself. Raises LabStateError for one that was there before, CertificateError."""
    directory = Path(plan.directory)
    private_key = key_file(directory, AUTHORITY)
    if not private_key.exists():
        raise LabStateError(
            f"nothing can be issued: {private_key} is not there",
            hint="The key of an existing CA is not copied into a lab; a lab that makes its own CA can do this.",
        )
    return Authority.load(certificate_file(directory, AUTHORITY), private_key)


def add_authority(plan: PkiPlan) -> None:
    """Make another CA for a lab, which issues from now on; those it had are trusted beside it.

    Raises LabStateError where the lab has not made its CA, CertificateError if a file cannot be read or written.
    """
    own_authority(plan)
    directory = Path(plan.directory)
    made = make_authority(plan.authority, *make_keys([plan.authority.key]), at=datetime.datetime.now(datetime.UTC))
    trusted = certificate_file(directory, AUTHORITY)
    with uninterrupted():
        # Trusted before anything is issued with its key.
        _write(trusted, made.certificate_pem + given.read(trusted), mode=_PUBLIC, replace=True)
        _write(key_file(directory, AUTHORITY), made.key_pem, mode=_SECRET, replace=True)
        _write(request_file(directory, AUTHORITY), made.request_pem, mode=_PUBLIC, replace=True)
        if revocation_file(directory).exists():
            write_revocations(directory, Authority(made.certificate, made.key), ())


def drop_authorities(plan: PkiPlan) -> None:
    """Trust the CA alone that issues. Raises as `add_authority`."""
    replace_certificate(Path(plan.directory), AUTHORITY, own_authority(plan).certificate)


def renew(plan: PkiPlan, stem: str) -> None:
    """Replace a leaf by one that is as the plan has it, on the same key, and valid from now on.

    Raises LabStateError where the lab's CA cannot issue one, CertificateError if a file cannot be read or written.
    """
    directory, authority = Path(plan.directory), own_authority(plan)
    now = datetime.datetime.now(datetime.UTC)
    leaf = next(leaf for leaf in plan.certificates if leaf.stem == stem)
    renewed = authority.issue(within(leaf, authority, at=now), load_key(key_file(directory, stem)), at=now)
    replace_certificate(directory, stem, renewed.certificate)


def replace_certificate(directory: Path, stem: str, certificate: x509.Certificate) -> None:
    """Put another certificate on the same key in the place of one, all at once. Raises CertificateError.

    etcd reads a leaf and its key at each handshake (etcd 3.4 to 3.6, client/pkg/transport), so it counts from the next
    one on. A handshake between two renames would meet a key that is not the certificate's: so the key stays.
    """
    content = certificate.public_bytes(serialization.Encoding.PEM)
    _write(certificate_file(directory, stem), content, mode=_PUBLIC, replace=True)


def revocations(directory: Path) -> frozenset[int]:
    """The serial numbers of what the CA has revoked; none where there is no list. Raises CertificateError."""
    path = revocation_file(directory)
    try:
        return frozenset(entry.serial_number for entry in x509.load_der_x509_crl(given.read(path)))
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"{path} holds no readable list of revoked certificates") from None


def write_revocations(directory: Path, authority: Authority, serials: Iterable[int]) -> None:
    """Write the list of what the CA has revoked, all at once. Raises CertificateError.

    In DER: etcd took PEM, too, until 3.5. It reads the list at each handshake and refuses all if it is not there, so
    there is one from the start, empty.
    """
    made = authority.revoke(serials, at=datetime.datetime.now(datetime.UTC))
    content = made.public_bytes(serialization.Encoding.DER)
    _write(revocation_file(directory), content, mode=_PUBLIC, replace=True)


def refuse_to_overwrite(directory: Path, stem: str) -> None:
    """Raise CertificateError if any of a certificate's files exists."""
    if there := [str(path) for path in all_files(directory, stem) if path.exists()]:
        raise CertificateError(f"already there: {', '.join(there)}", hint="Choose another directory, or --force.")


def _write(path: Path, content: bytes, *, mode: int, replace: bool) -> None:
    """Write a file that has `mode` (at most) from the moment it exists; a replacement appears all at once.

    It is not waited for until it is on the disk: whoever keeps data that needs it does so (`prepare.labdir`).
    """
    target = path.with_name(f".{path.name}.new") if replace else path
    try:
        if replace:
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
        if replace:
            target.replace(path)
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from None
