"""Making space; that databases are defragmented until they are small is in tests of `reset`."""

import pytest

from etcdlab.runtime.freeing import disarm, free
from etcdlab.runtime.gateway import NotDoneError
from tests.runtime.test_reset import ALARMS, COMPACT, DEFRAGMENT, STATUS, Gateway

pytestmark = pytest.mark.trio


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.answers[STATUS] = {"header": {"revision": "42"}, "dbSize": "20480"}
    yield gateway
    gateway.journal.close()


def raised(gateway, name, alarm="NOSPACE"):
    return {"memberID": str(int(gateway.nodes[name].plan.member_id, 16)), "alarm": alarm}


async def test_history_goes_pages_are_given_back_and_the_alarm_ends(gateway):
    alarm = raised(gateway, "n2")
    gateway.answers[ALARMS] = [{"alarms": [alarm]}, {}]
    freed = await free(list(gateway.nodes.values()))
    assert freed.sizes == dict.fromkeys(("n1", "n2", "n3"), (20480, 20480))
    assert (freed.alarms, freed.beyond) == (1, ())
    assert gateway.made(COMPACT) == [{"revision": 42, "physical": True}]
    assert len(gateway.made(DEFRAGMENT)) == 3
    assert {"action": "DEACTIVATE", "memberID": int(alarm["memberID"]), "alarm": "NOSPACE"} in gateway.made(ALARMS)


async def test_who_has_a_smaller_quota_than_its_keys_take_is_named(gateway):
    gateway.nodes["n1"].quota, gateway.nodes["n3"].quota = 16384, 65536
    assert (await free(list(gateway.nodes.values()))).beyond == ("n1",)


async def test_an_alarm_that_comes_back_is_told(gateway):
    gateway.answers[ALARMS] = {"alarms": [raised(gateway, "n2")]}
    with pytest.raises(NotDoneError, match="the alarm NOSPACE came back"):
        await free(list(gateway.nodes.values()))


async def test_only_what_these_members_raised_for_want_of_space_is_disarmed(gateway):
    alarms = [raised(gateway, "n1"), raised(gateway, "n2"), raised(gateway, "n1", "CORRUPT")]
    gateway.answers[ALARMS] = {"alarms": alarms}
    await disarm(list(gateway.nodes.values()), {gateway.nodes["n1"].plan.member_id})
    disarmed = [body["memberID"] for body in gateway.made(ALARMS) if body["action"] == "DEACTIVATE"]
    assert disarmed == [int(alarms[0]["memberID"])]
