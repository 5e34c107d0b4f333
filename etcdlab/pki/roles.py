"""From `[tls]` to the list of certificates: what each role's leaf is for, whom it names and how long it lives.

Knows no cryptography and makes nothing, so that planning does not pay for importing it (65 ms).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from etcdlab import given
from etcdlab.errors import TopologyError, UsageError
from etcdlab.model.certificate import (
    AUTHENTICATION,
    AuthorityPlan,
    CertificatePlan,
    KeyType,
    PkiPlan,
    Role,
    Subject,
    Usage,
)
from etcdlab.model.topology import CaTable, CfsslTable, LeafTable, Leaves, NodeTable, TlsTable, Topology
from etcdlab.model.units import Duration
from etcdlab.pki import cfssl, files
from etcdlab.pki.names import covers, host_problem, stem_problem, subject_problems

CA_LIFETIME: Final = Duration.parse("3650d")
LEAF_LIFETIME: Final = Duration.parse("8760h")
LONGEST_LIFETIME: Final = Duration.parse("36525d")
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""In every server and peer leaf. Peers need the address: etcd checks a dialling peer's source IP against its SANs."""

CLIENT: Final = "client"
GATEWAY: Final = "gateway"
DEFAULT_CN: Final = {Role.SERVER: "etcd-server", Role.PEER: "etcd-peer", Role.CLIENT: "etcd-client"}
_RSA: Final = (KeyType.RSA_2048, KeyType.RSA_3072, KeyType.RSA_4096)

Templates = dict[Role, CertificatePlan]


def server_stem(topology: Topology, node: str) -> str:
    """The file stem of the pair that `node` shows to its clients."""
    return "server" if topology.tls.leaves is Leaves.SHARED else f"server-{node}"


def peer_stem(topology: Topology, node: str) -> str:
    """The file stem of the pair that `node` shows to its peers."""
    return "server" if topology.tls.leaves is Leaves.SHARED else f"peer-{node}"


def identities(topology: Topology) -> tuple[tuple[str, str], ...]:
    """The client certificates as (file stem, CN), the default one first, the gateway's (no CN) last.

    With `[tls.cfssl]` the first one's CN is in a file: take it from the plan.
    """
    tls = topology.tls
    client = DEFAULT_CN[Role.CLIENT] if tls.client.cn is None else tls.client.cn
    named = ((table.name, table.name if table.cn is None else table.cn) for table in tls.identity)
    return ((CLIENT, client), *named, (GATEWAY, ""))


def leaves_of(topology: Topology, owner: str, role: Role | None = None) -> tuple[str, ...]:
    """The file stems of the leaves that a member shows (in this role), or of a client's. Raises UsageError."""
    members, clients = [member.name for member in topology.members()], [name for name, _ in identities(topology)]
    if owner in members:
        stems = {Role.SERVER: server_stem(topology, owner), Role.PEER: peer_stem(topology, owner)}
    elif owner in clients:
        stems = {Role.CLIENT: owner}
    else:
        raise UsageError(
            f"nobody in lab {topology.name!r} has certificates by the name of {owner!r}",
            hint=f"Members: {', '.join(members)}; clients: {', '.join(clients)}.",
        )
    if role is not None and role not in stems:
        raise UsageError(f"{owner} has no {role.value} certificate, only {' and '.join(one.value for one in stems)}")
    return tuple(dict.fromkeys(stem for one, stem in stems.items() if role in (None, one)))


Problem = tuple[str, str]
"""A key path in the topology, and a sentence about it."""


def problems(topology: Topology) -> list[Problem]:
    """What is wrong in `[tls]` as it stands, without looking at any file."""
    tls = topology.tls
    if not tls.enabled:
        return []
    return [
        *((f"tls.subject.{part}", why) for part, why in subject_problems(tls.subject)),
        *_authority_problems(tls),
        *(problem for role in AUTHENTICATION for problem in _leaf_problems(tls, role)),
        *_identity_problems(topology),
        *(_cfssl_problems(tls, tls.cfssl) if tls.cfssl is not None else ()),
    ]


def plan_pki(topology: Topology, directory: Path, base: Path) -> PkiPlan:
    """All certificates of a lab, to be issued into `directory`.

    Reads cfssl's files and looks at an existing CA, both relative to `base`. Raises TopologyError with all that is
    wrong in those files. Whoever calls this has reported `problems(topology)` before.
    """
    tls = topology.tls
    wrong: list[str] = []
    authority = _authority(topology, base, wrong)
    if tls.cfssl is None:
        templates = {role: _template(tls, role, authority) for role in AUTHENTICATION}
    else:
        templates = _cfssl_templates(tls.cfssl, base, wrong)
        wrong += _uncovered(topology, tls.cfssl, templates)
    if wrong:
        raise TopologyError(wrong)
    leaves = (*_member_leaves(topology, templates), *_client_leaves(topology, templates[Role.CLIENT]))
    return PkiPlan(directory=str(directory), authority=authority, certificates=leaves)


def usages(role: Role, key: KeyType) -> tuple[Usage, ...]:
    """What a leaf of `role` may be used for. Only RSA keys can encipher another key."""
    encipherment = (Usage.KEY_ENCIPHERMENT,) if key in _RSA else ()
    return (Usage.SIGNING, *encipherment, *AUTHENTICATION[role])


def _authority(topology: Topology, base: Path, wrong: list[str]) -> AuthorityPlan:
    tls, table = topology.tls, topology.tls.ca
    if table.certificate is not None and table.private_key is not None:
        certificate, key = base / table.certificate, base / table.private_key
        wrong += _pem_problems(certificate, "CERTIFICATE-----") + _pem_problems(key, "PRIVATE KEY-----")
        return AuthorityPlan(
            subject=Subject(),
            key=tls.key,
            lifetime_s=0,
            existing_certificate=str(certificate.absolute()),
            existing_key=str(key.absolute()),
        )
    if tls.cfssl is not None and tls.cfssl.ca is not None:
        try:
            return cfssl.authority(base / tls.cfssl.ca)
        except TopologyError as error:
            wrong += error.problems
    cn = f"etcdlab {topology.name} CA" if table.cn is None else table.cn
    return AuthorityPlan(
        subject=msgspec.structs.replace(tls.subject, CN=cn),
        key=table.key or tls.key,
        lifetime_s=float(table.lifetime or CA_LIFETIME),
    )


def _template(tls: TlsTable, role: Role, authority: AuthorityPlan) -> CertificatePlan:
    table = leaf_table(tls, role)
    key = table.key or tls.key
    # An existing CA's end is known when it is loaded: store.create shortens its leaves there.
    longest = authority.lifetime_s or LEAF_LIFETIME
    return CertificatePlan(
        stem="",
        role=role,
        subject=msgspec.structs.replace(tls.subject, CN=DEFAULT_CN[role] if table.cn is None else table.cn),
        hosts=table.hosts,
        usages=usages(role, key),
        key=key,
        lifetime_s=float(table.lifetime or min(LEAF_LIFETIME, longest)),
    )


def _cfssl_templates(table: CfsslTable, base: Path, wrong: list[str]) -> Templates:
    files = {
        Role.SERVER: (table.server, table.server_profile),
        Role.PEER: (table.peer or table.server, table.peer_profile or table.server_profile),
        Role.CLIENT: (table.client, table.client_profile),
    }
    templates: Templates = {}
    for role, (request_file, profile_name) in files.items():
        try:
            templates[role] = cfssl.leaf(role, base / request_file, base / table.config, profile_name)
        except TopologyError as error:
            # Peers may read the same files as servers: say it once.
            wrong += [problem for problem in error.problems if problem not in wrong]
    return templates


def _uncovered(topology: Topology, table: CfsslTable, templates: Templates) -> list[str]:
    """A lab whose members cannot dial each other would only fail to boot; said here, the reason is plain."""
    clients, peers = (topology.etcd.advertise_host,), [topology.peer_host(member) for member in topology.members()]
    reason = "network.faults" if topology.network.faults else "etcd.advertise_host"
    dialled = ((Role.SERVER, table.server, clients, "etcd.advertise_host"),
               (Role.PEER, table.peer or table.server, peers, reason))  # fmt: skip
    wrong = [
        f"{name}: hosts: lacks {host}, at which members are dialled ({why})"
        for role, name, hosts, why in dialled
        for host in hosts
        if role in templates and not covers(templates[role].hosts, host)
    ]
    return list(dict.fromkeys(wrong))


def _member_leaves(topology: Topology, templates: Templates) -> Iterator[CertificatePlan]:
    members = topology.members()
    if topology.tls.leaves is Leaves.SHARED:
        yield _member_leaf(topology, templates[Role.SERVER], "server", members)
        return
    for member in members:
        yield _member_leaf(topology, templates[Role.SERVER], server_stem(topology, member.name), [member])
        yield _member_leaf(topology, templates[Role.PEER], peer_stem(topology, member.name), [member])


def _member_leaf(
    topology: Topology, template: CertificatePlan, stem: str, members: Sequence[NodeTable]
) -> CertificatePlan:
    hosts = template.hosts
    if topology.tls.cfssl is None:
        # etcd allows member names that are no DNS names; nobody dials those.
        names = [member.name for member in members if host_problem(member.name) is None]
        dialled = [topology.etcd.advertise_host, *names, *map(topology.peer_host, members)]
        hosts = _unique((*LOCAL_HOSTS, *dialled, *template.hosts))
    return msgspec.structs.replace(template, stem=stem, hosts=hosts)


def _client_leaves(topology: Topology, template: CertificatePlan) -> Iterator[CertificatePlan]:
    yield msgspec.structs.replace(template, stem=CLIENT)
    for (name, cn), table in zip(identities(topology)[1:-1], topology.tls.identity, strict=True):
        subject = msgspec.structs.replace(template.subject, CN=cn)
        lifetime = float(table.lifetime or template.lifetime_s)
        yield msgspec.structs.replace(template, stem=name, subject=subject, lifetime_s=lifetime)
    subject = msgspec.structs.replace(template.subject, CN="")
    if subject == Subject():
        # An empty subject is legal only with a critical SAN (RFC 5280, 4.1.2.6), and a client needs none.
        subject = Subject(O="etcdlab")
    yield msgspec.structs.replace(template, stem=GATEWAY, subject=subject)


def leaf_table(tls: TlsTable, role: Role) -> LeafTable:
    """The table `[tls.<role>]` of a leaf's role."""
    table = {Role.SERVER: tls.server, Role.PEER: tls.peer, Role.CLIENT: tls.client}[role]
    assert isinstance(table, LeafTable)
    return table


def _pem_problems(path: Path, label: str) -> list[str]:
    try:
        content = given.read(path)
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror}"]
    if label.encode() not in content:
        return [f"{path}: holds no PEM block {label.strip('-')}"]
    if b"ENCRYPTED" in content:
        return [f"{path}: is encrypted; etcdlab cannot ask for its password"]
    return []


def _unique(hosts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hosts))


def _authority_problems(tls: TlsTable) -> Iterator[Problem]:
    table = tls.ca
    if (table.certificate is None) != (table.private_key is None):
        missing = "private_key" if table.private_key is None else "certificate"
        yield f"tls.ca.{missing}", "is missing: an existing CA needs both certificate and private_key"
    elif table.certificate is not None:
        for key in ("cn", "lifetime", "key"):
            if getattr(table, key) is not None:
                yield f"tls.ca.{key}", "has no effect on an existing CA: remove it, or certificate and private_key"
    yield from _name_problems("tls.ca.cn", table.cn)
    yield from _lifetime_problems("tls.ca.lifetime", table.lifetime)


def _leaf_problems(tls: TlsTable, role: Role) -> Iterator[Problem]:
    table, path = leaf_table(tls, role), f"tls.{role.value}"
    if role is Role.PEER and tls.leaves is Leaves.SHARED and table != LeafTable():
        yield path, 'has no effect with leaves = "shared": peers use the server pair, set tls.server'
    for number, host in enumerate(table.hosts):
        if why := host_problem(host):
            yield f"{path}.hosts[{number}]", why
    yield from _name_problems(f"{path}.cn", table.cn)
    yield from _lifetime_problems(f"{path}.lifetime", table.lifetime, tls)


def _identity_problems(topology: Topology) -> Iterator[Problem]:
    members = [stem(topology, node.name) for node in topology.members() for stem in (server_stem, peer_stem)]
    taken = {file: stem for stem in ("ca", CLIENT, GATEWAY, *members) for file in _file_names(stem)}
    for number, table in enumerate(topology.tls.identity):
        path = f"tls.identity[{number}]"
        if why := stem_problem(table.name):
            yield f"{path}.name", why
        if clash := next((taken[file] for file in _file_names(table.name) if file in taken), None):
            yield f"{path}.name", f"{table.name!r} would write the files of {clash!r}: choose another name"
        taken |= dict.fromkeys(_file_names(table.name), table.name)
        yield from _name_problems(f"{path}.cn", table.name if table.cn is None else table.cn)
        yield from _lifetime_problems(f"{path}.lifetime", table.lifetime, topology.tls)


def _cfssl_problems(tls: TlsTable, table: CfsslTable) -> Iterator[Problem]:
    existing = tls.ca.certificate is not None or tls.ca.private_key is not None
    if table.ca is None and not existing:
        yield "tls.cfssl.ca", "is missing: name the CA's request, or an existing CA in tls.ca"
    if table.ca is not None and existing:
        yield "tls.cfssl.ca", "makes a new CA, but tls.ca names an existing one: remove one of them"
    if table.peer is not None and tls.leaves is Leaves.SHARED:
        yield "tls.cfssl.peer", 'has no effect with leaves = "shared": peers use the server pair'
    unused = {"subject": Subject(), "server": LeafTable(), "peer": LeafTable(), "client": LeafTable()}
    if not existing:
        unused["ca"] = CaTable()
    for key, default in unused.items():
        if getattr(tls, key) != default:
            yield f"tls.{key}", "has no effect beside tls.cfssl, whose files say it"


def _name_problems(path: str, cn: str | None) -> Iterator[Problem]:
    for _, why in subject_problems(Subject(CN=cn or "")):
        yield path, why


def _lifetime_problems(path: str, lifetime: Duration | None, tls: TlsTable | None = None) -> Iterator[Problem]:
    """`tls` is given for leaves, which must not outlive a CA that is made with them."""
    if lifetime is None:
        return
    if not lifetime:
        yield path, "is zero: the certificate would be expired when made"
    if lifetime > LONGEST_LIFETIME:
        yield path, f"is {lifetime}: at most {LONGEST_LIFETIME} (100 years) can be asked for"
    if tls is not None and tls.cfssl is None and tls.ca.certificate is None:
        authority = tls.ca.lifetime or CA_LIFETIME
        if lifetime > authority:
            yield path, f"is {lifetime}, but the CA lives only {authority}: a leaf cannot outlive it (tls.ca.lifetime)"


def _file_names(stem: str) -> tuple[str, ...]:
    # Folded, since macOS's usual file system takes Admin.pem and admin.pem for one file.
    return tuple(path.name.casefold() for path in files.all_files(Path(), stem))
