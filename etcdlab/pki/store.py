"""A directory of certificates: which file is where and with which mode, and how a plan becomes files.

The names are cfssljson's: `<stem>.pem`, `<stem>-key.pem`, `<stem>.csr`; the CA's stem is `ca`.
"""

import contextlib
import datetime
import os
from pathlib import Path
from typing import Final

import msgspec

from etcdlab.errors import CertificateError
from etcdlab.model.certificate import CertificatePlan, PkiPlan
from etcdlab.pki.authority import Authority, Issued, make_authority, make_keys
from etcdlab.pki.files import AUTHORITY, certificate_file, key_file, request_file

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
        _write(certificate_file(directory, AUTHORITY), source.read_bytes(), mode=_PUBLIC, replace=False)
    else:
        authority_key, *keys = make_keys([plan.authority.key, *kinds])
        issued = make_authority(plan.authority, authority_key, at=now)
        authority = Authority(issued.certificate, issued.key)
        make_directory(directory)
        write(directory, AUTHORITY, issued)
    for leaf, key in zip(leaves, keys, strict=True):
        write(directory, leaf.stem, authority.issue(leaf, key, at=now))


def within(leaf: CertificatePlan, authority: Authority, *, at: datetime.datetime) -> CertificatePlan:
    """`leaf`, made short enough to end with its CA. Raises CertificateError if the CA has expired."""
    left = (authority.end - at).total_seconds()
    if left <= 0:
        raise CertificateError(f"the CA expired at {authority.end:%Y-%m-%d %H:%M:%S} UTC", hint="Name another CA.")
    return msgspec.structs.replace(leaf, lifetime_s=min(leaf.lifetime_s, left))


def make_directory(directory: Path) -> None:
    """Make `directory`, readable by its owner alone; one that exists stays as it is. Raises CertificateError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CertificateError(f"the directory {directory} cannot be made: {error.strerror}") from None


def write(directory: Path, stem: str, issued: Issued, *, replace: bool = False) -> None:
    """Write the three files of a certificate. Raises CertificateError if one exists (unless `replace`)."""
    paths = (key_file(directory, stem), certificate_file(directory, stem), request_file(directory, stem))
    if not replace:
        refuse_to_overwrite(*paths)
    # The key first: whoever watches for the certificate finds its key there.
    for path, content, mode in zip(
        paths,
        (issued.key_pem, issued.certificate_pem, issued.request_pem),
        (_SECRET, _PUBLIC, _PUBLIC),
        strict=True,
    ):
        _write(path, content, mode=mode, replace=replace)


def refuse_to_overwrite(*paths: Path) -> None:
    """Raise CertificateError if any of `paths` exists."""
    if there := [str(path) for path in paths if path.exists()]:
        raise CertificateError(f"already there: {', '.join(there)}", hint="Remove them, or choose another directory.")


def _write(path: Path, content: bytes, *, mode: int, replace: bool) -> None:
    """Write a file that has `mode` (at most) from the moment it exists; a replacement appears all at once."""
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
