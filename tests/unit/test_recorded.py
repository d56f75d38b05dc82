"""Facts travel as JSON: what is written is read again, and what is no facts is refused without a traceback."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.host.facts import (
    Card,
    CardProcess,
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
    Store,
    Tool,
)
from mgelaunch.host.recorded import NoFacts, from_document, to_document

EVERYTHING = HostFacts(
    memory=Memory(1 << 36, 1 << 35, Limit(1 << 34, "memory.max", "/job"), None, Limit(1, "SLURM_MEM_PER_NODE"), "v2", False),
    cpus=Cpus(8, (0, 1, 4), ((0, 4), (1,)), Quota(1.5, "cpu.max", "/job"), (Node(0, (0, 1)),)),
    shared_memory=SharedMemory("tmpfs", 1 << 26, 1 << 25, True),
    limits=Limits(Rlimit(1024, None), pids=Limit(100, "pids.max", "/job"), infiniband=True),
    storage=(Place("/cache", "/", "", "nfs4", False, True, 1 << 30, 1000, ("/cache/lock",)),),
    devices=Devices(
        "nvml",
        "nvidia",
        (
            Card(
                0, "GPU-1", "A100", "00000000:07:00.0", 1 << 35, 1 << 34, "exclusive-process", True,
                (Slice("MIG-1", 1 << 32),), "8.0", (CardProcess(42, None),), 0, True,
            ),
        ),
    ),
    tools=(Tool("ninja", "/usr/bin/ninja"), Tool("nvcc")),
    stores=(Store(7, 1 << 20),),
)  # fmt: skip


@pytest.mark.parametrize("facts", [EVERYTHING, HostFacts()], ids=["everything", "nothing"])
def test_what_is_written_is_read_again(facts):
    assert from_document(json.loads(json.dumps(to_document(facts)))) == facts


def test_the_document_of_check_is_facts_as_well():
    document = {"version": 1, "host": to_document(EVERYTHING), "findings": []}
    assert from_document(json.loads(json.dumps(document))) == EVERYTHING


def test_what_is_missing_is_unknown_and_what_is_new_is_left_out():
    assert from_document({"memory": {"total": 5, "news": {}}, "weather": "fine"}) == HostFacts(memory=Memory(total=5))


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "none of the keys"),
        ({}, "none of the keys"),
        ({"host": 5}, "none of the keys"),
        ({"memory": 5}, "host.memory is not an object"),
        ({"memory": {"total": -1}}, "host.memory.total is not a number from 0 on"),
        ({"memory": {"total": True}}, "host.memory.total is not a number from 0 on"),
        ({"memory": {"total": 1 << 70}}, "host.memory.total is not a number from 0 on"),
        ({"memory": {"cgroups": "v3"}}, "host.memory.cgroups is none of its words"),
        ({"memory": {"limit": {"amount": 1}}}, "host.memory.limit.source is missing"),
        ({"cpus": {"allowed": [0, "1"]}}, "host.cpus.allowed[1] is not a number from 0 on"),
        ({"cpus": {"quota": {"cpus": "2", "source": "cpu.max"}}}, "host.cpus.quota.cpus is not a number from 0 on"),
        ({"storage": {}}, "host.storage is not a list"),
        ({"devices": {"cards": [{"number": 0, "name": 7}]}}, "host.devices.cards[0].name is not of its type"),
    ],
)
def test_what_is_no_facts_is_refused_with_its_place(document, where):
    with pytest.raises(NoFacts) as refusal:
        from_document(document)
    assert where in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*HostFacts._fields, *Memory._fields, *Card._fields, *Devices._fields]), inner
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_document_makes_it_fail_in_another_way(document):
    with suppress(NoFacts):
        assert isinstance(from_document(document), HostFacts)
