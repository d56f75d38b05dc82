"""The report of check: a mark for each topic, the findings with their remedies, what was measured, a line that counts."""

import pytest

from mgelaunch.finding import Finding
from mgelaunch.host.facts import (
    Card,
    Cpus,
    Devices,
    HostFacts,
    Limit,
    Limits,
    Memory,
    Node,
    Place,
    Quota,
    Rlimit,
    SharedMemory,
    Slice,
    Tool,
)
from mgelaunch.report.checkup import checkup, topic
from mgelaunch.report.host import TOPICS, Measured

GIB = 1 << 30
PYTHON = Measured("/bin/python  3.10.13")
ERROR = Finding("error", "dev.count", "8 ranks, 2 visible GPUs", (), "-n 2  or  --gpu-ids 0-7")
WARNING = Finding("warning", "shm.size", "too small", ("MGE_PLASMA_MEMORY",), "", "p.toml:3:1")
NOTE = Finding("info", "cpu.quota", "a quota")


def lines(*findings, facts=None, target=None, places=()):
    return checkup("3 variables set", target or PYTHON, facts or HostFacts(), findings, places)


def test_a_finding_stands_on_its_topics_line_with_the_mark_first_the_code_last_and_the_remedy_alone():
    told = lines(ERROR)
    at = told.index("ERROR devices   8 ranks, 2 visible GPUs  dev.count")
    assert told[at + 1] == f"{'':18}-n 2  or  --gpu-ids 0-7"
    assert told[at + 2].startswith(f"{'':16}GPUs cannot be measured here")


def test_errors_come_before_warnings_and_notes_behind_what_was_measured():
    warning = ERROR._replace(severity="warning", message="w")
    told = [line.strip() for line in lines(NOTE, warning, ERROR, facts=HostFacts(cpus=Cpus(2, (0, 1))))]
    devices, other = (
        told.index("ERROR devices   8 ranks, 2 visible GPUs  dev.count"),
        told.index("warn            w  dev.count"),
    )
    assert devices < other
    assert told.index("ok    cpus      2 usable of 2") + 1 == told.index("note            a quota  cpu.quota")


def test_the_place_of_a_finding_is_shown():
    assert "warn  shm       p.toml:3:1: too small  shm.size" in lines(WARNING)


def test_the_last_line_counts_and_tells_what_a_start_would_do():
    facts = HostFacts(cpus=Cpus(2, (0, 1)))
    assert lines(ERROR, WARNING, NOTE, facts=facts)[-1] == (
        "1 error, 1 warning, 4 ok, 3 not checked. `mgelaunch run` with these options would refuse."
    )
    assert lines(WARNING, WARNING, facts=facts)[-1].endswith("would start.")


def test_a_topic_that_was_not_measured_is_never_ok_even_without_findings():
    assert {line.split()[1] for line in lines() if line.startswith("ok")} == {"settings", "target", "storage"}


def test_an_interpreter_of_which_nothing_is_known_is_not_ok():
    assert "?     target    /bin/shim" in lines(target=Measured("/bin/shim", known=False))


def test_a_directory_that_is_not_among_the_facts_is_not_ok():
    facts = HostFacts(storage=(Place("/a", kind="ext4"),))
    assert "ok    storage   /a on ext4" in lines(facts=facts, places=["/a"])
    assert "?     storage   /a on ext4; /b is not among the facts" in lines(facts=facts, places=["/a", "/b"])


def test_control_characters_cannot_move_the_cursor():
    assert "\x1b" not in "".join(lines(ERROR._replace(message="a\x1b[2Jb", remedy="c\x1b[2J")))


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("dev.order", "devices"), ("resv.sum", "devices"), ("mem.high", "memory"), ("plasma.arrow", "shm"),
        ("numa.node", "cpus"), ("jit.workdir", "storage"), ("limit.pids", "limits"), ("cuda.headers", "tools"),
        ("requires.package", "target"), ("requires.host-memory", "memory"),
        ("value.unit", "settings"), ("name.dead", "settings"), ("together.dtr", "settings"), ("shell.beaten", "settings"),
    ],
)  # fmt: skip
def test_each_code_has_a_topic(code, shown):
    assert topic(code) == shown


# What was measured.

A100 = Card(0, name="A100", total=40 * GIB)


@pytest.mark.parametrize(
    ("name", "facts", "text", "known"),
    [
        ("devices", HostFacts(devices=Devices("none")), "no GPU, and no driver of one", True),
        ("devices", HostFacts(devices=Devices(problem="it hung")), "GPUs cannot be measured here: it hung", False),
        ("devices", HostFacts(devices=Devices("nvml", driver="535")), "the driver shows no GPU, driver 535 (by nvml)", True),
        ("devices", HostFacts(devices=Devices("nvml", "nvidia", (A100, A100))), "2 x A100 40.0 GiB (by nvml)", True),
        ("devices", HostFacts(devices=Devices("proc", "nvidia", (Card(0),))), "1 x GPU of unknown memory (by proc)", False),
        (
            "devices",
            HostFacts(devices=Devices("nvml", "nvidia", (A100._replace(mig=True, slices=(Slice("MIG-1"),)),))),
            "1 x A100 40.0 GiB in 1 MIG slice (by nvml)",
            True,
        ),
        ("memory", HostFacts(memory=Memory(8 * GIB, 4 * GIB, cgroups="v2")), "8.0 GiB, 4.0 GiB available, no limit", True),
        ("memory", HostFacts(memory=Memory(8 * GIB)), "8.0 GiB; limits cannot be measured here", False),
        (
            "memory",
            HostFacts(memory=Memory(8 * GIB, limit=Limit(GIB, "memory.max", "/j"), high=Limit(GIB >> 1, "memory.high"))),
            "8.0 GiB, limit 1.0 GiB (memory.max in /j), throttled above 512 MiB (memory.high)",
            True,
        ),
        ("shm", HostFacts(shared_memory=SharedMemory()), "/dev/shm is not mounted", True),
        ("shm", HostFacts(shared_memory=SharedMemory("tmpfs", 64 << 20, 0)), "/dev/shm 64 MiB (tmpfs), 0 MiB free", True),
        ("shm", HostFacts(shared_memory=SharedMemory("tmpfs")), "/dev/shm cannot be measured here", False),
        (
            "cpus",
            HostFacts(cpus=Cpus(8, (0, 1), ((0, 1),), Quota(1.5, "cpu.max", "/j"), (Node(0, (0,)), Node(1, (1,))))),
            "1 usable of 8, 1 physical core, 2 NUMA nodes, quota of 1.5 CPUs (cpu.max in /j)",
            True,
        ),
        ("limits", HostFacts(limits=Limits(Rlimit(1024, None), pids=Limit(9, "pids.max"))), "nofile 1024, pids 9 (pids.max)", True),
        ("limits", HostFacts(limits=Limits(memlock=Rlimit(None, None))), "memlock unlimited", False),
        ("tools", HostFacts(tools=(Tool("ninja", "/bin/ninja"), Tool("nvcc"))), "ninja; not there: nvcc", True),
    ],
)  # fmt: skip
def test_what_was_measured_is_a_line_and_what_was_not_is_said(name, facts, text, known):
    assert TOPICS[name](facts) == (text, known)
