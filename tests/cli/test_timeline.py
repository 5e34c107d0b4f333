"""`etcdlab timeline` over a lab of fake members."""

import pytest

from tests.cli.command import run, run_json


@pytest.fixture(autouse=True)
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


def rows() -> dict[str, str]:
    lines = run("timeline").output.splitlines()
    return {line.split()[0]: line[4:] for line in lines[1:-2]}


def test_members_are_rows_and_time_goes_to_the_right():
    run("stop", "n2", "--force")
    shown = rows()
    assert set(shown) == {"n1", "n2"}
    assert shown["n1"].strip().startswith("-")
    assert shown["n1"][-1] in "L="
    assert shown["n2"][-1] == "s"
    assert len(shown["n1"]) == len(shown["n2"]) == 60


def test_it_is_a_page_too(tmp_path):
    file = tmp_path / "timeline.html"
    told = run("timeline", "--html", str(file))
    assert told.output.strip() == file.as_uri()
    text = file.read_text()
    assert "fake: what happened" in text
    assert "leads since term" in text
    assert run_json("timeline", "--html", str(file))["members"].keys() == {"n1", "n2"}


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    refused = run("timeline", "--html", str(tmp_path / "no" / "where.html"), status=1)
    assert "where.html cannot be written: No such file or directory" in refused.stderr


def test_it_is_data_for_programs():
    told = run_json("timeline")
    assert [span["text"] for span in told["members"]["n1"]] == ["starting", "ready"]
    assert told["end_s"] > told["begin_s"]


def test_only_from_then_on():
    assert run_json("timeline", "--since", "1h")["members"]["n1"][0]["text"] == "starting"
    assert run("timeline", "--since", "yesterday", status=2).stderr


def test_it_reads_the_journal_of_a_lab_that_is_down(running):
    run("down")
    assert rows()["n1"][-1] == "s"
