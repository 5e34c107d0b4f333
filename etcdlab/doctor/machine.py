"""Whether this machine can run labs: etcd, ports, limits, disk, control sockets, clock."""

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from etcdlab.doctor.finding import Finding, Level, Topic
from etcdlab.errors import BinaryError, LabStateError
from etcdlab.etcd.binaries import Origin, find
from etcdlab.prepare.control_socket import SOCKET_PATH_LIMIT, runtime_directory
from etcdlab.prepare.labdir import all_labs
from etcdlab.prepare.ports import LOOPBACK, LOWEST, ephemeral_start
from etcdlab.prepare.process import identify

FEW_PORTS: Final = 100
FEW_DESCRIPTORS: Final = 1024
"""A member has some 30 open, and one for each client; the daemon a few for each member."""
LITTLE_SPACE: Final = 2**30
"""Bytes. A fresh member takes 128 MB, for etcd reserves its logs."""
CLOCK_SLACK_S: Final = 60.0
EARLIEST: Final = 1735689600.0
"""2025, as time.time() counts: before that there was no etcdlab."""
NETWORK_FILESYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "drvfs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_FOUND: Final = {Origin.CACHE: "in etcdlab's cache", Origin.PATH: "on PATH"}
_INOTIFY: Final = Path("/proc/sys/fs/inotify")


def examine(home: Path) -> Iterator[Finding]:
    """All of it; `home` is where labs live, whether or not it exists yet. Raises LabStateError without /proc."""
    identify(os.getpid())
    yield from _etcd()
    yield _ports()
    yield _descriptors()
    if sys.platform == "linux":
        yield _inotify(home)
    yield from _disk(home)
    yield _socket(home)
    yield _clock()


def _etcd() -> Iterator[Finding]:
    try:
        binary = find(path=None, version=None)
    except BinaryError as error:
        remedy = f"`etcdlab up` installs one when it needs it. {error.hint}"
        yield Finding(topic=Topic.ETCD, where="etcd", level=Level.WARNING, what=error.message, remedy=remedy)
        return
    yield Finding(topic=Topic.ETCD, where=binary.etcd, what=f"etcd {binary.version}, {_FOUND[binary.origin]}")
    for warning in binary.warnings:
        remedy = "`etcdlab etcd install` fetches another."
        yield Finding(topic=Topic.ETCD, where=binary.etcd, level=Level.WARNING, what=warning, remedy=remedy)
    if binary.etcdctl is None:
        remedy = "Put the etcdctl of the same version beside etcd."
        what = "there is no etcdctl: `etcdlab ctl` will not work"
        yield Finding(topic=Topic.ETCD, where=binary.etcd, level=Level.WARNING, what=what, remedy=remedy)
    else:
        yield Finding(topic=Topic.ETCD, where=binary.etcdctl, what="etcdctl")


def _ports() -> Finding:
    first_ephemeral = ephemeral_start()
    ports = range(LOWEST, max(first_ephemeral, LOWEST + 1000))
    where = f"{LOOPBACK}:{ports[0]}-{ports[-1]}"
    try:
        used = {one.laddr.port for one in psutil.net_connections("tcp") if one.laddr} & set(ports)
    except psutil.Error:
        return Finding(topic=Topic.PORTS, where=where, what="who uses them is for privileged users to see")
    what = f"{len(ports) - len(used)} of {len(ports)} ports are free; the kernel's own begin at {first_ephemeral}"
    if len(ports) - len(used) < FEW_PORTS:
        remedy = "Give ports in the topology, or stop what uses these."
        return Finding(topic=Topic.PORTS, where=where, level=Level.WRONG, what=what, remedy=remedy)
    if first_ephemeral < ports[-1]:
        remedy = f"Raise the start of net.ipv4.ip_local_port_range above {ports[-1]}, or give ports in the topology."
        what += ": a connection may take the port of a stopped lab"
        return Finding(topic=Topic.PORTS, where=where, level=Level.WARNING, what=what, remedy=remedy)
    return Finding(topic=Topic.PORTS, where=where, what=what)


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = f"{'any number of' if soft == resource.RLIM_INFINITY else soft} open files"
    if soft == resource.RLIM_INFINITY or soft >= FEW_DESCRIPTORS:
        return Finding(topic=Topic.LIMITS, where="RLIMIT_NOFILE", what=what)
    remedy = f"`ulimit -n {FEW_DESCRIPTORS}` before `etcdlab up`" + (
        "." if hard == resource.RLIM_INFINITY or hard >= FEW_DESCRIPTORS else f"; the hard limit is {hard}."
    )
    return Finding(topic=Topic.LIMITS, where="RLIMIT_NOFILE", level=Level.WARNING, what=what, remedy=remedy)


def _inotify(home: Path) -> Finding:
    """By trying: the limits say nothing about how much of them others use."""
    import inotify_simple  # there is none elsewhere

    limits = {name: _read(_INOTIFY / name) for name in ("max_user_instances", "max_user_watches")}
    what = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    try:
        with inotify_simple.INotify() as inotify:
            inotify.add_watch(str(_existing(home)), inotify_simple.flags.MODIFY)
    except OSError as error:
        return Finding(
            topic=Topic.LIMITS,
            where="inotify",
            level=Level.WARNING,
            what=f"{what}, and they are used up ({error.strerror}): logs are looked at every 100 ms instead",
            remedy="Raise fs.inotify.max_user_instances (or max_user_watches) with sysctl, or end who uses so many.",
        )
    return Finding(topic=Topic.LIMITS, where="inotify", what=what)


def _disk(home: Path) -> Iterator[Finding]:
    there = _existing(home)
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "Set ETCDLAB_HOME to a directory that can be written."
        what = f"{there} cannot be written"
        yield Finding(topic=Topic.DISK, where=str(home), level=Level.WRONG, what=what, remedy=remedy)
    free, kind = shutil.disk_usage(there).free, _filesystem(there)
    what = f"{free / 2**30:.1f} GiB free" + (f", {kind}" if kind else "")
    if free < LITTLE_SPACE:
        remedy = "Free some, or set ETCDLAB_HOME to another disk: a member takes 128 MB from the start."
        yield Finding(topic=Topic.DISK, where=str(home), level=Level.WARNING, what=what, remedy=remedy)
    elif kind in NETWORK_FILESYSTEMS:
        what += ", a network file system: etcd's fsync is slow there, and locks and sockets may not work"
        remedy = "Set ETCDLAB_HOME to a directory on a local disk."
        yield Finding(topic=Topic.DISK, where=str(home), level=Level.WARNING, what=what, remedy=remedy)
    else:
        yield Finding(topic=Topic.DISK, where=str(home), what=what)


def _socket(home: Path) -> Finding:
    room = SOCKET_PATH_LIMIT - len(os.fsencode(home / "x" / "control.sock")) + 1
    if room >= 1:
        what = f"control sockets lie in the labs, up to names of {room} bytes; others go elsewhere"
    else:
        what = "the path is too long for control sockets: they go elsewhere"
    try:
        what += f", to {runtime_directory()}"
    except LabStateError as error:
        return Finding(
            topic=Topic.SOCKET, where=str(home), level=Level.WRONG, what=f"{what}: {error.message}", remedy=error.hint
        )
    return Finding(topic=Topic.SOCKET, where=str(home), what=what)


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    remedy = "Set the clock: certificates are only good from the time at which they were made."
    if now < EARLIEST:
        return Finding(topic=Topic.CLOCK, where="clock", level=Level.WRONG, what=f"it says {shown}", remedy=remedy)
    for lab in all_labs():
        try:
            ahead_s = lab.plan.stat().st_mtime - now
        except FileNotFoundError:  # removed just now
            continue
        if ahead_s > CLOCK_SLACK_S:
            what = f"it says {shown}, and lab {lab.name} was made {ahead_s:.0f} s later"
            return Finding(topic=Topic.CLOCK, where="clock", level=Level.WARNING, what=what, remedy=remedy)
    return Finding(topic=Topic.CLOCK, where="clock", what=f"it says {shown}")


def _existing(path: Path) -> Path:
    """The path, or the nearest one above it that exists."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def _filesystem(path: Path) -> str:
    """The kind of file system that a path is on, or "" where that cannot be told."""
    partitions = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    real = path.resolve()
    return next((partitions[candidate] for candidate in (real, *real.parents) if candidate in partitions), "")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "?"
