"""Durations and sizes: what is read, what is refused, and that writing is exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.model.units import Duration, Size

MICROSECONDS = st.integers(min_value=0, max_value=366 * 86400 * 10**9)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("8760h", 31_536_000),
        ("30d", 2_592_000),
        ("0.1ms", 0.0001),
        ("0s", 0),
        (30, 30),
        (0.25, 0.25),
    ],
)
def test_durations_that_are_read(text, seconds):
    assert Duration.parse(text) == seconds


NO_DURATIONS = ["", "30", "s", "-1s", "1 h", "1h ", "1h-30m", "1e3s", "١s", "1y", "1.s", "9999999d", "9" * 5000 + "h"]
NO_LENGTHS = [-1, 1e300, float("nan"), float("inf"), 10**400]


@pytest.mark.parametrize("text", [*NO_DURATIONS, *NO_LENGTHS])
def test_durations_that_are_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("8760h", "365d"),
        ("90m", "90m"),
        ("3600s", "1h"),
        ("0.5s", "500ms"),
        ("1500ms", "1.5s"),
        ("90.25s", "90.25s"),
        (0, "0s"),
    ],
)
def test_durations_are_written_in_the_largest_unit_that_divides_them(text, written):
    assert str(Duration.parse(text)) == written


@given(MICROSECONDS)
def test_a_written_duration_is_read_as_the_same(microseconds):
    duration = Duration.parse(microseconds / 10**6)
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("text", "count"),
    [("64KiB", 65536), ("10MB", 10_000_000), ("2 GiB", 2**31), ("7B", 7), ("7", 7), (7, 7), (2**63 - 1, 2**63 - 1)],
)
def test_sizes_that_are_read(text, count):
    assert Size.parse(text) == count


@pytest.mark.parametrize(
    "text", ["", "KiB", "-1", "1.5GiB", "1TB", "1iB", "1kb", "9" * 5000, "10000000000GiB", -1, 2**63]
)
def test_sizes_that_are_refused(text):
    with pytest.raises(ValueError, match="is not a size"):
        Size.parse(text)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_written_size_is_read_as_the_same(count):
    assert Size.parse(str(Size(count))) == count
