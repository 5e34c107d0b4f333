"""An archive about the lab of a failed test, to be looked at elsewhere. It holds no private key."""

import io
import re
import tarfile
from pathlib import Path

import msgspec

from etcdlab.errors import EtcdlabError
from etcdlab.etcd import logfile
from etcdlab.lab import Lab
from etcdlab.ownership import make_directory
from etcdlab.prepare.files import create_file


def write(directory: Path, test: str, lab: Lab, report: str) -> Path:
    """Write `DIRECTORY/TEST-LAB.tar.gz` and return its path. Raises OSError, and EtcdlabError when the lab is gone."""
    make_directory(directory, mode=0o755)
    path = directory / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', test).strip('-')[-100:]}-{lab.name}.tar.gz"
    plan = lab.plan
    with create_file(path, mode=0o644) as packed, tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file in (lab.directory.topology, lab.directory.plan, lab.directory.daemon_log):
            _add(archive, file, f"{lab.name}/{file.name}")
        _add_parts(archive, lab.directory.events, f"{lab.name}/{lab.directory.events.name}")
        for node in plan.nodes:
            log = Path(node.log)
            _add_parts(archive, log, f"{lab.name}/{node.name}/{log.name}")
        for certificate in sorted(lab.directory.pki.rglob("*.pem")):
            # Not by name alone: whatever is in it, a file with a private key stays here.
            if b"PRIVATE KEY" not in certificate.read_bytes():
                _add(archive, certificate, f"{lab.name}/pki/{certificate.relative_to(lab.directory.pki)}")
        _add_text(archive, f"{lab.name}/report.txt", report.encode())
        _add_text(archive, f"{lab.name}/status.json", _status(lab))
    return path


def _status(lab: Lab) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(lab.status()), indent=2)
    except EtcdlabError as error:
        return error.message.encode()


def _add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    if file.exists():  # read whole, since logs grow meanwhile
        _add_text(archive, name, file.read_bytes())


def _add_parts(archive: tarfile.TarFile, log: Path, name: str) -> None:
    _add_text(archive, name, b"".join(logfile.lines(log)))


def _add_text(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
