"""A plain script with a lab of its own, which is gone at the end of the block, and also if the script is killed."""

from etcdlab import Lab

with Lab.up(nodes=3, profile="fast") as lab:
    lab.etcdctl("put", "greeting", "hello")
    leader = lab.leader()
    with lab.stopped(leader.name):
        lab.wait_until(lambda status: status.leader not in (None, leader.name))
        assert lab.etcdctl("get", "greeting", "--print-value-only") == "hello\n"
