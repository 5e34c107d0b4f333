"""A lab's connection arguments for the Python clients of etcd. Imports none of them.

    name               use                                      identity   notes
    aetcd              aetcd.Client(**kwargs)                   -          1.0 has no TLS
    async-etcd3gw      AsyncEtcd3Client(**kwargs)               gateway
    etcd-client-py     etcd_client.Client(**kwargs)             -          all voters; 0.5 has no TLS
    etcd-sdk-python    pyetcd.client(**kwargs)                  client
    etcd3              etcd3.client(**kwargs)                   client     also its forks, such as python3-etcd3
    etcd3-py           etcd3.Client(**kwargs)                   gateway    see below
    etcd3aio           etcd3aio.Etcd3Client(**kwargs)           client     all voters
    etcd3gw            etcd3gw.client(**kwargs)                 gateway    see below
    grpc               grpc.ssl_channel_credentials(**kwargs)   client     for stubs of one's own
    httpx              httpx.Client(**kwargs), AsyncClient      gateway
    requests           requests.post(url, **kwargs)             gateway

Names are those on PyPI. Clients of the JSON gateway get the identity without a CN, as etcd answers 400 to any other.

A `requests.Session` prefers `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` to the CA that it was given. etcd3gw (since 2.6)
is then handed one that does not look; etcd3-py cannot be, so whoever uses it must unset them.
"""

import difflib
import importlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from etcdlab.errors import CertificateError, UsageError
from etcdlab.model.plan import IdentityPlan, NodePlan, Plan

LOOPBACK: Final = "127.0.0.1"
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# grpc sends even loopback calls through the proxy of https_proxy, unless no_proxy names the address.
NO_PROXY: Final = ("grpc.enable_http_proxy", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    ca: str
    certificate: str
    private_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Whom to connect to; `files` is None for plain HTTP."""

    nodes: tuple[NodePlan, ...]
    files: _Files | None

    @property
    def url(self) -> str:
        return self.nodes[0].client_url

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or LOOPBACK

    @property
    def port(self) -> int:
        return self.nodes[0].client_port


@dataclass(frozen=True, slots=True, kw_only=True)
class _Library:
    arguments: Callable[[_Target], dict[str, Any]]
    uses_gateway: bool = False
    has_tls: bool = True


def kwargs_for(
    plan: Plan, client: str, *, identity: IdentityPlan | None = None, node: NodePlan | None = None
) -> dict[str, Any]:
    """The keyword arguments with which `client` (see the table above) connects to this lab.

    Clients that take one address get the first voter's, or `node`'s. `identity` replaces the one that suits the client.
    Raises UsageError for a client that is not known or cannot do what is asked, CertificateError for unreadable files.
    """
    library = _LIBRARIES.get(client)
    if library is None:
        close = difflib.get_close_matches(client, _LIBRARIES, n=1)
        guess = f"Did you mean {close[0]}? " if close else ""
        raise UsageError(f"no client {client!r} is known", hint=f"{guess}Known: {', '.join(_LIBRARIES)}.")
    if plan.tls is None:
        if identity is not None:
            raise UsageError(f"lab {plan.lab!r} has no TLS, so it has no identity {identity.name!r}")
        files = None
    elif library.has_tls:
        chosen = identity or (plan.tls.gateway if library.uses_gateway else plan.tls.client)
        files = _Files(ca=plan.tls.ca, certificate=chosen.certificate, private_key=chosen.private_key)
    else:
        raise UsageError(
            f"{client} has no TLS, and lab {plan.lab!r} takes nothing else",
            hint="Use another client, or make the lab without TLS.",
        )
    return library.arguments(_Target(nodes=(node,) if node else plan.voters, files=files))


def _aetcd(target: _Target) -> dict[str, Any]:
    return {"host": target.host, "port": target.port, "options": dict([NO_PROXY])}


def _etcd_client_py(target: _Target) -> dict[str, Any]:
    return {"endpoints": [node.client_url for node in target.nodes]}


def _etcd3(target: _Target) -> dict[str, Any]:
    arguments = {"host": target.host, "port": target.port, "grpc_options": [NO_PROXY]}
    return arguments | _named(target, ca="ca_cert", certificate="cert_cert", private_key="cert_key")


def _async_etcd3gw(target: _Target) -> dict[str, Any]:
    arguments = {"host": target.host, "port": target.port, "protocol": _scheme(target)}
    return arguments | _named(target, ca="ca_cert", certificate="cert_cert", private_key="cert_key")


def _etcd3gw(target: _Target) -> dict[str, Any]:
    arguments = _async_etcd3gw(target)
    if target.files is None or not any(os.environ.get(variable) for variable in CA_VARIABLES):
        return arguments
    # Imported by name and only here: who uses etcd3gw has it, and no one else needs it.
    session = importlib.import_module("requests").Session()
    session.trust_env = False
    session.verify = target.files.ca
    session.cert = (target.files.certificate, target.files.private_key)
    return arguments | {"session": session}


def _etcd3_py(target: _Target) -> dict[str, Any]:
    return {"host": target.host, "port": target.port, "protocol": _scheme(target)} | _requests(target)


def _etcd3aio(target: _Target) -> dict[str, Any]:
    # Its target is "ipv4:…", so it can look up no name; members listen on loopback, whatever they are called.
    arguments: dict[str, Any] = {"endpoints": [f"{LOOPBACK}:{node.client_port}" for node in target.nodes]}
    if target.files is None:
        return arguments
    arguments["tls_server_name"] = target.host
    return arguments | _contents(target.files, ca="ca_cert", certificate="cert_chain", private_key="cert_key")


def _grpc(target: _Target) -> dict[str, Any]:
    if target.files is None:
        raise UsageError("a lab without TLS needs no channel credentials", hint="Use `grpc.insecure_channel(…)`.")
    return _contents(target.files, ca="root_certificates", certificate="certificate_chain", private_key="private_key")


def _httpx(target: _Target) -> dict[str, Any]:
    arguments: dict[str, Any] = {"base_url": target.url, "trust_env": False}
    if target.files is None:
        return arguments
    try:
        context = ssl.create_default_context(cafile=target.files.ca)
        context.load_cert_chain(target.files.certificate, target.files.private_key)
    except OSError as error:  # ssl.SSLError is one
        raise _unreadable(target.files, error) from error
    return arguments | {"verify": context}


def _requests(target: _Target) -> dict[str, Any]:
    if target.files is None:
        return {}
    return {"verify": target.files.ca, "cert": (target.files.certificate, target.files.private_key)}


def _scheme(target: _Target) -> str:
    return urlsplit(target.url).scheme


def _named(target: _Target, *, ca: str, certificate: str, private_key: str) -> dict[str, Any]:
    """The files' paths under the client's own names; nothing for plain HTTP."""
    if target.files is None:
        return {}
    return {ca: target.files.ca, certificate: target.files.certificate, private_key: target.files.private_key}


def _contents(files: _Files, *, ca: str, certificate: str, private_key: str) -> dict[str, bytes]:
    """The files' contents under the client's own names."""
    paths = {ca: files.ca, certificate: files.certificate, private_key: files.private_key}
    try:
        return {name: Path(path).read_bytes() for name, path in paths.items()}
    except OSError as error:
        raise _unreadable(files, error) from error


def _unreadable(files: _Files, error: OSError) -> CertificateError:
    return CertificateError(f"cannot use {files.certificate} with its key and CA: {error}")


_LIBRARIES: Final = {
    "aetcd": _Library(arguments=_aetcd, has_tls=False),
    "async-etcd3gw": _Library(arguments=_async_etcd3gw, uses_gateway=True),
    "etcd-client-py": _Library(arguments=_etcd_client_py, has_tls=False),
    "etcd-sdk-python": _Library(arguments=_etcd3),
    "etcd3": _Library(arguments=_etcd3),
    "etcd3-py": _Library(arguments=_etcd3_py, uses_gateway=True),
    "etcd3aio": _Library(arguments=_etcd3aio),
    "etcd3gw": _Library(arguments=_etcd3gw, uses_gateway=True),
    "grpc": _Library(arguments=_grpc),
    "httpx": _Library(arguments=_httpx, uses_gateway=True),
    "requests": _Library(arguments=_requests, uses_gateway=True),
}
