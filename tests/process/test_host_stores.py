"""A plasma store is orphaned when the rank that started it has ended, however its processes are arranged."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.host.facts import Store
from mgelaunch.host.files import Files
from mgelaunch.host.stores import orphaned_stores

HELD = 3 << 20
DEADLINE = 30

STORE = """
import mmap, os, socket, sys, time
name = f"/dev/shm/mgelaunch-test-{os.getpid()}"
file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
os.unlink(name)
os.ftruncate(file, 1 << 30)
os.pwrite(file, b"x" * int(sys.argv[2]), 0)
again = os.dup(file)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(os.getpid(), flush=True)
time.sleep(60)
"""

RANK = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:])
time.sleep(60)
"""

REAPER = """
import ctypes, subprocess, sys, time
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
rank = subprocess.Popen(sys.argv[1:], start_new_session=True)
rank.wait()
time.sleep(60)
"""

LOOK = """
import json, os, sys
from mgelaunch.host.files import Files
from mgelaunch.host.stores import orphaned_stores
found = orphaned_stores(Files(sys.argv[1]), os.getuid())
print(json.dumps({"held": [store.held for store in found], "psutil": "psutil" in sys.modules}))
"""

LOOKING_RANK = f"""
import subprocess, sys
subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE).stdout.readline()
{LOOK}
"""

KILLED_RANK = """
import os, subprocess, sys
subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE).stdout.readline()
os.kill(os.getpid(), 9)
"""

CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def root():
    """A root whose processes are the real ones, with a /tmp of its own. Its name is short: it holds a socket."""
    folder = tempfile.mkdtemp(prefix="mge")
    os.mkdir(f"{folder}/tmp")
    os.symlink("/proc", f"{folder}/proc")
    os.symlink(os.path.realpath(sys.executable), f"{folder}/plasma-store-server")
    yield folder
    shutil.rmtree(folder)


def socket_in(root):
    return f"{root}/tmp/mge_plasma_0123456789abcdef"


def store_command(root):
    """What starts a store: the kernel knows a program by the name of its file."""
    return [f"{root}/plasma-store-server", "-I", "-S", "-c", STORE, socket_in(root), str(HELD)]


@pytest.fixture
def rank(root):
    """A function that starts a rank, perhaps through other programs, and returns it with its store's number."""
    started = []

    def start(*wrapper, **options):
        command = [*wrapper, sys.executable, "-I", "-S", "-c", RANK, *store_command(root)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        started.append(process)
        store = psutil.Process(int(process.stdout.readline()))
        started.append(store)
        return store.parent(), store

    yield start
    for process in started:
        end(process)
        if isinstance(process, subprocess.Popen):
            process.stdout.close()


def end(process):
    """Ends the process, and what it started, as the kernel would: without asking."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    for one in (*below, process):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
        if isinstance(one, subprocess.Popen):
            one.wait(DEADLINE)
    gone_from(lambda: [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])


def gone_from(left):
    deadline = time.monotonic() + DEADLINE
    while left():
        assert time.monotonic() < deadline, "a process did not end"
        time.sleep(0.01)


def orphan(rank, store):
    """Kills the rank and waits until another process is the parent of its store."""
    parent = rank.pid
    os.kill(parent, signal.SIGKILL)
    gone_from(lambda: store.ppid() == parent)


@pytest.mark.parametrize(
    ("wrapper", "options"),
    [((), {"start_new_session": True}), ((), {}), ((sys.executable, "-I", "-S", "-c", REAPER), {})],
    ids=["a group of its own", "the group of the tests", "below a reaper"],
)
def test_a_store_is_an_orphan_once_its_rank_was_killed(root, rank, wrapper, options):
    its_rank, store = rank(*wrapper, **options)
    assert orphaned_stores(Files(root), os.getuid()) == ()
    orphan(its_rank, store)
    assert orphaned_stores(Files(root), os.getuid()) == (Store(store.pid, HELD),)


def test_a_store_in_the_group_of_a_shell_that_adopted_it_is_an_orphan(root):
    """The shell is process 1 of a container, and everything in it is one process group."""
    script = 'root=$1 look=$2; shift 2; "$@"; "$1" -c "$look" "$root"; true'
    rank = [sys.executable, "-c", KILLED_RANK, *store_command(root)]
    assert contained("sh", "-c", script, "sh", root, LOOK, *rank)["held"] == [HELD]


def test_a_rank_that_is_process_1_of_a_container_has_no_orphans(root):
    assert contained(sys.executable, "-c", LOOKING_RANK, root, *store_command(root))["held"] == []


def contained(*command):
    """Runs a command as process 1 of a namespace of processes, which all end with it."""
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host lets nobody make namespaces")
    done = subprocess.run(
        [*CONTAINER, *command], capture_output=True, text=True, timeout=DEADLINE, check=False, stdin=subprocess.DEVNULL
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_stores_of_others_are_not_ours(root, rank):
    orphan(*rank(start_new_session=True))
    assert orphaned_stores(Files(root), os.getuid() + 1) == ()


def test_an_orphan_whose_files_cannot_be_seen_holds_an_unknown_size(root, rank):
    its_rank, store = rank(start_new_session=True)
    orphan(its_rank, store)
    os.unlink(f"{root}/proc")
    assert orphaned_stores(Files(root), os.getuid()) == (Store(store.pid, None),)


def test_an_orphan_is_found_among_very_many_sockets(root, rank):
    its_rank, store = rank(start_new_session=True)
    orphan(its_rank, store)
    with contextlib.ExitStack() as opened:
        for number in range(600):
            opened.enter_context(socket.socket(socket.AF_UNIX)).bind(f"{root}/{number}")
        assert [one.pid for one in orphaned_stores(Files(root), os.getuid())] == [store.pid]


@pytest.mark.parametrize("left", [False, True], ids=["no socket", "a socket that nobody listens to"])
def test_without_a_store_no_process_is_looked_at(root, left):
    if left:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(socket_in(root))
    done = subprocess.run([sys.executable, "-c", LOOK, root], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"held": [], "psutil": False}


@given(st.binary())
@settings(max_examples=20, deadline=None)
def test_no_table_of_sockets_is_too_strange(table):
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/proc/net")
        os.makedirs(f"{folder}/tmp/mge_plasma_0")
        with open(f"{folder}/proc/net/unix", "wb") as file:
            file.write(table)
        orphaned_stores(Files(folder), os.getuid())
