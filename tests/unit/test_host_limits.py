"""The kernel's limits on a process, from its own table."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgelaunch.host.facts import Limit, Limits, Rlimit
from mgelaunch.host.files import Files
from mgelaunch.host.limits import read_limits

TABLE = """Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max data size             314572800            unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max resident set          1                    1                    bytes     
Max processes             96365                128000               processes 
Max open files            1024                 1048576              files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
Max nice priority         0                    0                    
Max realtime timeout      unlimited            unlimited            us        
"""  # noqa: W291 - as the kernel writes it


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("nofile", Rlimit(1024, 1048576)),
        ("nproc", Rlimit(96365, 128000)),
        ("memlock", Rlimit(8388608, 8388608)),
        ("core", Rlimit(0, None)),
        ("address_space", Rlimit(None, None)),
        ("data", Rlimit(314572800, None)),
    ],
)
def test_each_limit_has_its_row_and_unlimited_is_none(host_tree, field, expected):
    assert getattr(read_limits(host_tree({"/proc/self/limits": TABLE})), field) == expected


@pytest.mark.parametrize(
    "row",
    [
        "",
        "Max open files",
        "Max open files            oops                 1024                 files",
        "Max open files            -1                   1024                 files",
        f"Max open files            {'9' * 5000}            1024                 files",
        "Max open files            1024",
        "max open files            1024                 1024                 files",
    ],
    ids=["empty", "bare", "word", "negative", "5000-digits", "one-number", "other-case"],
)
def test_a_row_that_makes_no_sense_is_unknown(host_tree, row):
    assert read_limits(host_tree({"/proc/self/limits": f"{row}\n"})).nofile is None


def test_the_kernels_own_bounds_are_read(host_tree):
    files = {"/proc/sys/kernel/threads-max": "192730\n", "/proc/sys/vm/max_map_count": "65530\n"}
    limits = read_limits(host_tree(files))
    assert (limits.threads_max, limits.map_count) == (192730, 65530)


def test_the_bound_of_tasks_is_that_of_the_control_groups(host_tree):
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "/sys/fs/cgroup/pids.max": "100\n",
        "/sys/fs/cgroup/pids.current": "12\n",
    }
    limits = read_limits(host_tree(files))
    assert (limits.pids, limits.tasks) == (Limit(100, "pids.max", "/"), 12)


@pytest.mark.parametrize(
    ("name", "there"), [("uverbs0", True), ("uverbs12", True), ("rdma_cm", False)], ids=["first", "later", "none"]
)
def test_infiniband_is_there_when_a_card_takes_verbs(host_tree, name, there):
    assert read_limits(host_tree({f"/dev/infiniband/{name}": ""})).infiniband is there


def test_nothing_is_known_below_a_root_that_does_not_exist(tmp_path):
    assert read_limits(Files(str(tmp_path / "absent"))) == Limits()


WORDS = (
    *(b"Max open files", b"Max processes", b" ", b"   ", b"\n", b"unlimited", b"7", b"-1", b"9" * 5000),
    *(b"\0", b"\xff", "²".encode(), "１".encode(), b" files"),
)
nonsense = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=nonsense, threads=nonsense, maps=nonsense)
def test_no_content_of_any_file_makes_the_reading_fail(host_tree, table, threads, maps):
    files = {"/proc/sys/kernel/threads-max": threads, "/proc/sys/vm/max_map_count": maps}
    limits = read_limits(host_tree({"/proc/self/limits": table, **files}))
    assert limits.threads_max is None or limits.threads_max >= 0
    json.dumps(limits, allow_nan=False)
