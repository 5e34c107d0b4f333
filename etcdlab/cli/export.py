"""`etcdlab export`: a lab's connection settings in the words of the tools that use etcd."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from etcdlab.cli.env import identity_option, shell_option
from etcdlab.cli.result import Result
from etcdlab.cli.verb import lab_option, verb
from etcdlab.errors import CertificateError, EtcdlabError, UsageError
from etcdlab.export import kubeadm as kubeadm_text
from etcdlab.export import kubernetes as kubernetes_text
from etcdlab.export.bundle import BundleFile
from etcdlab.export.env import Shell, choose_identity, variables, variables_text
from etcdlab.ownership import exposure, make_directory
from etcdlab.prepare import labdir
from etcdlab.prepare.files import create_file


def bundle_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--output DIR` and `--force`."""
    output = click.option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Write files under DIR, which stands for / of the machine they are for, with the certificates.",
    )
    force = click.option("--force", is_flag=True, help="Replace files that are there.")
    return output(force(function))


@click.group("export")
def export() -> None:
    """Print or write a lab's settings for Kubernetes, kubeadm or an environment file."""


@verb("kubernetes", example="etcdlab export kubernetes --output bundle")
@click.option("--flags", "only_flags", is_flag=True, help="Print kube-apiserver's flags only.")
@bundle_options
@lab_option
def kubernetes(only_flags: bool, output: Path | None, force: bool, lab: str | None) -> Result:
    """Settings of a kube-apiserver.

    Its flags, and the line of /etc/kubernetes/config that gives them to a systemd unit. The endpoints are on
    loopback: they serve an API server on this machine, in its network namespace.
    """
    plan = labdir.choose(lab).load_plan()
    if only_flags and output is not None:
        raise UsageError("--flags prints and --output writes", hint="Leave out one of the two.")
    flags = kubernetes_text.flags(plan)
    data = {"lab": plan.lab, "config": kubernetes_text.config_line(plan), "flags": flags}
    if output is not None:
        return written(kubernetes_text.bundle(plan), output, force=force, data=data)
    return Result(view=flags if only_flags else [kubernetes_text.text(plan)], data=data)


@verb("kubeadm", example="etcdlab export kubeadm --api-version v1beta3")
@click.option(
    "--api-version",
    type=click.Choice([version.value for version in kubeadm_text.ApiVersion]),
    default=kubeadm_text.ApiVersion.V1BETA4.value,
    show_default=True,
    help="kubeadm's configuration format; v1beta3 before Kubernetes 1.31.",
)
@bundle_options
@lab_option
def kubeadm(api_version: str, output: Path | None, force: bool, lab: str | None) -> Result:
    """The lab as kubeadm's external etcd.

    A ClusterConfiguration for `kubeadm init --config`. The endpoints are on loopback: they serve an API server on
    this machine, in its network namespace.
    """
    plan = labdir.choose(lab).load_plan()
    version = kubeadm_text.ApiVersion(api_version)
    data = {"lab": plan.lab, "config": kubeadm_text.text(plan, version)}
    if output is not None:
        return written(kubeadm_text.bundle(plan, version), output, force=force, data=data)
    return Result(view=[kubeadm_text.text(plan, version)], data=data)


@verb("env", example="etcdlab export env > etcd.env")
@shell_option(Shell.DOTENV)
@identity_option
@lab_option
def environment(shell: str, identity: str | None, lab: str | None) -> Result:
    """Variables for an environment file.

    The same as `etcdlab env`, which is for shells.
    """
    plan = labdir.choose(lab).load_plan()
    values = variables(plan, choose_identity(plan, identity))
    return Result(view=[variables_text(values, Shell(shell))], data={"lab": plan.lab, "variables": values})


export.add_command(kubernetes)
export.add_command(kubeadm)
export.add_command(environment)


def written(files: Sequence[BundleFile], output: Path, *, force: bool, data: dict[str, Any]) -> Result:
    """Write a bundle under `output` and list it.

    Raises UsageError before anything is written if a file is there, or others can put theirs in its place.
    """
    targets = [output / file.path.lstrip("/") for file in files]
    for place in (output, *(target.parent for target in targets)):
        if danger := exposure(place):
            raise UsageError(f"{place} {danger}", hint="Choose a new --output, or a directory of yours.")
    present = [str(target) for target in targets if target.is_symlink() or target.exists()]
    if present and not force:
        raise UsageError(f"already there: {', '.join(present)}", hint="--force replaces them.")
    contents = [content(file) for file in files]
    try:
        for file, target, bytes_ in zip(files, targets, contents, strict=True):
            write(target, bytes_, mode=0o600 if file.secret else 0o644)
    except OSError as error:
        raise EtcdlabError(f"the export could not be written: {error}", hint="Choose another --output.") from error
    paths = [str(target) for target in targets]
    return Result(view=paths, data=data | {"files": paths})


def content(file: BundleFile) -> bytes:
    """The bytes of one file of a bundle. Raises CertificateError when the lab's own file cannot be read."""
    if file.source is None:
        return (file.text or "").encode()
    try:
        return Path(file.source).read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{file.source} cannot be read: {error.strerror}", hint="`etcdlab pki show` tells what the lab has."
        ) from error


def write(target: Path, content: bytes, *, mode: int) -> None:
    """Create `target` with `mode` from its first moment, in place of what is there."""
    make_directory(target.parent, mode=0o755)
    with create_file(target, mode=mode) as file:
        file.write(content)
