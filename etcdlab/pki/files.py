"""The names of a certificate's files, as cfssljson gives them. Makes nothing, so that anyone can ask."""

from pathlib import Path
from typing import Final

AUTHORITY: Final = "ca"


def certificate_file(directory: Path, stem: str) -> Path:
    """Where a certificate is."""
    return directory / f"{stem}.pem"


def key_file(directory: Path, stem: str) -> Path:
    """Where its private key is."""
    return directory / f"{stem}-key.pem"


def request_file(directory: Path, stem: str) -> Path:
    """Where the request that it answers is."""
    return directory / f"{stem}.csr"


def kept_file(directory: Path, stem: str) -> Path:
    """Where a certificate is kept while one with a defect is in its place."""
    return directory / f"{stem}.pem.kept"


def revocation_file(directory: Path) -> Path:
    """Where the list of the certificates is that the CA has revoked. Labs that an older etcdlab made have none."""
    return directory / f"{AUTHORITY}.crl"


def all_files(directory: Path, stem: str) -> tuple[Path, Path, Path]:
    """A certificate's three files: certificate, key, request."""
    return certificate_file(directory, stem), key_file(directory, stem), request_file(directory, stem)
