"""A verb is interrupted every 10 ms of its time, by one signal: no traceback, no orphan, a status that tells of it."""

import contextlib
import functools
import hashlib
import io
import platform
import signal
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final

from etcdlab.errors import EtcdlabError
from etcdlab.lab import Lab
from etcdlab.model.status import ClusterVerdict, LabPhase
from etcdlab.prepare.labdir import LabDirectory
from torturing.attack import Attack
from torturing.field import LAB, ONE_MEMBER, Field
from torturing.tally import Loss
from torturing.verbs import Done, Running

STEP_S: Final = 0.01
FOLLOWED_S: Final = 0.5
MOST: Final = 60
"""How often a verb is interrupted at most: one that is slow, as on a busy machine, less often than every 10 ms."""
BEGUN_S: Final = 1.0
BOUND_S: Final = 30.0
POLL_S: Final = 0.01
BESIDE: Final = "beside"
RELEASE: Final = "3.5.99"
KINDS: Final = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGHUP,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGKILL,),
)


def up(field: Field, chance: Random) -> None:
    """`up` of another lab: it is ready, or there is nothing of it."""
    lab = Lab(LabDirectory(field.directory.path.with_name(BESIDE)))
    for verb, done in _sweep(field, chance, "up", "--name", BESIDE, *ONE_MEMBER):
        _wait(field, verb, "neither a lab nor nothing", lambda: not field.left_of([BESIDE]) or _is_up(lab))
        if not field.left_of([BESIDE]):
            continue
        if not done.out and done.status != -signal.SIGKILL:
            field.tally.lost(Loss.WORD, f"`{verb}` left a lab and told nobody")
        _purge(field, verb)


def execute(field: Field, chance: Random) -> None:
    """`exec` with another lab: there is nothing of it."""
    words = ("exec", "--name", BESIDE, "--nodes", "1", "--profile", "fast", "--", "sleep", "0.1")
    for verb, _ in _sweep(field, chance, *words):
        _wait(field, verb, "something of the lab", lambda: not field.left_of([BESIDE]))


def purge(field: Field, chance: Random) -> None:
    """`down --purge` of another lab: it is gone, or is after a second one."""
    make = functools.partial(_require, field, "the sweep", "up", "--name", BESIDE, *ONE_MEMBER)
    for verb, _ in _sweep(field, chance, "down", "--purge", "--lab", BESIDE, before=make):
        _purge(field, verb)


def restart(field: Field, chance: Random) -> None:
    """`restart` of a member: it runs again."""
    name = chance.choice(field.names)
    field.changed.add(name)
    for verb, _ in _sweep(field, chance, "restart", "--lab", LAB, name):
        _wait(field, verb, "a lab that is not healthy", lambda: field.lab.status().verdict is ClusterVerdict.HEALTHY)


def reset(field: Field, chance: Random) -> None:
    """`reset`: the lab is pristine after another one."""
    with field.writer.paused():
        for text in field.writer.missing():
            field.tally.lost(Loss.WRITE, text)
        field.writer.forget()
        for verb, _ in _sweep(field, chance, "reset", "--lab", LAB):
            _require(field, verb, "reset", "--lab", LAB)


def keys(field: Field, chance: Random) -> None:
    """`pki init` and `pki issue`: all three files are there, or none."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        for words in (("init", "--cn", "swept"), ("issue", "swept", "--host", "localhost")):
            there = set(place.iterdir())
            for verb, done in _sweep(field, chance, "pki", *words, "--directory", made):
                new = set(place.iterdir()) - there
                if len(new) not in (0, 3) and done.status != -signal.SIGKILL:
                    field.tally.lost(Loss.DIRECTORY, f"`{verb}` left {new}")
                for path in new:
                    path.unlink()
            _require(field, "the sweep", "pki", *words, "--directory", made)


def install(field: Field, chance: Random) -> None:
    """`etcd install` from a server on loopback: it is there, or nothing is after the next one."""
    words = ("etcd", "install", RELEASE, "--from", "release")
    with tempfile.TemporaryDirectory() as made, _releases(Path(made)) as environment:
        cache = Path(environment["ETCDLAB_CACHE"], "etcd")
        for verb, done in _sweep(field, chance, *words, environment=environment):
            left = {path.name for path in cache.glob("[!.]*" if done.status == -signal.SIGKILL else "*")}
            if left - {RELEASE, ".lock"}:
                field.tally.lost(Loss.DIRECTORY, f"`{verb}` left {left}")
            for again in (words, ("etcd", "remove", RELEASE)):
                _require(field, verb, *again, environment=environment)
            if {path.name for path in cache.iterdir()} != {".lock"}:
                field.tally.lost(Loss.DIRECTORY, f"after `{verb}` there is {list(cache.iterdir())} for ever")


def streams(field: Field, chance: Random) -> None:
    """`logs -f` and `events -f`: they end by that signal."""
    for words in (("logs", "--lab", LAB, "-f"), ("events", "--lab", LAB, "-f")):
        for verb, done in _sweep(field, chance, *words, lasts_s=FOLLOWED_S):
            if done.status >= 0:
                field.tally.lost(Loss.WORD, f"`{verb}` ended with {done.status}")


def _sweep(
    field: Field,
    chance: Random,
    *words: str,
    before: Callable[[], None] = lambda: None,
    lasts_s: float | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Running, Done]]:
    """Run a verb again and again, each time interrupted 10 ms later; at first not at all, if it ends by itself."""
    numbers, first = chance.choice(KINDS), chance.random()
    if lasts_s is None:
        before()
        began = time.monotonic()
        verb = field.verbs.start(*words, environment=environment)
        yield verb, verb.wait()
        lasts_s = time.monotonic() - began
    step_s = max(STEP_S, lasts_s / MOST)
    for step in range(int(lasts_s / step_s)):
        before()
        verb = field.verbs.start(*words, environment=environment)
        if signal.SIGINT in numbers:
            _wait_begun(verb.pid)
        time.sleep((step + first) * step_s)
        for number in numbers:
            verb.strike(number)
        done = verb.wait()
        if done.status not in (0, -numbers[0], 128 + numbers[0]):
            field.tally.lost(Loss.WORD, f"`{verb}` ended with {done.status}: {done.told}")
        yield verb, done


def _wait_begun(pid: int) -> None:
    """Until etcdlab's first line has run: before, Python answers Ctrl-C with a traceback, whatever the program."""
    deadline, was_caught = time.monotonic() + BEGUN_S, False
    while time.monotonic() < deadline:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        is_caught = bool(int(fields["SigCgt"], 16) & 1 << signal.SIGINT - 1)
        if (was_caught and not is_caught) or "Z" in fields["State"]:
            return
        was_caught |= is_caught
        time.sleep(POLL_S / 10)


def _wait(field: Field, verb: Running, what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > deadline:
            field.tally.lost(Loss.DIRECTORY, f"`{verb}` left {what}: {field.left_of([BESIDE])}")
            return
        time.sleep(POLL_S)


def _is_up(lab: Lab) -> bool:
    try:
        return lab.status().phase is LabPhase.UP
    except EtcdlabError:
        return False


def _purge(field: Field, verb: object) -> None:
    _require(field, verb, "down", "--purge", "--lab", BESIDE)
    if left := field.left_of([BESIDE]):
        field.tally.lost(Loss.ORPHAN, f"after `{verb}` and `down --purge` there is {left}")


def _require(field: Field, after: object, *words: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    done = field.verbs.start(*words, environment=environment).wait()
    if done.status:
        field.tally.lost(Loss.RECOVERY, f"after `{after}`, `{' '.join(words)}` ended with {done.status}: {done.told}")


@contextlib.contextmanager
def _releases(place: Path) -> Iterator[dict[str, str]]:
    """A server with one release, of a program that only knows its version; the environment that installs from it."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"etcd-v{RELEASE}-linux-{machine}"
    folder = place / f"v{RELEASE}"
    folder.mkdir()
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
        program = f"#!/bin/sh\necho etcd Version: {RELEASE}\n".encode()
        for file in ("etcd", "etcdctl"):
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode = len(program), 0o755
            archive.addfile(entry, io.BytesIO(program))
    digest = hashlib.sha256((folder / f"{name}.tar.gz").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {name}.tar.gz\n")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=place)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, name="releases").start()
        try:
            yield {
                "ETCDLAB_RELEASE_URL": f"http://127.0.0.1:{server.server_port}",
                "ETCDLAB_CACHE": str(place / "cache"),
                "NO_PROXY": "127.0.0.1",
            }
        finally:
            server.shutdown()


ATTACKS: Final = (
    Attack("sweep-up", up),
    Attack("sweep-exec", execute),
    Attack("sweep-purge", purge),
    Attack("sweep-restart", restart),
    Attack("sweep-reset", reset),
    Attack("sweep-pki", keys),
    Attack("sweep-install", install),
    Attack("sweep-streams", streams),
)
