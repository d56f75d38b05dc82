"""The memory of a host and the bounds on it, on trees of files as kernels and containers show them."""

import json

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgelaunch.host.cgroups import cpu_quota
from mgelaunch.host.facts import Limit, Memory
from mgelaunch.host.files import Files
from mgelaunch.host.memory import read_memory

MIB = 1 << 20
CGROUP = "/sys/fs/cgroup"
NO_LIMIT = "9223372036854771712"
HOST = 1206 * MIB
MEMINFO = f"""MemTotal:       {HOST // 1024} kB
MemFree:          512000 kB
MemAvailable:    1024000 kB
SwapTotal:       2097148 kB
CommitLimit:      611328 kB
Committed_AS:     100352 kB
HugePages_Total:       0
"""


def v2(root="/", point=CGROUP):
    """A line of mountinfo that shows version 2 from the group `root` on."""
    return f"35 24 0:30 {root} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"


def v1(controllers, root="/", point=""):
    """A line of mountinfo that shows the hierarchy of `controllers` of version 1."""
    return f"36 24 0:31 {root} {point or f'{CGROUP}/{controllers}'} rw - cgroup cgroup rw,{controllers}\n"


@pytest.fixture
def tree(host_tree):
    """A function that writes a host: its groups, its mounts, files of groups by their paths, and other files."""

    def write(groups="0::/\n", mounted=None, files=None, /, **others):
        every = {
            "/proc/self/cgroup": groups,
            "/proc/self/mountinfo": v2() if mounted is None else mounted,
            "/proc/meminfo": others.get("meminfo", MEMINFO),
        }
        every |= {f"{CGROUP}{path}": content for path, content in (files or {}).items()}
        every |= others.get("more", {})
        return host_tree(every)

    return write


# What kernels showed, and what holds there.

SLURM = {
    "/slurm/memory.max": 400 * MIB,
    "/slurm/memory.high": "max\n",
    "/slurm/cpu.max": "150000 100000\n",
    "/slurm/job1/memory.max": 300 * MIB,
    "/slurm/job1/memory.high": 200 * MIB,
    "/slurm/job1/cpu.max": "50000 100000\n",
    "/slurm/job1/step0/memory.max": "max\n",
    "/slurm/job1/step0/memory.high": "max\n",
    "/slurm/job1/step0/cpu.max": "max 100000\n",
}
HYBRID = "3:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n"


def v1_group(path, limit, hidden=NO_LIMIT):
    return {
        f"/memory{path}/memory.limit_in_bytes": f"{limit}\n",
        f"/memory{path}/memory.stat": f"cache 1\nhierarchical_memory_limit {hidden}\ntotal_inactive_file 0\n",
    }


@pytest.mark.parametrize(
    ("groups", "mounted", "files", "limit", "high", "cpus"),
    [
        (
            "0::/slurm/job1/step0\n",
            v2(),
            SLURM,
            Limit(300 * MIB, "memory.max", "/slurm/job1"),
            Limit(200 * MIB, "memory.high", "/slurm/job1"),
            0.5,
        ),
        ("0::/\n", v2(), {}, None, None, None),
        ("0::/\n", v2(), {"/memory.max": 250 * MIB}, Limit(250 * MIB, "memory.max", "/"), None, None),
        ("0::/\n", v2("/../../.."), {"/slurm/memory.max": 400 * MIB}, None, None, None),
        (
            HYBRID,
            v1("cpu,cpuacct") + v1("memory") + v2(point=f"{CGROUP}/unified"),
            {
                **v1_group("/docker", 300 * MIB, 300 * MIB),
                **v1_group("/docker/abc", 400 * MIB, 300 * MIB),
                "/cpu,cpuacct/docker/cpu.cfs_quota_us": "150000\n",
                "/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
                "/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1\n",
            },
            Limit(300 * MIB, "memory.limit_in_bytes", "/docker"),
            None,
            1.5,
        ),
        (
            "4:memory:/docker/abc\n",
            v1("memory", "/docker/abc"),
            v1_group("", 400 * MIB, 400 * MIB),
            Limit(400 * MIB, "memory.limit_in_bytes", "/docker/abc"),
            None,
            None,
        ),
        (
            "4:memory:/docker/abc\n",
            v1("memory", "/docker/abc"),
            v1_group("", 400 * MIB, 300 * MIB),
            Limit(300 * MIB, "hierarchical_memory_limit", "/docker/abc"),
            None,
            None,
        ),
    ],
    ids=[
        "nested",
        "limits-only-above-the-namespace",
        "docker-with-its-own-namespace",
        "namespace-with-the-old-mounts",
        "hybrid",
        "subtree-mounted",
        "subtree-mounted-with-the-limit-of-a-hidden-ancestor",
    ],
)
def test_the_lowest_bound_counts_with_the_group_that_sets_it(tree, groups, mounted, files, limit, high, cpus):
    host = tree(groups, mounted, files)
    memory, quota = read_memory(host, {}), cpu_quota(host)
    assert (memory.total, memory.limit, memory.high) == (HOST, limit, high)
    assert (quota and quota.cpus) == cpus


# What is left of a bound.

BIG = "MemTotal: 268435456 kB\nMemAvailable: 201326592 kB\n"


def test_a_pods_bound_leaves_what_its_own_working_set_does(tree):
    pod = "/kubepods.slice/pod1"
    files = {
        f"{pod}/memory.max": 8589934592,
        f"{pod}/memory.current": 5000000000,
        f"{pod}/memory.stat": "anon 1\ninactive_file 2000000000\n",
        f"{pod}/cpu.max": "350000 100000\n",
        f"{pod}/c1/memory.max": "max\n",
        f"{pod}/c1/memory.current": 1000,
        f"{pod}/c1/memory.stat": "inactive_file 0\n",
    }
    host = tree(f"0::{pod}/c1\n", v2(), files, meminfo=BIG)
    memory = read_memory(host, {})
    assert memory.limit == Limit(8589934592, "memory.max", pod)
    assert memory.available == 8589934592 - 3000000000
    assert cpu_quota(host).cpus == 3.5


def test_docker_on_version_2_shows_its_bound_at_the_root(tree):
    files = {"/memory.max": 1073741824, "/memory.high": "max\n", "/memory.current": 73741824}
    memory = read_memory(tree("0::/\n", v2(), files, meminfo=BIG), {})
    assert (memory.limit.amount, memory.high, memory.available) == (1073741824, None, 1000000000)


def test_docker_on_version_1_shows_a_bound_of_an_ancestor_in_its_statistics(tree):
    files = {
        "/memory/memory.limit_in_bytes": NO_LIMIT,
        "/memory/memory.usage_in_bytes": 100,
        "/memory/memory.stat": "inactive_file 99\nhierarchical_memory_limit 536870912\ntotal_inactive_file 10\n",
    }
    groups, mounted = "9:memory:/docker/abc\n0::/docker/abc\n", v1("memory", "/docker/abc") + v2(point="/unified")
    memory = read_memory(tree(groups, mounted, files, meminfo=BIG), {})
    assert memory.limit == Limit(536870912, "hierarchical_memory_limit", "/docker/abc")
    assert (memory.available, memory.cgroups) == (536870912 - 90, "hybrid")


def test_a_bound_that_is_no_number_is_passed_over_for_the_one_above(tree):
    files = {"/c g/a b/memory.max": "oops\n", "/c g/memory.max": "77\n"}
    groups, mounted = "0::/a b\n", v2(point=rf"{CGROUP}/c\040g")
    assert read_memory(tree(groups, mounted, files), {}).limit == Limit(77, "memory.max", "/")


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({"/a/memory.max": 300, "/a/memory.current": 100, "/a/b/memory.max": 200, "/a/b/memory.current": 50}, 150),
        ({"/a/memory.max": 300, "/a/memory.current": 290, "/a/b/memory.max": 200, "/a/b/memory.current": 50}, 10),
        ({"/a/b/memory.max": 200, "/a/b/memory.high": 100, "/a/b/memory.current": 50}, 50),
        ({"/a/b/memory.max": 200, "/a/b/memory.current": 250}, 0),
        ({"/a/b/memory.max": 200, "/a/b/memory.current": 250, "/a/b/memory.stat": "inactive_file 100\n"}, 50),
        ({"/a/b/memory.max": 200, "/a/b/memory.current": 50, "/a/b/memory.stat": "inactive_file 90\n"}, 200),
        ({"/a/b/memory.max": 200, "/a/b/memory.current": 50, "/a/b/memory.stat": "total_inactive_file 50\n"}, 150),
        ({"/a/b/memory.max": 200}, 200),
        ({"/a/memory.current": 290}, 1024000 * 1024),
    ],
    ids=["inner", "full-ancestor", "high", "over", "cache", "only-cache", "other-name", "usage-unknown", "no-bound"],
)
def test_available_is_the_least_that_any_bound_leaves(tree, files, available):
    host = tree("0::/a/b\n", v2(), {"/a/b/cgroup.procs": "", **files})
    assert read_memory(host, {}).available == available


def test_available_is_the_hosts_where_that_is_less(tree):
    meminfo = "MemTotal: 1000000 kB\nMemAvailable: 10 kB\n"
    assert read_memory(tree("0::/\n", v2(), {"/memory.max": MIB}, meminfo=meminfo), {}).available == 10240


@pytest.mark.parametrize(
    "text",
    ["max", str(HOST), str(HOST + 1), str(1 << 60), NO_LIMIT, "9" * 20, "9" * 4000, "-1", "", "\x00", "1 2", "0x10"],
    ids=["max", "total", "above", "2**60", "v1", "20-digits", "4000-digits", "-1", "empty", "NUL", "two", "hex"],
)
def test_what_is_no_number_or_not_below_the_total_is_no_bound(tree, text):
    memory = read_memory(tree("0::/\n", v2(), {"/memory.max": text, "/memory.high": text}), {})
    assert (memory.limit, memory.high, memory.available) == (None, None, 1024000 * 1024)


def test_protections_and_swap_are_no_bounds(tree):
    files = {"/memory.low": 1, "/memory.min": 1, "/memory.swap.max": 0}
    memory = read_memory(tree("0::/\n", v2(), files), {})
    assert (memory.limit, memory.high, memory.swap) == (None, None, 2097148 * 1024)


@pytest.mark.parametrize(
    "meminfo",
    ["", "MemTotal: 0 kB\n", "MemTotal: 5 MB\n", f"MemTotal: {'9' * 5000} kB\n"],
    ids=["empty", "zero", "unit", "5000-digits"],
)
def test_a_bound_counts_where_the_total_is_unknown(tree, meminfo):
    host = tree("0::/\n", v2(), {"/memory.max": MIB, "/memory.current": 1}, meminfo=meminfo)
    memory = read_memory(host, {})
    assert (memory.total, memory.limit.amount, memory.available) == (None, MIB, MIB - 1)


# Slurm.

NODE = {"SLURM_MEM_PER_NODE": "512"}


@pytest.mark.parametrize(
    ("environ", "granted"),
    [
        (NODE, Limit(512 * MIB, "SLURM_MEM_PER_NODE")),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "4"}, Limit(400 * MIB, "SLURM_MEM_PER_CPU")),
        ({"SLURM_MEM_PER_GPU": "200", "SLURM_GPUS_ON_NODE": "2"}, Limit(400 * MIB, "SLURM_MEM_PER_GPU")),
        ({"SLURM_MEM_PER_CPU": "100"}, None),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_NODE": "4G"}, None),
        ({"SLURM_MEM_PER_NODE": "9" * 20}, None),
        ({"SLURM_MEM_PER_NODE": "-1", "SLURM_MEM_PER_CPU": "", "SLURM_CPUS_ON_NODE": "x"}, None),
        ({}, None),
    ],
    ids=["node", "cpu", "gpu", "cpus-unknown", "whole-node", "unit", "boundless", "nonsense", "unset"],
)
def test_slurms_budget_of_the_node_is_in_mebibytes(tree, environ, granted):
    assert read_memory(tree(), environ).granted == granted


@pytest.mark.parametrize(
    ("bound", "environ", "limit"),
    [
        ("max", NODE, Limit(512 * MIB, "SLURM_MEM_PER_NODE")),
        (str(400 * MIB), NODE, Limit(400 * MIB, "memory.max", "/")),
        (str(600 * MIB), NODE, Limit(512 * MIB, "SLURM_MEM_PER_NODE")),
        ("max", {"SLURM_MEM_PER_NODE": "4096"}, None),
    ],
    ids=["alone", "group-lower", "group-higher", "above-the-total"],
)
def test_slurms_budget_is_the_limit_where_it_is_the_lowest(tree, bound, environ, limit):
    assert read_memory(tree("0::/\n", v2(), {"/memory.max": bound}), environ).limit == limit


def test_no_more_than_slurms_budget_is_available(tree):
    assert read_memory(tree(), NODE).available == 512 * MIB


# The rest.


@pytest.mark.parametrize(
    ("mode", "left"), [("0", None), ("1", None), ("2", (611328 - 100352) * 1024), ("", None)], ids=["0", "1", "2", "?"]
)
def test_what_may_still_be_promised_counts_where_the_kernel_promises_no_more_than_it_has(tree, mode, left):
    host = tree(more={"/proc/sys/vm/overcommit_memory": f"{mode}\n"})
    memory = read_memory(host, {})
    assert (memory.overcommit, memory.commit_left) == (int(mode) if mode else None, left)


def test_more_promised_than_allowed_leaves_nothing(tree):
    meminfo = "CommitLimit: 1 kB\nCommitted_AS: 2 kB\n"
    assert read_memory(tree(meminfo=meminfo, more={"/proc/sys/vm/overcommit_memory": "2\n"}), {}).commit_left == 0


@pytest.mark.parametrize(
    ("text", "there"), [(NO_LIMIT, True), ("max", False), (None, False)], ids=["number", "word", "absent"]
)
def test_the_file_that_megengines_loader_reads_is_looked_for_at_its_usual_place(tree, text, there):
    files = {} if text is None else {"/memory/memory.limit_in_bytes": f"{text}\n"}
    assert read_memory(tree("0::/\n", v2(), files), {}).v1_limit_file is there


def test_nothing_is_known_below_a_root_that_does_not_exist(tmp_path):
    assert read_memory(Files(str(tmp_path / "absent")), {}) == Memory()


def test_empty_files_tell_nothing(tree):
    assert read_memory(tree("", "", meminfo=""), {}) == Memory()


class Hidden(Files):
    """This host with ``/proc`` and ``/sys`` out of sight."""

    def text(self, _):
        return ""


def test_psutil_tells_what_the_kernels_files_do_not():
    memory, told = read_memory(Hidden(), {}), psutil.virtual_memory()
    assert (memory.total, memory.swap) == (told.total, psutil.swap_memory().total)
    assert 0 < memory.available <= told.total


WORDS = (
    *b"max -1 0 7 : / .. 0::/ 3:memory:/a rw,memory cgroup cgroup2 MemTotal: MemAvailable: CommitLimit:".split(),
    *b"Committed_AS: inactive_file total_inactive_file hierarchical_memory_limit".split(),
    *(b" ", b"\n", b" kB\n", b" - ", b"1 2 3 / ", b"\0", b"\xff", "²".encode(), "１".encode()),
    *(b"9" * 19, b"9" * 5000),
)
nonsense = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join))
NAMES = (
    "/a/memory.max",
    "/a/memory.high",
    "/a/memory.current",
    "/a/memory.stat",
    "/memory/memory.limit_in_bytes",
    "/memory/memory.usage_in_bytes",
    "/memory/memory.stat",
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tables=st.tuples(nonsense, nonsense),
    content=st.tuples(*[nonsense] * len(NAMES)),
    meminfo=nonsense,
    mode=st.one_of(st.just(b"2"), nonsense),
    grant=st.text(max_size=30),
    known=st.sampled_from(["", "v1", "v2"]),
)
def test_no_content_of_any_file_makes_the_reading_fail(tree, tables, content, meminfo, mode, grant, known):
    groups = {"v1": b"4:memory:/\n", "v2": b"0::/a\n"}.get(known, tables[0])
    mounted = {"v1": v1("memory"), "v2": v2()}.get(known, tables[1])
    more = {"/proc/sys/vm/overcommit_memory": mode}
    host = tree(groups, mounted, dict(zip(NAMES, content)), meminfo=meminfo, more=more)
    memory = read_memory(host, {"SLURM_MEM_PER_CPU": grant, "SLURM_CPUS_ON_NODE": grant})
    for amount in (memory.total, memory.available, memory.swap, memory.overcommit, memory.commit_left):
        assert amount is None or amount >= 0
    for limit in (memory.limit, memory.high, memory.granted):
        assert limit is None or 0 <= limit.amount < 1 << 60
    json.dumps(memory, allow_nan=False)
