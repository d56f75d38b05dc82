"""The keeper alone, with MegEngine's real server and real clients: what it tells, when it ends, what it leaves."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from mgelaunch.target import interpreter

SOURCE = os.path.join(os.path.dirname(interpreter.__file__), "keeper.py")
PATIENCE = 60
"""Seconds: importing MegEngine takes one or two on a quiet machine."""

JOIN = """
import os, megengine, megengine.distributed as dist
device = int(os.environ["LOCAL_RANK"])
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
dist.init_process_group(*address, int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"]), device, backend={backend!r}, device_type="gpu")
megengine.set_default_device("cpu0")
dist.group_barrier()
client = dist.get_client()
client.user_set(f"from {{device}}", device * 10)
print(client.user_get(f"from {{1 - device}}"), dist.get_mm_server_addr()[1])
"""
KILLED_WHILE_WAITING = """
import os, threading
from xmlrpc.client import ServerProxy
threading.Timer(0.5, os.kill, (os.getpid(), 9)).start()
ServerProxy("http://127.0.0.1:%s" % os.environ["MASTER_PORT"]).group_barrier("all", 2)
"""


class Keeper:
    """A keeper as the launcher starts it: on a socket that listens, with pipes to both sides."""

    def __init__(self, python, world_size=2, bind="127.0.0.1"):
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            self.port = listening.getsockname()[1]
            descriptor = listening.fileno()
            command = [python, SOURCE, "--socket", descriptor, "--world-size", world_size, "--bind", bind]
            self.process = subprocess.Popen(
                [*map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[descriptor],
            )

    def told(self):
        """The next event; None when there will be none."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def end(self):
        """Ends it as the launcher does: what it still told, what it wrote to stderr, its exit code."""
        rest, errors = self.process.communicate(timeout=PATIENCE)
        return [json.loads(line) for line in rest.splitlines()], errors, self.process.returncode

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def keep():
    """Starts keepers; at the end none is left, nor a child of one."""
    started = []

    def start(*args, **options):
        started.append(Keeper(*args, **options))
        return started[-1]

    yield start
    for keeper in started:
        keeper.process.kill()
        with keeper.process:
            pass  # closes the pipes and waits


def ready(keeper):
    """Waits until it serves; returns the port of MegEngine's second server."""
    event = keeper.told()
    assert (event["event"], event["port"]) == ("ready", keeper.port)
    return event["mm_port"]


def rank(python, script, keeper, number, world=2, **environ):
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": keeper.port, "WORLD_SIZE": world}
    variables |= {"RANK": number, "LOCAL_RANK": number}
    environ = os.environ | {name: str(value) for name, value in (variables | environ).items()}
    pipe = subprocess.PIPE
    return subprocess.Popen([python, "-c", script], env=environ, stdout=pipe, stderr=pipe, text=True)


def answers(ranks):
    """The words that each rank printed, all of which ended with 0."""
    ended = [process.communicate(timeout=PATIENCE) for process in ranks]
    assert [process.returncode for process in ranks] == [0] * len(ranks), ended
    return [stdout.split() for stdout, _ in ended]


def test_the_source_is_python_3_7_and_needs_no_mgelaunch():
    """MegEngine 1.13.0 has wheels for CPython 3.7, where mgelaunch cannot be."""
    with open(SOURCE, encoding="utf-8") as file:
        tree = ast.parse(file.read(), feature_version=(3, 7))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.megengine
@pytest.mark.parametrize("backend", ["auto", "nccl"])
def test_ranks_meet_and_each_is_told_once(keep, megengine_python, backend):
    """The ranks start with the keeper, so the faster of them wait in the queue of its socket. With nccl they
    connect to the second server as well, which listens on the loopback only."""
    keeper = keep(megengine_python)
    ranks = [rank(megengine_python, JOIN.format(backend=backend), keeper, number) for number in (0, 1)]
    port = ready(keeper)
    assert answers(ranks) == [["10", str(port)], ["0", str(port)]]
    told, errors, code = keeper.end()
    assert sorted(event["rank"] for event in told if event["event"] == "joined") == [0, 1]
    assert (len(told), errors, code) == (2, "", 0)


@pytest.mark.megengine
@pytest.mark.parametrize("number", ["", "two", "2", "-1"])
def test_a_client_that_is_no_rank_of_this_job_is_told_as_unknown(keep, megengine_python, number):
    keeper = keep(megengine_python)
    ready(keeper)
    script = "import sys; from xmlrpc.client import ServerProxy; ServerProxy(sys.argv[1]).connect()"
    subprocess.run([sys.executable, "-c", script, f"http://127.0.0.1:{keeper.port}"], env={"RANK": number}, check=True)
    assert keeper.told() == {"event": "joined", "rank": None}


@pytest.mark.megengine
def test_both_servers_listen_on_the_loopback_only(keep, megengine_python):
    keeper = keep(megengine_python)
    port = ready(keeper)
    listening = [at.laddr for at in psutil.Process(keeper.process.pid).net_connections() if at.status == "LISTEN"]
    assert sorted(listening) == sorted([("127.0.0.1", keeper.port), ("127.0.0.1", port)])


@pytest.mark.megengine
def test_it_is_one_process(keep, megengine_python):
    keeper = keep(megengine_python)
    ready(keeper)
    assert psutil.Process(keeper.process.pid).children(recursive=True) == []


@pytest.mark.megengine
def test_it_ends_with_the_launcher(keep, megengine_python):
    """The end of stdin is the end of the launcher, however that died."""
    keeper = keep(megengine_python)
    ready(keeper)
    keeper.process.stdin.close()
    assert keeper.process.wait(PATIENCE) == 0
    assert not keeper.listens()


@pytest.mark.megengine
def test_it_ends_with_a_launcher_that_goes_before_it_serves(keep, megengine_python):
    keeper = keep(megengine_python)
    assert keeper.end() == ([], "", 0)
    assert not keeper.listens()


@pytest.mark.megengine
@pytest.mark.parametrize(("stop", "code"), [("SIGTERM", 0), ("SIGKILL", -signal.SIGKILL)], ids=["TERM", "KILL"])
def test_a_signal_ends_it_and_frees_the_port(keep, megengine_python, stop, code):
    """Also while a rank waits in a barrier; the port can be bound again at once."""
    keeper = keep(megengine_python)
    ready(keeper)
    waiting = rank(megengine_python, JOIN.format(backend="auto"), keeper, 0)
    assert keeper.told() == {"event": "joined", "rank": 0}
    keeper.process.send_signal(getattr(signal, stop))
    assert keeper.process.wait(PATIENCE) == code
    waiting.kill()
    waiting.communicate()
    assert not keeper.listens()
    socket.create_server(("127.0.0.1", keeper.port)).close()


@pytest.mark.megengine
@pytest.mark.parametrize("stop", ["SIGINT", "SIGHUP"])
def test_what_a_terminal_sends_does_not_end_it(keep, megengine_python, stop):
    """Ranks that are being stopped may still save what they have."""
    keeper = keep(megengine_python)
    ready(keeper)
    keeper.process.send_signal(getattr(signal, stop))
    waiting = rank(megengine_python, JOIN.format(backend="auto"), keeper, 1)
    assert keeper.told() == {"event": "joined", "rank": 1}
    waiting.kill()
    waiting.communicate()
    assert keeper.end() == ([], "", 0)


@pytest.mark.megengine
def test_a_rank_that_is_killed_while_it_waits_leaves_no_traceback(keep, megengine_python):
    keeper = keep(megengine_python)
    ready(keeper)
    killed = rank(sys.executable, KILLED_WHILE_WAITING, keeper, 0)
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    second = "import sys; from xmlrpc.client import ServerProxy; ServerProxy(sys.argv[1]).group_barrier('all', 2)"
    subprocess.run([sys.executable, "-c", second, f"http://127.0.0.1:{keeper.port}"], check=True, timeout=PATIENCE)
    assert keeper.end() == ([], "", 0)


def test_a_python_without_megengine_is_told(keep, tmp_path):
    """The environment is this test's own: no framework is beside it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    keeper = keep(str(tmp_path / "bin" / "python"))
    assert keeper.told() == {
        "event": "failed",
        "why": "this Python cannot import megengine: ModuleNotFoundError: No module named 'megengine'",
    }
    assert keeper.process.wait(PATIENCE) == 1
    assert not keeper.listens()


@pytest.mark.megengine
def test_an_address_that_is_not_of_this_host_is_told(keep, megengine_python):
    """192.0.2.1 is nobody's: it is reserved for documentation."""
    keeper = keep(megengine_python, bind="192.0.2.1")
    assert keeper.told() == {"event": "failed", "why": "MegEngine's second server cannot listen at this address"}
    assert keeper.process.wait(PATIENCE) == 1


def test_what_megengine_prints_is_no_event(keep, tmp_path, monkeypatch):
    """Whatever writes to stdout while it is imported writes to stderr; the reason is the first line of an error."""
    (tmp_path / "megengine.py").write_text("import os; os.write(1, b'hello\\n'); raise OSError('no driver\\nmore')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    keeper = keep(sys.executable)
    assert keeper.told() == {"event": "failed", "why": "this Python cannot import megengine: OSError: no driver"}
    assert keeper.end() == ([], "hello\n", 1)
