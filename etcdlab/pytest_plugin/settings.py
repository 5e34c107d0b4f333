"""The plugin's settings, each as an option, an ini key and an environment variable; the first of them counts."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

ENVIRONMENT_PREFIX: Final = "ETCDLAB_PYTEST_"
"""Not ETCDLAB_ alone: under `etcdlab exec` that is where a suite finds the variables of another lab."""

MARKER: Final = "etcdlab"
CHAOS_MARKER: Final = "etcdlab_chaos"
CHAOS_FIXTURE: Final = "etcd_chaos"

_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_PROFILES: Final = ("fast", "realistic")


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("true or false")
    return _BOOLEANS[text.lower()]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("a whole number from 1 on")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError("a whole number from 0 on, of 18 digits at most")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a number of seconds")
    return value


def _profile(text: str) -> str:
    if text not in _PROFILES:
        raise ValueError(" or ".join(_PROFILES))
    return text


class Setting(NamedTuple):  # no dataclass: that takes a millisecond of each pytest's start
    """`--etcdlab-KEY`, `etcdlab_KEY`, `ETCDLAB_PYTEST_KEY`.

    `kind` reads its text, or raises ValueError with what the text should be; a boolean's option takes none.
    """

    key: str
    metavar: str
    help: str
    kind: Callable[[str], Any] = str


SETTINGS: Final = (
    Setting("topology", "FILE", "The topology of labs, a TOML file; without one, three members with mutual TLS."),
    Setting("nodes", "N", "How many members a lab has.", _count),
    Setting(
        "profile", "fast|realistic", "Quick ticks and no fsync, or etcd's own. Without a topology file: fast.", _profile
    ),
    Setting("tls", "BOOL", "Mutual TLS (true, the default), or plain HTTP.", _boolean),
    Setting("faults", "BOOL", "Links that can have faults: `etcd.isolate(member)` and the like.", _boolean),
    Setting("etcd", "VERSION|PATH", "The etcd to run."),
    Setting("timeout", "SECONDS", "How long a lab may take to come up.", _seconds),
    Setting("max_labs", "N", "How many labs may run at once before idle ones are closed. Default: 3.", _count),
    Setting("seed", "N", "What chance follows from in scenarios (`etcdlab_chaos`), unless the marker says.", _seed),
    Setting("keep", "BOOL", "Leave the labs of failed tests running, for a look at them.", _boolean),
    Setting("shared", "BOOL", "One lab for all xdist workers, never reset: keep to `etcd_prefix`.", _boolean),
    Setting("bundle", "DIR", "Write an archive about its lab for each test that fails: logs, journal, plan, no keys."),
    Setting("endpoints", "URLS", "Use this cluster (URLs with commas between) and start none."),
    Setting("cacert", "FILE", "That cluster's CA."),
    Setting("cert", "FILE", "The client certificate for that cluster."),
    Setting("key", "FILE", "The client certificate's key."),
)
_FILES: Final = ("topology", "cacert", "cert", "key")
_KINDS: Final = {setting.key: setting.kind for setting in SETTINGS}


def add_options(parser: pytest.Parser) -> None:
    """Declare them all."""
    group = parser.getgroup("etcdlab", "etcd clusters for tests (etcdlab)")
    for setting in SETTINGS:
        flag, key = f"--etcdlab-{setting.key.replace('_', '-')}", f"etcdlab_{setting.key}"
        if setting.kind is _boolean:
            group.addoption(flag, action="store_true", default=None, dest=key, help=setting.help)
            if setting.key == "tls":
                group.addoption("--etcdlab-no-tls", action="store_false", dest=key, help="Plain HTTP.")
        else:
            group.addoption(flag, metavar=setting.metavar, dest=key, help=setting.help)
        parser.addini(key, setting.help, default=None)


def check(config: pytest.Config) -> None:
    """Raise pytest.UsageError for what is set and cannot be meant, before any test runs."""
    values = {declared.key: setting(config, declared.key) for declared in SETTINGS}
    files = [key for key in ("cacert", "cert", "key") if values[key] is not None]
    if files and values["endpoints"] is None:
        raise pytest.UsageError(f"etcdlab: {files[0]} is for an existing cluster, and no endpoints are given")
    if ("cert" in files) != ("key" in files):
        raise pytest.UsageError("etcdlab: a client certificate (cert) and its key (key) come together")


def setting(config: pytest.Config, key: str) -> Any:
    """What was set, or None. Raises pytest.UsageError for what cannot be meant."""
    here = config.invocation_params.dir
    given = config.getoption(f"etcdlab_{key}")
    if isinstance(given, bool):
        return given
    if given is not None:
        return read(key, given, f"--etcdlab-{key.replace('_', '-')}", here)
    if written := config.getini(f"etcdlab_{key}"):
        return read(key, str(written), f"etcdlab_{key}", config.rootpath)
    name = ENVIRONMENT_PREFIX + key.upper()
    return read(key, os.environ[name], name, here) if os.environ.get(name) else None


def read(key: str, text: str, name: str, base: Path) -> Any:
    """The value of `text`, which was set as `name`; a path in it is relative to `base`. Raises pytest.UsageError."""
    try:
        value = _KINDS[key](text)
    except ValueError as error:
        raise pytest.UsageError(f"{name}: {text!r} is not {error}") from None
    if key in _FILES and not (base / value).is_file():
        raise pytest.UsageError(f"{name}: there is no file {base / value}")
    if key == "etcd" and "/" in value:
        return str(base / value)
    return base / value if key in (*_FILES, "bundle") else value
