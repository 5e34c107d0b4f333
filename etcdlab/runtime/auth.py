"""Turning authentication off without anybody's password.

The JSON gateway has no user for us: it ignores certificates' common names. Over gRPC the CN of a client's certificate
is its user, so etcdctl with a certificate of root can do what root can (etcd's `--client-cert-auth`).
"""

import datetime
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import trio

from etcdlab.errors import CertificateError
from etcdlab.etcd.environment import clean
from etcdlab.model.certificate import AUTHENTICATION, CertificatePlan, KeyType, PkiPlan, Role, Subject
from etcdlab.model.plan import IdentityPlan, Plan
from etcdlab.pki.files import AUTHORITY, certificate_file, key_file

ROOT: Final = "root"
"""The user that etcd demands before it lets authentication be turned on, with all rights."""
LEAF_LIFETIME_S: Final = 3600.0
ANSWER_S: Final = 2
"""Seconds that etcd gets to answer etcdctl."""


class AuthError(Exception):
    """Authentication could not be turned off. The message says why."""


async def disable(plan: Plan, client_url: str) -> None:
    """Turn authentication off, as root, by asking one member. Raises AuthError."""
    if plan.tls is None or plan.pki is None:
        raise AuthError("without TLS there is no way in but root's password")
    if plan.etcdctl is None:
        raise AuthError("there is no etcdctl beside this lab's etcd")
    with tempfile.TemporaryDirectory(prefix="etcdlab-") as directory:  # 0700
        root = next((identity for identity in plan.tls.identities if identity.cn == ROOT), None)
        if root is None:
            try:
                root = await trio.to_thread.run_sync(_issue_root, plan.pki, Path(directory))
            except CertificateError as error:
                raise AuthError(f"no certificate for root could be issued: {error.message}") from error
        await _run(
            plan.etcdctl,
            f"--endpoints={client_url}",
            f"--cacert={plan.tls.ca}",
            f"--cert={root.certificate}",
            f"--key={root.private_key}",
            f"--dial-timeout={ANSWER_S}s",
            f"--command-timeout={ANSWER_S}s",
            "auth",
            "disable",
        )


async def _run(*command: str) -> None:
    # Without Go's garbage collector etcdctl takes 19 ms instead of 26.
    environment = clean(os.environ) | {"ETCDCTL_API": "3", "GOGC": "off"}
    try:
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise AuthError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
        raise AuthError(f"etcdctl failed with status {done.returncode}: {last}")


def _issue_root(pki: PkiPlan, directory: Path) -> IdentityPlan:
    """A certificate of root, of the lab's CA, in `directory`. Raises CertificateError."""
    # Imported when first needed: 90 ms and 10 MB that the daemon of a lab without users does not pay.
    from etcdlab.pki import store
    from etcdlab.pki.authority import Authority, make_keys

    made, ours = pki.authority, Path(pki.directory)
    authority = Authority.load(
        Path(made.existing_certificate) if made.existing_certificate else certificate_file(ours, AUTHORITY),
        Path(made.existing_key) if made.existing_key else key_file(ours, AUTHORITY),
    )
    leaf = CertificatePlan(
        stem=ROOT,
        role=Role.CLIENT,
        subject=Subject(CN=ROOT),
        hosts=(),
        usages=AUTHENTICATION[Role.CLIENT],
        key=KeyType.ECDSA_P256,
        lifetime_s=LEAF_LIFETIME_S,
    )
    now = datetime.datetime.now(datetime.UTC)
    issued = authority.issue(store.within(leaf, authority, at=now), make_keys([leaf.key])[0], at=now)
    store.write(directory, ROOT, issued)
    return IdentityPlan(
        name=ROOT,
        cn=ROOT,
        certificate=str(certificate_file(directory, ROOT)),
        private_key=str(key_file(directory, ROOT)),
    )
