import msgspec
import pytest

from etcdlab.model.link import (
    CLIENTS,
    AnyFault,
    Blackhole,
    Cut,
    Delay,
    Flap,
    Link,
    LinkFault,
    Rate,
    all_links,
    between,
    connected,
    in_words,
    isolation,
    kind_of,
    members_of,
    partition,
    severed,
)

N1, N2, N3 = NAMES = ("n1", "n2", "n3")
ALL = (Cut(), Flap(down_s=0.2, up_s=1), Blackhole(), Delay(delay_s=0.03, jitter_s=0.01), Rate(bytes_per_s=65536))


def on(fault, *links):
    return [LinkFault(link=link, fault=fault, since_s=0.0) for link in links]


def test_a_partition_is_all_links_between_groups():
    assert set(partition([{N1}, {N2, N3}])) == {Link(N1, N2), Link(N2, N1), Link(N1, N3), Link(N3, N1)}
    assert len(partition([{N1}, {N2}, {N3}])) == 6


def test_isolation_leaves_clients_unless_asked():
    links = isolation(N1, NAMES)
    assert set(links) == {Link(N1, N2), Link(N2, N1), Link(N1, N3), Link(N3, N1)}
    assert set(isolation(N1, NAMES, from_clients=True)) - set(links) == {Link(N1, CLIENTS), Link(CLIENTS, N1)}


def test_all_links_are_ordered_pairs():
    assert len(all_links(NAMES, clients=False)) == 6
    assert len(all_links(NAMES, clients=True)) == 12


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (between(N1, N2), "n1 ↔ n2"),
        (between(N1, N2, one_way=True), "n1 → n2"),
        ([Link(N2, N1), Link(N1, N3), Link(N1, N2)], "n2 ↔ n1, n1 → n3"),
        ([], ""),
    ],
)
def test_links_in_words(links, words):
    assert in_words(links) == words


@pytest.mark.parametrize(
    ("fault", "words"),
    list(zip(ALL, ["cut", "flap 200ms down 1s up", "blackhole", "delay 30ms ± 10ms", "rate 64KiB/s"], strict=True)),
)
def test_faults_in_words(fault, words):
    assert str(fault) == words


@pytest.mark.parametrize("fault", ALL, ids=kind_of)
def test_faults_travel_with_their_kind(fault):
    sent = msgspec.json.encode(fault)
    assert msgspec.json.decode(sent)["type"] == kind_of(fault)
    assert msgspec.json.decode(sent, type=AnyFault) == fault


@pytest.mark.parametrize(
    "sent",
    [
        b'{"type":"delay","delay_s":-1}',
        b'{"type":"rate","bytes_per_s":0}',
        b'{"type":"flap","down_s":0,"up_s":1}',
        b'{"type":"flood"}',
    ],
)
def test_what_no_link_can_have_is_refused(sent):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(sent, type=AnyFault)


@pytest.mark.parametrize(
    ("voters", "faults", "count"),
    [
        (NAMES, [], 3),
        (NAMES, on(Cut(), *isolation(N1, NAMES)), 2),
        (NAMES, on(Cut(), *partition([{N1}, {N2}, {N3}])), 1),
        (NAMES, on(Cut(), Link(N1, N2), Link(N2, N3), Link(N3, N1)), 3),  # the other one can still dial
        (NAMES, on(Flap(down_s=1, up_s=1), *between(N1, N2)), 3),  # over n3
        (NAMES, on(Blackhole(), Link(N1, N2), Link(N2, N3)), 2),
        (NAMES, on(Blackhole(), Link(N1, N2), Link(N2, N3), Link(N3, N1)), 1),
        (NAMES, on(Delay(delay_s=9), *partition([{N1}, {N2}, {N3}])), 3),
        ((N2, N3), on(Cut(), *between(N2, N3)), 1),
        ((), [], 0),
    ],
)  # fmt: skip
def test_how_many_exchange_data_with_one(voters, faults, count):
    assert connected(voters, faults) == count


def test_a_group_is_written_with_commas():
    assert members_of(" n1 ,n2,, n3") == ["n1", "n2", "n3"]


def test_whose_links_are_parted():
    assert severed([*on(Cut(), Link(N1, N2)), *on(Delay(delay_s=9), Link(N3, N1))]) == {N1, N2}
    assert severed([*on(Flap(down_s=1, up_s=1), Link(N1, CLIENTS)), *on(Blackhole(), Link(N3, N2))]) == {
        *NAMES,
        CLIENTS,
    }
    assert severed([]) == set()
