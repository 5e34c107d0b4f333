"""The environment of a command that uses a lab: what it keeps of its caller's, and what tells it about the lab."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from etcdlab.errors import UsageError
from etcdlab.etcd.environment import clean
from etcdlab.model.certificate import Role
from etcdlab.model.plan import IdentityPlan, NodePlan, Plan

PREFIX: Final = "ETCDLAB"
PIFPAF_PREFIX: Final = "PIFPAF"
PIFPAF_URLS: Final = "PIFPAF_URLS"
"""Where pifpaf gathers the URLs of all that it runs, whatever its prefix."""

_STALE: Final = re.compile(
    f"{PREFIX}_(LAB|ENDPOINTS?|HOST|PORT|CACERT|CERT|KEY|(GATEWAY|SERVER)_(CERT|KEY)|SOCKET|MEMBERS|MEMBER_.+)"
)
_CA_OVERRIDES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_VARIABLE: Final = re.compile("[A-Z0-9_]+")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def inherited(caller: Mapping[str, str], plan: Plan, *, proxies: bool) -> dict[str, str]:
    """What a command keeps of its caller's environment: nothing that would lead its clients away from this lab.

    `proxies` keeps the proxies, except for the lab's own hosts.
    """
    kept = {name: value for name, value in clean(caller).items() if not _STALE.fullmatch(name)}
    if plan.tls is not None:
        # They go before the CA that a Python client is told on its session: requests then trusts them alone.
        kept = {name: value for name, value in kept.items() if name not in _CA_OVERRIDES}
    return kept | (_proxies_elsewhere(caller, plan) if proxies else {})


def lab_variables(
    plan: Plan, identity: IdentityPlan | None, *, pids: Mapping[str, int | None], prefix: str = PREFIX
) -> dict[str, str]:
    """All that a client, a test suite or a tool in front of the lab may want to know, as `<prefix>_…`.

    `pids` has the members' processes as they are now, by name: a restart changes them.
    """
    first = urlsplit(plan.voters[0].client_url)
    values = {
        "LAB": plan.lab,
        "ENDPOINTS": ",".join(plan.endpoints),
        "ENDPOINT": plan.endpoints[0],
        "HOST": str(first.hostname),
        "PORT": str(first.port),
        "SOCKET": plan.socket,
        "MEMBERS": ",".join(node.name for node in plan.nodes),
        **_certificates(plan, identity),
    }
    for which, node in _designations(plan):
        values |= {f"MEMBER_{which}_{key}": value for key, value in _member(node, pids.get(node.name)).items()}
    return {f"{prefix}_{key}": value for key, value in values.items()}


def pifpaf_variables(plan: Plan, *, prefix: str = PIFPAF_PREFIX, pid: int, urls: str) -> dict[str, str]:
    """The variables of `pifpaf run etcd`, about the first member.

    `pid` is the process whose end ends the lab, `urls` what `PIFPAF_URLS` had before. Raises UsageError for a lab with
    TLS, which those variables have no words for.
    """
    if plan.tls is not None:
        raise UsageError(
            f"lab {plan.lab!r} has TLS, and suites written for pifpaf know plain HTTP only",
            hint="Without --lab, a lab without TLS is made for them.",
        )
    first = plan.voters[0]
    url = f"etcd://localhost:{first.client_port}"
    values = {
        "DATA": first.data_dir if len(plan.nodes) == 1 else plan.directory,
        "ETCD_PORT": str(first.client_port),
        "ETCD_PEER_PORT": str(first.peer_port),
        "HTTP_URL": f"http://localhost:{first.client_port}",
        "URL": url,
        "ETCD_URL": url,
        "DAEMON": "etcd",
        "PID": str(pid),
    }
    return {f"{prefix}_{key}": value for key, value in values.items()} | {PIFPAF_URLS: f"{urls};{url}" if urls else url}


def _certificates(plan: Plan, identity: IdentityPlan | None) -> dict[str, str]:
    if plan.tls is None or identity is None:
        return {}
    gateway = plan.tls.gateway
    files = {
        "CACERT": plan.tls.ca,
        "CERT": identity.certificate,
        "KEY": identity.private_key,
        # etcd's JSON gateway and `etcd grpc-proxy` refuse a client certificate with a CN when auth is on.
        "GATEWAY_CERT": gateway.certificate,
        "GATEWAY_KEY": gateway.private_key,
    }
    if plan.pki is not None:
        leaf = next(leaf for leaf in plan.pki.certificates if leaf.role is Role.SERVER)
        stem = f"{plan.pki.directory}/{leaf.stem}"
        files |= {"SERVER_CERT": f"{stem}.pem", "SERVER_KEY": f"{stem}-key.pem"}
    return files


def _designations(plan: Plan) -> Iterator[tuple[str, NodePlan]]:
    """What members are called in variables: by name where that is part of one and no other's, and from 1 on."""
    names = [node.name.upper() for node in plan.nodes]
    for name, node in zip(names, plan.nodes, strict=True):
        if _VARIABLE.fullmatch(name) and names.count(name) == 1:
            yield name, node
    for number, node in enumerate(plan.nodes, start=1):
        yield str(number), node


def _member(node: NodePlan, pid: int | None) -> dict[str, str]:
    values = {
        "NAME": node.name,
        "ENDPOINT": node.client_url,
        "PEER_URL": node.peer_url,
        "METRICS_URL": node.metrics_url,
        "DATA_DIR": node.data_dir,
    }
    return values if pid is None else values | {"PID": str(pid)}


def _proxies_elsewhere(caller: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The caller's proxies, and in NO_PROXY the lab's hosts: not every client knows that loopback is not proxied."""
    found = {name: value for name, value in caller.items() if name.upper().endswith("_PROXY")}
    found = {name: value for name, value in found.items() if not name.startswith("ETCD")}
    if not found:
        return {}
    exempt = found.get("no_proxy") or found.get("NO_PROXY") or ""
    if exempt.strip() != "*":  # which has a meaning only when it is alone
        hosts = [host.strip() for host in exempt.split(",") if host.strip()]
        hosts += [*_LOOPBACK, *(str(urlsplit(node.client_url).hostname) for node in plan.nodes)]
        exempt = ",".join(dict.fromkeys(hosts))
    return found | {"no_proxy": exempt, "NO_PROXY": exempt}
