"""Members that are held for a time, in virtual time."""

import pytest
import trio
import trio.testing

from etcdlab.runtime.holds import Holds


@pytest.fixture
async def holds(nursery):
    holds = Holds()
    nursery.start_soon(holds.run)
    return holds


@pytest.fixture
def let_go():
    return []


def letting(let_go, name):
    return lambda: let_go.append((name, trio.current_time()))


@pytest.mark.trio
async def test_each_is_let_go_in_its_time(holds, let_go, autojump_clock):
    began = trio.current_time()
    holds.begin("n1", 10, letting(let_go, "n1"))
    holds.begin("n2", 5, letting(let_go, "n2"))
    await trio.sleep(20)
    assert [(name, round(at - began, 1)) for name, at in let_go] == [("n2", 5), ("n1", 10)]


@pytest.mark.trio
async def test_what_was_dropped_does_not_happen(holds, let_go, autojump_clock):
    holds.begin("n1", 10, letting(let_go, "n1"))
    holds.begin("n2", 10, letting(let_go, "n2"))
    await trio.sleep(5)
    holds.drop(["n1", "n3"])
    await trio.sleep(20)
    assert [name for name, _ in let_go] == ["n2"]


@pytest.mark.trio
async def test_the_last_word_counts(holds, let_go, autojump_clock):
    holds.begin("n1", 10, letting(let_go, "first"))
    holds.begin("n1", 20, letting(let_go, "second"))
    await trio.sleep(30)
    assert [name for name, _ in let_go] == ["second"]


@pytest.mark.trio
async def test_what_is_dropped_in_the_tick_in_which_it_was_over_does_not_happen(holds, autojump_clock):
    told = []

    async def drop(name):
        await trio.sleep(10)
        holds.drop([name])
        told.append((name, "dropped"))

    names = [f"n{number}" for number in range(20)]  # trio runs what is due at once in any order
    async with trio.open_nursery() as nursery:
        for name in names:
            holds.begin(name, 10, lambda name=name: told.append((name, "let go")))
            nursery.start_soon(drop, name)
    for name in names:
        assert [what for who, what in told if who == name][-1] == "dropped"
