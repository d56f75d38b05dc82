"""What profiles require of host memory, and the bounds of a host that a job may meet without knowing them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.checks.host_memory import HOST_MEMORY
from mgelaunch.host.facts import Card, Devices, HostFacts, Limit, Limits, Memory, Rlimit

MIB, GIB = 1 << 20, 1 << 30
PLASMA = "MGE_PLASMA_MEMORY"
CARD = Devices("nvml", "nvidia", (Card(0, total=8 * GIB),))


def findings(situation):
    return [finding for check in HOST_MEMORY for finding in check(situation)]


def told(situation):
    return [(finding.severity, finding.code, finding.about) for finding in findings(situation)]


def held(situation, memory, wanted="8GiB"):
    """What is said of a profile that requires `wanted` on a host with such memory."""
    situation.project.profile("p", f'[requires]\nhost-memory = "{wanted}"')
    return findings(situation("p", ranks=2, facts=HostFacts(memory)))


# What profiles require.


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        pytest.param(Memory(total=8 * GIB), [], id="exactly the host's"),
        pytest.param(Memory(total=8 * GIB - 1), [("error", "mem.limit")], id="a byte less"),
        pytest.param(Memory(64 * GIB, limit=Limit(8 * GIB, "memory.max", "/a")), [], id="exactly the limit"),
        pytest.param(
            Memory(64 * GIB, limit=Limit(8 * GIB - 1, "memory.max", "/a")), [("error", "mem.limit")], id="above it"
        ),
        pytest.param(Memory(limit=Limit(GIB, "memory.max")), [("error", "mem.limit")], id="only the limit is known"),
        pytest.param(Memory(total=64 * GIB, available=8 * GIB), [], id="exactly what is available"),
        pytest.param(Memory(64 * GIB, 8 * GIB - 1), [("warning", "mem.limit")], id="a byte more than is available"),
        pytest.param(Memory(64 * GIB, high=Limit(8 * GIB, "memory.high")), [("info", "mem.high")], id="the throttle"),
        pytest.param(Memory(64 * GIB, high=Limit(GIB, "memory.high")), [("warning", "mem.high")], id="above it, too"),
        pytest.param(Memory(64 * GIB, overcommit=2, commit_left=8 * GIB), [("info", "mem.overcommit")], id="promised"),
        pytest.param(
            Memory(64 * GIB, overcommit=2, commit_left=GIB), [("warning", "mem.overcommit")], id="not promised"
        ),
        pytest.param(Memory(64 * GIB, overcommit=0, commit_left=GIB), [], id="promises without a bound"),
        pytest.param(Memory(), [("warning", "requires.unchecked")], id="unknown"),
    ],
)
def test_all_ranks_together_must_find_the_memory(situation, memory, expected):
    found = held(situation, memory)
    assert [(finding.severity, finding.code) for finding in found] == expected
    assert {finding.place for finding in found if finding.severity != "info"} <= {".mgelaunch/p.toml:2:1"}


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        pytest.param(
            Memory(64 * GIB, limit=Limit(4 * GIB, "memory.max", "/docker/abc")),
            "the limit is 4.0 GiB (memory.max in /docker/abc; the host has 64.0 GiB)",
            id="a cgroup",
        ),
        pytest.param(Memory(4 * GIB), "this host has 4.0 GiB", id="the host"),
        pytest.param(Memory(4 * GIB, limit=Limit(6 * GIB, "memory.max")), "this host has 4.0 GiB", id="both"),
    ],
)
def test_what_sets_the_limit_is_named(situation, memory, words):
    (finding,) = held(situation, memory)
    assert finding.message == f"the profile requires 8.0 GiB of host memory, and {words}"


@pytest.mark.parametrize(
    ("memory", "remedy"),
    [
        (Memory(64 * GIB, limit=Limit(GIB, "memory.max", "/docker/abc")), "docker run --memory=8192m"),
        (Memory(64 * GIB, limit=Limit(GIB, "SLURM_MEM_PER_NODE")), "sbatch --mem=8192M"),
        (Memory(64 * GIB, limit=Limit(GIB, "memory.max", "/user.slice")), "--ignore mem.limit"),
        (Memory(4 * GIB, limit=Limit(GIB, "memory.max", "/docker/abc")), "--ignore mem.limit"),
        (Memory(4 * GIB), "--ignore mem.limit"),
    ],
    ids=["Docker", "Slurm", "somebody", "Docker on a small host", "nobody"],
)
def test_more_is_asked_of_whoever_limits_it(situation, memory, remedy):
    assert [finding.remedy for finding in held(situation, memory)] == [remedy]


# What is true of the host.


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        pytest.param(Memory(64 * GIB, available=64 * GIB // 10), [], id="a tenth"),
        pytest.param(Memory(64 * GIB, available=64 * GIB // 10 - 1), [("info", "mem.low", "host")], id="less"),
        pytest.param(Memory(4 * GIB, available=GIB), [], id="a gibibyte"),
        pytest.param(Memory(4 * GIB, available=GIB - 1), [("info", "mem.low", "host")], id="less than that"),
        pytest.param(Memory(64 * GIB, 2 * GIB, Limit(16 * GIB, "memory.max")), [], id="a tenth of the limit"),
        pytest.param(Memory(available=GIB - 1), [], id="of nobody knows what"),
        pytest.param(Memory(64 * GIB, high=Limit(GIB, "memory.high")), [("info", "mem.high", "host")], id="throttle"),
        pytest.param(
            Memory(64 * GIB, limit=Limit(GIB, "memory.max"), high=Limit(GIB, "memory.high")),
            [],
            id="a useless throttle",
        ),
        pytest.param(Memory(overcommit=2, commit_left=GIB), [("info", "mem.overcommit", "host")], id="strict"),
        pytest.param(Memory(overcommit=2), [], id="strict, and unknown"),
        pytest.param(
            Memory(64 * GIB, limit=Limit(GIB, "SLURM_MEM_PER_NODE"), granted=Limit(GIB, "SLURM_MEM_PER_NODE")),
            [("info", "mem.slurm", "job")],
            id="Slurm alone",
        ),
        pytest.param(
            Memory(64 * GIB, limit=Limit(GIB, "memory.max", "/slurm"), granted=Limit(2 * GIB, "SLURM_MEM_PER_NODE")),
            [],
            id="Slurm's cgroup is lower",
        ),
        pytest.param(Memory(), [], id="unknown"),
    ],
)
def test_what_is_merely_true_of_the_host_is_a_note(situation, memory, expected):
    assert told(situation(facts=HostFacts(memory))) == expected


# Address space.


def bound(soft, hard=None, devices=None, data=None):
    """A host that bounds address space, and with `data` the data of a process (both limits)."""
    return HostFacts(limits=Limits(address_space=Rlimit(soft, hard), data=data), devices=devices)


@pytest.mark.parametrize(
    ("facts", "store", "expected"),
    [
        pytest.param(bound(64 * GIB, devices=CARD), None, 1, id="a card"),
        pytest.param(bound(None, devices=CARD), None, 0, id="a card, unlimited"),
        pytest.param(bound(64 * GIB), None, 0, id="unknown cards"),
        pytest.param(bound(64 * GIB, devices=Devices("none")), None, 0, id="no card"),
        pytest.param(bound(4 * GIB), "4GiB", 0, id="a store that just fits"),
        pytest.param(bound(4 * GIB - 1), "4GiB", 1, id="a store that does not"),
        pytest.param(bound(4 * GIB - 1, devices=CARD), "4GiB", 2, id="both"),
        pytest.param(HostFacts(devices=CARD), "4GiB", 0, id="an unknown limit"),
        pytest.param(bound(None, data=Rlimit(GIB, None)), "4GiB", 0, id="a store is no data"),
        pytest.param(bound(None, None, CARD, Rlimit(GIB, None)), None, 1, id="a card, and data alone is bounded"),
        pytest.param(bound(None, None, CARD, Rlimit(None, None)), None, 0, id="a card, and data is not"),
    ],
)
def test_address_space_must_hold_cards_and_stores(situation, facts, store, expected):
    said = {"sets": ((PLASMA, store),) if store else (), "facts": facts}
    assert told(situation(**said)) == [("warning", "mem.rlimit", "job")] * expected


def test_a_smaller_store_is_offered(situation):
    said = {"sets": ((PLASMA, "4GiB"),), "facts": bound(2 * GIB)}
    (finding,) = findings(situation(**said))
    assert (finding.remedy, finding.place) == (f"-e {PLASMA}=1024MiB  or  ulimit -v unlimited", "--set")
    assert [findings(again) for again in situation.repaired(finding, **said)] == [[]]


@pytest.mark.parametrize(("hard", "remedy"), [(None, "ulimit -v unlimited"), (64 * GIB, "")])
def test_a_limit_is_lifted_only_where_it_may_be(situation, hard, remedy):
    assert [finding.remedy for finding in findings(situation(facts=bound(5 * GIB, hard, CARD)))] == [remedy]


@pytest.mark.parametrize(
    ("space", "data", "words", "remedy"),
    [
        pytest.param(
            6 * GIB, 5 * GIB, "ulimit -d allows each process 5.0 GiB of data", "ulimit -d unlimited", id="data"
        ),
        pytest.param(
            5 * GIB,
            6 * GIB,
            "ulimit -v allows each process 5.0 GiB of address space",
            "ulimit -v unlimited",
            id="space",
        ),
    ],
)
def test_the_lower_of_two_limits_is_named(situation, space, data, words, remedy):
    (finding,) = findings(situation(facts=bound(space, None, CARD, Rlimit(data, None))))
    assert (finding.message.partition(",")[0], finding.remedy) == (words, remedy)


@pytest.mark.parametrize(
    ("soft", "sets", "expected"),
    [
        pytest.param(4 * GIB - 1, (), [("info", "mem.rlimit", "host")], id="it does not fit"),
        pytest.param(4 * GIB, (), [], id="it just fits"),
        pytest.param(4 * GIB - 1, ((PLASMA, "1GiB"),), [], id="a smaller one is set"),
        pytest.param(4 * GIB - 1, ((PLASMA, "x"),), [], id="a wrong one is set"),
    ],
)
def test_the_store_that_a_loader_makes_by_default_is_a_note(situation, soft, sets, expected):
    said = {"sets": sets, "facts": bound(soft)}
    assert told(situation(**said)) == expected
    for finding in findings(situation(**said)):
        assert [findings(again) for again in situation.repaired(finding, **said)] == [[]]


# Whatever is said and measured.

AMOUNTS = st.none() | st.integers(0, 1 << 64)
LIMITS = st.none() | st.builds(Limit, st.integers(0, 1 << 64), st.sampled_from(["memory.max", "SLURM_MEM_PER_NODE"]))
MEMORIES = st.builds(
    Memory,
    total=AMOUNTS,
    available=AMOUNTS,
    limit=LIMITS,
    high=LIMITS,
    granted=LIMITS,
    overcommit=st.sampled_from([None, 0, 1, 2]),
    commit_left=AMOUNTS,
)


@settings(max_examples=60, deadline=None)
@given(
    memory=MEMORIES,
    soft=AMOUNTS,
    data=AMOUNTS,
    devices=st.sampled_from([None, CARD]),
    store=st.sampled_from(["4GiB", "1", "x", "", "99999999999999999999"]),
)
def test_no_check_ever_raises(new_situation, memory, soft, data, devices, store):
    situation = new_situation()
    situation.project.profile("p", '[requires]\nhost-memory = "6GiB"')
    facts = bound(soft, soft, devices, Rlimit(data, None))._replace(memory=memory)
    findings(situation("p", shell={PLASMA: store}, ranks=2, facts=facts))
