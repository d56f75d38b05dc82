"""MegEngine's DataLoader with workers, on hosts that are short of what it takes for granted: a large ``/dev/shm``,
the files of cgroup v1, and somebody who ends its store. What a bare run does there is shown beside what mgelaunch says.

Each test has a private ``/dev/shm``, ``/sys/fs/cgroup`` and table of processes, so that nothing of it can stay.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import psutil
import pytest

needs_megengine = pytest.mark.megengine

PATIENCE = 120
"""Seconds; the longest of these runs takes three when nobody else uses the machine."""

FIX = "cgroup2-dataloader"
V1_LIMIT = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
NO_LIMIT = 9223372036854771712
"""What cgroup v1 says when there is no limit."""

LOADER = """
import sys
open("started", "w").close()
import megengine.data.tools._queue as queue
import numpy as np
from megengine.data import DataLoader, SequentialSampler
from megengine.data.dataset import Dataset
workers, mebibytes, batches = map(int, sys.argv[1:])
class Store(queue._PlasmaStoreManager):
    def __init__(self):
        super().__init__()
        with open("sockets", "a") as file:
            print(self.socket_name, file=file)
queue._PlasmaStoreManager = Store
class Points(Dataset):
    def __init__(self):
        super().__init__()
    def __len__(self):
        return batches
    def __getitem__(self, number):
        return np.full(mebibytes << 20, number, dtype=np.uint8)
def load():
    return iter(DataLoader(Points(), SequentialSampler(Points(), batch_size=1), num_workers=workers))
"""
WHOLE = f"""{LOADER}
for number, batch in enumerate(load()):
    assert batch.shape == (1, mebibytes << 20)
    assert batch[0, -1] == number
print("batches:", number + 1)
"""
WAITING = f"""{LOADER}
import signal
batches = load()
next(batches)
print(os.getpid(), queue.MGE_PLASMA_STORE_MANAGER.plasma_store.pid, flush=True)
signal.pause()
""".replace("import sys", "import os, sys", 1)

LARGE = (4, 16, 40)
"""Four workers and batches of 16 MiB: up to nine batches, 144 MiB, are under way at once."""
SMALL = (2, 2, 40)
"""Five batches of 2 MiB under way."""
HUGE = (1, 60, 1)
"""One batch of 60 MiB. Several that are too large together make MegEngine hang in some runs: it waits for a batch
that the store has thrown out for the next one."""
TOO_LARGE = (1, 100, 1)
"""One batch that no store can hold in 64 MiB. With several workers the store may be the first to die."""


@pytest.fixture
def namespace(lack, world):
    """A part of this host with mounts and processes of its own, all of which end with the test."""
    wrapper = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        lack("namespaces", "there is no unshare and nsenter here, which make and enter namespaces")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*wrapper, "cat"], **pipes) as holder:
        try:
            holder.stdin.write(b"ready\n")
            holder.stdin.flush()
        except BrokenPipeError:
            pass
        if holder.stdout.readline() != b"ready\n":
            lack("namespaces", f"none can be made here: {holder.stderr.read().decode(errors='replace').strip()}")
        (first,) = psutil.Process(holder.pid).children()
        yield Namespace(world, first.pid)
    # The kernel has ended every process of the namespace together with its first.
    for name in _lines(world.project / "sockets"):
        if os.path.exists(name):
            os.unlink(name)


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


class Namespace:
    """Runs commands in a namespace, in the folder of the project; mounts stay from one to the next."""

    def __init__(self, world, first):
        self.world = world
        inside = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(world.project))
        self.wrapper = ("nsenter", "--mount", "--pid", f"--target={first}", *inside)

    def start(self, *command, **options):
        options = {"env": self.world.environ, "stdin": subprocess.DEVNULL} | options
        return subprocess.Popen([*self.wrapper, *map(str, command)], **options)

    def run(self, *command, stdin=b"", environ=()):
        """Runs `command` to its end. What it says goes to files: an orphan would keep a pipe open."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            env = self.world.environ | dict(environ)
            with self.start(*command, env=env, stdin=given, stdout=out, stderr=err) as process:
                try:
                    process.wait(PATIENCE)
                finally:
                    process.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())

    def do(self, *command):
        """Runs a command that must succeed."""
        ended = self.run(*command)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def mount(self, kind, options, at):
        self.do("mkdir", "-p", at)
        self.do("mount", "-t", kind, "-o", options, kind, at)

    def give_cgroup1(self):
        """The one file of cgroup v1 that a loader asks for: that it cannot do without is another test's matter."""
        if not os.path.exists(V1_LIMIT):
            self.mount("tmpfs", "size=1m", "/sys/fs/cgroup")
            self.do("sh", "-c", f"mkdir {os.path.dirname(V1_LIMIT)} && echo {NO_LIMIT} >{V1_LIMIT}")

    def mgelaunch(self, *args):
        return self.run(*self.world.command(*args))

    def findings(self, *options):
        """What ``mgelaunch check`` finds, by code."""
        ended = self.mgelaunch("check", "-f", "json", *options)
        assert ended.returncode in {0, 4}, ended.stderr
        return {finding["code"]: finding for finding in json.loads(ended.stdout)["findings"]}


def text(ended):
    """Everything that a program said."""
    return (ended.stdout + ended.stderr).decode(errors="backslashreplace")


@pytest.fixture
def python(lack, megengine_python):
    """A Python whose MegEngine can have DataLoader workers."""
    found = subprocess.run(
        [megengine_python, "-W", "ignore", "-c", "import psutil, pyarrow.plasma"], capture_output=True, check=False
    )
    if found.returncode:
        lack("megengine", "MegEngine's DataLoader workers need psutil and pyarrow<12")
    return megengine_python


@pytest.fixture
def script(world):
    """A training script that loads every batch and says how many there were."""
    return world.write("script.py", WHOLE)


def started(world):
    return (world.project / "started").exists()


# -- little shared memory ----------------------------------------------------------------------------------

PLASMA = "MGE_PLASMA_MEMORY"
FOUR_GIB = ("-e", f"{PLASMA}=4GiB")


@pytest.fixture
def crowded(namespace):
    """A host with 64 MiB of shared memory, as in a container of Docker."""
    namespace.mount("tmpfs", "size=64m", "/dev/shm")
    namespace.give_cgroup1()
    return namespace


@needs_megengine
def test_a_bare_loader_dies_where_its_batches_do_not_fit(crowded, python, script):
    """The store starts, however small the room; a worker dies of SIGBUS (7) when it writes to what is not there.

    MegEngine says so in one of two ways.
    """
    ended = crowded.run(python, script, *TOO_LARGE)
    assert ended.returncode != 0
    assert re.search(r"Bus error|exitcode\(s\): -7\b", text(ended))
    assert "batches:" not in text(ended)


@needs_megengine
def test_a_bare_loader_runs_there_with_batches_that_fit(crowded, python, script):
    assert crowded.do(python, script, *SMALL) == b"batches: 40\n"


def test_run_warns_of_it_before_the_script_starts(crowded):
    ended = crowded.mgelaunch("run", *FOUR_GIB, "sh", "-c", "echo it starts >&2")
    warning, its_own = ended.stderr.decode().splitlines()
    assert re.fullmatch(
        r"mgelaunch: warning: .*MGE_PLASMA_MEMORY needs 4\.0 GiB, and /dev/shm has 64(\.0)? MiB free of 64(\.0)? MiB;"
        r".* \[shm\.size\]",
        warning,
    )
    assert (ended.returncode, its_own) == (0, "it starts")


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--strict", *FOUR_GIB), "shm.size"), (("-p", "loads"), "requires.shared-memory")],
    ids=["a warning under --strict", "a profile that requires shared memory"],
)
def test_nothing_starts_where_that_is_refused(crowded, world, options, code):
    world.write(".mgelaunch/loads.toml", '[requires]\nshared-memory = "4GiB"\n')
    ended = crowded.mgelaunch("run", *options, "touch", "started")
    assert (ended.returncode, ended.stdout, started(world)) == (125, b"", False)
    *_, last = text(ended).splitlines()
    assert re.search(rf"^mgelaunch: error: .* \[{re.escape(code)}\]$", text(ended), re.MULTILINE)
    assert re.fullmatch(r"mgelaunch: nothing was started \(exit code 125, .*\)", last)


@pytest.mark.parametrize("options", [(), FOUR_GIB], ids=["with the default store", "with a store of that size"])
def test_check_shows_it(crowded, options):
    ended = crowded.mgelaunch("check", *options)
    assert ended.returncode == 0
    assert re.search(
        rf"^warn +shm .*{PLASMA} needs 4\.0 GiB.* 64(\.0)? MiB free.*  shm\.size$", text(ended), re.MULTILINE
    )


@needs_megengine
def test_with_as_much_shared_memory_as_the_remedy_says_the_same_loader_runs(crowded, python, script):
    remedy = crowded.findings(*FOUR_GIB)["shm.size"]["remedy"]
    gibibytes = re.search(r"--shm-size=([0-9]+)g", remedy)[1]
    crowded.do("mount", "-o", f"remount,size={gibibytes}g", "/dev/shm")
    assert "shm.size" not in crowded.findings(*FOUR_GIB)
    ended = crowded.mgelaunch("run", "--python", python, *FOUR_GIB, script, *LARGE)
    assert (ended.returncode, ended.stdout) == (0, b"batches: 40\n"), text(ended)
    assert "[shm." not in text(ended)


@needs_megengine
def test_with_the_store_that_the_remedy_says_a_loader_runs_or_says_what_it_lacks(crowded, python, script):
    """What fits runs to its end; what does not fails by an error that names the variable, where it died before."""
    remedy = crowded.findings()["shm.size"]["remedy"]
    smaller = re.search(rf"-e {PLASMA}=[0-9]+MiB", remedy)[0].split()
    assert not [finding for finding in crowded.findings(*smaller).values() if "Bus error" in finding["message"]]
    fits = crowded.mgelaunch("run", "--python", python, *smaller, script, *SMALL)
    assert (fits.returncode, fits.stdout) == (0, b"batches: 40\n"), text(fits)
    assert "[shm." not in text(fits)
    lacks = crowded.mgelaunch("run", "--python", python, *smaller, script, *HUGE)
    assert lacks.returncode == 1
    assert re.search(rf"PlasmaStoreFull[^\n]*\n.*{PLASMA}", text(lacks))
    assert "Bus error" not in text(lacks)


# -- cgroup v2 alone ---------------------------------------------------------------------------------------


@pytest.fixture
def cgroup2(lack, namespace):
    """A host with cgroup v2 alone."""
    namespace.run("umount", "-l", "/sys/fs/cgroup")
    ended = namespace.run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    if ended.returncode:
        lack("namespaces", f"cgroup v2 cannot be mounted here: {text(ended).strip()}")
    return namespace


@needs_megengine
def test_a_bare_loader_cannot_start_without_cgroup_v1(cgroup2, python, script):
    ended = cgroup2.run(python, script, *SMALL)
    assert ended.returncode == 1
    assert "ValueError: invalid literal for int() with base 10: ''" in text(ended)


def test_check_shows_it_with_the_fix(cgroup2):
    ended = cgroup2.mgelaunch("check")
    assert ended.returncode == 0
    shown = text(ended).splitlines()
    (at,) = [number for number, line in enumerate(shown) if line.endswith("  cgroup2.loader")]
    assert re.fullmatch(r"warn +shm +.*no cgroup v1.*ValueError.*", shown[at])
    assert shown[at + 1].strip() == f"--fix {FIX}"


def test_a_start_is_silent_about_it_unless_it_relies_on_the_loader(cgroup2):
    assert text(cgroup2.mgelaunch("run", "true")) == ""
    assert "[cgroup2.loader]" in text(cgroup2.mgelaunch("run", "-e", f"{PLASMA}=64MiB", "true"))


@needs_megengine
def test_with_the_fix_the_loader_runs(cgroup2, python, script):
    fix = cgroup2.findings()["cgroup2.loader"]["remedy"].split()
    assert "cgroup2.loader" not in cgroup2.findings(*fix)
    # The store is small, so that the run does not depend on the memory of the machine.
    ended = cgroup2.mgelaunch("run", "--python", python, *fix, "-e", f"{PLASMA}=64MiB", script, *SMALL)
    assert (ended.returncode, ended.stdout) == (0, b"batches: 40\n"), text(ended)
    assert "[cgroup2.loader]" not in text(ended)


# -- the cat of the fix ------------------------------------------------------------------------------------

SHELLS = ("sh", "dash", "bash")
BINARY = bytes(range(256)) * 300


@pytest.fixture(params=SHELLS)
def shell(request):
    if not shutil.which(request.param):
        pytest.skip(f"there is no {request.param} here")
    return request.param


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("cat", id="stdin"),
        pytest.param("cat binary - 'with blank'", id="stdin between files"),
        pytest.param("printf 'a\\nb' | cat -n", id="an option"),
        pytest.param("cat -A -- binary", id="options and the end of options"),
        pytest.param("cat binary 'with blank' -- -dashed", id="several files"),
        pytest.param("cat missing", id="a file that is not there"),
        pytest.param("cat 'with blank' missing binary", id="... among others"),
        pytest.param("cat .", id="a folder"),
        pytest.param("cat ''", id="an empty name"),
        pytest.param("cat --no-such-option", id="a wrong option"),
        pytest.param(f"cat -n {V1_LIMIT}", id="the file of cgroup v1 with an option"),
        pytest.param(f"cat {V1_LIMIT} 'with blank'", id="the file of cgroup v1 and another"),
        pytest.param("exec cat binary", id="in place of the shell"),
        pytest.param("cat binary | head -c 5; cat 'with blank' | cat | cat", id="pipes"),
        pytest.param('PATH=/nowhere:$PATH; cat "with blank"', id="behind what the job puts into its search path"),
        pytest.param('PATH=$PATH:$PATH:; cat "with blank"', id="more than once on the search path"),
        pytest.param("cd / && cat etc/hostname", id="in another folder"),
    ],
)
def test_every_other_question_goes_to_the_real_cat(cgroup2, world, shell, line):
    """Output, messages and exit code are those of a bare run."""
    world.write("binary", BINARY)
    world.write("with blank", "one line")
    world.write("-dashed", "-n\n")
    bare = cgroup2.run(shell, "-c", line, stdin=BINARY)
    fixed = cgroup2.run(*world.command("run", "--fix", FIX, shell, "-c", line), stdin=BINARY)
    assert (fixed.returncode, fixed.stdout, fixed.stderr) == (bare.returncode, bare.stdout, bare.stderr)


@pytest.mark.parametrize(
    ("tree", "answer"),
    [
        pytest.param({}, NO_LIMIT, id="no file"),
        pytest.param({"memory.max": "max\n"}, NO_LIMIT, id="no limit"),
        pytest.param({"memory.max": "268435456\n"}, 268435456, id="a limit"),
        pytest.param({"memory.max": "268435456"}, 268435456, id="a limit without a line's end"),
        pytest.param({"memory.max": ""}, NO_LIMIT, id="an empty file"),
        pytest.param({"memory.max": "-1\n"}, NO_LIMIT, id="no number"),
        pytest.param({"memory.max": "5\n", "memory/memory.limit_in_bytes": "77\n"}, 77, id="the file of cgroup v1"),
    ],
)
def test_the_one_question_is_answered_with_the_limit_of_cgroup_v2(namespace, world, shell, tree, answer):
    namespace.run("umount", "-l", "/sys/fs/cgroup")
    namespace.mount("tmpfs", "size=1m", "/sys/fs/cgroup")
    for name, content in tree.items():
        path = f"/sys/fs/cgroup/{name}"
        namespace.do("sh", "-c", 'mkdir -p "${2%/*}" && printf %s "$1" >"$2"', "sh", content, path)
    ended = namespace.run(*world.command("run", "--fix", FIX, shell, "-c", f"cat {V1_LIMIT}"))
    assert (ended.returncode, ended.stdout) == (0, f"{answer}\n".encode()), text(ended)


def test_a_fix_in_a_fix_answers_as_one(cgroup2, world):
    fixed = ["run", "--fix", FIX]
    twice = world.command(*fixed, *world.command(*fixed, "sh", "-c", f"cat {V1_LIMIT}; echo on | cat"))
    assert cgroup2.do(*twice).splitlines()[1:] == [b"on"]


# -- a store whose rank was killed -------------------------------------------------------------------------


@pytest.fixture
def killed(namespace, python, world):
    """A loader's store, by its number, after its rank was killed between two batches."""
    namespace.mount("tmpfs", "size=256m", "/dev/shm")
    namespace.give_cgroup1()
    script = world.write("script.py", WAITING)
    command = ("setsid", "--wait", python, "-W", "ignore", script, 2, 8, 40)  # its own session, as at a terminal
    with namespace.start(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            rank, store = process.stdout.readline().split()
            namespace.do("kill", "-9", rank.decode())
            process.wait(PATIENCE)
        finally:
            process.kill()
    return store.decode()


def until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.05)


@needs_megengine
def test_check_names_the_store_of_a_killed_rank_and_its_remedy_ends_it(killed, namespace, python):
    def used():
        return int(namespace.do("stat", "-f", "-c", "%b - %f", "/dev/shm").split()[0]) - int(
            namespace.do("stat", "-f", "-c", "%f", "/dev/shm")
        )

    stale = namespace.findings()["shm.stale"]
    assert stale["severity"] == "warning"
    assert re.search(rf"a plasma store .*\(process {killed}\) still holds [0-9.]+ [MG]iB of /dev/shm", stale["message"])
    assert stale["remedy"] == f"kill {killed}"
    assert used() > 0
    assert "[shm.stale]" in text(namespace.mgelaunch("run", "--python", python, "true"))
    namespace.do("sh", "-c", stale["remedy"])
    until(lambda: "shm.stale" not in namespace.findings())
    until(lambda: used() == 0)  # workers that are left end by themselves, five seconds after their last batch
