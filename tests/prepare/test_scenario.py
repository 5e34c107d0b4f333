"""Scenario files: read whole, or refused with everything that is wrong with them."""

import msgspec
import pytest
import tomli_w
from hypothesis import given

from etcdlab.errors import ScenarioError
from etcdlab.model.scenario import Scenario
from etcdlab.model.step import Delay, Kill
from etcdlab.model.units import Duration
from etcdlab.prepare.scenario import load, parse
from tests.examples import examples
from tests.prepare.test_hostile import tables

GOOD = """
seed = 7
duration = "10s"
[[step]]
at = "2s"
do = "delay"
from = "n1"
to = "random"
delay = "30ms"
for = "3s"
[[step]]
when = "leader-changed"
do = "kill"
nodes = ["leader"]
"""
BAD = """
duraton = "10s"
[[step]]
at = "2s"
do = "dely"
from = "n1"
[[step]]
every = "soon"
do = "cut"
from = "n1"
too = "n2"
[[step]]
nodes = "leader"
[[step]]
at = "1s"
when = "ready"
do = "kill"
nodes = ["n1"]
"""


def test_a_file(tmp_path):
    path = tmp_path / "storm.toml"
    path.write_text(GOOD)
    delay = Delay(at=Duration(2), source="n1", target="random", delay=Duration(0.03), for_=Duration(3))
    kill = Kill(when="leader-changed", nodes=("leader",))
    assert load(path) == Scenario(name="storm", seed=7, duration=Duration(10), step=(delay, kill))
    path.write_text(f'name = "other"\n{GOOD}')
    assert load(path).name == "other"


def test_a_table():
    table = {"step": [{"do": "heal", "at": 1}]}
    assert load(table) == load(load(table))
    assert load(table).name == ""


def test_all_problems_are_told_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    with pytest.raises(ScenarioError) as refused:
        load(path)
    told = dict(line.removeprefix(f"{path}: ").split(": ", 1) for line in refused.value.problems)
    assert told == {
        "duraton": 'unknown key (did you mean "duration"?)',
        "step[0]": told["step[0]"],
        "step[1].every": '\'soon\' is not a duration: write it like "500ms", "30s", "5m", "8760h" or "30d"',
        "step[1].too": 'unknown key (did you mean "to"?)',
        "step[1].to": "this key is required",
        "step[2]": told["step[2]"],
        "step[3]": "a step has one of at, every, when, and this has at and when",
    }
    assert told["step[0]"].startswith('expected do to be one of "kill", "start", ')
    assert told["step[0]"].endswith('but found "dely" (did you mean "delay"?)')
    assert told["step[2]"].endswith("but it is left out")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"step = 1", "step: expected tables, each written [[step]], but found 1"),
        (b"step = [1]", r"step[0]: expected a table, written [[step]], but found 1"),
        (b"[[step]]\ndo = 1", "step[0]: expected do to be one of "),
        (b"a b", ":1:3: is not TOML"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_what_is_no_scenario(tmp_path, content, said):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as refused:
        load(path)
    assert said in str(refused.value)


def test_no_file(tmp_path):
    with pytest.raises(ScenarioError, match="cannot be read"):
        load(tmp_path / "none.toml")


@examples(50)
@given(tables(Scenario))
def test_any_scenario_is_refused_or_means_what_it_says(tmp_path, data):
    try:
        content = tomli_w.dumps(data).encode()
    except (UnicodeEncodeError, ValueError):  # what Python refuses to write in decimal
        return
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    try:
        scenario = load(path)
    except ScenarioError:
        return
    table = {key: value for key, value in msgspec.to_builtins(scenario, enc_hook=str).items() if value is not None}
    assert parse(table, "again") == scenario
