"""The keeper alone, with MegEngine's real server and real clients: what it tells, when it ends, what it leaves."""

import ast
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

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
CALLS = """
import os, sys, time
from megengine.distributed.server import Client
client = Client("127.0.0.1", int(os.environ["MASTER_PORT"]))
print("joined", flush=True)
for line in sys.stdin:
    if line == "again\\n":
        client.proxy("close")()  # the next call needs a new connection
    if line == "barrier\\n":
        client.group_barrier("all", 2)
    client.user_set("key", 1)
    print("answered", flush=True)
"""
"""A client of MegEngine's own that does what it reads."""
KILLED_WHILE_WAITING = """
import os, threading
from xmlrpc.client import ServerProxy
threading.Timer(0.5, os.kill, (os.getpid(), 9)).start()
ServerProxy("http://127.0.0.1:%s" % os.environ["MASTER_PORT"]).group_barrier("all", 2)
"""


class Keeper:
    """A keeper as the launcher starts it: on a socket that listens, with pipes to both sides."""

    def __init__(self, python, world_size=2, bind="127.0.0.1", *, everywhere=False):
        bind = "0.0.0.0" if everywhere else bind
        with socket.create_server(("0.0.0.0" if everywhere else "127.0.0.1", 0), backlog=128) as listening:
            self.port = listening.getsockname()[1]
            descriptor = listening.fileno()
            command = [python, SOURCE, "--socket", descriptor, "--world-size", world_size, "--bind", bind]
            command += ["--everywhere"] if everywhere else []
            self.process = subprocess.Popen(
                [*map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,  # what is read ahead of a line would be missing from what is read at the end
                pass_fds=[descriptor],
            )

    def told(self):
        """The next event; None when there will be none."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def end(self):
        """Ends it as the launcher does: what it still told, what it wrote to stderr, its exit code."""
        rest, errors = self.process.communicate(timeout=PATIENCE)
        return [json.loads(line) for line in rest.splitlines()], errors.decode(), self.process.returncode

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
    assert keeper.told() == {"event": "joined", "rank": None, "remote": False}


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
    assert keeper.told() == {"event": "joined", "rank": 0, "remote": False}
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
    assert keeper.told() == {"event": "joined", "rank": 1, "remote": False}
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


# -- ranks on other hosts ------------------------------------------------------------------------

HERE, GONE = {"event": "attended", "still": True}, {"event": "attended", "still": False}


@pytest.fixture
def client(megengine_python):
    """Starts clients that do what `ask` tells them; none is left at the end."""
    started = []

    def start(keeper, number):
        environ = os.environ | {"MASTER_PORT": str(keeper.port), "RANK": str(number)}
        pipe = subprocess.PIPE
        process = subprocess.Popen([megengine_python, "-c", CALLS], env=environ, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        assert process.stdout.readline() == "joined\n"
        return process

    yield start
    for process in started:
        process.kill()
        with process:
            pass  # closes the pipes and waits


def ask(process, what):
    process.stdin.write(f"{what}\n")
    process.stdin.flush()


def silent(keeper, seconds=2.5):
    """Whether it tells nothing for longer than a client that comes back may be away."""
    return not select.select([keeper.process.stdout], [], [], seconds)[0]


@pytest.mark.megengine
@pytest.mark.parametrize("how", ["ends", "is killed", "is killed in a barrier"])
def test_the_last_client_has_gone_when_it(keep, client, megengine_python, how):
    """One that computes is there although it asks nothing, also while the server has nobody else."""
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    first = client(keeper, 0)
    assert [keeper.told(), keeper.told()] == [HERE, {"event": "joined", "rank": 0, "remote": False}]
    last = client(keeper, 1)
    assert keeper.told() == {"event": "joined", "rank": 1, "remote": False}
    first.stdin.close()
    assert first.wait(PATIENCE) == 0
    assert silent(keeper)
    ask(last, "hello")
    assert last.stdout.readline() == "answered\n"
    if how == "ends":
        last.stdin.close()
    elif how == "is killed in a barrier":
        ask(last, "barrier")
        assert silent(keeper)
    if how != "ends":
        last.kill()
    ended = time.monotonic()
    assert keeper.told() == GONE
    assert 1.5 < time.monotonic() - ended < 10
    assert keeper.end() == ([], "", 0)


@pytest.mark.megengine
def test_a_client_that_connects_anew_has_never_gone(keep, client, megengine_python):
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    process = client(keeper, 0)
    assert [keeper.told(), keeper.told()] == [HERE, {"event": "joined", "rank": 0, "remote": False}]
    ask(process, "again")
    assert process.stdout.readline() == "answered\n"
    assert silent(keeper)


@pytest.mark.megengine
def test_who_comes_when_all_have_gone_is_told(keep, client, megengine_python):
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    client(keeper, 0).kill()
    assert [keeper.told(), keeper.told(), keeper.told()] == [
        HERE,
        {"event": "joined", "rank": 0, "remote": False},
        GONE,
    ]
    client(keeper, 1)
    assert [keeper.told(), keeper.told()] == [HERE, {"event": "joined", "rank": 1, "remote": False}]


@pytest.mark.megengine
def test_who_only_looks_whether_the_port_is_open_is_nobody(keep, megengine_python):
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    with socket.create_connection(("127.0.0.1", keeper.port)):
        assert silent(keeper)
    assert keeper.end() == ([], "", 0)


@pytest.mark.megengine
def test_both_servers_listen_on_every_address_for_other_hosts(keep, megengine_python):
    keeper = keep(megengine_python, everywhere=True)
    port = ready(keeper)
    listening = [at.laddr for at in psutil.Process(keeper.process.pid).net_connections() if at.status == "LISTEN"]
    assert sorted(listening) == sorted([("0.0.0.0", keeper.port), ("0.0.0.0", port)])


@pytest.mark.megengine
def test_ranks_on_other_hosts_meet_as_others_do(keep, megengine_python):
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    ranks = [rank(megengine_python, JOIN.format(backend="auto"), keeper, number) for number in (0, 1)]
    assert [words[0] for words in answers(ranks)] == ["10", "0"]
    told = [keeper.told() for _ in range(4)]
    assert (told[0], told[3]) == (HERE, GONE)
    assert sorted(event["rank"] for event in told[1:3]) == [0, 1]


@pytest.fixture
def other_host(lack):
    """The words before a command that give it a network of its own, and the address of this host there."""
    if shutil.which("ip") is None or os.geteuid():
        lack("namespaces", "a network namespace needs root and ip(8)")
    name = f"mgl{os.getpid()}"
    cable = [["netns", "add", name], ["link", "add", f"{name}a", "type", "veth", "peer", f"{name}b", "netns", name]]
    cable += [["addr", "add", "10.213.77.1/30", "dev", f"{name}a"], ["link", "set", f"{name}a", "up"]]
    cable += [
        ["-n", name, "addr", "add", "10.213.77.2/30", "dev", f"{name}b"],
        ["-n", name, "link", "set", f"{name}b", "up"],
    ]
    try:
        for words in cable:
            made = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if made.returncode:
                lack("namespaces", f"no network namespace can be had here: {made.stderr.strip()}")
        yield ["ip", "netns", "exec", name], "10.213.77.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True, check=False)


@pytest.mark.megengine
def test_a_rank_of_another_host_is_counted_once_however_often_it_connects(keep, megengine_python, other_host):
    keeper = keep(megengine_python, everywhere=True)
    ready(keeper)
    enter, address = other_host
    script = f"from xmlrpc.client import ServerProxy; proxy = ServerProxy('http://{address}:{keeper.port}'); proxy.connect(); proxy.connect()"
    subprocess.run([*enter, sys.executable, "-c", script], check=True, timeout=PATIENCE, env=os.environ | {"RANK": "1"})
    assert [keeper.told() for _ in range(3)] == [HERE, {"event": "joined", "rank": None, "remote": True}, GONE]


# -- what is told when it cannot be --------------------------------------------------------------


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
