"""Stand-ins for etcd's programs: they say a version and do nothing else."""

from pathlib import Path


def program(version: str) -> bytes:
    """The content of one."""
    return f'#!/bin/sh\necho "etcd Version: {version}"\n'.encode()


def write_program(path: Path, version: str) -> Path:
    """Make one, and return where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program(version))
    path.chmod(0o755)
    return path
