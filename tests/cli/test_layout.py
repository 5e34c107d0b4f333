import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.cli.layout import LEAST, columns, layout
from etcdlab.cli.result import Cell, Table
from tests import hostile
from tests.examples import examples

TABLE = Table(header=("NAME", "STATE"), rows=(("n1", Cell("running", "good")), ("a-long-name", "-")))
PROSE = Table(
    header=("", "WHERE", "WHAT"),
    rows=((Cell("wrong", "bad"), "/var/lib", "the quick brown fox jumps over it"), ("good", "/", "")),
)


def lines(table: Table, width: int | None = None) -> list[str]:
    return layout(table, width=width).split("\n")


@pytest.mark.parametrize("width", [None, 80, 20])
def test_columns_are_aligned_and_nothing_is_at_line_ends(width):
    assert lines(TABLE, width) == ["NAME         STATE", "n1           running", "a-long-name  -"]


def test_the_last_column_is_wrapped_where_there_is_room_for_it():
    assert lines(PROSE, 17 + LEAST) == [
        "       WHERE     WHAT",
        "wrong  /var/lib  the quick brown fox",
        "                 jumps over it",
        "good   /",
    ]


def test_else_each_row_is_a_block():
    assert lines(PROSE, 16 + LEAST) == [
        "       wrong",
        "WHERE  /var/lib",
        "WHAT   the quick brown fox jumps over it",
        "",
        "       good",
        "WHERE  /",
        "",
    ]


def test_wide_letters_take_two_columns_and_combining_ones_none():
    assert columns("日本 e\u0301") == 6
    assert lines(Table(header=("A", "B"), rows=(("日本", "1"), ("e\u0301", "2"))))[1:] == ["日本  1", "e\u0301     2"]


def test_style_takes_no_columns():
    painted = layout(TABLE, width=80, paint=lambda cell: f"<{cell.style}>{cell.text}</>")
    assert painted.split("\n")[1] == "<>n1</>           <good>running</>"


texts = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)


@examples(200)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(texts, min_size=n, max_size=n), min_size=1, max_size=4)),
       st.none() | st.integers(1, 120))  # fmt: skip
def test_no_value_is_cut_short(rows, width):
    table = Table(header=tuple("H" for _ in rows[0]), rows=tuple(map(tuple, rows)))
    shown = "".join(layout(table, width=width).split())
    letters = [letter for row in rows for value in row for letter in value if not letter.isspace()]
    assert sorted(letters) == sorted(shown.replace("H", "", shown.count("H") - letters.count("H")))


@examples(100)
@given(hostile.text, st.none() | st.integers(1, 60))
def test_nothing_drives_the_terminal(text, width):
    assert not hostile.drives_a_terminal(
        layout(Table(header=("A", "B"), rows=((text, Cell(text, "bad")),)), width=width)
    )
