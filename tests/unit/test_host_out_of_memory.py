"""What the counters of the kernel's out-of-memory killer say, on trees of files."""

import pytest

from mgelaunch.host.out_of_memory import Kills, explanation, kills

EVENTS = "low 0\nhigh 7\nmax 90\noom 4\noom_kill 3\noom_group_kill 1\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
VMSTAT = "pgfault 812\noom_kill 5\ndrop_pagecache 0\n"
V2 = "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "36 24 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
KILLER = "the kernel's out-of-memory killer ended "


@pytest.mark.parametrize(
    ("groups", "mounted", "file", "text"),
    [
        ("0::/job/step", V2, "/sys/fs/cgroup/job/step/memory.events", EVENTS),
        ("4:memory:/job/step\n0::/", V1, "/sys/fs/cgroup/memory/job/step/memory.oom_control", CONTROL),
    ],
    ids=["version 2", "version 1"],
)
def test_the_killed_of_the_own_group_and_of_the_host_are_counted(host_tree, groups, mounted, file, text):
    files = host_tree(
        {"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounted, "/proc/vmstat": VMSTAT, file: text}
    )
    assert kills(files) == Kills(3, "/job/step", 5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, Kills(None, "", None)),
        ({"/proc/vmstat": VMSTAT}, Kills(None, "", 5)),
        ({"/proc/self/mountinfo": V2, "/sys/fs/cgroup/cgroup.procs": ""}, Kills(None, "/", None)),
        ({"/proc/self/mountinfo": V2, "/sys/fs/cgroup/memory.events": "oom_kill many\n"}, Kills(None, "/", None)),
        ({"/proc/vmstat": "oom_kill\n\noom_kill_x 4\n"}, Kills(None, "", None)),
    ],
    ids=["no files at all", "no control group", "a root group, which counts nothing", "no number", "another counter"],
)
def test_a_counter_that_cannot_be_read_is_unknown(host_tree, content, expected):
    assert kills(host_tree({"/proc/self/cgroup": "0::/\n"} | content)) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Kills(3, "/a/b", 5), Kills(4, "/a/b", 6), KILLER + "1 process of cgroup /a/b meanwhile"),
        (Kills(3, "/a/b", 5), Kills(5, "/a/b", 9), KILLER + "2 processes of cgroup /a/b meanwhile"),
        (Kills(3, "/a/b", 5), Kills(3, "/a/b", 7), KILLER + "2 processes on this host meanwhile"),
        (Kills(None, "", 5), Kills(None, "", 6), KILLER + "1 process on this host meanwhile"),
        (Kills(0, "/a", 5), Kills(2, "/b", 6), KILLER + "1 process on this host meanwhile"),
    ],
    ids=["one of the group", "several of the group", "only others", "no group", "another group than before"],
)
def test_a_counter_that_rose_is_told_with_the_smallest_scope_that_is_known(before, after, expected):
    assert explanation(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Kills(3, "/a", 5), Kills(3, "/a", 5)),
        (Kills(None, "", None), Kills(None, "", None)),
        (Kills(None, "/a", None), Kills(4, "/a", 9)),
        (Kills(4, "/a", 9), Kills(None, "/a", None)),
        (Kills(4, "/a", 9), Kills(0, "/a", 0)),
    ],
    ids=["nothing rose", "nothing is known", "unknown before", "unknown after", "counters that fell"],
)
def test_nothing_is_said_unless_a_counter_rose(before, after):
    assert explanation(before, after) == ""
