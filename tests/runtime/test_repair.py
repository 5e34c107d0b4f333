"""Who can help a member that is made anew, and what the cluster is asked for, from a scripted endpoint."""

import json

import msgspec
import pytest

from etcdlab.errors import LabStateError
from etcdlab.etcd import api
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.runtime.repair import choose_helper, replace_member
from tests.control.fake import STATUS
from tests.plans import make_plan
from tests.runtime.test_health import ScriptedEndpoint, answer

NOTHING = answer({})


def lab_where(**healthy: bool) -> LabStatus:
    """A lab of three voting members, those healthy that are said to be."""
    nodes = tuple(
        msgspec.structs.replace(STATUS.nodes[0], name=name, healthy=is_healthy) for name, is_healthy in healthy.items()
    )
    return msgspec.structs.replace(STATUS, verdict=ClusterVerdict.DEGRADED, nodes=nodes)


def test_a_member_that_serves_helps():
    assert choose_helper("n1", lab_where(n1=False, n2=True, n3=True)) == "n2"


@pytest.mark.parametrize(
    ("healthy", "why"),
    [
        ({"n1": True, "n2": True, "n3": True}, "n1 serves: there is nothing to repair"),
        ({"n1": False, "n2": True, "n3": False}, "n1 cannot be repaired: 1 other voting members serve, and it takes 2"),
    ],
)
def test_it_takes_a_member_that_does_not_serve_and_a_quorum_that_does(healthy, why):
    with pytest.raises(LabStateError, match=why):
        choose_helper("n1", lab_where(**healthy))


@pytest.mark.trio
async def test_the_member_goes_with_its_alarms_and_is_known_anew(tmp_path):
    n1, n2, n3 = make_plan(tmp_path).nodes
    n2 = msgspec.structs.replace(n2, argv=("etcd", "--initial-cluster=n1=x", "--initial-cluster-state=new", "--v2"))
    members = [
        {"ID": str(number), "name": node.name, "peerURLs": [node.peer_url]}
        for number, node in enumerate((n1, n2, n3), 1)
    ]
    alarms = [{"memberID": "2", "alarm": "CORRUPT"}, {"memberID": "3", "alarm": "NOSPACE"}]
    helper = ScriptedEndpoint(
        answer({"members": members}), NOTHING, answer({"alarms": alarms}), NOTHING,
        answer({"members": [members[0], members[2]]}), answer({"member": {"ID": "171"}}),
    )  # fmt: skip
    joining = await replace_member(n2, helper)
    assert joining.member_id == "00000000000000ab"
    cluster = f"--initial-cluster=n1={n1.peer_url},n3={n3.peer_url},n2={n2.peer_url}"
    assert joining.argv == ("etcd", cluster, "--initial-cluster-state=existing", "--v2")
    assert [target for target, _ in helper.asked][:4] == [
        api.MEMBER_LIST, "/v3/cluster/member/remove", "/v3/maintenance/alarm", "/v3/maintenance/alarm",
    ]  # fmt: skip
    assert json.loads(helper.asked[3][1]) == {"action": "DEACTIVATE", "memberID": 2, "alarm": "CORRUPT"}
