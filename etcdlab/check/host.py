"""What a lab leaves open on its host: file modes, and the addresses that its processes listen on."""

import ipaddress
import os
import stat
from pathlib import Path

import psutil

from etcdlab.check.report import Aspect, Check
from etcdlab.model.plan import Plan
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord
from etcdlab.prepare.title import process_of


def check_modes(directory: LabDirectory, plan: Plan) -> list[Check]:
    """Whether keys, directories and the control socket are this user's alone."""
    control = Path(plan.socket)
    directories = {directory.path, control.parent}
    directories |= {Path(path) for node in plan.nodes for path in (node.directory, node.data_dir)}
    checks = []
    if plan.tls is not None:
        pki = Path(plan.tls.ca).parent
        directories.add(pki)
        checks.append(_modes(Aspect.KEY_MODES, sorted(pki.glob("*-key.pem")), 0o600))
    return [
        *checks,
        _modes(Aspect.DIRECTORY_MODES, sorted(directories), 0o700),
        _modes(Aspect.SOCKET_MODE, [control], 0o600),
    ]


def check_listeners(directory: LabDirectory, plan: Plan) -> list[Check]:
    """Whether the members and the daemon listen on loopback addresses only."""
    records = {node.name: ProcessRecord.of_living(Path(node.directory)) for node in plan.nodes}
    pids = {name: record.identity.pid if record else None for name, record in records.items()}
    checks = [_listeners("it", pid, member=name) for name, pid in pids.items()]
    daemon = process_of(directory)
    return [*checks, _listeners("the daemon", daemon.pid if daemon else None, member=None)]


def _modes(aspect: Aspect, paths: list[Path], mode: int) -> Check:
    wrong = [f"{path} {why}" for path in paths if (why := _openness(path, mode))]
    return Check(name=aspect, passed=not wrong, detail="; ".join(wrong) or f"{len(paths)} checked, mode {mode:04o}")


def _openness(path: Path, mode: int) -> str:
    """How a file is more open than `mode`, or ""."""
    try:
        status = path.stat()
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if (actual := stat.S_IMODE(status.st_mode)) & ~mode:
        return f"has mode {actual:04o}, not {mode:04o}"
    return "" if status.st_uid == os.geteuid() else f"belongs to user {status.st_uid}"


def _listeners(who: str, pid: int | None, *, member: str | None) -> Check:
    if pid is None:
        return Check(name=Aspect.LOOPBACK, member=member, passed=None, detail=f"{who} does not run")
    try:
        sockets = psutil.Process(pid).net_connections("inet")
    except psutil.Error as error:
        return Check(name=Aspect.LOOPBACK, member=member, passed=None, detail=f"{who} cannot be looked at: {error}")
    addresses = sorted((one.laddr.ip, one.laddr.port) for one in sockets if one.status == psutil.CONN_LISTEN)
    beyond = [address for address in addresses if not _is_loopback(address[0])]
    named = ", ".join(f"{host}:{port}" for host, port in beyond or addresses) or "nothing"
    detail = f"{who} (pid {pid}) listens on {named}{', beyond loopback' if beyond else ''}"
    return Check(name=Aspect.LOOPBACK, member=member, passed=not beyond, detail=detail)


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
