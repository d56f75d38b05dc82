"""Threads, workers and cards are held against the CPUs that are granted, and limits of the kernel against the ranks."""

import pytest

from mgelaunch.checks.kernel_limits import KERNEL_LIMITS
from mgelaunch.checks.processors import PROCESSORS
from mgelaunch.host.facts import Card, Cpus, HostFacts, Limit, Limits, Node, Quota, Rlimit
from mgelaunch.host.placement import Placement
from mgelaunch.host.visible import Unit

WORKERS, OMP, MKL, OPENBLAS = (
    "MGB_SUBLINEAR_MEMORY_WORKERS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


def found(situation, code=""):
    """The findings of these topics, or those of one code."""
    findings = [finding for check in (*PROCESSORS, *KERNEL_LIMITS) for finding in check(situation)]
    return [finding for finding in findings if finding.code == code or not code]


def cpus(allowed, online=None, quota=None, **more):
    """A host with CPUs numbered from 0."""
    granted = Quota(quota, "cpu.max", "/job") if quota is not None else None
    return HostFacts(cpus=Cpus(online, tuple(range(allowed)), quota=granted, **more))


# cpu.sublinear.


@pytest.mark.parametrize(("workers", "online", "refused"), [(32, 8, False), (33, 8, True), (5, 1, True), (4, 1, False)])
def test_more_workers_than_four_times_the_cpus_are_an_error(situation, workers, online, refused):
    findings = found(situation(sets=((WORKERS, str(workers)),), facts=HostFacts(cpus=Cpus(online))))
    assert [(f.severity, f.code, f.names, f.place) for f in findings] == (
        [("error", "cpu.sublinear", (WORKERS,), "--set")] if refused else []
    )


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("quota", [None, 4.9])
def test_workers_of_all_ranks_above_the_usable_cpus_are_a_warning(situation, ranks, quota):
    facts = cpus(4 if quota is None else 64, 64, quota)
    for workers, many in ((4 // ranks, False), (4 // ranks + 1, True)):
        findings = found(situation(sets=((WORKERS, str(workers)),), facts=facts, local_ranks=ranks), "cpu.sublinear")
        assert [finding.severity for finding in findings] == ["warning"] * many


@pytest.mark.parametrize("said", [(), ((WORKERS, "many"),)], ids=["not set", "wrong"])
def test_workers_that_are_not_set_or_wrong_are_not_counted(situation, said):
    assert found(situation(sets=said, facts=cpus(1, 1))) == []


@pytest.mark.parametrize("facts", [cpus(2, 32), cpus(32, 32), HostFacts(cpus=Cpus(32)), cpus(8, 8, 1.5)])
@pytest.mark.parametrize("ranks", [1, 4])
def test_what_is_suggested_for_too_many_workers_is_not_too_many(situation, facts, ranks):
    said = {"sets": ((WORKERS, "1000"),), "facts": facts, "local_ranks": ranks}
    (finding,) = found(situation(**said), "cpu.sublinear")
    (repaired,) = situation.repaired(finding, **said)
    assert found(repaired, "cpu.sublinear") == []


# cpu.threads.


@pytest.mark.parametrize("name", [OMP, MKL, OPENBLAS])
@pytest.mark.parametrize("ranks", [1, 4])
def test_more_threads_than_usable_cpus_are_a_warning(situation, name, ranks):
    for threads, many in ((8 // ranks, False), (8 // ranks + 1, True)):
        said = {"shell": {name: str(threads)}, "local_ranks": ranks, "facts": cpus(8)}
        findings = found(situation(**said), "cpu.threads")
        assert [(f.severity, f.names, f.remedy) for f in findings] == [
            ("warning", (name,), f"--threads {8 // ranks}")
        ] * many


def test_all_names_are_one_finding_with_the_largest_count(situation):
    (finding,) = found(situation(shell={OMP: "9", MKL: "16", OPENBLAS: "2"}, local_ranks=2, facts=cpus(8)))
    assert finding.message == (
        "2 ranks x 16 threads (OMP_NUM_THREADS, MKL_NUM_THREADS) are more than the 8 CPUs that this process may use"
    )


def test_a_quota_is_named_where_it_is_what_limits(situation):
    (finding,) = found(situation(shell={OMP: "4"}, facts=cpus(8, quota=3.5)), "cpu.threads")
    assert finding.message == "4 threads (OMP_NUM_THREADS) are more than the quota of 3.5 CPUs (cpu.max in /job)"


@pytest.mark.parametrize(("text", "many"), [("8,64", False), ("9,1", True)])
def test_of_nested_thread_counts_the_first_is_meant(situation, text, many):
    assert bool(found(situation(shell={OMP: text}, facts=cpus(8)))) == many


def test_one_thread_for_each_rank_is_never_too_many(situation):
    assert found(situation(shell={OMP: "1"}, local_ranks=64, facts=cpus(8))) == []


@pytest.mark.parametrize("layer", ["shell", "sets", "profile"])
@pytest.mark.parametrize(("ranks", "facts"), [(1, cpus(8)), (3, cpus(8)), (16, cpus(8)), (2, cpus(8, quota=0.5))])
def test_what_is_suggested_for_too_many_threads_is_not_too_many(situation, layer, ranks, facts):
    situation.project.profile("p", f'[env]\n{OMP} = "99"\n{MKL} = "99"' if layer == "profile" else "")
    texts = {OMP: "99", OPENBLAS: "99"}
    said = {"local_ranks": ranks, "facts": facts}
    if layer != "profile":
        said[layer] = texts if layer == "shell" else tuple(texts.items())
    (finding,) = found(situation("p", **said), "cpu.threads")
    (repaired,) = [situation("p", **{**said, "options": finding.remedy})]
    assert found(repaired, "cpu.threads") == []


# Whose the CPUs are.


@pytest.mark.parametrize(("name", "code"), [(WORKERS, "cpu.sublinear"), (OMP, "cpu.threads")])
@pytest.mark.parametrize(
    ("bound", "most"), [(True, 8), (False, 2)], ids=["this rank's alone", "shared with the other ranks"]
)
def test_cpus_that_a_launcher_gave_this_rank_alone_are_not_divided(situation, name, code, bound, most):
    for number, many in ((most, False), (most + 1, True)):
        said = {"sets": ((name, str(number)),), "local_ranks": 4, "bound": bound, "facts": cpus(8, 64)}
        findings = found(situation(**said), code)
        assert [finding.remedy for finding in findings] == [f"-e {name}={most}"] * many
        for finding in findings:
            assert finding.message.startswith("4 ranks x ") != bound
            assert [found(job, code) for job in situation.repaired(finding, **said)] == [[]]


# cpu.quota.


@pytest.mark.parametrize(("quota", "said"), [(None, []), (8.0, []), (9.0, []), (7.5, ["info"]), (0.5, ["info"])])
def test_a_quota_below_the_affinity_is_information(situation, quota, said):
    assert [finding.severity for finding in found(situation(facts=cpus(8, quota=quota)), "cpu.quota")] == said


# numa.node.

NODES = (Node(0, (0, 1, 2, 3)), Node(1, (4, 5, 6, 7)), Node(2, ()))


def on_cards(situation, facts, *cards):
    """A job whose ranks compute on these cards."""
    return situation(facts=facts)._replace(placements=tuple(Placement("card", Unit(card)) for card in cards))


def test_a_card_whose_node_has_no_cpu_of_ours_is_a_warning(situation):
    job = on_cards(situation, cpus(4, nodes=NODES), Card(0, node=0), Card(4, node=1), Card(4, node=1), Card(5, node=1))
    (finding,) = found(job, "numa.node")
    assert finding.severity == "warning"
    assert "card 4 at NUMA node 1, card 5 at NUMA node 1, and" in finding.message
    assert finding.remedy == "taskset -c 0-7 mgelaunch run"
    assert found(job._replace(facts=cpus(8, nodes=NODES)), "numa.node") == []


@pytest.mark.parametrize(
    ("facts", "card"),
    [
        pytest.param(cpus(5, nodes=NODES), Card(0, node=1), id="one of its CPUs is ours"),
        pytest.param(cpus(4, nodes=NODES), Card(0, node=-1), id="the only node there is"),
        pytest.param(cpus(4, nodes=NODES), Card(0, node=2), id="a node without CPUs"),
        pytest.param(cpus(4, nodes=NODES), Card(0, node=3), id="a node that is not known"),
        pytest.param(cpus(4, nodes=NODES), Card(0), id="the card's node is not known"),
        pytest.param(cpus(0, nodes=NODES), Card(0, node=1), id="our CPUs are not known"),
    ],
)
def test_no_other_card_is_mentioned(situation, facts, card):
    assert found(on_cards(situation, facts, card)) == []


@pytest.mark.parametrize("placement", [Placement("cpu"), Placement("card"), Placement("absent"), Placement("unknown")])
def test_without_a_known_card_there_is_no_node(situation, placement):
    assert found(situation(facts=cpus(4, nodes=NODES))._replace(placements=(placement,))) == []


# Limits of the kernel.


def limits(**values):
    """A host with these kernel limits."""
    return HostFacts(limits=Limits(**values))


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        (Rlimit(4096, 4096), None),
        (Rlimit(None, None), None),
        (Rlimit(4095, None), "ulimit -n 65536"),
        (Rlimit(1024, 1048576), "ulimit -n 65536"),
        (Rlimit(1024, 8192), "ulimit -n 8192"),
        (Rlimit(1024, 1024), "docker run --ulimit nofile=65536"),
        (Rlimit(0, 0), "docker run --ulimit nofile=65536"),
    ],
)
def test_few_open_files_are_a_fact_of_the_host(situation, limit, remedy):
    findings = found(situation(facts=limits(nofile=limit)))
    assert [(f.severity, f.code, f.about, f.remedy) for f in findings] == (
        [("info", "limit.nofile", "host", remedy)] if remedy else []
    )


THREADS = [
    pytest.param({}, Cpus(), 1, id="nothing is known"),
    pytest.param({}, cpus(16).cpus, 16, id="the usable CPUs"),
    pytest.param({}, cpus(16, quota=2.5).cpus, 2, id="a quota of them"),
    pytest.param({OMP: "4"}, cpus(16).cpus, 4, id="as told"),
    pytest.param({OMP: "5,2"}, cpus(16).cpus, 5, id="as told, nested"),
    pytest.param({OMP: "many"}, cpus(16).cpus, 16, id="told something wrong"),
    pytest.param({MKL: "4"}, cpus(16).cpus, 16, id="only another library is told"),
]


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(("said", "granted", "threads"), THREADS)
def test_each_rank_wants_room_for_64_tasks_and_its_threads(situation, ranks, said, granted, threads):
    need = ranks * (64 + threads)
    for room, short in ((need, False), (need - 1, True), (-1000, True)):
        kernel = Limits(pids=Limit(1000, "pids.max", "/docker/abc"), tasks=1000 - room)
        job = {"local_ranks": ranks, "shell": said, "facts": HostFacts(cpus=granted, limits=kernel)}
        findings = found(situation(**job), "limit.pids")
        assert [finding.severity for finding in findings] == ["warning"] * short
        for finding in findings:
            assert "pids.max in /docker/abc" in finding.message
            raised = kernel.pids._replace(amount=int(finding.remedy.removeprefix("docker run --pids-limit=")))
            repaired = HostFacts(cpus=granted, limits=kernel._replace(pids=raised))
            assert found(situation(**{**job, "facts": repaired}), "limit.pids") == []


@pytest.mark.parametrize(("said", "granted", "threads"), THREADS)
def test_so_must_the_users_limit_of_processes_leave(situation, said, granted, threads):
    need = 2 * (64 + threads)
    for limit, short in ((need, False), (need - 1, True)):
        facts = HostFacts(cpus=granted, limits=Limits(nproc=Rlimit(limit, None)))
        findings = found(situation(local_ranks=2, shell=said, facts=facts), "limit.nproc")
        assert [(f.severity, f.remedy) for f in findings] == [("warning", "ulimit -u 4096")] * short


def test_cpus_that_are_this_ranks_alone_make_no_fewer_threads_of_the_others(situation):
    for amount, short in ((4 * (64 + 8), False), (4 * (64 + 8) - 1, True)):
        facts = HostFacts(cpus=cpus(8).cpus, limits=Limits(nproc=Rlimit(amount, None)))
        assert bool(found(situation(local_ranks=4, bound=True, facts=facts), "limit.nproc")) == short


def test_where_nobody_knows_how_many_tasks_there_are_the_limit_alone_decides(situation):
    assert found(situation(facts=limits(pids=Limit(65, "pids.max")))) == []
    assert [finding.code for finding in found(situation(facts=limits(pids=Limit(64, "pids.max"))))] == ["limit.pids"]


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        (Rlimit(130, 130), None),
        (Rlimit(None, None), None),
        (Rlimit(129, None), "ulimit -u 4096"),
        (Rlimit(129, 200), "ulimit -u 200"),
        (Rlimit(129, 130), "ulimit -u 130"),
        (Rlimit(100, 129), "docker run --ulimit nproc=4096"),
        (Rlimit(0, 0), "docker run --ulimit nproc=4096"),
    ],
)
def test_the_users_limit_of_processes_is_raised_by_whoever_can(situation, limit, remedy):
    findings = found(situation(local_ranks=2, facts=limits(nproc=limit)))
    assert [(f.severity, f.code, f.remedy) for f in findings] == (
        [("warning", "limit.nproc", remedy)] if remedy else []
    )


@pytest.mark.parametrize(
    ("memlock", "infiniband", "ranks", "said", "names"),
    [
        pytest.param(Rlimit(8 << 20, None), True, 2, {}, (), id="two ranks"),
        pytest.param(Rlimit(8 << 20, None), True, 1, {"NCCL_IB_HCA": "mlx5"}, ("NCCL_IB_HCA",), id="a setting"),
        pytest.param(Rlimit(8 << 20, None), True, 1, {}, None, id="one rank and no setting"),
        pytest.param(Rlimit(8 << 20, None), True, 2, {"NCCL_IB_DISABLE": "1"}, None, id="switched off"),
        pytest.param(Rlimit(8 << 20, None), False, 2, {}, None, id="no InfiniBand"),
        pytest.param(Rlimit(None, None), True, 2, {}, None, id="no bound"),
        pytest.param(None, True, 2, {}, None, id="unknown"),
    ],
)
def test_locked_memory_is_needed_where_nccl_uses_infiniband(situation, memlock, infiniband, ranks, said, names):
    findings = found(situation(local_ranks=ranks, shell=said, facts=limits(memlock=memlock, infiniband=infiniband)))
    assert [(f.severity, f.code, f.names) for f in findings] == (
        [] if names is None else [("warning", "limit.memlock", names)]
    )


@pytest.mark.parametrize(("hard", "remedy"), [(None, "ulimit -l unlimited"), (1, "docker run --ulimit memlock=-1")])
def test_locked_memory_is_raised_by_whoever_can(situation, hard, remedy):
    facts = limits(memlock=Rlimit(1, hard), infiniband=True)
    assert [finding.remedy for finding in found(situation(ranks=2, facts=facts))] == [remedy]


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        (Rlimit(1, None), None),
        (Rlimit(None, None), None),
        (Rlimit(0, None), "ulimit -c unlimited"),
        (Rlimit(0, 4096), "ulimit -c 4"),
        (Rlimit(0, 0), "docker run --ulimit core=-1"),
    ],
)
def test_no_core_file_is_information(situation, limit, remedy):
    findings = found(situation(facts=limits(core=limit)))
    assert [(f.severity, f.code, f.remedy) for f in findings] == ([("info", "limit.core", remedy)] if remedy else [])
