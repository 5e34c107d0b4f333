"""`etcdlab init`: the file loads, shows every key there is, and its commented defaults are the defaults."""

import json
import re
import tomllib

import msgspec
import pytest
from click.testing import CliRunner

from etcdlab.cli.init import init, template
from etcdlab.model.certificate import Subject
from etcdlab.model.topology import (
    CaTable,
    CfsslTable,
    EtcdTable,
    IdentityTable,
    LeafTable,
    LogsTable,
    NodeTable,
    RestartTable,
    TimeoutsTable,
    TlsTable,
    Topology,
)
from etcdlab.prepare.config import load

TABLES = {
    "": Topology,
    "etcd": EtcdTable,
    "tls": TlsTable,
    "tls.subject": Subject,
    "tls.ca": CaTable,
    "tls.server": LeafTable,
    "tls.peer": LeafTable,
    "tls.client": LeafTable,
    "tls.identity": IdentityTable,
    "tls.cfssl": CfsslTable,
    "restart": RestartTable,
    "timeouts": TimeoutsTable,
    "logs": LogsTable,
    "node": NodeTable,
}
SHOWN_NOWHERE = {("tls.subject", "CN")}
"""Refused: each certificate has its own."""

DEFAULT = re.compile(r"^#(?=\w+ = )", re.MULTILINE)
EXAMPLE = re.compile(r"^#~ ", re.MULTILINE)


def run(*args: object):
    return CliRunner().invoke(init, [str(arg) for arg in args])


def loaded(tmp_path, text: str) -> Topology:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return load(path).topology


def keys_shown() -> dict[str, set[str]]:
    """Table -> the keys and tables that the file shows in it, commented out or not."""
    shown: dict[str, set[str]] = {"": set()}
    table = ""
    for line in EXAMPLE.sub("", DEFAULT.sub("", template(3))).splitlines():
        if header := re.fullmatch(r"\[+([\w.]+)\]+", line):
            table = header[1]
            shown.setdefault(table, set())
            above, _, key = table.rpartition(".")
            shown[above].add(key)
        elif key := re.match(r"([\w-]+) = ", line):
            shown[table].add(key[1])
    return shown


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_shown(table):
    keys = {field.encode_name for field in msgspec.structs.fields(TABLES[table])}
    hidden = {key for where, key in SHOWN_NOWHERE if where == table}
    assert keys_shown()[table] == keys - hidden


def test_the_file_as_written_is_the_default(tmp_path):
    assert loaded(tmp_path, template(3)) == Topology(nodes=3)


def test_what_is_shown_as_default_is_the_default(tmp_path):
    text, count = DEFAULT.subn("", template(3))
    assert count > 20
    assert loaded(tmp_path, text) == Topology(nodes=3)


EXAMPLES = list(re.finditer(r"(?:^#~ .*\n)+", template(3), re.MULTILINE))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0].splitlines()[0].removeprefix("#~ "))
def test_each_example_can_be_used(tmp_path, example):
    before, after = example.string[: example.start()], example.string[example.end() :]
    if "[[node]]" in example[0]:
        before = before.replace("\nnodes = 3\n", "\n")
    assert loaded(tmp_path, before + EXAMPLE.sub("", example[0]) + after) != Topology(nodes=3)


def test_default_file_and_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run()
    assert result.exit_code == 0, result.output
    assert "`etcdlab up etcdlab.toml` starts it" in result.output
    assert load(tmp_path / "etcdlab.toml").topology == Topology(nodes=3)


def test_count_and_file_can_be_chosen(tmp_path):
    result = run("--nodes", 5, "--json", tmp_path / "x.toml")
    assert json.loads(result.stdout) == {"version": 1, "file": str(tmp_path / "x.toml"), "nodes": 5}
    assert tomllib.loads((tmp_path / "x.toml").read_text())["nodes"] == 5


def test_an_even_count_is_written_with_a_warning(tmp_path):
    result = run("--nodes", 4, tmp_path / "x.toml")
    assert result.exit_code == 0
    assert "4 voting members survive 1 failure" in result.stderr


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("mine")
    result = run(path)
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert "--force" in result.stderr
    assert path.read_text() == "mine"


def test_force_replaces_it(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("mine")
    assert run("--force", path).exit_code == 0
    assert load(path).topology == Topology(nodes=3)


@pytest.mark.parametrize("count", ["0", "-1", "51", "many"])
def test_a_bad_count_writes_nothing(tmp_path, count):
    assert run("--nodes", count, tmp_path / "x.toml").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    result = run(tmp_path / "missing" / "x.toml")
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in result.stderr
