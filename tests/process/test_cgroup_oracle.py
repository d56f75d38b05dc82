"""Our reading of the host that runs the tests, held against the kernel itself and against another reader of it.

proclimits differs on purpose: it knows neither ``memory.high`` nor ``hierarchical_memory_limit``, and drops a quota
that is no less than the CPUs (its raw number is compared).
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time

import pytest

import mgelaunch
from mgelaunch.host.cgroups import chain, cpu_quota, kind
from mgelaunch.host.facts import Limit
from mgelaunch.host.files import Files
from mgelaunch.host.limits import read_limits
from mgelaunch.host.memory import read_memory

MIB = 1 << 20
SLACK = 16 * MIB
"""The kernel counts in batches for each CPU, and an interpreter allocates a little by itself."""

READ = """
import json, os, sys

from mgelaunch.host.cgroups import cpu_quota
from mgelaunch.host.files import Files
from mgelaunch.host.limits import read_limits
from mgelaunch.host.memory import read_memory

try:
    with open(sys.argv[1] + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
except OSError:
    sys.exit(77)

def memory():
    return read_memory(Files(), {})

"""


@pytest.fixture
def told():
    """What proclimits says of this process."""
    proclimits = pytest.importorskip("proclimits", reason="proclimits is not installed")
    proclimits.clear_cache()
    return proclimits.describe()


def written(path, text):
    """Writes a control file."""
    with open(path, "w") as file:
        file.write(text)


@pytest.fixture
def nest():
    """A function that makes a control group in a control group for real and gives both their directories."""
    made = []

    def make(controller, outer, inner):
        found = chain(Files(), controller)
        for base in found.groups:
            first = f"{base.directory}/mgelaunch-test-{os.getpid()}"
            with contextlib.suppress(OSError):
                os.mkdir(first)
                made.append(first)
                if found.version == "v2":
                    written(f"{first}/cgroup.subtree_control", f"+{controller}")
                os.mkdir(f"{first}/inner")
                made.append(f"{first}/inner")
                for directory, files in ((first, outer), (f"{first}/inner", inner)):
                    for name, text in files[found.version].items():
                        written(f"{directory}/{name}", str(text))
                return first, f"{first}/inner"
        return pytest.skip(f"control groups for {controller} cannot be made here")

    yield make
    for directory in reversed(made):
        removed(directory)


def removed(directory):
    """Removes a control group; the kernel may need a moment after its last process."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
            return
        time.sleep(0.02)


def inside(group, program):
    """What a process that joins `group` prints, as JSON."""
    environ = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(mgelaunch.__file__)))}
    command = [sys.executable, "-c", READ + program, group]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=False, timeout=60)
    if done.returncode == 77:
        pytest.skip("a process cannot join a control group here")
    assert done.returncode == 0
    return json.loads(done.stdout)


def level(directory, controller):
    """The path of a new group in its hierarchy."""
    base = next(group for group in chain(Files(), controller).groups if directory.startswith(f"{group.directory}/"))
    return (base.level if base.level != "/" else "") + directory.removeprefix(base.directory)


@pytest.fixture
def tight(nest):
    """300 MiB, and 400 MiB in a group inside."""
    both = {
        size: {"v1": {"memory.limit_in_bytes": size}, "v2": {"memory.max": size}} for size in (300 * MIB, 400 * MIB)
    }
    return nest("memory", both[300 * MIB], both[400 * MIB])


def test_the_total_is_the_one_that_the_other_reader_tells(told):
    assert read_memory(Files(), {}).total == told.machine_memory_bytes


def test_the_limit_of_this_process_is_the_one_that_the_other_reader_tells(told):
    limit = read_memory(Files(), {}).limit
    if limit and limit.source == "hierarchical_memory_limit":
        pytest.skip("the lowest limit is that of a hidden ancestor, which proclimits does not read")
    assert (limit and limit.amount) == (told.memory_budget and told.memory_budget.limit)


def test_the_groups_that_are_walked_are_those_that_the_other_reader_walks(told):
    if told.memory_source is None:
        pytest.skip("proclimits finds no memory controller here")
    assert [group.directory for group in chain(Files(), "memory").groups] == list(told.memory_source.levels)


def test_the_quota_of_this_process_is_the_one_that_the_other_reader_tells(told):
    quota = cpu_quota(Files())
    assert (quota and quota.cpus) == told.raw_cpu_quota


def test_this_process_is_in_the_group_that_is_read_first():
    files = Files()
    groups = chain(files, "memory").groups
    if not groups or groups[0].level.startswith("/.."):
        pytest.skip("the own control group is not mounted here")
    assert kind(files) in {"v1", "v2", "hybrid"}
    assert str(os.getpid()) in files.text(f"{groups[0].directory}/cgroup.procs").split()


def test_the_limits_of_this_process_are_those_that_the_system_call_tells():
    limits = read_limits(Files())
    for told, number in (
        (limits.nofile, resource.RLIMIT_NOFILE),
        (limits.nproc, resource.RLIMIT_NPROC),
        (limits.memlock, resource.RLIMIT_MEMLOCK),
        (limits.core, resource.RLIMIT_CORE),
        (limits.address_space, resource.RLIMIT_AS),
        (limits.data, resource.RLIMIT_DATA),
    ):
        kernel = (None if amount == resource.RLIM_INFINITY else amount for amount in resource.getrlimit(number))
        assert tuple(told) == tuple(kernel)


def test_the_kernels_own_numbers_are_read():
    limits, memory = read_limits(Files()), read_memory(Files(), {})
    for told, path in (
        (limits.threads_max, "/proc/sys/kernel/threads-max"),
        (limits.map_count, "/proc/sys/vm/max_map_count"),
        (memory.overcommit, "/proc/sys/vm/overcommit_memory"),
    ):
        with open(path) as file:
            assert told == int(file.read())


def test_a_list_of_the_kernel_that_is_longer_than_a_page_is_read_to_its_end():
    path = "/proc/self/smaps"
    with open(path) as file:
        assert len(Files().text(path)) > len(file.read()) / 2


def test_the_limit_of_an_outer_group_holds_in_an_inner_one_with_a_higher_limit(tight):
    outer, inner = tight
    memory = inside(inner, "print(json.dumps(memory()._asdict()))")
    source = "memory.max" if chain(Files(), "memory").version == "v2" else "memory.limit_in_bytes"
    assert memory["limit"] == list(Limit(300 * MIB, source, level(outer, "memory")))
    assert 300 * MIB - 2 * SLACK < memory["available"] <= 300 * MIB


def test_the_other_reader_tells_the_same_of_such_groups(tight):
    pytest.importorskip("proclimits", reason="proclimits is not installed")
    program = """
import proclimits

ours, told = memory(), proclimits.get_memory_budget()
print(json.dumps([ours.limit.amount, told.limit, ours.available, told.limit - told.used]))
"""
    limit, their_limit, left, their_left = inside(tight[1], program)
    assert limit == their_limit
    assert abs(left - their_left) < SLACK


def test_what_a_process_allocates_in_a_group_is_no_longer_available(tight):
    program = """
before = memory().available
held = bytearray(b"x") * (100 << 20)
print(json.dumps([before, memory().available]))
"""
    before, after = inside(tight[1], program)
    assert 100 * MIB - SLACK < before - after < 100 * MIB + SLACK


def test_what_a_process_puts_into_shared_memory_is_no_longer_available(tight):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no shared memory here")
    program = """
import tempfile

before = memory().available
with tempfile.TemporaryFile(dir="/dev/shm") as file:
    file.write(b"x" * (1 << 20) * 100)
    file.flush()
    print(json.dumps([before, memory().available]))
"""
    before, after = inside(tight[1], program)
    assert 100 * MIB - SLACK < before - after < 100 * MIB + SLACK


def test_the_quota_of_an_inner_group_is_read_for_real(nest):
    outer = {"v1": {"cpu.cfs_quota_us": 150000}, "v2": {"cpu.max": "150000 100000"}}
    inner = {"v1": {"cpu.cfs_quota_us": 50000}, "v2": {"cpu.max": "50000 100000"}}
    group = nest("cpu", outer, inner)[1]
    source = "cpu.max" if chain(Files(), "cpu").version == "v2" else "cpu.cfs_quota_us"
    assert inside(group, "print(json.dumps(cpu_quota(Files())))") == [0.5, source, level(group, "cpu")]


def test_the_bound_of_tasks_of_an_outer_group_is_read_for_real(nest):
    both = [{"v1": {"pids.max": amount}, "v2": {"pids.max": amount}} for amount in (64, 128)]
    outer, inner = nest("pids", *both)
    told = inside(inner, "print(json.dumps(read_limits(Files())._asdict()))")
    assert (told["pids"], told["tasks"]) == ([64, "pids.max", level(outer, "pids")], 1)
