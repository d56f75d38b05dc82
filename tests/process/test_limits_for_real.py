"""mgelaunch below bounds that the kernel itself enforces: control groups, an affinity, a small ``/dev/shm``.

What it says of them, and what becomes of values and starts that depend on them.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from mgelaunch.host.cgroups import chain
from mgelaunch.host.files import Files

MIB = 1 << 20
DEADLINE = 30
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
THRESHOLD = "MEGENGINE_DTR_EVICTION_THRESHOLD"


class Group:
    """A control group of the test's own: ``wrapper`` starts a command in it, ``level`` is what its bound is named."""

    def __init__(self, directory, source, level):
        self.directory = directory
        self.wrapper = ("sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "sh", f"{directory}/cgroup.procs")
        self.level = level
        self.origin = f"{source} in {level}"


@pytest.fixture
def group():
    """A function that makes a control group with a bound, of either version."""
    made = []

    def make(controller, **bound):
        found = chain(Files(), controller)
        for base in found.groups:
            directory = f"{base.directory}/mgelaunch-limits-{os.getpid()}-{len(made)}"
            with contextlib.suppress(OSError):
                os.mkdir(directory)
                made.append(directory)
                name, text = bound[found.version]
                with open(f"{directory}/{name}", "w") as file:
                    file.write(text)
                level = base.level.rstrip("/") + directory.removeprefix(base.directory)
                own = Group(directory, name, level)
                if subprocess.run([*own.wrapper, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                    return own
        return pytest.skip(f"a control group for {controller} cannot be made here")

    yield make
    for directory in made:
        removed(directory)


def removed(directory):
    """Removes a control group; the kernel may need a moment after its last process."""
    deadline = time.monotonic() + DEADLINE
    while os.path.exists(directory):
        assert time.monotonic() < deadline, "a control group of the test is still in use"
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        time.sleep(0.01)


@pytest.fixture
def inside(start):
    """A function that runs mgelaunch to its end behind a wrapper."""

    def run(wrapper, *args, **options):
        process = start(*args, wrapper=wrapper, **options)
        stdout, stderr = (said.decode() for said in process.communicate(timeout=DEADLINE))
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)

    return run


@pytest.fixture
def environment_of(inside):
    """A function that tells which variables a dry-run behind a wrapper would set (a text) or remove (None)."""

    def ask(wrapper, *options, **more):
        done = inside(wrapper, "run", "--dry-run", "-f", "json", *options, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["processes"][0]["environment"]

    return ask


@pytest.fixture
def facts_of(inside):
    """A function that tells what ``check`` measures behind a wrapper."""

    def ask(wrapper):
        done = inside(wrapper, "check", "-f", "json")
        return json.loads(done.stdout)["host"]

    return ask


def row(name, done):
    """The line of a variable in a dry-run."""
    (line,) = [line for line in done.stdout.splitlines() if name in line]
    return line.strip()


# -- a limit of memory -------------------------------------------------------------------------------------


@pytest.fixture
def half_a_gibibyte(group):
    return group("memory", v1=("memory.limit_in_bytes", str(512 * MIB)), v2=("memory.max", str(512 * MIB)))


def test_check_tells_the_limit_and_the_group_that_sets_it(half_a_gibibyte, facts_of):
    memory = facts_of(half_a_gibibyte.wrapper)["memory"]
    source, _, level = half_a_gibibyte.origin.partition(" in ")
    assert memory["limit"] == {"amount": 512 * MIB, "source": source, "level": level}
    assert memory["available"] <= 512 * MIB < memory["total"]


def test_check_shows_the_limit_to_people(half_a_gibibyte, inside):
    shown = inside(half_a_gibibyte.wrapper, "check").stdout
    (line,) = [line for line in shown.splitlines() if re.match(r"\S+ +memory ", line)]
    assert "512 MiB" in line
    assert half_a_gibibyte.origin in shown


def test_a_percentage_of_memory_is_one_of_the_limit(half_a_gibibyte, environment_of, inside):
    options = ("-e", f"{THRESHOLD}=50%", "--device", "cpu0")
    assert environment_of(half_a_gibibyte.wrapper, *options)[THRESHOLD] == str(256 * MIB)
    line = row(THRESHOLD, inside(half_a_gibibyte.wrapper, "run", "--dry-run", *options))
    base = f"50% of 512 MiB of host memory ({half_a_gibibyte.origin})"
    assert re.match(rf"{THRESHOLD} +{256 * MIB}  {re.escape(base)} +--set ", line)


def test_two_ranks_share_the_limit(half_a_gibibyte, environment_of):
    options = ("-n", "2", "-e", f"{THRESHOLD}=50%", "--device", "cpu0")
    assert environment_of(half_a_gibibyte.wrapper, *options)[THRESHOLD] == str(128 * MIB)


def test_a_profile_that_requires_more_than_the_limit_is_refused(half_a_gibibyte, inside, world):
    world.write(".mgelaunch/large.toml", '[requires]\nhost-memory = "1GiB"\n')
    ran = inside(half_a_gibibyte.wrapper, "run", "-p", "large", "touch", "started")
    assert (ran.returncode, ran.stdout, (world.project / "started").exists()) == (125, "", False)
    error, last = ran.stderr.splitlines()
    assert error.startswith("mgelaunch: error: .mgelaunch/large.toml:2:1: ")
    assert re.search(
        rf"1\.0 GiB.* 512 MiB \({re.escape(half_a_gibibyte.origin)}; the host has .*\[mem\.limit\]$", error
    )
    assert last == "mgelaunch: nothing was started (exit code 125, mem.limit)"
    checked = inside(half_a_gibibyte.wrapper, "check", "-p", "large")
    assert checked.returncode == 4
    assert re.search(r"^ERROR +memory .*  mem\.limit$", checked.stdout, re.MULTILINE)


def test_a_profile_that_requires_less_than_the_limit_starts(half_a_gibibyte, inside, world):
    world.write(".mgelaunch/small.toml", '[requires]\nhost-memory = "100MiB"\n')
    ran = inside(half_a_gibibyte.wrapper, "run", "-p", "small", "echo", "started")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "started\n", "")
    assert inside(half_a_gibibyte.wrapper, "check", "-p", "small").returncode == 0


# -- a quota of CPU time -----------------------------------------------------------------------------------


@pytest.fixture
def quota(group):
    """A function that makes a group with a quota, in hundredths of a CPU."""

    def make(hundredths):
        microseconds = str(1000 * hundredths)
        return group("cpu", v1=("cpu.cfs_quota_us", microseconds), v2=("cpu.max", f"{microseconds} 100000"))

    return make


@pytest.mark.parametrize(
    ("hundredths", "ranks", "threads", "why"),
    [
        (50, (), "1", "quota of 0.5 CPUs"),
        (100, (), "1", "quota of 1 CPU"),
        (50, ("-n", "2"), "1", "quota of 0.5 CPUs / 2"),
    ],
    ids=["half a CPU", "one CPU", "half a CPU for two ranks"],
)
def test_thread_counts_are_derived_from_a_quota(quota, environment_of, inside, hundredths, ranks, threads, why):
    if hundredths >= 100 * len(os.sched_getaffinity(0)):
        pytest.skip("this quota is none where there is but one CPU")
    wrapper = quota(hundredths).wrapper
    derived = environment_of(wrapper, *ranks)
    assert [derived[name] for name in THREAD_COUNTS] == [threads] * 3
    shown = inside(wrapper, "run", "--dry-run", *ranks)
    for name in THREAD_COUNTS:
        assert re.match(rf"{name} +{threads} +{re.escape(why)} +\S", row(name, shown))


def test_the_script_gets_the_derived_counts(quota, inside):
    ran = inside(quota(50).wrapper, "run", "printenv", *THREAD_COUNTS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1\n1\n1\n", "")


@pytest.mark.parametrize("name", THREAD_COUNTS)
@pytest.mark.parametrize("way", ["shell", "flag", "file", "profile"])
def test_a_count_that_the_user_says_is_not_derived(quota, inside, world, way, name):
    """The others are, but for those of an OMP_NUM_THREADS: a derived MKL_NUM_THREADS would beat it."""
    options, environ = (), world.environ
    if way == "shell":
        environ = environ | {name: "2"}
    elif way == "flag":
        options = ("-e", f"{name}=2")
    elif way == "file":
        world.write("one.env", f"{name}=2\n")
        options = ("--env-file", "one.env")
    else:
        world.write(".mgelaunch/one.toml", f"[env]\n{name} = 2\n")
        options = ("-p", "one")
    report = "import json, os, sys; print(json.dumps({name: os.environ.get(name) for name in sys.argv[1:]}))"
    command = (sys.executable, "-c", report, *THREAD_COUNTS)
    ran = inside(quota(50).wrapper, "run", *options, *command, env=environ)
    others = None if name == "OMP_NUM_THREADS" else "1"
    assert json.loads(ran.stdout) == dict.fromkeys(THREAD_COUNTS, others) | {name: "2"}


def test_check_tells_the_quota_and_the_group_that_sets_it(quota, inside, facts_of):
    group = quota(50)
    source, _, level = group.origin.partition(" in ")
    assert facts_of(group.wrapper)["cpus"]["quota"] == {"cpus": 0.5, "source": source, "level": level}
    assert group.origin in inside(group.wrapper, "check").stdout


def test_more_threads_than_the_quota_are_a_warning_that_names_it(quota, inside):
    group = quota(50)
    ran = inside(group.wrapper, "run", "--threads", "2", "true")
    assert re.search(rf"warning: .*quota of 0\.5 CPUs \({re.escape(group.origin)}\).*\[cpu\.threads\]", ran.stderr)
    assert ran.returncode == 0


# -- an affinity -------------------------------------------------------------------------------------------


@pytest.fixture
def one_cpu():
    """What starts a command on one CPU, and that CPU."""
    if not shutil.which("taskset"):
        pytest.skip("there is no taskset here")
    cpu = max(os.sched_getaffinity(0))
    return ("taskset", "-c", str(cpu)), cpu


def test_check_counts_the_cpus_of_the_affinity(one_cpu, facts_of, inside):
    wrapper, cpu = one_cpu
    cpus = facts_of(wrapper)["cpus"]
    assert cpus["allowed"] == [cpu]
    assert cpus["online"] >= len(os.sched_getaffinity(0))
    assert re.search(rf"^\S+ +cpus +1 usable of {cpus['online']}\b", inside(wrapper, "check").stdout, re.MULTILINE)


def test_percentages_of_cpus_are_ones_of_the_affinity(one_cpu, environment_of, inside):
    wrapper, _ = one_cpu
    options = ("-p", "threads", "-e", "MGB_SUBLINEAR_MEMORY_WORKERS=100%")
    environment = environment_of(wrapper, *options)
    assert {environment[name] for name in (*THREAD_COUNTS, "MGB_SUBLINEAR_MEMORY_WORKERS")} == {"1"}
    shown = inside(wrapper, "run", "--dry-run", *options)
    assert re.match(r"OMP_NUM_THREADS +1  100% of 1 CPU +threads:[0-9]+ default ", row("OMP_NUM_THREADS", shown))


def test_a_percentage_without_the_affinity_is_of_every_cpu(environment_of, facts_of):
    every = facts_of(())["cpus"]
    usable = min(len(every["allowed"]), max(1, int(every["quota"]["cpus"])) if every["quota"] else 1 << 20)
    assert environment_of((), "-e", "OMP_NUM_THREADS=100%")["OMP_NUM_THREADS"] == str(usable)


def test_more_ranks_than_the_cpus_of_the_affinity_cannot_be_bound(one_cpu, inside):
    ran = inside(one_cpu[0], "check", "-n", "2", "--bind-cpus", "cores")
    assert (ran.returncode, "[cpu.bind]" in ran.stderr) == (4, True)


# -- a small /dev/shm --------------------------------------------------------------------------------------


@pytest.fixture
def small_shm(lack, unshare):
    """What starts a command where ``/dev/shm`` has 64 MiB; nobody else sees it, and it ends with the command."""
    script = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
    wrapper = (*unshare, "sh", "-c", script, "sh")
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        lack("namespaces", f"/dev/shm cannot be mounted privately here: {tried.stderr.strip()}")
    return wrapper


def test_a_percentage_of_shared_memory_is_one_of_the_mount(small_shm, environment_of, inside):
    options = ("-e", "MGE_PLASMA_MEMORY=50%")
    assert environment_of(small_shm, *options)["MGE_PLASMA_MEMORY"] == str(32 * MIB)
    line = row("MGE_PLASMA_MEMORY", inside(small_shm, "run", "--dry-run", *options))
    assert re.match(r"MGE_PLASMA_MEMORY +33554432  50% of (64 MiB|0\.1 GiB) of /dev/shm +--set ", line)


def test_check_tells_the_size_of_the_mount(small_shm, facts_of):
    shared = facts_of(small_shm)["shared_memory"]
    assert (shared["kind"], shared["size"], shared["free"]) == ("tmpfs", 64 * MIB, 64 * MIB)


def test_the_mount_is_private(small_shm, inside):
    before = os.stat("/dev/shm").st_dev
    assert inside(small_shm, "run", "stat", "-c", "%d", "/dev/shm").stdout.strip() != str(before)
    assert os.stat("/dev/shm").st_dev == before
