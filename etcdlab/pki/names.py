"""What can stand in a certificate as a name: hosts, subjects and file stems. Pure, and without cryptography."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from etcdlab.model.certificate import Subject

_DNS_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME: Final = re.compile(rf"(?:\*\.)?{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_STEM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_LONGEST: Final = {"CN": 64, "ST": 128, "L": 128, "O": 64, "OU": 64}
"""Upper bounds of X.520, which OpenSSL and others enforce when they make a name."""


def is_address(host: str) -> bool:
    """Whether `host` is an IP address, and so an IP SAN."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_problem(host: str) -> str | None:
    """Why `host` cannot be a SAN, or None."""
    if (is_address(host) and "%" not in host) or (len(host) <= 253 and _DNS_NAME.fullmatch(host)):
        return None
    return f"{host!r} is neither an IP address nor a DNS name (ASCII letters, digits, '-' and '.'; no port, no scheme)"


def stem_problem(stem: str) -> str | None:
    """Why `stem` cannot be the name of a certificate's files, or None."""
    if _STEM.fullmatch(stem):
        return None
    return (
        f"{stem!r} cannot be a file name: use up to 100 letters, digits, '.', '_', '@' or '-', a letter or digit first"
    )


def subject_problems(subject: Subject) -> list[tuple[str, str]]:
    """What is wrong in a subject: (part, sentence)."""
    wrong = [
        (part, f"{value!r} holds a character that cannot be shown")
        for part in subject.__struct_fields__
        if not (value := getattr(subject, part)).isprintable()
    ]
    if subject.C and not (len(subject.C) == 2 and subject.C.isascii() and subject.C.isalpha()):
        wrong.append(("C", f"{subject.C!r} is not a country code of two letters"))
    for part, longest in _LONGEST.items():
        if len(value := getattr(subject, part)) > longest:
            wrong.append((part, f"has {len(value)} characters; {longest} fit into a certificate"))
    return wrong


def covers(names: Iterable[str], host: str) -> bool:
    """Whether a certificate for `names` is good for `host`, by Go's rules, which are etcd's.

    An address must be listed as such. A wildcard stands for exactly one label, the first.
    """
    if is_address(host):
        address = ipaddress.ip_address(host)
        return any(is_address(name) and ipaddress.ip_address(name) == address for name in names)
    wanted = host.lower().rstrip(".")
    _, dot, parent = wanted.partition(".")
    return any(name.lower() in (wanted, f"*.{parent}" if dot else wanted) for name in names)
