"""`etcdlab exec`: a ready lab for as long as a command runs."""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, Unpack

import click
import msgspec

from etcdlab import up as lab_up
from etcdlab.cli import child, render
from etcdlab.cli.completion import complete_lab
from etcdlab.cli.env import identity_option
from etcdlab.cli.supervised import attach
from etcdlab.cli.topology import TopologyOptions, read, topology_options
from etcdlab.cli.up import installation_display
from etcdlab.cli.verb import DURATION, Verb
from etcdlab.errors import EtcdlabError, LabStateError, NotRunningError, UsageError
from etcdlab.export.env import choose_identity, variables
from etcdlab.export.environment import (
    PIFPAF_PREFIX,
    PIFPAF_URLS,
    PREFIX,
    inherited,
    lab_variables,
    pifpaf_variables,
)
from etcdlab.interpreter import Interpreter
from etcdlab.interruption import undoable
from etcdlab.lab import Lab
from etcdlab.model.report import OwnerEnd
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.model.topology import NodeTable, Topology
from etcdlab.prepare.labdir import LabDirectory

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


class Exec(Verb):
    """A verb with a command of the user's after "--"; sets `words` in the callback's arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The output is the command's, so there is no JSON object to promise.
        self.params = [param for param in self.params if param.name != "as_json"]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the command as well."""
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what is before "--"; all that follows is left as it is."""
        at = args.index("--") if "--" in args else len(args)
        own, words = args[:at], args[at + 1 :]
        if not words and not ctx.resilient_parsing and not set(own).intersection(ctx.help_option_names):
            raise click.UsageError('there is no COMMAND: it comes after "--"', ctx)
        rest = super().parse_args(ctx, own)
        ctx.params["words"] = tuple(words)
        return rest


def check_prefix(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what cannot be the start of a variable's name."""
    if value is not None and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise click.BadParameter(f"{value!r} is no variable's name: use letters, digits and '_'", ctx, param)
    return value


@click.command("exec", cls=Exec, example="etcdlab exec --profile fast -- go test ./...")
@topology_options
@click.option("--lab", metavar="NAME", help="Use this running lab, and leave it.", shell_complete=complete_lab)
@identity_option
@click.option("-e", "--env-prefix", "prefix", metavar="PREFIX", callback=check_prefix, help="Say PREFIX_ for ETCDLAB_.")
@click.option("--no-etcdctl-env", is_flag=True, help="Set no ETCDCTL_ variables: they exclude etcdctl's flags.")
@click.option("--isolated", is_flag=True, help="No proxies, and an ETCDLAB_HOME with this lab alone.")
@click.option("--compat", type=click.Choice(["pifpaf"]), help="A lab and variables as `pifpaf run etcd` gives.")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="Until ready.  [default: the topology's, 60s]")
@click.pass_context
def exec_(
    ctx: click.Context,
    words: tuple[str, ...],
    lab: str | None,
    identity: str | None,
    prefix: str | None,
    no_etcdctl_env: bool,
    isolated: bool,
    compat: str | None,
    timeout: float | None,
    **options: Unpack[TopologyOptions],
) -> NoReturn:
    """Run COMMAND with a ready lab of its own, which is gone afterwards, however COMMAND or this process ends.

    COMMAND gets the signals that come here, and its exit status is returned: 128 + N when signal N killed it, 126 and
    127 when it cannot be run or found. Standard output is COMMAND's alone.

    \b
    The environment of COMMAND:
      ETCDCTL_*                            what etcdctl needs
      ETCDLAB_ENDPOINTS, ETCDLAB_CACERT, ETCDLAB_CERT, ETCDLAB_KEY
      ETCDLAB_ENDPOINT, _HOST, _PORT       one member
      ETCDLAB_GATEWAY_CERT, _KEY           a client without a CN, for the JSON
                                           gateway and `etcd grpc-proxy`
      ETCDLAB_SERVER_CERT, _KEY            a server pair of the same CA
      ETCDLAB_LAB, ETCDLAB_SOCKET          for etcdlab, and its control API
      ETCDLAB_MEMBERS                      names
      ETCDLAB_MEMBER_1_NAME, _ENDPOINT, _PEER_URL, _METRICS_URL, _DATA_DIR,
                     _PID                  as 1, 2, ... and by name: ..._N1_PID;
                                           a restart changes the pid

    ETCD_* and ETCDCTL_* of the caller are dropped; so are, with TLS, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which hide
    the lab's CA. Proxies are not used for the lab.

    With --isolated, etcdlab called by COMMAND sees this lab only, and what labs it makes are gone afterwards too.

    With --compat pifpaf the lab has no TLS and one member, or --nodes, named pifpaf0, pifpaf1, ...; there are
    PIFPAF_ETCD_PORT, PIFPAF_ETCD_PEER_PORT, PIFPAF_HTTP_URL, PIFPAF_URL, PIFPAF_URLS, PIFPAF_PID, PIFPAF_DATA,
    PIFPAF_DAEMON and PIFPAF_ETCD_URL as well, and --env-prefix is said for PIFPAF_.
    """
    if lab is not None and (isolated or timeout is not None or any(options.values())):
        raise UsageError("--lab uses a lab as it is", hint="Leave out --lab, or what is about a lab to be made.")
    try:
        program = find(words[0])
    except OSError as error:
        refuse(ctx, words[0], error)
    with contextlib.ExitStack() as stack:
        stack.enter_context(undoable())  # until there is a command that signals can be handed to
        if lab is None:
            used, status = stack.enter_context(own_lab(ctx.obj, options, timeout=timeout, pifpaf=compat is not None))
        else:
            used, status = stack.enter_context(running_lab(ctx.obj, lab))
        home = stack.enter_context(private_home(used)) if isolated else used.directory.path.parent
        told = about(used, status, identity=identity, prefix=prefix, etcdctl=not no_etcdctl_env, pifpaf=bool(compat))
        # Whatever the prefix: they are what etcdlab itself goes by when COMMAND calls it.
        told |= {"ETCDLAB_LAB": used.name, "ETCDLAB_HOME": str(home)}
        try:
            pid = child.spawn(program, words, inherited(os.environ, used.plan, proxies=not isolated) | told)
        except OSError as error:
            refuse(ctx, words[0], error)
        ctx.exit(child.follow(pid))


def about(
    lab: Lab, status: LabStatus, *, identity: str | None, prefix: str | None, etcdctl: bool, pifpaf: bool
) -> dict[str, str]:
    """The variables that tell the command about the lab. Raises UsageError."""
    plan = lab.plan
    chosen = choose_identity(plan, identity)
    pids = {node.name: node.pid for node in status.nodes}
    told = lab_variables(plan, chosen, pids=pids, prefix=PREFIX if pifpaf else prefix or PREFIX)
    if pifpaf:
        urls = os.environ.get(PIFPAF_URLS, "")
        told |= pifpaf_variables(plan, prefix=prefix or PIFPAF_PREFIX, pid=os.getpid(), urls=urls)
    return told | (variables(plan, chosen) if etcdctl else {})


def find(name: str) -> Path:
    """The program that a shell would run. Raises FileNotFoundError or PermissionError."""
    if "/" not in name:
        if (found := shutil.which(name)) is None:
            raise FileNotFoundError(f"{name} is not in PATH")
        return Path(found)
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(f"{name} does not exist")
    if path.is_dir() or not os.access(path, os.X_OK):
        raise PermissionError(f"{name} is no program that may be run")
    return path


def refuse(ctx: click.Context, name: str, error: OSError) -> NoReturn:
    """Say why the command was not run, and leave as a shell does."""
    render.message(f"error: {name!r} cannot be run: {error.strerror or error}", style="bad")
    ctx.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)


@contextlib.contextmanager
def own_lab(
    interpreter: Interpreter | None, options: TopologyOptions, *, timeout: float | None, pifpaf: bool
) -> Iterator[tuple[Lab, LabStatus]]:
    """A new lab, ready; gone without a trace at the end, or when this process is."""
    began = time.monotonic()
    loaded = read(options)
    topology = like_pifpaf(loaded.topology) if pifpaf else loaded.topology
    if topology.name == Topology().name:
        topology = msgspec.structs.replace(topology, name=f"exec-{os.getpid()}-{secrets.token_hex(2)}")
    elif LabDirectory.named(topology.name).exists():
        raise LabStateError(
            f"there is a lab {topology.name!r} already",
            hint=f"`etcdlab exec --lab {topology.name}` uses it; without a name, a new lab gets one of its own.",
        )
    for warning in loaded.warnings:
        render.message(f"warning: {warning}", style="warning")
    request = lab_up.Request(
        topology=topology,
        base=loaded.base,
        explicit=True,
        must_be_new=True,
        boot_s=timeout,
        owner_end=OwnerEnd.PURGE,
    )
    with contextlib.ExitStack() as stack:
        watcher = lab_up.Watcher(on_event=lambda _: None, on_install=installation_display(stack))
        started = lab_up.up(request, watcher, interpreter)
    lab = Lab(started.directory, started.daemon)
    try:
        render.message(f"lab {lab.name} is ready in {time.monotonic() - began:.2f} s", style="quiet")
        yield lab, started.status
    finally:
        _purge(lab)


def like_pifpaf(topology: Topology) -> Topology:
    """Plain HTTP at localhost, and members whose names pifpaf's suites know, unless a file names them."""
    replace = msgspec.structs.replace
    numbered = tuple(NodeTable(name=f"pifpaf{number}") for number in range(topology.nodes or 1))
    return replace(
        topology,
        nodes=None,
        node=topology.node or numbered,
        etcd=replace(topology.etcd, advertise_host="localhost"),
        tls=replace(topology.tls, enabled=False),
    )


@contextlib.contextmanager
def running_lab(interpreter: Interpreter | None, name: str) -> Iterator[tuple[Lab, LabStatus]]:
    """A lab that is there, and stays. Raises NotRunningError."""
    if interpreter is not None:
        with interpreter:
            pass  # there is no use for it
    lab = attach(name)
    status = lab.status()
    if status.verdict is not ClusterVerdict.HEALTHY:
        render.message(f"warning: lab {name} is {status.verdict.value}", style="warning")
    yield lab, status


@contextlib.contextmanager
def private_home(lab: Lab) -> Iterator[Path]:
    """An ETCDLAB_HOME with `lab` alone. It is in the lab's directory, so that it goes with it even if we are killed."""
    home = lab.directory.path / "home"
    home.mkdir(mode=0o700)
    (home / lab.name).symlink_to(lab.directory.path)
    try:
        yield home
    finally:
        for path in home.iterdir() if home.is_dir() else ():
            if not path.is_symlink():
                _purge(Lab(LabDirectory(path)))


def _purge(lab: Lab) -> None:
    """Remove a lab. What goes wrong is told, and does not change what the command has come to."""
    try:
        lab.down(purge=True)
    except NotRunningError:
        pass  # the command has removed it
    except EtcdlabError as failure:
        render.error(failure, as_json=False)
