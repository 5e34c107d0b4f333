"""A plan that is damaged, of another etcdlab, or not where it was made."""

import shutil
from pathlib import Path

import msgspec
import pytest

from etcdlab import __version__
from etcdlab.errors import LabStateError
from etcdlab.model.plan import PLAN_VERSION, Plan
from etcdlab.prepare.labdir import LabDirectory
from tests.damage import damaged
from tests.plans import make_plan


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabDirectory:
    """A lab that was made, with its plan."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    make_plan(tmp_path)
    return LabDirectory(tmp_path / "demo")


def change(directory: LabDirectory, *, without: str = "", **fields: object) -> None:
    """Write other fields, and leave one out."""
    plan = msgspec.json.decode(directory.plan.read_bytes()) | fields
    plan.pop(without, None)
    directory.plan.write_bytes(msgspec.json.encode(plan))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}', b"\xff\xfe", b'{"lab":7}'])
def test_one_that_cannot_be_read(directory: LabDirectory, content: bytes) -> None:
    directory.plan.write_bytes(content)
    with pytest.raises(LabStateError, match=r"plan\.json cannot be read") as caught:
        directory.load_plan()
    assert "`etcdlab down --lab demo` ends what still runs of it" in caught.value.hint
    assert "`etcdlab down --purge --lab demo` removes the lab" in caught.value.hint


def test_one_that_is_cut_is_never_taken_for_a_plan_and_one_with_a_flipped_byte_never_raises_anything_else(
    directory: LabDirectory,
) -> None:
    whole = directory.plan.read_bytes()
    for number, content in enumerate(damaged(whole)):
        directory.plan.write_bytes(content)
        try:
            assert isinstance(directory.load_plan(), Plan)
        except LabStateError:
            continue
        assert number >= len(whole) - 1, "cut, and more than its last newline"


def test_one_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "demo" / "plan.json").mkdir(parents=True)
    with pytest.raises(LabStateError, match="cannot be read: Is a directory"):
        LabDirectory(tmp_path / "demo").load_plan()


@pytest.mark.parametrize("version", [PLAN_VERSION - 1, PLAN_VERSION + 1])
def test_one_of_an_older_or_newer_format_is_refused_by_the_name_of_who_made_it(
    directory: LabDirectory, version: int
) -> None:
    """Whatever else is in it: what another etcdlab calls its fields is not known here."""
    change(directory, version=version, made_by="9.8.7", nodes={"n1": "all different"}, without="token")
    with pytest.raises(LabStateError) as caught:
        directory.load_plan()
    assert caught.value.message == (
        f"{directory.plan} was made by etcdlab 9.8.7, in format {version}; "
        f"this is etcdlab {__version__}, which reads format {PLAN_VERSION}"
    )
    assert caught.value.hint.startswith("Use the etcdlab that made it, or `etcdlab down --purge --lab demo`")


def test_one_without_members_is_none(directory: LabDirectory) -> None:
    change(directory, nodes=[])
    with pytest.raises(LabStateError, match=r"it is damaged: .* `\$\.nodes`"):
        directory.load_plan()


def test_one_that_lacks_a_field_says_which(directory: LabDirectory) -> None:
    change(directory, without="token")
    with pytest.raises(LabStateError, match="missing required field `token`"):
        directory.load_plan()


def test_one_from_before_plans_were_signed_and_one_with_more_in_it_are_understood(directory: LabDirectory) -> None:
    plan = directory.load_plan()
    change(directory, without="made_by", colour="blue")
    assert directory.load_plan() == plan


# Moved


def test_a_lab_that_was_moved_is_found_where_it_is_now(directory: LabDirectory, tmp_path: Path) -> None:
    plan = directory.load_plan()
    argv = ("etcd", f"--data-dir={directory.path}/nodes/n1/data", f"--x={directory.path}er/y", "--z=a,/b")
    nodes = (msgspec.structs.replace(plan.nodes[0], argv=argv, data_dir="/elsewhere/data"), *plan.nodes[1:])
    directory.save_plan(msgspec.structs.replace(plan, nodes=nodes))
    assert not directory.was_moved()
    there = LabDirectory(tmp_path / "deeper" / "other")
    there.path.parent.mkdir()
    directory.path.rename(there.path)
    assert there.was_moved()
    moved = there.load_plan()
    assert (moved.lab, moved.directory, moved.socket) == ("other", str(there.path), str(there.path / "control.sock"))
    assert moved.nodes[0].argv == ("etcd", f"--data-dir={there.path}/nodes/n1/data", argv[2], argv[3])
    assert (moved.nodes[0].data_dir, moved.nodes[1].data_dir) == ("/elsewhere/data", str(there.node("n2") / "data"))
    assert moved.tls is not None
    assert moved.tls.ca == str(there.pki / "ca.pem")
    assert (moved.token, moved.cluster_id) == (plan.token, plan.cluster_id)
    there.save_plan(moved)
    assert not there.was_moved()
    assert there.load_plan() == moved


def test_a_lab_that_is_reached_by_another_path_was_not_moved(directory: LabDirectory, tmp_path: Path) -> None:
    plan = directory.load_plan()
    (tmp_path / "link").symlink_to(tmp_path)
    assert LabDirectory(tmp_path / "link" / "demo").load_plan() == plan


def test_a_copy_of_a_lab_is_none(directory: LabDirectory, tmp_path: Path) -> None:
    shutil.copytree(directory.path, tmp_path / "copy")
    with pytest.raises(LabStateError, match=f"is a copy of the lab in {directory.path}") as caught:
        LabDirectory(tmp_path / "copy").load_plan()
    assert "--lab copy" in caught.value.hint
