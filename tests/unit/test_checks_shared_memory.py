"""``/dev/shm``: what the stores of a DataLoader need is held against what is there; nothing is said of what is unknown."""

import pytest

from mgelaunch.checks.shared_memory import SHARED_MEMORY
from mgelaunch.host.facts import HostFacts, Limit, Memory, SharedMemory, Store

PLASMA, DEBUG = "MGE_PLASMA_MEMORY", "MGE_DATALOADER_PLASMA_DEBUG"
MIB, GIB = 1 << 20, 1 << 30
NEED_4G = '[requires]\nshared-memory = "4GiB"'
NEED_1G = '[requires]\nshared-memory = "1GiB"'


def found(situation, code=""):
    """The findings of this topic, or those of one code."""
    findings = [finding for check in SHARED_MEMORY for finding in check(situation)]
    return [finding for finding in findings if finding.code == code or not code]


def kinds(situation, code):
    return [(finding.severity, finding.about) for finding in found(situation, code)]


def host(size=None, free=None, kind="tmpfs", writable=True, **more):
    """A host whose ``/dev/shm`` has `size` bytes, all of them free unless said otherwise."""
    memory = Memory(**more.pop("memory", {}))
    return HostFacts(memory, shared_memory=SharedMemory(kind, size, size if free is None else free, writable), **more)


INFO, WARNING, ERROR = ("info", "host"), ("warning", "job"), ("error", "job")


def test_nothing_is_said_of_an_unknown_host(situation):
    assert found(situation(sets=((PLASMA, "8TiB"),))) == []


# shm.present.


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        pytest.param(HostFacts(shared_memory=SharedMemory()), "/dev/shm is missing", id="missing"),
        pytest.param(host(GIB, kind="overlay"), "/dev/shm is on overlay", id="a disk"),
        pytest.param(host(GIB, writable=False), "/dev/shm is not writable", id="not writable"),
    ],
)
@pytest.mark.parametrize(
    ("said", "profile", "kind"),
    [
        pytest.param((), "", INFO, id="nobody relies on it"),
        pytest.param(((PLASMA, "64MiB"),), "", WARNING, id="a plasma setting"),
        pytest.param(((DEBUG, "1"),), "", WARNING, id="another plasma setting"),
        pytest.param((), NEED_1G, WARNING, id="a profile requires it"),
    ],
)
def test_shared_memory_that_cannot_be_used_is_a_warning_where_it_is_relied_on(
    situation, facts, why, said, profile, kind
):
    situation.project.profile("p", profile)
    (finding,) = found(situation("p", sets=said, facts=facts), "shm.present")
    assert (finding.severity, finding.about) == kind
    assert finding.message.startswith(why)
    assert finding.remedy.startswith("mount ")


@pytest.mark.parametrize("writable", [True, None])
def test_a_tmpfs_that_can_be_written_is_fine(situation, writable):
    assert found(situation(facts=host(64 * GIB, writable=writable))) == []


# shm.size.


@pytest.mark.parametrize(
    ("ranks", "store", "free", "fits"),
    [
        (1, 900 * MIB, 1000 * MIB, True),
        (1, 900 * MIB + 1, 1000 * MIB, False),
        (2, 450 * MIB, 1000 * MIB, True),
        (2, 451 * MIB, 1000 * MIB, False),
        (8, 4 * GIB, 36 * GIB, True),
        (8, 4 * GIB, 35 * GIB, False),
    ],
)
def test_the_stores_of_all_local_ranks_must_fit_into_nine_tenths_of_what_is_free(situation, ranks, store, free, fits):
    job = situation(local_ranks=ranks, sets=((PLASMA, str(store)),), facts=host(64 * GIB, free))
    assert kinds(job, "shm.size") == ([] if fits else [WARNING])


@pytest.mark.parametrize(("ranks", "free", "fits"), [(1, 5 * GIB, True), (1, 4 * GIB, False), (2, 8 * GIB, False)])
def test_four_gib_count_for_each_rank_that_says_nothing_but_only_as_a_fact_of_the_host(situation, ranks, free, fits):
    job = situation(local_ranks=ranks, facts=host(64 * GIB, free))
    assert kinds(job, "shm.size") == ([] if fits else [INFO])


def test_the_message_has_the_numbers_who_uses_it_and_what_would_happen(situation):
    job = situation(local_ranks=8, sets=((PLASMA, "4GiB"),), facts=host(32 * GIB, 16 * GIB))
    (finding,) = found(job, "shm.size")
    assert finding.message == (
        "MGE_PLASMA_MEMORY needs 8 x 4.0 GiB = 32.0 GiB, and /dev/shm has 16.0 GiB free of 32.0 GiB; "
        'only DataLoader workers (num_workers > 0) use it, and these workers would die with "Bus error"'
    )
    assert finding.remedy == "-e MGE_PLASMA_MEMORY=1638MiB  or  docker run --shm-size=40g"
    assert (finding.names, finding.place) == ((PLASMA,), "--set")


@pytest.mark.parametrize("ranks", [1, 3, 8])
@pytest.mark.parametrize("free", [16 * GIB, 3 * GIB, 160 * MIB])
@pytest.mark.parametrize("memory", [{}, {"available": 2 * GIB}, {"limit": Limit(GIB, "memory.max")}])
def test_a_store_of_the_suggested_size_fits_and_is_not_too_small(situation, ranks, free, memory):
    said = {"local_ranks": ranks, "sets": ((PLASMA, "16GiB"),), "facts": host(16 * GIB, free, memory=memory)}
    for finding in found(situation(**said)):
        (repaired,) = situation.repaired(finding, **said)
        assert found(repaired) == []


@pytest.mark.parametrize("need", [GIB, 4 * GIB, 5 * GIB + 1, 33 * GIB])
def test_a_container_with_the_suggested_shared_memory_has_room(situation, need):
    (finding,) = found(situation(sets=((PLASMA, str(need)),), facts=host(64 * MIB)), "shm.size")
    gib = int(finding.remedy.rpartition("--shm-size=")[2].removesuffix("g"))
    assert found(situation(sets=((PLASMA, str(need)),), facts=host(gib * GIB)), "shm.size") == []


@pytest.mark.parametrize(
    ("free", "sized"), [(20 * MIB, True), (20 * MIB - 1, False), (0, False)], ids=["16 MiB", "less", "nothing"]
)
@pytest.mark.parametrize("ranks", [1, 8])
def test_no_size_below_16_mib_is_suggested(situation, free, sized, ranks):
    job = situation(local_ranks=ranks, sets=((PLASMA, "1GiB"),), facts=host(GIB, free * ranks))
    (finding,) = found(job, "shm.size")
    assert finding.remedy.startswith("-e MGE_PLASMA_MEMORY=16MiB  or  docker run " if sized else "docker run ")


@pytest.mark.parametrize(("available", "remedy"), [(20 * MIB, "-e MGE_PLASMA_MEMORY=16MiB"), (20 * MIB - 1, "")])
def test_nor_is_it_where_memory_is_what_lacks(situation, available, remedy):
    job = situation(sets=((PLASMA, "1GiB"),), facts=host(64 * GIB, memory={"available": available}))
    assert [finding.remedy for finding in found(job, "shm.mem")] == [remedy]


def test_of_a_disk_at_dev_shm_only_its_kind_is_said(situation):
    job = situation(sets=((PLASMA, "8GiB"),), facts=host(GIB, kind="overlay"))
    assert [finding.code for finding in found(job)] == ["shm.present"]


def test_a_wrong_size_is_not_held_against_the_host(situation):
    assert found(situation(sets=((PLASMA, "much"),), facts=host(GIB)), "shm.size") == []


@pytest.mark.parametrize(
    ("said", "size", "free", "installed", "kind"),
    [
        pytest.param("8GiB", 8 * GIB, 8 * GIB, (), WARNING, id="as much as there is"),
        pytest.param("8GiB", 8 * GIB - 1, 8 * GIB - 1, (), ERROR, id="more than there is"),
        pytest.param("8GiB", GIB, GIB, ("megengine", "torch"), ERROR, id="more than there is, for megengine"),
        pytest.param("8GiB", GIB, GIB, ("torch",), WARNING, id="more than there is, for torch alone"),
        pytest.param("8GiB", 64 * GIB, GIB, (), WARNING, id="more than is free"),
        pytest.param(None, 4 * GIB, 4 * GIB, (), WARNING, id="the default, as much as there is"),
        pytest.param(None, 2 * GIB, 2 * GIB, ("megengine", "torch"), WARNING, id="the default, more than there is"),
        pytest.param(None, 2 * GIB, 2 * GIB, ("torch",), INFO, id="torch alone, which has no such store"),
    ],
)
def test_a_chosen_size_above_what_there_is_is_an_error_where_a_profile_says_that_it_is_used(
    situation, said, size, free, installed, kind
):
    situation.project.profile("p", NEED_1G)
    job = situation(
        "p", sets=((PLASMA, said),) if said else (), facts=host(size, free), installed=dict.fromkeys(installed, "1")
    )
    assert kinds(job, "shm.size") == [kind]


def test_a_chosen_size_alone_is_no_error_because_a_script_may_have_no_workers(situation):
    assert kinds(situation(sets=((PLASMA, "8GiB"),), facts=host(GIB)), "shm.size") == [WARNING]


@pytest.mark.parametrize(
    ("size", "free", "little"),
    [(64 * MIB, 64 * MIB, True), (64 * MIB + 1, 64 * MIB, False), (64 * MIB, None, True)],
    ids=["as in a container", "more", "free space unknown"],
)
def test_a_small_shared_memory_is_a_fact_of_the_host_though_the_store_fits(situation, size, free, little):
    facts = HostFacts(shared_memory=SharedMemory("tmpfs", size, free))
    findings = found(situation(sets=((PLASMA, "16MiB"),), facts=facts), "shm.small")
    assert [(f.severity, f.about, f.names) for f in findings] == [("info", "host", ())] * little
    assert all("64 MiB in all" in finding.message for finding in findings)


@pytest.mark.parametrize("said", [(), ((PLASMA, "64MiB"),)], ids=["the default", "a size"])
def test_it_is_not_said_twice_that_shared_memory_is_too_small(situation, said):
    job = situation(sets=said, facts=host(64 * MIB))
    assert (len(found(job, "shm.size")), found(job, "shm.small")) == (1, [])


def test_of_a_size_that_is_wrong_the_host_is_told_all_the_same_that_its_shared_memory_is_small(situation):
    assert kinds(situation(sets=((PLASMA, "much"),), facts=host(64 * MIB)), "shm.small") == [INFO]


@pytest.mark.parametrize("shared", [None, SharedMemory("tmpfs"), SharedMemory("overlay", MIB, MIB), SharedMemory()])
def test_a_shared_memory_whose_size_is_not_known_is_not_called_small(situation, shared):
    assert found(situation(sets=((PLASMA, "16MiB"),), facts=HostFacts(shared_memory=shared)), "shm.small") == []


# plasma.value.


@pytest.mark.parametrize(("store", "few"), [(str(16 * MIB), False), (str(16 * MIB - 1), True), ("1000000", True)])
def test_a_store_below_16_mib_is_a_warning(situation, store, few):
    said = {"sets": ((PLASMA, store),)}
    findings = found(situation(**said))
    assert [(f.severity, f.code, f.names, f.place) for f in findings] == (
        [("warning", "plasma.value", (PLASMA,), "--set")] if few else []
    )
    for finding in findings:
        assert [found(job) for job in situation.repaired(finding, **said)] == [[]]


@pytest.mark.parametrize("said", [(), ((PLASMA, "much"),), ((PLASMA, "0"),)], ids=["not set", "no size", "refused"])
def test_a_store_without_a_size_is_not_called_small(situation, said):
    assert found(situation(sets=said), "plasma.value") == []


# shm.mem.


@pytest.mark.parametrize(
    ("memory", "bound"),
    [
        pytest.param({"limit": Limit(2 * GIB, "memory.max", "/job")}, "memory.max in /job", id="limit"),
        pytest.param({"limit": Limit(2 * GIB, "SLURM_MEM_PER_NODE")}, "SLURM_MEM_PER_NODE", id="granted"),
        pytest.param({"available": 2 * GIB}, "2.0 GiB of memory are available", id="available"),
        pytest.param({"limit": Limit(9 * GIB, "memory.max"), "available": 2 * GIB}, "available", id="both"),
    ],
)
@pytest.mark.parametrize(("store", "fits"), [(GIB, True), (GIB + MIB, False)])
def test_the_stores_must_fit_into_memory_as_well(situation, memory, bound, store, fits):
    job = situation(ranks=2, sets=((PLASMA, str(store)),), facts=host(64 * GIB, memory=memory))
    assert kinds(job, "shm.mem") == ([] if fits else [WARNING])
    assert all(bound in finding.message for finding in found(job, "shm.mem"))


def test_a_default_above_memory_is_a_fact_of_the_host(situation):
    facts = host(64 * GIB, memory={"available": 3 * GIB})
    assert kinds(situation(facts=facts), "shm.mem") == [INFO]


# [requires] shared-memory.


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(host(64 * GIB), [], id="enough"),
        pytest.param(host(4 * GIB), [], id="just enough"),
        pytest.param(host(4 * GIB - 1), [("error", "requires.shared-memory")], id="too small"),
        pytest.param(host(8 * GIB, 4 * GIB - 1), [("warning", "requires.shared-memory")], id="too full"),
        pytest.param(HostFacts(), [("warning", "requires.unchecked")], id="unknown"),
        pytest.param(HostFacts(shared_memory=SharedMemory("tmpfs")), [("warning", "requires.unchecked")], id="no size"),
        pytest.param(HostFacts(shared_memory=SharedMemory()), [("error", "requires.shared-memory")], id="missing"),
        pytest.param(host(64 * GIB, memory={"limit": Limit(4 * GIB, "memory.max")}), [], id="just enough memory"),
        pytest.param(
            host(64 * GIB, memory={"limit": Limit(4 * GIB - 1, "memory.max")}),
            [("error", "requires.shared-memory")],
            id="a memory limit below it",
        ),
    ],
)
def test_required_shared_memory_is_held_against_its_size_and_the_memory_limit(situation, facts, expected):
    situation.project.profile("p", NEED_4G)
    findings = [finding for finding in found(situation("p", facts=facts)) if finding.code.startswith("requires.")]
    assert [(finding.severity, finding.code) for finding in findings] == expected
    assert all(finding.place.startswith(".mgelaunch/p.toml:2:") and finding.remedy for finding in findings)


@pytest.mark.parametrize("used", [0, 3 * GIB])
@pytest.mark.parametrize("size", [GIB, 5 * GIB])
def test_a_container_with_the_suggested_shared_memory_meets_the_profile(situation, size, used):
    situation.project.profile("p", NEED_4G)
    findings = found(situation("p", facts=host(size, max(0, size - used))), "requires.shared-memory")
    for finding in findings:
        grown = int(finding.remedy.rpartition("=")[2].removesuffix("g")) * GIB
        free = grown - used if finding.severity == "warning" else grown
        assert found(situation("p", facts=host(grown, free)), "requires.shared-memory") == []
    assert bool(findings) == (size == GIB or used > 0)


@pytest.mark.parametrize(
    ("source", "remedy"), [("memory.max", "docker run --memory=4g"), ("SLURM_MEM_PER_NODE", "sbatch --mem=4G")]
)
def test_more_memory_is_asked_for_where_the_limit_comes_from(situation, source, remedy):
    situation.project.profile("p", NEED_4G)
    facts = host(64 * GIB, memory={"limit": Limit(GIB, source)})
    assert [finding.remedy for finding in found(situation("p", facts=facts), "requires.shared-memory")] == [remedy]


# shm.stale.


@pytest.mark.parametrize(
    ("stores", "message", "remedy"),
    [
        pytest.param(
            (Store(12, 2 * GIB),),
            "a plasma store of earlier runs (process 12) still holds 2.0 GiB of /dev/shm",
            "kill 12",
            id="one",
        ),
        pytest.param(
            (Store(12, GIB), Store(34), Store(56, GIB)),
            "3 plasma stores of earlier runs (process 12, 34, 56) still hold 2.0 GiB of /dev/shm",
            "kill 12 34 56",
            id="several",
        ),
        pytest.param(
            (Store(12),),
            "a plasma store of earlier runs (process 12) still holds memory of /dev/shm",
            "kill 12",
            id="unseen",
        ),
    ],
)
@pytest.mark.parametrize(
    ("said", "installed", "kind"),
    [
        pytest.param((), {"megengine": "1.13.0"}, WARNING, id="megengine"),
        pytest.param(((PLASMA, "64MiB"),), {}, WARNING, id="a plasma setting"),
        pytest.param(((DEBUG, "1"),), {}, WARNING, id="another plasma setting"),
        pytest.param((), {"torch": "2.9.1"}, INFO, id="torch alone"),
    ],
)
def test_stores_that_outlived_their_rank_are_a_warning_to_jobs_that_may_start_one(
    situation, stores, message, remedy, said, installed, kind
):
    (finding,) = found(situation(sets=said, installed=installed, facts=HostFacts(stores=stores)))
    assert (finding.severity, finding.about) == kind
    assert (finding.code, finding.message, finding.remedy) == ("shm.stale", message, remedy)


def test_no_store_is_no_warning(situation):
    assert found(situation(facts=HostFacts(stores=()))) == []


# cgroup2.loader.


@pytest.mark.parametrize(
    ("said", "profile", "kind"),
    [
        pytest.param((), "", INFO, id="nobody relies on it"),
        pytest.param(((PLASMA, "64MiB"),), "", WARNING, id="a plasma setting"),
        pytest.param(((DEBUG, "1"),), "", WARNING, id="another plasma setting"),
        pytest.param((), NEED_1G, WARNING, id="a profile requires shared memory"),
    ],
)
def test_without_the_v1_limit_file_every_loader_with_workers_fails(situation, said, profile, kind):
    situation.project.profile("p", profile)
    job = {"sets": said, "facts": HostFacts(Memory(v1_limit_file=False))}
    (finding,) = found(situation("p", **job), "cgroup2.loader")
    assert (finding.severity, finding.about) == kind
    assert "every MegEngine DataLoader with num_workers > 0 raises ValueError on this host" in finding.message
    assert finding.remedy == "--fix cgroup2-dataloader"
    assert found(situation("p", **job, fixes=["cgroup2-dataloader"]), "cgroup2.loader") == []


@pytest.mark.parametrize("there", [True, None])
def test_with_the_v1_limit_file_or_without_knowledge_of_it_nothing_is_said(situation, there):
    assert found(situation(sets=((PLASMA, "64MiB"),), facts=HostFacts(Memory(v1_limit_file=there)))) == []


# plasma.arrow.


@pytest.mark.parametrize(
    ("versions", "lacking"),
    [
        ({"megengine": "1.13.0", "pyarrow": "11.0.0"}, False),
        ({"megengine": "1.13.0", "pyarrow": "12.0.0"}, True),
        ({"megengine": "1.13.0", "pyarrow": "21.0.0.dev1"}, True),
        ({"megengine": "1.13.0", "pyarrow": "unknown"}, False),
        ({"megengine": "1.13.0"}, False),
        ({"pyarrow": "21.0.0"}, False),
    ],
    ids=["11", "12", "later", "unknown", "no pyarrow", "no megengine"],
)
@pytest.mark.parametrize(
    ("said", "thorough", "kind"),
    [
        ((), True, INFO),
        ((), False, None),
        (((PLASMA, "64MiB"),), False, WARNING),
        (((DEBUG, "1"),), False, WARNING),
        (((PLASMA, "64MiB"),), True, WARNING),
    ],
    ids=["check", "run", "a plasma setting", "another plasma setting", "a setting and check"],
)
def test_pyarrow_without_plasma_is_a_warning_where_a_plasma_setting_relies_on_it(
    situation, versions, lacking, said, thorough, kind
):
    findings = found(situation(sets=said, installed=versions, thorough=thorough))
    assert [(f.code, (f.severity, f.about), f.remedy) for f in findings] == (
        [("plasma.arrow", kind, "pip install 'pyarrow<12'")] if lacking and kind else []
    )


@pytest.mark.parametrize(
    ("said", "thorough", "looked"),
    [((), False, False), ((), True, True), (((DEBUG, "1"),), False, True)],
    ids=["a start without plasma settings", "check", "a plasma setting"],
)
def test_a_start_looks_at_the_target_for_it_only_when_a_plasma_setting_relies_on_it(situation, said, thorough, looked):
    asked = []
    job = situation(sets=said, thorough=thorough)._replace(installed=lambda names: asked.append(names) or {})
    assert found(job) == []
    assert bool(asked) == looked
