"""Which processes are found below one, with real children in every position, and who gets a signal."""

import json
import os
import subprocess
import sys

import pytest

from mgelaunch.host.descendants import Descendant, descendants, tell

DEADLINE = 30

COMMON = """
import contextlib, ctypes, json, os, signal, sys, threading, time
from mgelaunch.host.descendants import Descendant, descendants, tell

signal.alarm(DEADLINE)
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
heard, said = os.pipe()
known = []

def forked(*, session=False, name="", by=0, last="wait"):
    "Forks a process, through `by` others that end; returns its number when all of that has happened."
    if pid := os.fork():
        number = int(os.read(heard, 20))
        known.append(number)
        if by:
            os.waitpid(pid, 0)
        return number
    if by and os.fork():
        os._exit(0)
    signal.alarm(DEADLINE)
    if session:
        os.setsid()
    if name:
        with open("/proc/self/comm", "w") as file:
            file.write(name)
    tell_and_wait(last)

def tell_and_wait(last):
    if last == "threads":
        threading.Thread(target=lambda: (until(lambda: state(os.getpid()) == "Z"), report(), time.sleep(DEADLINE))).start()
        ctypes.CDLL(None).pthread_exit(None)
    report()
    if last == "end":
        os._exit(0)
    if last == "parent" and not os.fork():
        signal.alarm(DEADLINE)
        os.setsid()
        report()
    while True:
        signal.pause()

def report():
    os.write(said, b"%-20d" % os.getpid())

def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]

def until(true):
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)

def look(pid):
    return next(each for each in descendants() if each.pid == pid)

def main():
    BODY

result = None
try:
    result = main()
finally:
    for pid in known:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
print(json.dumps(result))
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
"""


@pytest.fixture
def told(tmp_path):
    """A function that runs the body of a function in a subreaper of its own and returns what it returns."""
    (tmp_path / "here").mkdir()

    def run(body, *wrapper):
        script = COMMON.replace("BODY", body.strip().replace("\n", "\n    ")).replace("DEADLINE", str(DEADLINE))
        done = subprocess.run(
            [*wrapper, sys.executable, "-W", "ignore", "-c", script],
            cwd=tmp_path / "here",
            capture_output=True,
            text=True,
            timeout=DEADLINE * 2,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


POSITIONS = {
    "a child": "forked()",
    "one in a session of its own": "forked(session=True)",
    "one whose parent has ended": "forked(by=1)",
    "one that made itself a daemon": "forked(session=True, by=1)",
    "one whose name holds what a reader could trip over": "forked(name=') Z 1 (a b')",
    "one whose main thread has ended": "forked(last='threads')",
}


@pytest.mark.parametrize("made", POSITIONS.values(), ids=POSITIONS)
def test_a_process_below_is_found_wherever_it_went(told, made):
    """... and found once, with its parent, its session, its group and its start."""
    body = f"""
pid = {made}
fields = open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()
return [descendants(), [[pid, int(fields[1]), int(fields[19]), os.getsid(pid), os.getpgid(pid)]]]
"""
    found, expected = told(body)
    assert [each[:5] for each in found] == expected


def test_grandchildren_come_after_their_parents(told):
    found, known = told(
        "pid = forked(last='parent')\nknown.append(int(os.read(heard, 20)))\nreturn [descendants(), known]"
    )
    assert [each[0] for each in found] == known


def test_a_process_that_has_ended_but_was_not_waited_for_is_left_out(told):
    assert told("pid = forked(last='end')\nuntil(lambda: state(pid) == 'Z')\nreturn descendants()") == []


def test_neither_this_process_nor_its_own_parents_are_below_it():
    assert not {os.getpid(), os.getppid(), 1} & {each.pid for each in descendants()}


def test_nothing_is_found_where_proc_numbers_other_processes(told):
    """A new PID namespace under the old /proc: the numbers there are those of strangers."""
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host lets nobody make namespaces")
    assert told("forked()\nreturn descendants()", *namespace) == []


HANDLES = {
    "through a handle": "pass",
    "on a Python without handles": "vars(os).pop('pidfd_open', None)",
}


@pytest.mark.parametrize("prepare", HANDLES.values(), ids=HANDLES)
def test_a_signal_reaches_the_process_that_was_found_and_no_later_one(told, prepare):
    body = f"""
{prepare}
process = look(forked())
later = process._replace(start=process.start + 1)
wrong = tell(later, signal.SIGKILL)
right = tell(process, signal.SIGTERM)
status = os.waitpid(process.pid, 0)[1]
return [wrong, right, os.WTERMSIG(status), tell(process, signal.SIGTERM)]
"""
    assert told(body) == [False, True, 15, False]


@pytest.mark.parametrize("prepare", HANDLES.values(), ids=HANDLES)
def test_a_process_that_waits_to_be_waited_for_gets_no_signal(told, prepare):
    body = f"""
{prepare}
process = look(forked())
os.kill(process.pid, signal.SIGKILL)
until(lambda: state(process.pid) == "Z")
return tell(process, signal.SIGTERM)
"""
    assert told(body) is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a child of another user")
@pytest.mark.parametrize("prepare", HANDLES.values(), ids=HANDLES)
def test_a_process_of_another_user_gets_no_signal_and_no_error(told, prepare):
    body = f"""
{prepare}
process = look(forked())
os.setresuid(65534, 65534, 0)
reached = tell(process, signal.SIGTERM)
os.setresuid(0, 0, 0)
return reached
"""
    assert told(body) is False


def test_a_process_that_never_was_gets_no_signal():
    assert tell(Descendant(2**22, 1, 1, 1, 1, "S"), 0) is False
