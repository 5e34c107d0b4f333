"""Why a member's process died, from what was asked, its exit code and the last lines of its log.

Intent comes before the exit code, and the log's words before either: a removed member exits 0, a panic 2, and nearly
every failure to start exits 1 with the same message, so that only the `error` field beside it tells them apart.
"""

import errno
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from etcdlab.errors import is_exhaustion
from etcdlab.etcd.log import Record, parse
from etcdlab.model.exit import ExitReason
from etcdlab.model.text import printable

LINES_WANTED: Final = 400
"""How many of an incarnation's last lines `why` should see: a panic's message stands above its goroutine's stack."""
STACKS_WANTED: Final = 20_000
"""The same after a status that Go gives: its fatal errors stand above all goroutines' stacks, 2,400 lines at rest."""
_GO_STATUS: Final = 2


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a process ended. `detail` is the evidence, in etcd's own words where it had any; `remedy` what to do next.

    `port` is the one that could not be had (PORT_TAKEN only), None when etcd did not name it.
    """

    reason: ExitReason
    detail: str
    remedy: str = ""
    port: int | None = None


class _Rule(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    reason: ExitReason
    remedy: str


def _rule(reason: ExitReason, pattern: str, remedy: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), reason, remedy)


_AGAIN: Final = "then `etcdlab start {node}`"
_BY_ITSELF: Final = "a member of a lab that is up is then started again by itself"
_ANEW: Final = "`etcdlab repair {node}` makes the member anew from what the others have, `etcdlab reset` the whole lab"

# In order: the first that matches wins. The words are those of etcd 3.4 to 3.7 and of the Go library below it.
_RULES: Final = (
    _rule(
        ExitReason.PORT_TAKEN,
        r"bind: address already in use",
        f"End the process that holds the port (`etcdlab doctor` names it): {_BY_ITSELF}.",
    ),
    _rule(
        ExitReason.DISK_FULL,
        r"no space left on device|disk quota exceeded|file too large|file size limit exceeded",
        f"Free space on the disk of the data directory: {_BY_ITSELF}.",
    ),
    _rule(
        ExitReason.OUT_OF_MEMORY,
        r"^fatal error: .*\b(memory|newosproc)\b|cannot allocate memory|pthread_create failed",
        "Give it more memory, or threads: its limits (`ulimit -v -u`, the container's), or the machine's.",
    ),
    _rule(
        ExitReason.REMOVED,
        r"permanently removed from the cluster|data-dir used by this member must be removed",
        f"A removed member cannot return with its old data: {_ANEW}.",
    ),
    _rule(
        ExitReason.DATA_LOST,
        r"has already been bootstrapped|tocommit\(\d+\) is out of range|/member/\S*: no such file or directory",
        "The cluster knows this member, but its data directory lacks what it once acknowledged. "
        f"Put the directory back, {_AGAIN}; or {_ANEW}.",
    ),
    _rule(
        ExitReason.DATA_FOREIGN,
        r"cluster ID mismatch|member count is unequal|unmatched member while checking peerURLs",
        "Its data directory and its peers are of different clusters. "
        f"Put the right directory back, {_AGAIN}; or {_ANEW}.",
    ),
    _rule(
        ExitReason.DATA_UNUSABLE,
        r"cannot access data directory|failed to list data directory|read-only file system"
        r"|(database|WAL|snap\w*|data dir\w*)\b.*: permission denied",
        f"Make the data directory writable for your user, {_AGAIN}.",
    ),
    _rule(
        ExitReason.DATA_CORRUPT,
        r"crc mismatch|failed to (open database|open WAL|read WAL|recover v3 backend|find database snapshot)"
        r"|^(proto|wal|walpb|snap): |invalid freelist|checkInitialHashKV failed|data inconsistency",
        f"Put a good copy of the data directory back, {_AGAIN}; or {_ANEW}.",
    ),
    _rule(
        ExitReason.CERTIFICATE,
        r"\b(tls|x509): |listener failed: (open|read) |\bopen \S+\.(pem|crt|cer|cert|key): ",
        f"`etcdlab pki show` tells what is wrong with the lab's certificates. Repair the file, {_AGAIN}.",
    ),
    _rule(
        ExitReason.BAD_FLAG,
        r"flag provided but not defined|^invalid value .* for flag|flag needs an argument|verify(ing)? flags"
        r"|conflicting environment variable|initial[- ]cluster|unrecognized level|IP in URL for binding"
        r"|bind: (cannot assign requested address|permission denied)",
        "Correct the topology (`etcdlab plan` shows the arguments it leads to), then `etcdlab up` with it.",
    ),
    _rule(
        ExitReason.VERSION_TOO_OLD,
        r"server version is lower than determined cluster version|cannot downgrade",
        "Give the member an etcd no older than its data (`etcdlab etcd list` shows those at hand), then `etcdlab up`.",
    ),
)

_TELLING: Final = re.compile(
    rb'"level":"(?:d?panic|fatal)"|^panic: |^fatal error: |^flag |^invalid value |[-\d:. ]+ C \| '
    rb"|^SIG[A-Z]+: |^runtime/cgo: |creating peer listener failed|verify(?:ing)? flags|must be removed"
    rb'|"msg":"server error"'
)
"""Lines that only a dying etcd writes. Matched on bytes, so that the other 399 lines need not be decoded."""

_TORN: Final = re.compile(r'\{"level":"\w+",.*?"msg":"(?P<message>[^"]*)","error":"(?P<error>[^"]*)"')
"""The beginning of a line that a full disk had no space for."""

_NAMELESS: Final = frozenset({"discovery failed", "failed to start etcd", "server error"})
"""Messages that say nothing beside their `error`."""

_LONGEST: Final = 2000
"""Characters of a line that are looked at, and told: some rules take a time that is quadratic in them."""

_PORT: Final = re.compile(r"listen tcp\d? \S*:(?P<port>\d+): bind")


def lines_wanted(code: int | None) -> int:
    """How many of an incarnation's last lines `why` should see after this exit code."""
    return STACKS_WANTED if code in (_GO_STATUS, None) else LINES_WANTED


def why(
    *,
    code: int | None,
    lines: Sequence[bytes],
    requested: bool,
    node: str = "NODE",
    is_disk_full: bool = False,
) -> Explanation:
    """Explain an exit. `code` is as in `subprocess` (negative for a signal), None if the process was adopted.

    `lines` are the last of this incarnation's log, `lines_wanted(code)` of them if there are as many; `requested` says
    whether we asked for the exit; `node` is the member's name, for the remedy; `is_disk_full` whether there
    is no space for its data, or for last words in its log.
    """
    if requested:
        return Explanation(reason=ExitReason.REQUESTED, detail="stopped as asked")
    last_words = [parse(line) for line in lines if _TELLING.search(line)]
    for text in map(_words, last_words):
        if explanation := _by_rule(text, node):
            return explanation
    if explanation := foreign_data(lines, node=node):
        return explanation
    if last_words:
        explanation = _recoverable(ExitReason.CRASHED, _words(last_words[0]), node)
    else:
        explanation = _by_code(code, lines, node)
    if is_disk_full and explanation.reason in (ExitReason.CRASHED, ExitReason.UNKNOWN):
        return _disk_full(f"{explanation.detail}; there is no space left for its data, or for its log to say why")
    return explanation


def foreign_data(lines: Sequence[bytes], *, node: str = "NODE") -> Explanation | None:
    """Whether a member is of another cluster than its peers; it need not have died, since etcd tries for ever.

    Both sides of such a meeting log the mismatch. The stranger is the one that keeps campaigning without a leader.
    """
    mismatch = next((line for line in reversed(lines) if b"cluster ID mismatch" in line), None)
    if mismatch is None:
        return None
    vote = next((line for line in reversed(lines) if b"became pre-candidate" in line or b"elected leader" in line), b"")
    if b"elected leader" in vote or not vote:
        return None
    fields = parse(mismatch).fields
    explanation = _by_rule("cluster ID mismatch", node)
    assert explanation is not None
    ours, theirs = fields.get("local-member-cluster-id", "?"), fields.get("remote-peer-cluster-id", "?")
    return msgspec.structs.replace(
        explanation, detail=f"cluster ID mismatch: its data is of cluster {ours}, its peers are of {theirs}"
    )


def not_started(binary: str, error: OSError, *, node: str = "NODE") -> Explanation:
    """Explain that a member could not be started: for want of its binary, of a place to run in, or of resources."""
    place = str(error.filename or binary)
    if is_exhaustion(error):
        return _recoverable(ExitReason.OUT_OF_RESOURCES, f"cannot run {binary}: {error.strerror}", node)
    return (binary_missing if place == binary else place_unusable)(place, error, node=node)


def binary_missing(path: str | Path, error: OSError, *, node: str = "NODE") -> Explanation:
    """Explain that `path` could not be executed."""
    return Explanation(
        reason=ExitReason.BINARY_MISSING,
        detail=f"cannot run {path}: {error.strerror or error}",
        remedy=f"`etcdlab etcd install` gets one, `etcdlab etcd list` shows those here; then `etcdlab start {node}`.",
    )


def place_unusable(place: str, error: OSError, *, node: str = "NODE") -> Explanation:
    """Explain that a member could not be started in its directory, or with its log."""
    if error.errno == errno.ENOSPC:
        return _disk_full(f"cannot run in {place}: {error.strerror}")
    is_gone = isinstance(error, FileNotFoundError)
    remedy = f"Put the directory back, {_AGAIN}; or {_ANEW}." if is_gone else f"Make it writable, {_AGAIN}."
    return Explanation(
        reason=ExitReason.DATA_LOST if is_gone else ExitReason.DATA_UNUSABLE,
        detail=f"cannot run in {place}: {error.strerror or error}",
        remedy=remedy.format(node=node),
    )


def _words(record: Record) -> str:
    """What a record says, as one sentence: the message unless it is nameless, and the error."""
    message, error = record.message, str(record.fields.get("error", ""))
    if torn := _TORN.match(message):
        message, error = torn["message"], torn["error"]
    text = error if error and message in _NAMELESS else ": ".join(part for part in (message, error) if part)
    if variable := record.fields.get("environment-variable"):
        text = f"{text} ({variable})"
    text = printable(text[:_LONGEST])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def disk_full_on_purpose(code: int | None, *, node: str) -> Explanation:
    """Explain the end of a member whose disk somebody had be full, so that its log could not tell."""
    how = "" if code is None else f": exited with status {code}"
    remedy = f"`etcdlab disk heal {node}` has space again: {_BY_ITSELF}."
    return Explanation(reason=ExitReason.DISK_FULL, detail=f"its disk is full, as asked{how}", remedy=remedy)


def killed_on_purpose(number: int, *, node: str) -> Explanation:
    """Explain the end of a member by a signal that somebody had us send."""
    remedy = f"`etcdlab start {node}` starts it again."
    return Explanation(reason=ExitReason.KILLED, detail=f"killed by {_signal_name(number)}, as asked", remedy=remedy)


def _disk_full(detail: str) -> Explanation:
    rule = next(rule for rule in _RULES if rule.reason is ExitReason.DISK_FULL)
    return Explanation(reason=rule.reason, detail=detail, remedy=rule.remedy)


def _by_rule(text: str, node: str) -> Explanation | None:
    for rule in _RULES:
        if rule.pattern.search(text):
            match = _PORT.search(text)
            return Explanation(
                reason=rule.reason,
                detail=text,
                remedy=rule.remedy.format(node=node),
                port=int(match["port"]) if match and rule.reason is ExitReason.PORT_TAKEN else None,
            )
    return None


def _by_code(code: int | None, lines: Sequence[bytes], node: str) -> Explanation:
    if code is None:
        asked = next((parse(line) for line in reversed(lines) if b"received signal; shutting down" in line), None)
        if asked is not None:
            return _recoverable(ExitReason.SIGNALLED, f"shut down on signal {asked.fields.get('signal', '?')}", node)
        return _recoverable(ExitReason.UNKNOWN, "ended with an exit code that nobody could see", node)
    if code == -signal.SIGKILL:
        remedy = (
            "If nobody sent it, the system did, for want of memory: `dmesg` or the container's events tell. "
            f"`etcdlab start {node}` starts it again."
        )
        return Explanation(reason=ExitReason.SIGNALLED, detail="killed by SIGKILL", remedy=remedy)
    if code < 0:
        return _recoverable(ExitReason.SIGNALLED, f"killed by {_signal_name(-code)}", node)
    if code == 0:
        return _recoverable(ExitReason.CLEAN, "exited by itself with status 0", node)
    last = f", after: {_words(parse(lines[-1]))}" if lines else ""
    return _recoverable(ExitReason.CRASHED, f"exited with status {code}{last}", node)


def _recoverable(reason: ExitReason, detail: str, node: str) -> Explanation:
    remedy = f"`etcdlab logs {node}` shows what led to it; `etcdlab start {node}` starts it again."
    return Explanation(reason=reason, detail=detail, remedy=remedy)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
