import pytest

from etcdlab.model.certificate import Subject
from etcdlab.pki.names import covers, host_problem, stem_problem, subject_problems


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "*.example.com", "etcd_1", "a.b-c.example.com"])
def test_a_host_is_an_address_or_a_name(host):
    assert host_problem(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "https://a",
        "a:2379",
        "127.0.0.1:2379",
        "-a",
        "a..b",
        "ä.example",
        "*",
        "a.*.b",
        "a" * 64,
        "a." * 126 + "ab",
    ],
)
def test_what_is_no_host(host):
    assert repr(host) in host_problem(host)


@pytest.mark.parametrize("stem", ["admin", "a.b@c-d_e", "9"])
def test_a_stem_is_a_plain_file_name(stem):
    assert stem_problem(stem) is None


@pytest.mark.parametrize("stem", ["", ".hidden", "../x", "a/b", "a b", "-x", "a\n", "a" * 101, "ä"])
def test_what_is_no_stem(stem):
    assert stem_problem(stem)


def test_every_part_of_a_subject_is_looked_at():
    assert subject_problems(Subject(C="CN", CN="x" * 64)) == []
    assert [part for part, _ in subject_problems(Subject(C="China", CN="x" * 65, O="y" * 65))] == ["C", "CN", "O"]
    assert [part for part, _ in subject_problems(Subject(C="1a"))] == ["C"]


@pytest.mark.parametrize(
    ("names", "host", "good"),
    [
        (["localhost"], "LOCALHOST.", True),
        (["::1"], "0:0:0:0:0:0:0:1", True),
        (["*.example.com"], "a.example.com", True),
        (["*.example.com"], "a.b.example.com", False),
        (["*.example.com"], "example.com", False),
        (["127.0.0.1"], "127.0.0.2", False),
        (["*.0.0.1"], "127.0.0.1", False),
        ([], "localhost", False),
    ],
)
def test_which_hosts_a_certificate_covers(names, host, good):
    assert covers(names, host) is good
