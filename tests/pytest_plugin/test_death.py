"""Each way in which a session can end, and that nothing of its labs is left."""

import os
import signal

import pytest

from tests.pytest_plugin.conftest import TIMEOUT_S

pytestmark = pytest.mark.etcd

WITHIN_S = 2.0

WAITS = """
    import time

    def test_waits(etcd_cluster, etcd_cluster_factory):
        etcd_cluster_factory(tls=False)
        print("reached", flush=True)
        time.sleep(60)
"""
"""Two labs."""

BOOTS = {
    "making": """
        from etcdlab import up

        original = up._create

        def create(*arguments):
            print("reached", flush=True)
            return original(*arguments)

        up._create = create
    """,
    "booting": """
        from etcdlab.launch import Daemon

        original = Daemon.boot

        def boot(daemon, *, boot_s, on_event):
            return original(daemon, boot_s=boot_s, on_event=lambda event: print("reached", flush=True))

        Daemon.boot = boot
    """,
}
"""Conftests that tell how far the boot of a lab is."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_killed_in_a_test(suite, number):
    suite.tests(WAITS)
    with suite.started(until="reached") as process:
        assert len(suite.labs()) == 2
        process.send_signal(number)
        assert suite.is_gone_within(WITHIN_S)


def test_killed_with_its_whole_group(suite):
    suite.tests(WAITS)
    with suite.started(until="reached") as process:
        os.killpg(process.pid, signal.SIGKILL)
        assert suite.is_gone_within(WITHIN_S)


@pytest.mark.parametrize("reached", BOOTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_ended_while_a_lab_comes_up(suite, reached, number):
    suite.pytester.makeconftest(BOOTS[reached])
    suite.tests("def test(etcd): pass")
    with suite.started(until="reached") as process:
        process.send_signal(number)
        if number is signal.SIGINT:
            output, _ = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == pytest.ExitCode.INTERRUPTED
            assert "KeyboardInterrupt" in output
        assert suite.is_gone_within(WITHIN_S)


def test_ctrl_c(suite):
    suite.tests(WAITS)
    with suite.started(until="reached") as process:
        os.killpg(process.pid, signal.SIGINT)  # as from a terminal
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == pytest.ExitCode.INTERRUPTED
        assert suite.is_gone_within(0)


def test_os_exit(suite):
    suite.tests("""
        import os

        def test(etcd):
            print("reached", flush=True)
            os._exit(3)
    """)
    with suite.started(until="reached") as process:
        process.wait(timeout=TIMEOUT_S)
        assert process.returncode == 3
        assert suite.is_gone_within(WITHIN_S)


def test_the_first_failure(suite):
    suite.tests("""
        def test_fails(etcd):
            assert False

        def test_never_runs(etcd):
            pass
    """)
    suite.run("-x", failed=1)
    assert suite.is_gone_within(0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(("flags", "labs"), [([], 2), (["--etcdlab-shared"], 1)], ids=["each", "shared"])
def test_the_controller_of_xdist(suite, flags, labs, number):
    suite.tests("""
        import os, pathlib, time
        import pytest

        @pytest.mark.parametrize("i", range(2))
        def test(etcd, i):
            pathlib.Path(f"ran-{i}").touch()
            while len(list(pathlib.Path().glob("ran-*"))) < 2:
                time.sleep(0.01)
            os.write(2, b"reached\\n")
            time.sleep(60)
    """)
    with suite.started("-n", "2", *flags, until="reached") as process:
        assert len(suite.labs()) == labs
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as from a terminal
            process.communicate(timeout=TIMEOUT_S)
        else:
            process.kill()
        assert suite.is_gone_within(WITHIN_S)
