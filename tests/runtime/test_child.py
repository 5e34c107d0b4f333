"""Real short-lived processes: what a member is given, how its end is seen, and that no signal goes astray."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from etcdlab.prepare.process import ProcessIdentity, identify, is_alive
from etcdlab.runtime.child import AdoptedProcess, have_disk_full, spawn

pytestmark = pytest.mark.trio
BOUND_S = 30
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


class Spawner:
    """Spawns Python children that log into the test's directory."""

    def __init__(self, directory):
        self.directory = directory
        self.log = directory / "etcd.log"
        self._children = []

    async def __call__(self, code, **env):
        child = await spawn([sys.executable, "-Ic", code], env=env, directory=self.directory, log=self.log)
        self._children.append(child)
        return child

    async def output(self, code, **env):
        child = await self(code, **env)
        assert await child.wait() == 0
        return self.log.read_text()

    async def wait_up(self):
        with trio.fail_after(BOUND_S):
            while b"up" not in self.log.read_bytes():  # noqa: ASYNC110 - a file has no event
                await trio.sleep(0.005)

    async def end(self):
        with trio.CancelScope(shield=True):
            for child in self._children:
                child.signal(signal.SIGKILL)
                await child.wait()


@pytest.fixture
async def spawner(tmp_path):
    spawner = Spawner(tmp_path)
    yield spawner
    await spawner.end()


async def test_a_child_gets_its_environment_directory_and_no_input(spawner, monkeypatch):
    monkeypatch.setenv("ETCD_NAME", "stray")
    code = "import os, sys; print(os.environ.get('ETCD_NAME'), os.environ['MINE'], os.getcwd(), sys.stdin.read() == '')"
    assert (await spawner.output(code, MINE="1")).split() == ["None", "1", str(spawner.directory), "True"]


async def test_a_child_leads_its_own_session(spawner):
    child = await spawner(SLEEP)
    await spawner.wait_up()
    assert os.getsid(child.identity.pid) == child.identity.pid != os.getsid(0)


async def test_output_is_appended_to_a_log_of_this_user_alone(spawner):
    first = await spawner("import os; os.write(1, b'out\\n'); os.write(2, b'err\\n')")
    await first.wait()
    second = await spawner("print('again')")
    await second.wait()
    assert spawner.log.read_bytes() == b"out\nerr\nagain\n"
    assert stat.S_IMODE(spawner.log.stat().st_mode) == 0o600


async def test_a_child_inherits_no_descriptor_of_ours(spawner):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert await spawner.output("import os; print(sorted(os.listdir('/proc/self/fd'))[:4])") == (
            "['0', '1', '2', '3']\n"  # 3 is the directory that it lists
        )
    finally:
        os.close(reader)
        os.close(writer)


async def test_the_exit_code_tells_of_signals(spawner):
    assert await (await spawner("raise SystemExit(3)")).wait() == 3
    child = await spawner(SLEEP)
    await spawner.wait_up()
    child.signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_a_child_that_is_gone_cannot_be_signalled(spawner):
    child = await spawner("pass")
    await child.wait()
    child.signal(signal.SIGKILL)


async def test_a_binary_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such-etcd"):
        await spawn(["/no-such-etcd"], env={}, directory=tmp_path, log=tmp_path / "log")


async def test_a_child_survives_the_cancellation_of_its_supervisor(spawner):
    with trio.move_on_after(0.05):
        child = await spawner(SLEEP)
        await child.wait()
    assert is_alive(child.identity)


class TestAdopted:
    """A process that is not our child."""

    @pytest.fixture
    def orphan(self):
        """The identity of a process whose parent is gone."""
        code = (
            "import subprocess, sys;"
            "print(subprocess.Popen([sys.executable, '-Ic', 'import time; time.sleep(600)'], stdout=-3).pid)"
        )
        pid = int(subprocess.run([sys.executable, "-Ic", code], stdout=subprocess.PIPE, check=True).stdout)
        yield identify(pid)
        if identify(pid):
            os.kill(pid, signal.SIGKILL)

    async def test_its_end_is_seen_and_its_code_is_not(self, orphan, nursery):
        adopted = AdoptedProcess(orphan)
        ended = trio.Event()

        async def wait() -> None:
            assert await adopted.wait() is None
            ended.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        adopted.signal(signal.SIGKILL)
        with trio.fail_after(BOUND_S):
            await ended.wait()
        assert not is_alive(orphan)

    async def test_its_end_is_seen_without_a_descriptor_to_wait_on(self, orphan, monkeypatch, nursery):
        def none_left(pid: int) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "pidfd_open", none_left)
        adopted = AdoptedProcess(orphan)
        nursery.start_soon(adopted.wait)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(orphan.pid, signal.SIGKILL)
        with trio.fail_after(BOUND_S):
            await adopted.wait()
        assert not is_alive(orphan)

    async def test_it_is_waited_for_and_signalled_when_no_descriptor_is_left(self, orphan, monkeypatch, nursery):
        def none_left(*_: object) -> int:
            raise OSError(24, "Too many open files")

        adopted = AdoptedProcess(orphan)
        nursery.start_soon(adopted.wait)
        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", none_left)
            patch.setattr(Path, "read_bytes", none_left)
            adopted.signal(signal.SIGKILL)
        with trio.fail_after(BOUND_S):
            await adopted.wait()
        assert not is_alive(orphan)

    async def test_one_that_cannot_be_looked_at_has_not_ended(self, orphan, monkeypatch, nursery):
        def none_left(*_: object) -> int:
            raise OSError(24, "Too many open files")

        adopted, ended = AdoptedProcess(orphan), trio.Event()

        async def wait() -> None:
            await adopted.wait()
            ended.set()

        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", none_left)
            patch.setattr(Path, "read_bytes", none_left)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not ended.is_set()
        os.kill(orphan.pid, signal.SIGKILL)
        with trio.fail_after(BOUND_S):
            await ended.wait()

    async def test_one_that_is_gone_has_ended(self, orphan):
        adopted = AdoptedProcess(orphan)
        adopted.signal(signal.SIGKILL)
        with trio.fail_after(BOUND_S):
            await adopted.wait()
            await adopted.wait()

    async def test_another_process_with_its_pid_is_neither_waited_for_nor_signalled(self, orphan):
        for other in (
            msgspec.structs.replace(orphan, start_time=orphan.start_time - 1),
            msgspec.structs.replace(orphan, boot="another"),
        ):
            stranger = AdoptedProcess(other)
            stranger.signal(signal.SIGKILL)
            with trio.fail_after(BOUND_S):
                await stranger.wait()
        assert is_alive(orphan)

    async def test_a_pid_that_nobody_has_is_gone(self):
        nobody = AdoptedProcess(ProcessIdentity(pid=2**22 - 1, start_time=1, boot=""))
        nobody.signal(signal.SIGKILL)
        await nobody.wait()


WRITES = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
file = open("data", "wb", buffering=0)
print("up", flush=True)
while True:
    signal.sigwait([signal.SIGUSR1])
    try:
        file.write(b"x")
    except OSError as error:
        sys.exit(error.errno)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process that runs can be limited on Linux alone")
async def test_whose_disk_is_full_writes_to_no_file_and_then_to_all_again(spawner):
    child = await spawner("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])" + WRITES)
    await spawner.wait_up()
    data = spawner.directory / "data"
    have_disk_full(child.identity, is_full=True)
    have_disk_full(child.identity, is_full=False)
    child.signal(signal.SIGUSR1)
    with trio.fail_after(BOUND_S):
        while not data.stat().st_size:  # noqa: ASYNC110 - a file has no event
            await trio.sleep(0.005)
        have_disk_full(child.identity, is_full=True)
        child.signal(signal.SIGUSR1)
        assert await child.wait() == errno.EFBIG
    have_disk_full(child.identity, is_full=False)  # nobody is left, which is no error
    assert data.read_bytes() == b"x"
