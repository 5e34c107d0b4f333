"""cfssl's JSON files in: a certificate request (`*-csr.json`) and a signing profile (`ca-config.json`).

Knows cfssl's words and defaults, and which of them etcdlab can honour. What it cannot is refused by name: a file that
is read "as it is" must not lose a constraint on the way.
"""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from etcdlab import given
from etcdlab.errors import TopologyError
from etcdlab.model.certificate import AUTHENTICATION, AuthorityPlan, CertificatePlan, KeyType, Role, Subject, Usage
from etcdlab.model.units import Duration
from etcdlab.pki.names import host_problem, subject_problems

KEYS: Final = {
    ("ecdsa", 256): KeyType.ECDSA_P256,
    ("ecdsa", 384): KeyType.ECDSA_P384,
    ("ecdsa", 521): KeyType.ECDSA_P521,
    ("ed25519", 0): KeyType.ED25519,
    ("rsa", 2048): KeyType.RSA_2048,
    ("rsa", 3072): KeyType.RSA_3072,
    ("rsa", 4096): KeyType.RSA_4096,
}
LEAF_USAGES: Final = {
    "signing": Usage.SIGNING,
    "digital signature": Usage.SIGNING,
    "key encipherment": Usage.KEY_ENCIPHERMENT,
    "server auth": Usage.SERVER_AUTH,
    "client auth": Usage.CLIENT_AUTH,
}
DEFAULT_KEY: Final = KeyType.ECDSA_P256
DEFAULT_CA_LIFETIME: Final = Duration.parse("43800h")
"""What cfssl does when a CA's request has no `key` and no `ca.expiry` (cfssl 1.6, csr.go and initca.go)."""

DEFAULT_PROFILE: Final = "default"
"""The name by which `signing.default` is asked for here."""

T = TypeVar("T")
Unread = dict[str, Any]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A `*-csr.json`. `lifetime_s` is the CA's `ca.expiry` in seconds, cfssl's default if the file has none."""

    subject: Subject
    hosts: tuple[str, ...]
    key: KeyType
    lifetime_s: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A signing profile. `lifetime_s` in seconds."""

    usages: tuple[Usage, ...]
    lifetime_s: float


class _Key(msgspec.Struct):
    algo: str
    size: int = 0


class _Ca(msgspec.Struct, forbid_unknown_fields=True):
    expiry: str = ""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    CN: str = ""
    hosts: list[str] = []
    key: _Key | None = None
    names: list[dict[str, str]] = []
    ca: _Ca = msgspec.field(default_factory=_Ca)


class _Profile(msgspec.Struct, forbid_unknown_fields=True):
    usages: list[str] = []
    expiry: str = ""
    auth_key: str = ""  # only says who may ask a cfssl server for this profile


class _Signing(msgspec.Struct):
    default: Unread | None = None
    profiles: dict[str, Unread] = {}


class _Config(msgspec.Struct):
    signing: _Signing


def read_request(path: Path) -> Request:
    """Read a `*-csr.json`. Raises TopologyError with all that is wrong in it, each line naming the file."""
    raw = _decode(path, _Request)
    problems: list[str] = []
    subject = _subject(raw, problems)
    key = DEFAULT_KEY
    if raw.key is not None:
        found = KEYS.get((raw.key.algo, 0 if raw.key.algo == "ed25519" else raw.key.size))
        if found is None:
            accepted = ", ".join(f"{algorithm} {size}" if size else algorithm for algorithm, size in KEYS)
            problems.append(f"key: {raw.key.algo} {raw.key.size} cannot be made; accepted: {accepted}")
        else:
            key = found
    lifetime = _lifetime("ca.expiry", raw.ca.expiry, problems) if raw.ca.expiry else DEFAULT_CA_LIFETIME
    _report(path, problems)
    # `"hosts": [""]` is the old way to say "none"; cfssl makes an empty DNS name of it, which helps nobody.
    hosts = tuple(host for host in raw.hosts if host)
    return Request(subject=subject, hosts=hosts, key=key, lifetime_s=lifetime)


def read_profile(path: Path, name: str) -> Profile:
    """Read the signing profile `name` of a `ca-config.json`; "default" is `signing.default`.

    As in cfssl, what a profile leaves out is not taken from the default. Raises TopologyError with all that is wrong.
    """
    signing = _decode(path, _Config).signing
    where = "signing.default" if name == DEFAULT_PROFILE else f"signing.profiles.{name}"
    raw = signing.default if name == DEFAULT_PROFILE else signing.profiles.get(name)
    if raw is None:
        there = ", ".join([*([DEFAULT_PROFILE] if signing.default else []), *signing.profiles]) or "none"
        raise TopologyError([f"{path}: {where}: there is no such profile; profiles here: {there}"])
    try:
        profile = msgspec.convert(raw, _Profile)
    except msgspec.ValidationError as error:
        raise TopologyError([f"{path}: {where}: {error}; read here: usages, expiry"]) from None
    problems: list[str] = []
    usages = []
    for word in profile.usages:
        if usage := LEAF_USAGES.get(word):
            usages.append(usage)
        else:
            problems.append(f"{where}.usages: {word!r} is not a usage of a leaf; accepted: {', '.join(LEAF_USAGES)}")
    if not profile.usages:
        problems.append(f"{where}.usages: there are none; accepted: {', '.join(LEAF_USAGES)}")
    lifetime = _lifetime(f"{where}.expiry", profile.expiry, problems)
    _report(path, problems)
    return Profile(usages=tuple(dict.fromkeys(usages)), lifetime_s=lifetime)


def authority(request_file: Path) -> AuthorityPlan:
    """A CA as cfssl's file says. Raises TopologyError with all that is wrong in it."""
    request = read_request(request_file)
    if wrong := [f"{request_file}: {part}: {why}" for part, why in subject_problems(request.subject)]:
        raise TopologyError(wrong)
    return AuthorityPlan(subject=request.subject, key=request.key, lifetime_s=float(request.lifetime_s))


def leaf(role: Role, request_file: Path, config_file: Path, profile_name: str) -> CertificatePlan:
    """A leaf as cfssl's files say, its stem left empty. Raises TopologyError with all that is wrong in both files."""
    wrong: list[str] = []
    request = profile = None
    try:
        request = read_request(request_file)
        wrong += [f"{request_file}: hosts: {why}" for host in request.hosts if (why := host_problem(host))]
        wrong += [f"{request_file}: {part}: {why}" for part, why in subject_problems(request.subject)]
    except TopologyError as error:
        wrong += error.problems
    try:
        profile = read_profile(config_file, profile_name)
        if missing := [usage.value for usage in AUTHENTICATION[role] if usage not in profile.usages]:
            wrong.append(f"{config_file}: profile {profile_name}: a {role.value} leaf also needs {', '.join(missing)}")
    except TopologyError as error:
        wrong += error.problems
    if wrong or request is None or profile is None:
        raise TopologyError(wrong)
    return CertificatePlan(
        stem="",
        role=role,
        subject=request.subject,
        hosts=request.hosts,
        usages=profile.usages,
        key=request.key,
        lifetime_s=float(profile.lifetime_s),
    )


def _subject(raw: _Request, problems: list[str]) -> Subject:
    parts = {"CN": raw.CN} if raw.CN else {}
    for name in raw.names:
        for attribute, value in name.items():
            if attribute not in Subject.__struct_fields__ or attribute == "CN":
                problems.append(f"names: {attribute} cannot be written; accepted: C, ST, L, O, OU")
            elif parts.setdefault(attribute, value) != value:
                problems.append(f"names: {attribute} is given twice: {parts[attribute]!r} and {value!r}")
    return msgspec.convert(parts, Subject) if not problems else Subject()


def _lifetime(where: str, text: str, problems: list[str]) -> Duration:
    try:
        lifetime = Duration.parse(text)
    except ValueError as error:
        problems.append(f"{where}: {error}")
        return Duration(0)
    if not lifetime:
        problems.append(f"{where}: is zero: the certificate would be expired when made")
    return lifetime


def _decode(path: Path, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(given.read(path), type=shape)
    except OSError as error:
        raise TopologyError([f"{path}: cannot be read: {error.strerror}"]) from None
    except msgspec.ValidationError as error:
        raise TopologyError([f"{path}: {error}"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TopologyError([f"{path}: is not JSON: {error}"]) from None


def _report(path: Path, problems: list[str]) -> None:
    if problems:
        raise TopologyError([f"{path}: {problem}" for problem in problems])
