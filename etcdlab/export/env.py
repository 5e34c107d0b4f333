"""etcdctl's connection settings for a lab, as environment variables or as flags, in the words of each shell.

Either one or the other: etcdctl ends with a fatal error when a setting comes from both (etcd pkg/flags, verifyEnv).
`ETCDCTL_API` is left out: 3 is the default since etcd 3.4, and etcdctl 3.6 warns of the variable.
"""

import enum
import re
import shlex
from collections.abc import Mapping
from typing import Final

import msgspec

from etcdlab.errors import UsageError
from etcdlab.model.plan import IdentityPlan, NodePlan, Plan

VARIABLES: Final = ("ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY")


class Shell(enum.Enum):
    """The notations that variables can be printed in."""

    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"
    DOTENV = "dotenv"
    JSON = "json"


def choose_identity(plan: Plan, name: str | None) -> IdentityPlan | None:
    """The client identity called `name`, or the default one; None for a lab without TLS. Raises UsageError."""
    if plan.tls is None:
        if name is not None:
            raise UsageError(f"lab {plan.lab!r} has no TLS, so it has no identity {name!r}", hint="Leave it out.")
        return None
    if name is None:
        return plan.tls.client
    for identity in plan.tls.identities:
        if identity.name == name:
            return identity
    known = ", ".join(identity.name for identity in plan.tls.identities)
    raise UsageError(f"lab {plan.lab!r} has no identity {name!r}", hint=f"Its identities: {known}.")


def variables(plan: Plan, identity: IdentityPlan | None, *, node: NodePlan | None = None) -> dict[str, str]:
    """What etcdctl needs to reach all voting members (or only `node`) as `identity`."""
    endpoints = plan.endpoints if node is None else (node.client_url,)
    values = {"ETCDCTL_ENDPOINTS": ",".join(endpoints)}
    if plan.tls is not None and identity is not None:
        values["ETCDCTL_CACERT"] = plan.tls.ca
        values["ETCDCTL_CERT"] = identity.certificate
        values["ETCDCTL_KEY"] = identity.private_key
    return values


def flag(variable: str) -> str:
    """The etcdctl flag that means the same as `variable`."""
    return "--" + variable.removeprefix("ETCDCTL_").lower()


def flags(values: Mapping[str, str]) -> tuple[str, ...]:
    """The same settings as etcdctl's flags."""
    return tuple(f"{flag(variable)}={value}" for variable, value in values.items())


def variables_text(values: Mapping[str, str], shell: Shell) -> str:
    """Text that sets `values` when the shell evaluates it (or, dotenv and JSON, when a program reads it).

    Shells also drop the variables that are not in `values`: what another lab's `env` left in this shell makes
    etcdctl fail on a lab without TLS (3.5.16: "open …: no such file or directory", status 128).
    """
    if shell is Shell.JSON:
        return _json(values)
    stale = [variable for variable in VARIABLES if variable not in values] if shell in _UNSET else []
    lines = [_SET[shell](variable, value) for variable, value in values.items()]
    return "\n".join([*lines, *(_UNSET[shell].format(variable) for variable in stale)])


def flags_text(values: Mapping[str, str], shell: Shell) -> str:
    """Text that the shell's command substitution splits into the flags: `etcdctl $(etcdlab env --flags) get key`.

    sh splits at blanks and takes no quotes there: a path with a blank or quote needs `eval` around the whole command.
    fish and PowerShell split at line ends only. Raises UsageError for dotenv.
    """
    if shell is Shell.DOTENV:
        raise UsageError("dotenv files hold variables, not flags", hint="Leave out --flags or choose another --shell.")
    if shell is Shell.JSON:
        return _json(flags(values))
    return shlex.join(flags(values)) if shell is Shell.SH else "\n".join(flags(values))


def _sh(variable: str, value: str) -> str:
    return f"export {variable}={shlex.quote(value)}"


def _fish(variable: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    # The semicolon lets `eval (etcdlab env --shell fish)` work too, which joins the lines with blanks.
    return f"set -gx {variable} '{quoted}';"


def _powershell(variable: str, value: str) -> str:
    # PowerShell takes typographic quotes for quotes; any of them doubled is one of them.
    quoted = re.sub("(['‘’‚‛])", r"\1\1", value)
    return f"$Env:{variable} = '{quoted}'"


def _dotenv(variable: str, value: str) -> str:
    """One line that the usual readers of .env files and sh agree on: single quotes unless the value has one."""
    if "'" not in value:
        return f"{variable}={shlex.quote(value)}"
    quoted = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'{variable}="{quoted}"'


def _json(data: Mapping[str, str] | tuple[str, ...]) -> str:
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


_SET: Final = {Shell.SH: _sh, Shell.FISH: _fish, Shell.POWERSHELL: _powershell, Shell.DOTENV: _dotenv}
_UNSET: Final = {
    Shell.SH: "unset {}",
    Shell.FISH: "set -e {};",
    Shell.POWERSHELL: "Remove-Item Env:{} -ErrorAction Ignore",
}
