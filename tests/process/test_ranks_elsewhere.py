"""Some of the ranks of a larger job: they have their numbers in the whole of it, and the others are elsewhere."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from mgelaunch.host.files import Files
from mgelaunch.host.ports import free_port

DEADLINE = 30

SUPERVISE = """
import json, os, sys
from mgelaunch.launch.command import Command
from mgelaunch.launch.events import Rules
from mgelaunch.launch.job import Job, Meeting
from mgelaunch.launch.plan import plan
from mgelaunch.launch.records import Records, Subject
from mgelaunch.launch.supervise import supervise
from mgelaunch.report.verdict import reason, verdict

asked = json.loads(sys.argv[1])
first, ranks, world = asked["first"], asked["ranks"], asked["world"]
command = Command("/bin/sh", ("sh", "-c", asked["script"]))
environments = [{"RANK": str(rank)} for rank in range(first, first + ranks)]
start = plan(command, os.getcwd(), environments, supervised=True, first=first, world=world)
subject = Subject("run", "n2", ("sh",), world, first, asked["local_rank"], 1)
records = Records.below("logs", subject) if asked["kept"] else None
meeting = Meeting("127.0.0.1", asked["port"], False, sys.executable, everywhere=True) if asked["port"] else None
rules = Rules(**asked["rules"])
job = Job(start, lambda attempt, port: start, dict(os.environ), rules, meeting, frozenset(), records, first, world)
outcome = supervise(job, lambda line: print(line, file=sys.stderr, flush=True))
for line in verdict(outcome):
    print(line, file=sys.stderr)
if records:
    records.finished(outcome.code, outcome.cause.rank if outcome.cause else None, reason(outcome), 1)
sys.exit(outcome.code)
"""
SERVER = {
    "megengine/distributed/server.py": """
import threading
class Methods:
    def __init__(self, port):
        self.opened = threading.Event()
    def connect(self):
        return True
    def group_barrier(self, key, size):
        return self.opened.wait()
""",
    "megengine/core/_imperative_rt/utils.py": "def create_mm_server(address, port):\n    return 1",
}
"""As much of MegEngine as its server needs."""
CLIENT = """
import sys, time
from xmlrpc.client import ServerProxy
while True:
    try:
        proxy = ServerProxy(sys.argv[1], allow_none=True)
        proxy.connect()
        break
    except OSError:  # as MegEngine's own client does until there is a server
        time.sleep(0.05)
print("joined", flush=True)
for line in sys.stdin:
    getattr(proxy, *line.split())(*(("all", 2) if line.startswith("group") else ()))
    print("answered", flush=True)
"""


class Part:
    """The part of a job that runs in this test."""

    def __init__(self, process):
        self.process = process

    def end(self):
        """Its exit code, stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, stdout, stderr

    def goes_on(self, seconds=0.5):
        """Whether it runs for so much longer."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False


@pytest.fixture
def launch(world):
    """Starts processes in the project; what is left at the end, or after the deadline, is killed."""
    started, watchdogs = [], []
    world.environ["PYTHONPATH"] = str(world.project / "fake")

    def run(*command, **environ):
        pipe = subprocess.PIPE
        environ = world.environ | environ
        process = subprocess.Popen(
            command, cwd=world.project, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        watchdogs.append(threading.Timer(DEADLINE, process.kill))
        watchdogs[-1].start()
        return process

    yield run
    for watchdog in watchdogs:
        watchdog.cancel()
    for process in started:
        process.kill()
        with process:
            pass  # closes the pipes and waits


@pytest.fixture
def part(launch):
    """Starts a supervisor for `ranks` ranks of a job of `size`, the rank `first` and those after it."""

    def run(script, first=4, ranks=2, size=8, local_rank=0, port=0, *, kept=False, **rules):
        asked = {"script": script, "first": first, "ranks": ranks, "world": size, "local_rank": local_rank}
        asked |= {"port": port, "kept": kept, "rules": rules}
        return Part(launch(sys.executable, "-c", SUPERVISE, json.dumps(asked)))

    return run


@pytest.fixture
def record(world):
    """What a rank left."""

    def read(rank):
        return json.loads((world.project / "logs" / "run" / f"rank-{rank}.json").read_text("utf-8"))

    return read


# -- numbers -------------------------------------------------------------------------------------


def test_lines_begin_with_the_number_of_the_rank_in_the_whole_job(part):
    code, stdout, stderr = part("echo $RANK", first=98, size=128).end()
    assert (code, stderr) == (0, "")
    assert sorted(stdout.splitlines()) == ["[98]  98", "[99]  99"]


def test_a_rank_alone_is_shown_as_it_is_and_with_its_number_where_it_is_recorded(part):
    assert part("echo hello", ranks=1).end() == (0, "hello\n", "")
    assert part("echo hello", ranks=1, kept=True).end() == (0, "[4] hello\n", "")


def test_the_rank_that_failed_is_named_by_its_number_in_the_whole_job(part):
    code, _, stderr = part("[ $RANK = 5 ] && exit 3; exec sleep 60").end()
    assert code == 3
    assert stderr.startswith("mgelaunch: error: rank 5 failed first: it exited with 3")
    assert "rank 4 was stopped" in stderr


@pytest.mark.parametrize(("first", "read"), [(0, "input"), (4, "")], ids=["rank 0", "rank 4"])
def test_only_rank_0_of_the_whole_job_reads_our_input(part, first, read):
    job = part("cat", first=first, ranks=1)
    job.process.stdin.write("input")
    assert job.end() == (0, read, "")


def test_a_record_says_where_its_rank_ran(part, record):
    part("true", local_rank=2, kept=True).end()
    for rank, local in ((4, 2), (5, 3)):
        told = record(rank)
        assert (told["rank"], told["local_rank"], told["node_rank"], told["host"]) == (rank, local, 1, "n2")
        assert told["stopped_by"] is None


# -- who told a rank to end ----------------------------------------------------------------------


def test_a_record_says_whether_its_rank_ended_by_itself(part, record):
    script = """case $RANK in
        5) until [ -e ready ]; do sleep 0.02; done; exit 3;;
        6) trap '' TERM; touch ready;;
    esac
    while :; do sleep 0.05; done"""
    assert part(script, ranks=3, kept=True, grace=0.5).end()[0] == 3
    ends = {rank: (record(rank)["exit_code"], record(rank)["signal"], record(rank)["stopped_by"]) for rank in (4, 5, 6)}
    assert ends[5] == (3, None, None)
    assert ends[4] == (None, signal.SIGTERM, "SIGTERM")
    assert ends[6] == (None, signal.SIGKILL, "SIGKILL")


def test_a_rank_that_somebody_else_ends_was_not_stopped_by_us(part, record):
    assert part("[ $RANK = 5 ] && kill -TERM $$; exec sleep 60", kept=True).end()[0] == 128 + signal.SIGTERM
    assert [record(rank)["stopped_by"] for rank in (4, 5)] == ["SIGTERM", None]


def test_a_rank_that_catches_the_signal_was_stopped_by_it_whatever_its_code(part, record):
    job = part("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", ranks=1, kept=True)
    job.process.stdout.readline()
    job.process.terminate()
    assert job.end()[0] == 128 + signal.SIGTERM
    assert (record(4)["exit_code"], record(4)["stopped_by"]) == (9, "SIGTERM")


# -- a server that stays -------------------------------------------------------------------------


@pytest.fixture
def port():
    """One that the server can have."""
    return free_port("127.0.0.1", Files())


@pytest.fixture
def client(world, launch, port):
    """Starts a client of the server that says which rank it is; returns it when it has joined."""
    for name, text in SERVER.items():
        world.write(f"fake/{name}", text)

    def join(rank):
        process = launch(sys.executable, "-c", CLIENT, f"http://127.0.0.1:{port}", RANK=str(rank))
        assert process.stdout.readline() == "joined\n"
        return process

    return join


JOINED = f"{sys.executable} -c 'import os, sys; from xmlrpc.client import ServerProxy; ServerProxy(sys.argv[1]).connect()' http://127.0.0.1:%d; echo done"
"""A rank that joins and ends with 0."""


def gone(job):
    """Waits until the one rank here has ended."""
    assert job.process.stdout.readline() == "done\n"


@pytest.mark.parametrize("how", ["ends", "is killed", "is killed in a barrier"])
def test_the_server_stays_until_the_rank_elsewhere(part, client, port, how):
    job = part(JOINED % port, first=0, ranks=1, size=2, port=port, linger=DEADLINE, join_timeout=DEADLINE)
    other = client(1)
    gone(job)
    assert job.goes_on()
    other.stdin.write("connect\n")
    other.stdin.flush()
    assert other.stdout.readline() == "answered\n"
    if how == "ends":
        other.stdin.close()
    elif how == "is killed":
        other.kill()
    else:
        other.stdin.write("group_barrier\n")
        other.stdin.flush()
        assert job.goes_on()
        other.kill()
    assert job.end() == (0, "", "")


def test_the_server_stays_no_longer_than_it_is_to(part, client, port):
    job = part(JOINED % port, first=0, ranks=1, size=2, port=port, linger=1, join_timeout=DEADLINE)
    client(1)
    code, stdout, stderr = job.end()
    assert (code, stdout) == (0, "done\n")
    assert stderr.count("\n") == 1
    assert "have not ended within 1 s" in stderr
    assert stderr.endswith("[rendezvous.left]\n")


def test_a_signal_ends_a_server_that_stays(part, client, port):
    job = part(JOINED % port, first=0, ranks=1, size=2, port=port, linger=DEADLINE, join_timeout=DEADLINE)
    client(1)
    gone(job)
    assert job.goes_on()
    job.process.terminate()
    code, _, stderr = job.end()
    assert code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in stderr


def test_a_server_that_dies_while_it_stays_is_told(part, client, port):
    job = part(JOINED % port, first=0, ranks=1, size=2, port=port, linger=DEADLINE, join_timeout=DEADLINE)
    client(1)
    gone(job)
    assert job.goes_on()
    (server,) = children(job.process.pid)
    os.kill(server, signal.SIGKILL)
    code, _, stderr = job.end()
    assert code == 1
    assert "MegEngine's rendezvous server was killed by SIGKILL" in stderr


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def test_a_rank_elsewhere_that_never_joins_is_named(part, client, port):
    job = part(f"{JOINED % port}; exec sleep 60", first=0, ranks=1, size=3, port=port, join_timeout=5)
    client(1)
    code, _, stderr = job.end()
    assert code == 1
    assert "rank 2 has not joined the rendezvous" in stderr
    assert "cannot reach that port" in stderr


def test_a_server_for_other_hosts_says_who_has_its_port(part, port, launch):
    holder = launch(sys.executable, "-c", f"import socket; s = socket.create_server(('', {port})); print(s); input()")
    holder.stdout.readline()
    code, _, stderr = part("true", first=0, ranks=1, size=2, port=port).end()
    assert code == 1
    assert f"cannot meet at port {port}: it is held by process {holder.pid} " in stderr
    assert "--master-port" in stderr
