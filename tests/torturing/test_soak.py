"""What the soak takes for growth, and a flood that is counted."""

from pathlib import Path

import pytest
from torturing.flood import RATE, Flood
from torturing.soak import JUDGED, Sample, growth

from etcdlab.etcd.rotation import rotate


def samples(*values: int) -> list[Sample]:
    return [
        Sample(at_s=number, rss=value, descriptors=0, threads=0, cpu_s=0, log=0, journal=0)
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "by"),
    [
        ([50] * 100, 0),
        ([*range(20), *[50] * 80], 0),  # the warm-up
        ([50, 50, 50, 90] * 25, 0),  # floods
        (range(100), 52),
    ],
)
def test_growth_is_what_stays(values, by):
    found = growth(samples(*values), lambda sample: sample.rss)
    assert found is not None
    assert round(found.by) in range(by - 2, by + 3)


def test_few_samples_tell_nothing():
    assert growth(samples(*range(JUDGED)), lambda sample: sample.rss) is None


def test_a_flood_over_rotations_is_counted_whole(tmp_path: Path):
    log = tmp_path / "etcd.log"
    log.touch()
    with Flood(log) as flood:
        flood.begin(0.2)
        for _ in range(20):
            rotate(log, size=2**18, count=100)
        flood.wait()
    assert (flood.written, flood.missing, flood.twice) == (RATE // 5, 0, 0)
