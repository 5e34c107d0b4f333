"""`etcdlab pki`: certificates in a directory, no lab needed.

cryptography is imported where it is used: `etcdlab --help` imports this module and must not pay 65 ms for it.
"""

import datetime
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from etcdlab.cli.result import Cell, Result, View
from etcdlab.cli.verb import lab_option, verb
from etcdlab.errors import CertificateError, ExitStatus, UsageError
from etcdlab.model.certificate import AuthorityPlan, CertificatePlan, KeyType, Role, Subject, Usage
from etcdlab.model.units import Duration
from etcdlab.pki import cfssl, roles
from etcdlab.pki.files import AUTHORITY, all_files, certificate_file, key_file
from etcdlab.pki.names import host_problem, stem_problem, subject_problems
from etcdlab.prepare import labdir


def _lifetime(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Duration | None:
    if value is None:
        return None
    try:
        lifetime = Duration.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0 < lifetime <= roles.LONGEST_LIFETIME:
        raise click.BadParameter(f"{value} is not a lifetime: more than 0 and at most {roles.LONGEST_LIFETIME}")
    return lifetime


def _parts(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Subject:
    parts: dict[str, str] = {}
    # A comma that no part follows belongs to a value: "O=Etcd, Inc.,C=CN".
    for piece in re.split(r",(?=\s*[A-Za-z]+=)", value) if value else ():
        part, equals, text = piece.strip().partition("=")
        if not equals or part not in Subject.__struct_fields__ or part == "CN":
            raise click.BadParameter(f"{piece!r} is none of C=, ST=, L=, O=, OU= (the CN has its own option)")
        parts[part] = text
    subject = msgspec.convert(parts, Subject)
    for part, why in subject_problems(subject):
        raise click.BadParameter(f"{part} {why}")
    return subject


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime.datetime:
    if value is None:
        return datetime.datetime.now(datetime.UTC)
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time: write it like 2030-01-31 or 2030-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


PATH = click.Path(path_type=Path)
directory_option = click.option(
    "--directory", type=PATH, default=Path(), metavar="DIR", help="Where the files are [default: here]."
)
cn_option = click.option("--cn", metavar="NAME", help="Common name.")
key_option = click.option("--key", type=click.Choice([kind.value for kind in KeyType]), help="[default: ecdsa-p256]")
subject_option = click.option("--subject", callback=_parts, metavar="C=..,O=..", help="More of it: C, ST, L, O, OU.")
force_option = click.option("--force", is_flag=True, help="Replace files that are there.")
csr_option = click.option("--csr", type=PATH, metavar="FILE", help="cfssl's *-csr.json, instead of the options above.")


@click.group("pki")
def pki() -> None:
    """Make, show and verify certificates."""


@verb("init", example="etcdlab pki init --directory pki --cn Etcd --key rsa-4096 --subject C=CN,L=Shanghai,O=ETCD")
@directory_option
@cn_option
@key_option
@click.option("--lifetime", callback=_lifetime, metavar="8760h", help=f"[default: {roles.CA_LIFETIME}]")
@subject_option
@csr_option
@force_option
def init(
    directory: Path,
    cn: str | None,
    key: str | None,
    lifetime: Duration | None,
    subject: Subject,
    csr: Path | None,
    force: bool,
) -> Result:
    """Make a CA: ca.pem, ca-key.pem and ca.csr.

    With --csr it is `cfssl gencert -initca ca-csr.json | cfssljson -bare ca`.
    """
    from etcdlab.pki import store

    if csr is not None:
        _refuse_beside("--csr", cn=cn, key=key, lifetime=lifetime, subject=subject != Subject())
        plan = cfssl.authority(csr)
    else:
        plan = AuthorityPlan(
            subject=_subject("etcdlab CA" if cn is None else cn, subject),
            key=_key(key),
            lifetime_s=lifetime or roles.CA_LIFETIME,
        )
    store.make_ca(directory, plan, replace=force)
    return _made(directory, AUTHORITY)


@verb("issue", example="etcdlab pki issue server --directory pki --host etcd1.example.com --lifetime 90d")
@click.argument("name")
@directory_option
@click.option("--role", type=click.Choice(["server", "peer", "client"]), default="server", show_default=True)
@cn_option
@click.option("--host", "hosts", multiple=True, metavar="ADDRESS", help="A host to be valid for; repeatable.")
@key_option
@click.option(
    "--lifetime", callback=_lifetime, metavar="8760h", help=f"[default: {roles.LEAF_LIFETIME}, at most the CA's]"
)
@subject_option
@csr_option
@click.option("--config", type=PATH, metavar="FILE", help="cfssl's ca-config.json.")
@click.option("--profile", metavar="NAME", help="A signing profile in it [default: its signing.default].")
@click.option("--ca-key", type=PATH, metavar="FILE", help="The CA's key, if it is not DIR/ca-key.pem.")
@force_option
def issue(
    name: str,
    directory: Path,
    role: str,
    cn: str | None,
    hosts: tuple[str, ...],
    key: str | None,
    lifetime: Duration | None,
    subject: Subject,
    csr: Path | None,
    config: Path | None,
    profile: str | None,
    ca_key: Path | None,
    force: bool,
) -> Result:
    """Issue a leaf from the CA in DIR: NAME.pem, NAME-key.pem and NAME.csr.

    Servers and peers are also valid for localhost, 127.0.0.1 and ::1. With --csr and --config it is `cfssl gencert
    -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json -profile=server server-csr.json | cfssljson -bare server`.
    """
    from etcdlab.pki import store
    from etcdlab.pki.authority import Authority, make_keys

    _check_stem(name)
    if csr is not None:
        _refuse_beside("--csr", cn=cn, host=hosts, key=key, lifetime=lifetime, subject=subject != Subject())
        if config is None:
            raise UsageError("--csr needs --config", hint="cfssl's ca-config.json says usages and lifetime.")
        plan = cfssl.leaf(Role(role), csr, config, profile or cfssl.DEFAULT_PROFILE)
    else:
        _refuse_without("--csr", config=config, profile=profile)
        plan = _leaf(Role(role), cn, hosts, _key(key), lifetime, subject)
    ca = certificate_file(directory, AUTHORITY)
    if not ca.exists():
        raise CertificateError(f"there is no CA ({ca}) to issue from", hint="`etcdlab pki init` makes one.")
    authority = Authority.load(ca, key_file(directory, AUTHORITY) if ca_key is None else ca_key)
    now = datetime.datetime.now(datetime.UTC)
    capped = store.within(plan, authority, at=now)
    warnings = []
    if capped.lifetime_s < plan.lifetime_s:
        if lifetime is not None:
            raise UsageError(
                f"the CA expires at {authority.end:%Y-%m-%d}, before a leaf of {lifetime} would",
                hint="Ask for a shorter --lifetime, or make a new CA with `etcdlab pki init`.",
            )
        if csr is not None:
            # cfssl issues it so, and its files are honoured as they are; but it is useless after its CA's end.
            warnings.append(f"{name}.pem outlives its CA, which expires at {authority.end:%Y-%m-%d}")
        else:
            plan = capped
    if not force:
        store.refuse_to_overwrite(directory, name)
    key_made = make_keys([plan.key])[0]
    store.write(directory, name, authority.issue(plan, key_made, at=now), replace=force)
    return _made(directory, name, warnings=warnings)


@verb("show", example="etcdlab pki show server.pem client.pem")
@click.argument("files", nargs=-1, type=PATH)
@lab_option
def show(files: tuple[Path, ...], lab: str | None) -> Result:
    """Show certificates: of FILES, of directories, or of a lab.

    The chain is checked against the ca.pem beside a certificate, the key against the NAME-key.pem beside it.
    """
    from etcdlab.pki import inspect

    if files and lab is not None:
        raise UsageError("--lab and files exclude each other")
    now = datetime.datetime.now(datetime.UTC)
    found = [inspect.describe(file, at=now) for file in _certificates(files or (_lab_pki(lab),))]
    warnings = tuple(warning for one in found for warning in one.warnings())
    return Result(view=_blocks(found), data={"certificates": found}, warnings=warnings)


@verb("verify", example="etcdlab pki verify server.pem --ca ca.pem --host 127.0.0.1 --usage server")
@click.argument("file", type=PATH)
@click.option("--ca", type=PATH, required=True, metavar="FILE", help="The CA, or several in one file.")
@click.option("--host", metavar="ADDRESS", help="A name or address that it must be valid for.")
@click.option("--usage", type=click.Choice(["server", "client"]), help="What it must be usable for.")
@click.option("--at", callback=_moment, metavar="TIME", help="When, ISO 8601 [default: now].")
def verify(file: Path, ca: Path, host: str | None, usage: str | None, at: datetime.datetime) -> Result:
    """Check a certificate as etcd would: chain, CA, validity, usage, host. Exits with 1 if any check fails."""
    from etcdlab.pki import inspect

    if host is not None and (why := host_problem(host)):
        raise UsageError(f"--host: {why}")
    checks = inspect.verify(
        file,
        ca,
        at=at,
        host=host,
        usage={"server": Usage.SERVER_AUTH, "client": Usage.CLIENT_AUTH}[usage] if usage else None,
    )
    good = all(check.ok for check in checks)
    return Result(
        view=[
            Cell(f"{'ok' if check.ok else 'FAILED':<8}{check.name:<11}{check.detail}", "good" if check.ok else "bad")
            for check in checks
        ],
        data={"file": str(file), "ok": good, "checks": checks},
        exit_status=ExitStatus.DONE if good else ExitStatus.FAILED,
    )


for command in (init, issue, show, verify):
    pki.add_command(command)


def _leaf(
    role: Role,
    cn: str | None,
    hosts: tuple[str, ...],
    key: KeyType,
    lifetime: Duration | None,
    subject: Subject,
) -> CertificatePlan:
    if wrong := [why for host in hosts if (why := host_problem(host))]:
        raise UsageError("\n".join(f"--host: {why}" for why in wrong))
    local = () if role is Role.CLIENT else roles.LOCAL_HOSTS
    return CertificatePlan(
        stem="",
        role=role,
        subject=_subject(roles.DEFAULT_CN[role] if cn is None else cn, subject),
        hosts=tuple(dict.fromkeys((*local, *hosts))),
        usages=roles.usages(role, key),
        key=key,
        lifetime_s=lifetime or roles.LEAF_LIFETIME,
    )


def _subject(cn: str, rest: Subject) -> Subject:
    subject = msgspec.structs.replace(rest, CN=cn)
    for _, why in subject_problems(subject):
        raise UsageError(f"--cn {why}")
    if subject == Subject():
        raise UsageError("the subject is empty", hint="Give --cn, or --subject when there is to be no CN.")
    return subject


def _key(name: str | None) -> KeyType:
    return KeyType.ECDSA_P256 if name is None else KeyType(name)


def _check_stem(name: str) -> None:
    if why := stem_problem(name):
        raise UsageError(f"NAME {why}")
    if name.casefold() in (AUTHORITY, f"{AUTHORITY}-key"):
        raise UsageError(f"NAME {name!r} would write the files of the CA", hint="`etcdlab pki init` makes a CA.")


def _refuse_beside(option: str, **others: object) -> None:
    if given := [f"--{name}" for name, value in others.items() if value]:
        raise UsageError(f"{', '.join(given)} cannot stand beside {option}: the file says it")


def _refuse_without(option: str, **others: object) -> None:
    if given := [f"--{name}" for name, value in others.items() if value]:
        raise UsageError(f"{', '.join(given)} means nothing without {option}")


def _made(directory: Path, stem: str, *, warnings: Sequence[str] = ()) -> Result:
    files = [str(path) for path in all_files(directory, stem)]
    return Result(view=files, data={"name": stem, "files": files}, warnings=tuple(warnings))


def _lab_pki(name: str | None) -> Path:
    lab = labdir.choose(name)
    if not lab.pki.is_dir():
        raise CertificateError(f"the lab {lab.name!r} has no certificates", hint="It runs without TLS.")
    return lab.pki


def _certificates(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.glob("*.pem") if not file.stem.endswith("-key"))
        if not inside:
            raise CertificateError(f"there are no certificates (*.pem) in {path}")
        yield from inside


def _blocks(found: Sequence[Any]) -> View:
    for number, one in enumerate(found):
        if number:
            yield ""
        yield one.file
        yield f"  subject  {one.subject}"
        yield f"  issuer   {one.issuer}"
        yield f"  hosts    {', '.join(one.hosts) or '-'}"
        yield f"  usages   {', '.join(one.usages) or '-'}"
        left = f"{one.days_left} days left" if one.days_left >= 0 else "expired"
        yield f"  valid    {one.not_before} to {one.not_after} ({left})"
        yield _line("key", f"{one.key}, ", one.key_match, "no private key beside it")
        yield _line("chain", "", one.chain, "no ca.pem beside it")


def _line(label: str, prefix: str, check: Any, absent: str) -> Cell:
    style = "quiet" if check is None else "good" if check.ok else "bad"
    return Cell(f"  {label:<9}{prefix}{absent if check is None else check.detail}", style)
