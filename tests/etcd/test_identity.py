"""The ids etcd gives itself, against ids that real etcds of 3.4 and 3.5 gave. tests/e2e/test_versions.py asks anew."""

import pytest

from etcdlab.etcd.identity import cluster_id, member_id

REAL = [
    (
        "3.4.23",
        "v-b886b48a",
        {
            "https://127.0.0.1:23192": 6538733959279011669,
            "https://127.0.0.1:29037": 695836211797089551,
            "https://127.0.0.1:23208": 14887260308338320403,
        },
        16035346410459892986,
    ),
    (
        "3.5.30",
        "v-1b6ba367",
        {
            "https://127.0.0.1:27997": 1655374582578683976,
            "https://127.0.0.1:27208": 6954291086512549503,
            "https://127.0.0.1:30510": 8087044154510751409,
        },
        15173012375042727167,
    ),
]


@pytest.mark.parametrize(("token", "members", "cluster"), [case[1:] for case in REAL], ids=[case[0] for case in REAL])
def test_ids_are_those_that_a_real_etcd_gave_itself(token: str, members: dict[str, int], cluster: int) -> None:
    foretold = [member_id(url, token) for url in members]
    assert foretold == [f"{number:016x}" for number in members.values()]
    assert cluster_id(foretold) == f"{cluster:016x}"


def test_the_order_of_members_makes_no_difference() -> None:
    members = [member_id(f"https://127.0.0.1:{port}", "demo") for port in (1, 2, 3)]
    assert cluster_id(members) == cluster_id(reversed(members))


def test_ids_have_16_digits_also_when_they_begin_with_zeros() -> None:
    ids = [member_id(f"https://127.0.0.1:{port}", "demo") for port in range(2000)]
    assert {len(one) for one in ids} == {16}
    assert any(one.startswith("00") for one in ids)


def test_another_token_or_url_is_another_member() -> None:
    one = member_id("https://127.0.0.1:1180", "demo")
    assert one != member_id("https://127.0.0.1:1180", "other")
    assert one != member_id("https://localhost:1180", "demo")
