"""`exec` as suites use it: the installed program, whatever command, and what is left when it ends in any way."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys

import psutil
import pytest

from etcdlab.prepare.labdir import LabDirectory
from tests.cli.command import PROGRAM, program, run
from tests.conftest import processes_of
from tests.plans import make_plan

ONE = ("exec", "--profile", "fast", "--nodes", "1")
BOUND_S = 30

DUMP = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")

TELL = """
import os, signal, sys
waited = {getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH")}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
print("ready", flush=True)
print(signal.Signals(signal.sigwait(waited)).name, flush=True)
# Whatever came to exec before this one has been handed on when this one comes back.
os.kill(os.getppid(), signal.SIGUSR2)
while (number := signal.sigwait(waited)) != signal.SIGUSR2:
    print("and", signal.Signals(number).name, flush=True)
sys.exit(3)
"""
"""Says which signal came, and any other that came with it; ends with status 3."""


@contextlib.contextmanager
def started(*command, arguments=ONE, **more):
    """`etcdlab exec` as a process, its command's input and output in pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([PROGRAM, *arguments, "--", *command], text=True, **pipes, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def is_empty(home):
    return (processes_of(home), list(home.iterdir())) == ([], [])


class TestWithoutALab:
    """What is refused before anything is made."""

    @pytest.fixture(autouse=True)
    def empty(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
        monkeypatch.delenv("ETCDLAB_LAB", raising=False)

    @pytest.mark.parametrize("typed", [[], ["--nodes", "1"], ["make", "test"], ["--"]])
    def test_no_command(self, typed):
        result = subprocess.run([PROGRAM, "exec", *typed], capture_output=True, text=True, timeout=BOUND_S, check=False)
        assert result.returncode == 2
        assert 'there is no COMMAND: it comes after "--"' in result.stderr

    @pytest.mark.parametrize("name", ["no-such-command", "./no-such-file", ""])
    def test_a_missing_command_is_127(self, name, tmp_path):
        result = run("exec", "--", name, status=127)
        assert f"{name!r} cannot be run" in result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_no_program_is_126(self, tmp_path):
        file = tmp_path / "data"
        file.touch()
        run("exec", "--", str(file), status=126)
        run("exec", "--", str(tmp_path), status=126)

    def test_a_lab_of_that_name_is_not_taken(self, tmp_path):
        make_plan(tmp_path)
        result = program("exec", "--name", "demo", "--", "true", status=1)
        assert "etcdlab exec --lab demo" in result.stderr
        assert LabDirectory.named("demo").exists()

    @pytest.mark.parametrize("flags", [["--nodes", "3"], ["--isolated"], ["--no-tls"], ["--timeout", "3s"], ["x.toml"]])
    def test_a_running_lab_is_used_as_it_is(self, tmp_path, flags):
        make_plan(tmp_path)
        assert "Leave out --lab" in run("exec", "--lab", "demo", *flags, "--", "true", status=2).stderr

    def test_a_lab_that_does_not_run(self, tmp_path):
        make_plan(tmp_path)
        assert "etcdlab up --name demo" in run("exec", "--lab", "demo", "--", "true", status=3).stderr
        run("exec", "--lab", "nowhere", "--", "true", status=3)

    @pytest.mark.parametrize("prefix", ["", "A-B", "1A", "A="])
    def test_a_prefix_of_no_variable(self, prefix):
        run("exec", "-e", prefix, "--", "true", status=2)


@pytest.mark.etcd
class TestStatus:
    def test_status_and_output_are_the_commands(self, home):
        result = program(*ONE, "--", "sh", "-c", "echo out; echo err >&2; exit 7", status=7)
        assert result.stdout == "out\n"
        assert "err\n" in result.stderr
        assert is_empty(home)

    def test_a_killed_command(self, home):
        program(*ONE, "--", "sh", "-c", "kill -KILL $$", status=128 + signal.SIGKILL)
        assert is_empty(home)

    def test_a_script_whose_interpreter_is_missing(self, home, tmp_path):
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o700)
        assert "cannot be run" in program(*ONE, "--", str(script), status=127).stderr
        assert is_empty(home)

    def test_a_lab_that_fails_keeps_its_own_status(self, home):
        program(*ONE, "--timeout", "1ms", "--", "true", status=6)
        assert is_empty(home)

    def test_a_command_that_removes_the_lab_itself(self, home):
        result = program(*ONE, "--", PROGRAM, "down", "--purge")
        assert "is stopped and removed" in result.stdout
        assert "error" not in result.stderr

    def test_descriptors_of_the_caller_are_the_commands(self, home):
        reading, writing = os.pipe()
        program(*ONE, "--", sys.executable, "-c", f"import os; os.write({writing}, b'told')", pass_fds=[writing])
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "told"


@pytest.mark.etcd
class TestSignals:
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGWINCH"])
    def test_are_handed_on_once(self, home, name):
        with started(sys.executable, "-c", TELL) as process:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.Signals[name])
            output, messages = process.communicate(timeout=BOUND_S)
            assert (output, process.returncode) == (f"{name}\n", 3), messages
        assert is_empty(home)

    def test_a_command_that_they_end(self, home):
        with started("sh", "-c", "echo ready; exec sleep 60") as process:
            process.stdout.readline()
            process.terminate()
            process.communicate(timeout=BOUND_S)
            assert process.returncode == 128 + signal.SIGTERM
        assert is_empty(home)

    def test_a_terminals_are_not_handed_on(self, home):
        """Ctrl-C comes to the command from the terminal, and must not come from exec as well."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(PROGRAM, [PROGRAM, *ONE, "--", sys.executable, "-c", TELL])
        output, typed = b"", False
        with contextlib.suppress(OSError):  # the end of a terminal
            while data := os.read(terminal, 1000):
                output += data
                if b"\nready" in output and not typed:
                    typed = bool(os.write(terminal, b"\x03"))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        assert status == 3, output
        assert b"SIGINT\r\n" in output
        assert b"and SIGINT" not in output
        assert is_empty(home)

    def test_stopped_and_continued_with_the_command(self, home):
        with started("cat", process_group=0) as process:
            process.stdin.write("one\n")
            process.stdin.flush()
            assert process.stdout.readline() == "one\n"
            process.send_signal(signal.SIGTSTP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            (child,) = [child for child in psutil.Process(process.pid).children() if child.name() == "cat"]
            assert child.status() == psutil.STATUS_STOPPED
            process.send_signal(signal.SIGCONT)
            assert process.communicate("two\n", timeout=BOUND_S)[0] == "two\n"
            assert process.returncode == 0

    def test_while_the_lab_is_being_made(self, home):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with started("echo", "ran") as process:
                while not processes_of(home):
                    pass
                process.send_signal(number)
                output, messages = process.communicate(timeout=BOUND_S)
                if process.returncode:  # else it was ready already
                    assert (output, process.returncode) == ("", -number), messages
                assert "Traceback" not in messages
            assert is_empty(home)

    def test_sigkill_leaves_no_lab(self, home):
        with started("cat") as process:
            process.stdin.write("ready\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            lab = processes_of(home)
            assert len(lab) == 2  # a daemon, a member
            process.kill()
            _, left = psutil.wait_procs(lab, timeout=BOUND_S)
            assert left == []
        assert is_empty(home)


def environment(*arguments, **changes):
    """The environment that a command sees."""
    return json.loads(program(*ONE, *arguments, "--", *DUMP, env=os.environ | changes).stdout)


@pytest.mark.etcd
class TestEnvironment:
    def test_etcdctl_needs_nothing_else(self, home):
        script = "etcdctl put color blue && etcdctl get color --print-value-only"
        stale = {"ETCDCTL_ENDPOINTS": "http://localhost:1", "ETCDCTL_USER": "nobody"}
        assert program("exec", "--profile", "fast", "--", "sh", "-c", script, env=os.environ | stale).stdout == (
            "OK\nblue\n"
        )

    def test_a_suite_that_gives_etcdctl_its_endpoints(self, home):
        script = 'etcdctl --endpoints="$ETCDLAB_ENDPOINTS" --cacert="$ETCDLAB_CACERT" --cert="$%s" --key="$%s" put a b'
        for pair in (("ETCDLAB_CERT", "ETCDLAB_KEY"), ("ETCDLAB_GATEWAY_CERT", "ETCDLAB_GATEWAY_KEY")):
            result = program(*ONE, "--no-etcdctl-env", "--", "sh", "-c", script % pair)
            assert result.stdout == "OK\n"

    def test_files_and_processes_are_there(self, home):
        check = """
import json, os, ssl, urllib.request
lab = {name.removeprefix("FOO_"): value for name, value in os.environ.items() if name.startswith("FOO_")}
ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(lab["SERVER_CERT"], lab["SERVER_KEY"])
client = ssl.create_default_context(cafile=lab["CACERT"])
client.load_cert_chain(lab["GATEWAY_CERT"], lab["GATEWAY_KEY"])
for url in (lab["ENDPOINT"], f"https://{lab['HOST']}:{lab['PORT']}", lab["MEMBER_N1_ENDPOINT"]):
    with urllib.request.urlopen(url + "/v3/kv/range", b'{"key": "YQ=="}', context=client) as answer:
        assert json.load(answer)["header"]
urllib.request.urlopen(lab["MEMBER_1_METRICS_URL"] + "/health").close()
assert os.path.isdir(lab["MEMBER_1_DATA_DIR"] + "/member")
assert "etcd" in open(f"/proc/{lab['MEMBER_1_PID']}/cmdline").read()
assert os.path.exists(lab["SOCKET"])
"""
        proxy = {"HTTPS_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
        program(*ONE, "-e", "FOO", "--", sys.executable, "-c", check, env=os.environ | proxy)

    def test_of_the_callers_what_would_mislead_is_dropped(self, home):
        misleading = {"REQUESTS_CA_BUNDLE": "/no/ca.pem", "ETCD_NAME": "n9", "ETCDLAB_MEMBER_9_PID": "1"}
        seen = environment(SOME_SETTING="kept", HTTPS_PROXY="http://127.0.0.1:1", **misleading)
        assert not set(misleading) & set(seen)
        assert seen["SOME_SETTING"] == "kept"
        assert seen["HTTPS_PROXY"] == "http://127.0.0.1:1"
        assert "127.0.0.1" in seen["NO_PROXY"].split(",")

    def test_etcdlab_finds_the_lab_under_any_prefix(self, home):
        result = program(*ONE, "-e", "FOO", "--", PROGRAM, "ctl", "--", "put", "a", "b")
        assert result.stdout == "OK\n"

    def test_an_identity(self, home):
        assert environment("--identity", "gateway")["ETCDCTL_CERT"].endswith("/gateway.pem")
        assert "no identity 'nobody'" in program(*ONE, "--identity", "nobody", "--", "true", status=2).stderr
        assert is_empty(home)

    def test_isolated(self, home):
        script = f"""
set -e
test -z "$HTTPS_PROXY"
{PROGRAM} up --nodes 1 --profile fast --no-tls --name nested >&2
{PROGRAM} ls --json
"""
        proxy = {"HTTPS_PROXY": "http://127.0.0.1:1"}
        seen = json.loads(program(*ONE, "--isolated", "--", "sh", "-c", script, env=os.environ | proxy).stdout)
        assert [lab["lab"].split("-")[0] for lab in seen["labs"]] == ["exec", "nested"]
        assert is_empty(home)


@pytest.mark.etcd
class TestPifpaf:
    def test_members_and_variables(self, home):
        script = """
set -e
test "$ETCDCTL_ENDPOINTS" = "$PIFPAF_HTTP_URL"
test "$PIFPAF_URL" = "etcd://localhost:$PIFPAF_ETCD_PORT"
test "$PIFPAF_URLS" = "redis://localhost:1;$PIFPAF_URL"
test "$PIFPAF_PID" = "$PPID"
test -d "$PIFPAF_DATA/member"
etcdctl put a b >/dev/null
etcdctl member list
"""
        arguments = ("exec", "--compat", "pifpaf", "--profile", "fast")
        outer = os.environ | {"PIFPAF_URLS": "redis://localhost:1"}
        members = program(*arguments, "--", "sh", "-c", script, env=outer).stdout
        assert [line.split(", ")[2] for line in members.splitlines()] == ["pifpaf0"]
        assert "http://localhost:" in members

    def test_a_cluster_and_a_prefix(self, home):
        script = 'etcdctl --endpoints="$FOO_HTTP_URL" member list && echo "$ETCDLAB_MEMBERS"'
        arguments = ("exec", "--compat", "pifpaf", "-e", "FOO", "--no-etcdctl-env", "--nodes", "3", "--profile", "fast")
        *members, names = program(*arguments, "--", "sh", "-c", script).stdout.splitlines()
        assert {line.split(", ")[2] for line in members} == {"pifpaf0", "pifpaf1", "pifpaf2"}
        assert names == "pifpaf0,pifpaf1,pifpaf2"


@pytest.mark.etcd
class TestARunningLab:
    def test_is_used_and_left(self, shared_lab):
        pids = [node.pid for node in shared_lab.status().nodes]
        seen = json.loads(program("exec", "--lab", shared_lab.name, "--", *DUMP).stdout)
        assert seen["ETCDLAB_LAB"] == shared_lab.name
        assert [int(seen[f"ETCDLAB_MEMBER_N{number}_PID"]) for number in (1, 2, 3)] == pids
        program("exec", "--lab", shared_lab.name, "--", "sh", "-c", "exit 5", status=5)
        assert [node.pid for node in shared_lab.status().nodes] == pids

    def test_with_tls_is_none_for_pifpafs_suites(self, shared_lab):
        program("exec", "--lab", shared_lab.name, "--compat", "pifpaf", "--", "true", status=2)

    def test_its_ports_are_never_answered_by_it(self, shared_lab, tmp_path):
        """A lab on ports that something else holds fails: its command must not be served by a stranger."""
        file = tmp_path / "same.toml"
        port = shared_lab.plan.nodes[0].client_port
        file.write_text(f'name = "same"\n[[node]]\nname = "n1"\nclient_port = {port}\n')
        result = program("exec", str(file), "--", "echo", "ran", status=1)
        assert f"port {port}" in result.stderr
        assert result.stdout == ""
        assert not LabDirectory.named("same").path.exists()
