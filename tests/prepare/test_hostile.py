"""Whatever a topology says, it is refused with its problems, or leads to a plan that keeps to the lab's directory."""

import enum
import os
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from etcdlab import given as module
from etcdlab.errors import NotRunningError, TopologyError, UsageError
from etcdlab.model.plan import Plan
from etcdlab.model.topology import Topology
from etcdlab.model.units import Duration, Size
from etcdlab.prepare.build import build
from etcdlab.prepare.config import dump, load, override
from etcdlab.prepare.labdir import LabDirectory, choose
from tests import hostile
from tests.examples import examples
from tests.prepare.test_build import CountedPorts, find

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
GOOD = {
    str: ["n1", "n2", "server", "localhost", "3.5.16", "data", "/data/n1", "8h", "1000"],
    int: [1, 2, 3, 2379, 2380, 100000],
    Duration: ["30s", "8760h", "500ms", 1, 0.5],
    Size: ["64KiB", "2GiB", 1048576],
}


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times in four of the right kind."""
    wrong = hostile.text | hostile.numbers | st.floats() | st.booleans() | st.just([]) | st.just({}) | st.dates()
    return st.integers(0, 3).flatmap(lambda chance: good if chance else wrong)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values as TOML has them for a field of this type, good and bad."""
    if isinstance(kind, types.UnionType):
        return st.one_of(*(values(part) for part in typing.get_args(kind) if part is not type(None)))
    if typing.get_origin(kind) is tuple:
        return mostly(st.lists(values(typing.get_args(kind)[0]), max_size=3))
    if typing.get_origin(kind) is dict:
        keys = st.sampled_from(["max-snapshots", "heartbeat-interval", "name", "A_B", "ETCD_NAME"]) | hostile.text
        return mostly(st.dictionaries(keys, values(typing.get_args(kind)[1]), max_size=3))
    if issubclass(kind, msgspec.Struct):
        return mostly(tables(kind))
    if issubclass(kind, enum.Enum):
        return mostly(st.sampled_from([member.value for member in kind]))
    if kind is bool:
        return mostly(st.booleans())
    return mostly(st.sampled_from(GOOD[kind]))


def tables(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with some of the keys of `kind`, and now and then another."""
    fields = {field.encode_name: values(field.type) for field in msgspec.structs.fields(kind)}
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    known = st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: strategy for name, strategy in fields.items() if name not in required},
    ).map(lambda table: dict(list(table.items())[:6]))
    if tag := kind.__struct_config__.tag:
        known = known.map(lambda table: {kind.__struct_config__.tag_field: tag, **table})
    other = st.dictionaries(hostile.text, hostile.numbers, max_size=1)
    return st.tuples(known, st.integers(0, 9)).flatmap(
        lambda pair: st.just(pair[0]) if pair[1] else other.map(lambda more: more | pair[0])
    )


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "lab.toml"
        path.write_bytes(content)
        return path

    return write


def planned(topology: Topology, lab: LabDirectory, base: Path) -> Plan | None:
    try:
        return build(topology, directory=lab, base=base, ports=CountedPorts(), find=find)
    except UsageError:  # cfssl's files, or a flag that this etcd lacks
        return None


def paths(plan: Plan) -> Iterator[str]:
    for node in plan.nodes:
        yield from (node.directory, node.log)
    for leaf in plan.pki.certificates if plan.pki else ():
        yield f"{plan.directory}/pki/{leaf.stem}.pem"


@examples(100)
@given(tables(Topology))
def test_any_topology_is_refused_or_planned_within_its_lab(written, tmp_path, data):
    try:
        content = tomli_w.dumps(data).encode()
    except (UnicodeEncodeError, ValueError):  # what Python refuses to write in decimal
        return
    try:
        loaded = load(written(content))
    except TopologyError:
        return
    topology = loaded.topology
    assert load(written(dump(topology).encode())).topology == topology
    lab = LabDirectory(Path("/labs") / topology.name)
    assert lab.path.parent == Path("/labs")
    plan = planned(topology, lab, tmp_path)
    for node in plan.nodes if plan else ():
        assert Path(node.name).name == node.name
        assert not any(CONTROL.search(word) for word in [*node.argv, *node.env, *node.env.values()])
        named = next(member.data_dir for member in topology.members() if member.name == node.name)
        assert named is not None or Path(node.data_dir).is_relative_to(lab.path)
    for path in paths(plan) if plan else ():
        assert Path(os.path.normpath(path)).is_relative_to(lab.path)


@pytest.mark.parametrize("digits", [30, 6000])
@pytest.mark.parametrize("key", ["nodes", "name", "etcd", "node", "etcd.quota", "etcd.flags.a", "restart.window"])
def test_a_number_that_python_does_not_write_is_told(written, key, digits):
    path = written(f"{key} = 0x{'f' * digits}\n".encode())
    with pytest.raises(TopologyError, match="64 bits"):
        load(path)


@pytest.mark.parametrize("name", ["data_dir", "path", "args"])
def test_a_control_character_is_refused_wherever_it_stands(written, name):
    value = '["a\\u001b[1m"]' if name == "args" else '"a\\u001b[1m"'
    with pytest.raises(TopologyError, match=rf"node\[0\]\.{name}.*control character"):
        load(written(f'[[node]]\nname = "n1"\n{name} = {value}\n'.encode()))


@pytest.mark.parametrize(
    "word", [word for word in hostile.WORDS if not word.isascii() or not word.isalnum() or len(word) > 48]
)
def test_a_name_that_is_a_path_or_an_option_or_a_shells_is_refused(word, tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    with pytest.raises(TopologyError):
        override(Topology(), name=word)
    with pytest.raises((UsageError, NotRunningError)):
        choose(word)


def test_a_bom_is_no_part_of_a_topology(written):
    assert load(written(b'\xef\xbb\xbfname = "a"\n')).topology.name == "a"


def test_a_device_is_no_topology():
    with pytest.raises(TopologyError, match="neither a file nor a pipe"):
        load(Path("/dev/zero"))


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TopologyError, match="more than 256 KiB"):
        load(path)


def test_a_pipe_is_read_and_a_silent_one_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIPE_S", 0.1)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(TopologyError, match="a pipe that was not written"):
        load(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b'name = "piped"\n')
    with pytest.raises(TopologyError, match="a pipe that was not written"):
        load(path)  # its writer says no end
    os.write(writer, b'name = "piped"\n')
    monkeypatch.setattr(module, "PIPE_S", 30)
    os.close(writer)
    assert load(Path(f"/proc/self/fd/{reader}" if Path("/proc/self/fd").exists() else path)).topology.name == "piped"
    os.close(reader)


def test_a_directory_that_no_argument_can_name_holds_no_topology(tmp_path):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    (folder / "lab.toml").write_text("")
    with pytest.raises(TopologyError, match="move the file"):
        load(folder / "lab.toml")
