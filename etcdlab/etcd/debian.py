"""A Debian or Ubuntu archive's etcd, fetched by apt's own tools: no root, nothing installed, no system state touched.

apt verifies the archive's signature and the packages' checksums. It works in a state directory of its own, on the
mirror that the machine's sources name, so that a stale or missing `apt-get update`, other sources, preferences and
hooks of the machine make no difference.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcdlab.errors import BinaryError
from etcdlab.etcd import version as versions
from etcdlab.etcd.archive import extract_tar
from etcdlab.etcd.search import absolute_path, on_path

PACKAGES: Final = ("etcd-server", "etcd-client")
KEYRINGS: Final = Path("/usr/share/keyrings")

_TOOLS: Final = ("apt-get", "apt-cache", "apt-config", "dpkg-deb")
_IDLE_TIMEOUT_S: Final = 15
_TIMEOUT_S: Final = 600.0
_ALIASES: Final = frozenset({"oldstable", "stable", "testing", "unstable", "sid"})
_OTHER_SUITES: Final = {"debian": ("sid", "trixie", "bookworm"), "ubuntu": ()}
_COMPONENT: Final = {"debian": "main", "ubuntu": "universe"}

Report = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Suite:
    """One release of the distribution on one mirror."""

    mirror: str
    name: str
    component: str
    keyring: Path | None


def fetch(request: str | None, work: Path, into: Path, report: Report) -> None:
    """Find a suite that has the version asked for, and unpack its etcd into the directory `into`.

    Without a request it is what the machine's own suite has. Raises BinaryError with what each suite has.
    """
    if missing := missing_tools():
        raise BinaryError(f"this is not a Debian or Ubuntu machine: there is no {', '.join(missing)}")
    refused: list[str] = []
    for suite in suites(own_only=request is None):
        try:
            apt = Apt(suite, work / suite.name)
            apt.update(report)
            version = apt.version()
            if versions.matches(version, request):
                apt.unpack(into, report)
                return
            refused.append(f"{suite.name} has {version}")
        except BinaryError as error:
            refused.append(f"{suite.name}: {error.message}")
        shutil.rmtree(work / suite.name)  # 100 MB of package lists
    raise BinaryError("; ".join(refused) or "the machine's apt sources name no mirror of its distribution")


def missing_tools() -> list[str]:
    """Which of apt's tools the machine does not have: all of them where it is no Debian or Ubuntu."""
    return [tool for tool in _TOOLS if on_path(tool) is None]


def suites(*, own_only: bool) -> list[Suite]:
    """The machine's own suite on each mirror that its sources name, then the others of that distribution."""
    release = platform.freedesktop_os_release()
    kin = [release["ID"], *release.get("ID_LIKE", "").split()]
    distribution = "ubuntu" if "ubuntu" in kin else "debian"
    codenames = {
        release[key] for key in ("VERSION_CODENAME", "UBUNTU_CODENAME", "DEBIAN_CODENAME") if key in release
    } | _ALIASES
    component = _COMPONENT[distribution]
    keyring = _keyring(distribution)
    own = [
        Suite(mirror, name, component, keyring)
        for mirror, name, its_component in sources()
        if name in codenames and its_component == component
    ]
    names = {suite.name for suite in own}
    others = [
        Suite(own[0].mirror, name, component, keyring)
        for name in _OTHER_SUITES[distribution]
        if own and not own_only and name not in names
    ]
    return own + others


def sources() -> list[tuple[str, str, str]]:
    """The machine's sources as apt reads them, in either format: mirror, suite and component of each, in order."""
    listing = _run(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        # Without it apt lists only what an `apt-get update` of the machine has fetched.
        "-o=APT::Get::IndexTargets::ReleaseInfo=false",
        # For root, apt would write these below /var/cache.
        "-o=Dir::Cache::pkgcache=",
        "-o=Dir::Cache::srcpkgcache=",
    )
    found = [tuple(fields) for line in listing.splitlines() if len(fields := line.split()) == 3]
    return [(mirror, suite, component) for mirror, suite, component in dict.fromkeys(found)]


def _keyring(distribution: str) -> Path | None:
    for suffix in (".pgp", ".gpg"):
        path = KEYRINGS / f"{distribution}-archive-keyring{suffix}"
        if path.is_file():
            return path
    return None


class Apt:
    """apt on one suite, with everything it reads and writes below `directory`."""

    def __init__(self, suite: Suite, directory: Path) -> None:
        self._suite = suite
        self._directory = directory
        self._environment = _environment() | {"APT_CONFIG": str(directory / "apt.conf"), "LC_ALL": "C"}
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        (directory / "apt.conf").write_text(self._configuration())
        (directory / "etcd.sources").write_text(self._source())

    def update(self, report: Report) -> None:
        """Fetch the suite's list of packages."""
        self._get(("update",), f"read the package list of {self._suite.name}", report)

    def version(self) -> str:
        """The version of etcd, as etcd counts it, that the suite has."""
        listing = _run("apt-cache", "madison", PACKAGES[0], environment=self._environment)
        if not listing.strip():
            raise BinaryError(f"has no {PACKAGES[0]}")
        # Debian's form of a version is [epoch:]upstream[+how it was repacked][-revision].
        return listing.split("|")[1].strip().rpartition(":")[2].partition("-")[0].partition("+")[0]

    def unpack(self, into: Path, report: Report) -> None:
        """Download the packages and unpack their programs."""
        self._get(("download", *PACKAGES), f"download {' and '.join(PACKAGES)} of {self._suite.name}", report)
        for package in sorted((self._directory / "packages").glob("*.deb")):
            with subprocess.Popen(
                ("dpkg-deb", "--fsys-tarfile", package), env=self._environment, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                extract_tar(process.stdout, "./usr/bin", into)
                process.stdout.read()  # what tar does not need to the end: dpkg-deb would die of a closed pipe
            if process.returncode != 0:
                raise BinaryError(f"dpkg-deb cannot read {package.name}")

    def _get(self, arguments: Sequence[str], step: str, report: Report) -> None:
        """Run apt-get, passing on how far it is. `Status-Fd` gives lines like "dlstatus:2:38.4:Retrieving file …"."""
        said: list[str] = []
        report(step, 0.0)
        with subprocess.Popen(
            ("apt-get", "-q", "-o=APT::Status-Fd=1", *arguments),
            cwd=self._directory / "packages",
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            killer = threading.Timer(_TIMEOUT_S, process.kill)  # a mirror that trickles is never idle
            killer.start()
            try:
                for line in process.stdout:
                    kind, _, rest = line.partition(":")
                    if kind == "dlstatus":
                        with contextlib.suppress(IndexError, ValueError):
                            report(step, float(rest.split(":")[1]) / 100)
                    else:
                        said.append(line.strip())
            except BaseException:
                process.kill()
                raise
            finally:
                killer.cancel()
        # A mirror that cannot be reached is only a warning for `update`.
        complaints = [line for line in said if line.startswith(("E:", "W: Failed"))]
        if process.returncode != 0 or complaints:
            raise BinaryError(f"apt-get {arguments[0]} failed: {(complaints or said or ['no output'])[0]}")

    def _configuration(self) -> str:
        """What the machine says of proxies and the like, and nothing else of it: neither hooks nor preferences."""
        root = self._directory
        return "\n".join(
            (
                _run("apt-config", "dump", "Acquire"),
                'Dir::Etc::Main "/dev/null";',
                'Dir::Etc::Parts "/dev/null";',
                'Dir::Etc::Preferences "/dev/null";',
                'Dir::Etc::PreferencesParts "/dev/null";',
                f'Dir::Etc::SourceList "{root}/etcd.sources";',
                'Dir::Etc::SourceParts "/dev/null";',
                f'Dir::State "{root}";',
                f'Dir::State::status "{root}/status";',
                f'Dir::Cache "{root}/cache";',
                # For root, apt changes to a user of its own, who may not enter a private cache.
                'APT::Sandbox::User "root";',
                'Acquire::Languages "none";',
                'Acquire::Retries "1";',
                f'Acquire::http::Timeout "{_IDLE_TIMEOUT_S}";',
                f'Acquire::https::Timeout "{_IDLE_TIMEOUT_S}";',
                "",
            )
        )

    def _source(self) -> str:
        suite = self._suite
        signed = f"Signed-By: {suite.keyring}\n" if suite.keyring else ""
        return f"Types: deb\nURIs: {suite.mirror}\nSuites: {suite.name}\nComponents: {suite.component}\n{signed}"


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": absolute_path()}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    try:
        answer = subprocess.run(
            command,
            env=environment or _environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BinaryError(f"{command[0]} took longer than {_TIMEOUT_S:g} s") from error
    if answer.returncode != 0:
        raise BinaryError(f"{command[0]} failed: {answer.stderr.strip()}")
    return answer.stdout
