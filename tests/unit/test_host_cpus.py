"""Which CPUs a process may use, how they form cores and nodes, and how local ranks share them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.host.cpus import listed, read_cpus, share, thread_share
from mgelaunch.host.facts import Cpus, Node, Quota
from mgelaunch.host.files import Files

SYSTEM = "sys/devices/system"


def tree(folder, siblings=(), nodes=(), online="", **more):
    """A fake root: the text of `thread_siblings_list` by CPU, of `cpulist` by node, and other files by path."""
    texts = {f"{SYSTEM}/cpu/cpu{cpu}/topology/thread_siblings_list": text for cpu, text in dict(siblings).items()}
    texts |= {f"{SYSTEM}/node/node{number}/cpulist": text for number, text in dict(nodes).items()}
    texts |= {f"{SYSTEM}/cpu/online": online, **more.get("texts", {})}
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Files(str(folder))


def pairs(cores):
    """Hyper-threads as most firmware numbers them: the second thread of a core is `cores` further on."""
    return {cpu: f"{cpu % cores},{cpu % cores + cores}\n" for cpu in range(2 * cores)}


# Reading.


def test_the_affinity_is_kept_in_order_and_what_is_no_cpu_is_left_out(tmp_path):
    assert read_cpus(tree(tmp_path), {3, 1, 2, -1}).allowed == (1, 2, 3)


def test_without_sysfs_only_the_affinity_is_known(tmp_path):
    assert read_cpus(Files(str(tmp_path)), [0, 1]) == Cpus(allowed=(0, 1))


def test_the_cpus_that_are_online_are_counted(tmp_path):
    assert read_cpus(tree(tmp_path, online="0-2,4\n"), [0]).online == 4


@pytest.mark.parametrize(
    ("siblings", "allowed", "cores"),
    [
        ({0: "0\n", 1: "1\n"}, [0, 1], ((0,), (1,))),
        (pairs(4), range(8), ((0, 4), (1, 5), (2, 6), (3, 7))),
        ({0: "0-1\n", 1: "0-1\n", 2: "2-3\n", 3: "2-3\n"}, range(4), ((0, 1), (2, 3))),
        (pairs(4), [1, 5, 6], ((1, 5), (6,))),
        ({0: "0-3\n", 4: "4-7\n"}, range(8), ((0, 1, 2, 3), (4, 5, 6, 7))),
        ({0: "0,1\n", 2: "1,2\n"}, [0, 1, 2], ((0, 1), (2,))),
    ],
    ids=["one thread", "far threads", "near threads", "part of a core allowed", "four threads", "contradicting"],
)
def test_allowed_cpus_are_grouped_by_core_and_each_is_in_one(tmp_path, siblings, allowed, cores):
    assert read_cpus(tree(tmp_path, siblings), allowed).cores == cores


@pytest.mark.parametrize("text", [None, "", "1\n", "many\n", "0-99999999\n"])
def test_no_core_is_known_when_that_of_one_cpu_is_not(tmp_path, text):
    siblings = {0: text, 1: "1\n"} if text is not None else {1: "1\n"}
    assert read_cpus(tree(tmp_path, siblings), [0, 1]).cores == ()


def test_the_file_of_a_core_is_read_once_and_not_for_each_of_its_threads(tmp_path):
    half = {cpu: text for cpu, text in pairs(64).items() if cpu < 64}
    assert len(read_cpus(tree(tmp_path, half), range(128)).cores) == 64


def test_cores_come_in_the_order_of_their_nodes(tmp_path):
    one_each = {cpu: f"{cpu}\n" for cpu in range(6)}
    read = read_cpus(tree(tmp_path, one_each, nodes={0: "1,3\n", 1: "0,2\n"}), range(6))
    assert read.cores == ((1,), (3,), (0,), (2,), (4,), (5,))


def test_nodes_are_sorted_as_numbers_and_keep_cpus_that_are_not_allowed(tmp_path):
    read = read_cpus(tree(tmp_path, nodes={10: "4-5\n", 2: "2-3\n", 0: "0-1\n"}), [0])
    assert read.nodes == (Node(0, (0, 1)), Node(2, (2, 3)), Node(10, (4, 5)))


def test_a_node_of_memory_alone_has_no_cpus_and_an_unreadable_one_is_left_out(tmp_path):
    read = read_cpus(tree(tmp_path, nodes={0: "0\n", 1: "\n", 2: "", 3: "x\n"}), [0])
    assert read.nodes == (Node(0, (0,)), Node(1, ()))


def test_other_entries_beside_the_nodes_are_no_nodes(tmp_path):
    texts = {
        f"{SYSTEM}/node/{name}/cpulist": "0\n" for name in ("possible", "node", "node-1", "nodex", "node" + "9" * 99)
    }
    assert read_cpus(tree(tmp_path, texts=texts), [0]).nodes == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0\n", 1),
        ("0-3,8,10-11\n", 7),
        ("0-8191\n", 8192),
        ("0-8192\n", None),
        ("0-999999999999\n", None),
        ("0-" + "9" * 5000, None),
        ("3-1\n", None),
        ("-1\n", None),
        ("0-\n", None),
        ("0,,1\n", None),
        ("0-2-4\n", None),
        ("2,1\n", None),
        ("0-8191," * 100_000, None),
        ("0x1\n", None),
        ("²\n", None),
        ("0\0\n", None),
        (b"\xff\xfe\n", None),
        ("\n", None),
    ],
    ids=range(18),
)
def test_a_list_of_cpus_is_read_whole_or_not_at_all(tmp_path, text, count):
    assert read_cpus(tree(tmp_path, online=text), [0]).online == count


@pytest.mark.parametrize(
    ("cpus", "text"),
    [((), ""), ((3,), "3"), ((0, 1, 2, 8), "0-2,8"), ((9, 1, 0, 7), "0-1,7,9"), (range(128), "0-127")],
    ids=["none", "one", "neighbours", "in any order", "many"],
)
def test_cpus_are_written_as_taskset_reads_them(cpus, text):
    assert listed(cpus) == text


@given(st.sets(st.integers(0, 8191), min_size=1, max_size=50))
def test_what_is_written_is_read_again(tmp_path_factory, cpus):
    assert read_cpus(tree(tmp_path_factory.mktemp("cpus"), online=listed(cpus)), [0]).online == len(cpus)


V2 = {"proc/self/cgroup": "0::/pod\n", "proc/self/mountinfo": "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n"}
V1 = {
    "proc/self/cgroup": "4:cpu,cpuacct:/job\n",
    "proc/self/mountinfo": "31 23 0:28 / /cg rw - cgroup cgroup rw,cpu,cpuacct\n",
}


@pytest.mark.parametrize(
    ("texts", "granted", "usable"),
    [
        (V2 | {"cg/pod/cpu.max": "350000 100000\n"}, 3.5, 3),
        (V2 | {"cg/pod/cpu.max": "50000 100000\n"}, 0.5, 1),
        (V2 | {"cg/pod/cpu.max": "3200000 100000\n"}, 32.0, 8),
        (V2 | {"cg/pod/cpu.max": "max 100000\n"}, None, 8),
        (V1 | {"cg/job/cpu.cfs_quota_us": "150000\n", "cg/job/cpu.cfs_period_us": "100000\n"}, 1.5, 1),
        (V1 | {"cg/job/cpu.cfs_quota_us": "-1\n", "cg/job/cpu.cfs_period_us": "100000\n"}, None, 8),
        ({}, None, 8),
    ],
    ids=["v2", "v2 below one", "v2 above the affinity", "v2 none", "v1", "v1 none", "no cgroups"],
)
def test_a_quota_bounds_the_usable_cpus(tmp_path, texts, granted, usable):
    read = read_cpus(tree(tmp_path, texts=texts), range(8))
    assert (read.quota and read.quota.cpus, read.usable) == (granted, usable)


texts = st.one_of(
    st.binary(max_size=200),
    st.text("0123456789-,\n max", max_size=40).map(str.encode),
    st.integers(1, 9).map(lambda digit: str(digit).encode() * 5000),
)


@given(texts, texts, texts, texts, texts, texts, texts)
def test_no_content_of_the_files_is_too_strange(tmp_path_factory, online, first, second, node, group, mountinfo, quota):
    folder = tmp_path_factory.mktemp("root")
    strange = {"proc/self/cgroup": group, "proc/self/mountinfo": mountinfo, "cg/pod/cpu.max": quota}
    read = read_cpus(tree(folder, {0: first, 1: second}, {0: node}, online, texts=strange), [0, 1])
    assert read.allowed == (0, 1)
    assert sorted(cpu for core in read.cores for cpu in core) in ([], [0, 1])


@given(texts)
def test_no_quota_is_too_strange(tmp_path_factory, quota):
    read = read_cpus(tree(tmp_path_factory.mktemp("root"), texts=V2 | {"cg/pod/cpu.max": quota}), [0, 1])
    assert read.usable in {1, 2}


# Sharing CPUs.

FLAT = Cpus(allowed=tuple(range(8)), cores=tuple((cpu,) for cpu in range(8)))
SMT = Cpus(allowed=tuple(range(8)), cores=((0, 4), (1, 5), (2, 6), (3, 7)))
NODES = Cpus(allowed=(0, 1, 2, 3), cores=((1,), (3,), (0,), (2,)))
UNKNOWN = Cpus(allowed=(2, 3, 5))


@pytest.mark.parametrize(
    ("cpus", "ranks", "shares"),
    [
        (FLAT, 1, [(0, 1, 2, 3, 4, 5, 6, 7)]),
        (FLAT, 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (FLAT, 3, [(0, 1, 2), (3, 4, 5), (6, 7)]),
        (SMT, 2, [(0, 1, 4, 5), (2, 3, 6, 7)]),
        (SMT, 3, [(0, 1, 4, 5), (2, 6), (3, 7)]),
        (SMT, 6, [(0, 4), (1, 5), (2,), (6,), (3,), (7,)]),
        (SMT, 8, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,)]),
        (SMT, 9, [()] * 9),
        (NODES, 2, [(1, 3), (0, 2)]),
        (UNKNOWN, 2, [(2, 3), (5,)]),
        (UNKNOWN, 4, [()] * 4),
        (Cpus(), 1, [()]),
    ],
    ids=[
        "one rank",
        "even",
        "uneven",
        "whole cores",
        "uneven cores",
        "more ranks than cores",
        "a thread each",
        "more ranks than CPUs",
        "by node",
        "cores unknown",
        "cores unknown, too many ranks",
        "nothing known",
    ],
)
def test_each_rank_gets_neighbouring_whole_cores_as_long_as_there_are_enough(cpus, ranks, shares):
    assert [share(cpus, rank, ranks) for rank in range(ranks)] == shares


@pytest.mark.parametrize(("rank", "ranks"), [(2, 2), (-1, 2), (0, 0), (0, -1)])
def test_a_rank_that_there_is_not_has_no_share(rank, ranks):
    assert share(FLAT, rank, ranks) == ()


@st.composite
def machines(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    numbers = iter(draw(st.permutations(range(sum(sizes)))))
    cores = tuple(tuple(sorted(next(numbers) for _ in range(size))) for size in sizes)
    return Cpus(allowed=tuple(range(sum(sizes))), cores=cores if draw(st.booleans()) else ())


@given(machines(), st.integers(1, 60))
def test_shares_are_disjoint_and_cover_all_and_none_is_empty(cpus, ranks):
    shares = [share(cpus, rank, ranks) for rank in range(ranks)]
    if ranks <= len(cpus.allowed):
        assert all(shares)
        assert sorted(cpu for own in shares for cpu in own) == list(cpus.allowed)
    else:
        assert not any(shares)


@given(machines(), st.integers(1, 12))
def test_a_core_is_never_divided_when_there_is_one_for_each_rank(cpus, ranks):
    if ranks <= len(cpus.cores):
        shares = [set(share(cpus, rank, ranks)) for rank in range(ranks)]
        assert all(sum(not own.isdisjoint(core) for own in shares) == 1 for core in cpus.cores)


# Sharing threads.


def machine(cores, threads=1, quota=None):
    allowed = tuple(range(cores * threads))
    grouped = tuple(tuple(range(core, cores * threads, cores)) for core in range(cores))
    return Cpus(allowed=allowed, cores=grouped, quota=Quota(quota, "cpu.max") if quota is not None else None)


@pytest.mark.parametrize(
    ("cpus", "ranks", "derived"),
    [
        (machine(16), 2, (8, "16 cores / 2")),
        (machine(16, threads=2), 2, (8, "16 cores / 2")),
        (machine(16), 3, (5, "16 cores / 3")),
        (machine(2), 8, (1, "2 cores / 8")),
        (machine(1), 2, (1, "1 core / 2")),
        (UNKNOWN, 2, (1, "3 CPUs / 2")),
        (machine(16, quota=8.0), 2, (4, "quota of 8 CPUs / 2")),
        (machine(16, quota=7.99), 2, (3, "quota of 7.99 CPUs / 2")),
        (machine(16, quota=0.5), 2, (1, "quota of 0.5 CPUs / 2")),
        (machine(16, quota=1.0), 2, (1, "quota of 1 CPU / 2")),
        (machine(16, threads=2, quota=24.0), 2, (8, "16 cores / 2")),
        (machine(16, quota=64.0), 2, (8, "16 cores / 2")),
        (Cpus(), 2, None),
        (Cpus(quota=Quota(4.0, "cpu.max")), 2, None),
        (machine(16), 0, None),
    ],
    ids=[
        "even",
        "cores count, not threads",
        "uneven",
        "more ranks than cores",
        "one core",
        "cores unknown",
        "quota",
        "whole CPUs of a quota",
        "quota below one",
        "quota of one",
        "quota between cores and threads",
        "quota above all",
        "nothing known",
        "only the quota known",
        "no rank",
    ],
)
def test_ranks_share_cores_and_no_more_than_the_quota(cpus, ranks, derived):
    assert thread_share(cpus, ranks) == derived


@pytest.mark.parametrize(
    ("cpus", "derived"),
    [
        (machine(16), None),
        (machine(16, quota=16.0), None),
        (machine(16, quota=64.0), None),
        (machine(16, quota=1.5), (1, "quota of 1.5 CPUs")),
        (machine(16, quota=0.25), (1, "quota of 0.25 CPUs")),
        (machine(4, threads=2, quota=6.0), (6, "quota of 6 CPUs")),
        (machine(8, quota=3.333333), (3, "quota of 3.33 CPUs")),
        (Cpus(), None),
    ],
    ids=["no quota", "all", "more than all", "less", "below one", "above the cores", "a third", "nothing known"],
)
def test_one_rank_is_left_alone_unless_a_quota_is_below_its_affinity(cpus, derived):
    assert thread_share(cpus, 1) == derived


@given(machines(), st.integers(1, 60), st.none() | st.floats(0.01, 100))
def test_threads_fit_the_cores_and_the_quota_unless_each_rank_has_one(cpus, ranks, quota):
    cpus = cpus._replace(quota=Quota(quota, "cpu.max") if quota else None)
    threads, label = thread_share(cpus, ranks) or (0, "left alone")
    assert label.isascii()
    if ranks > 1:
        assert threads >= 1
        assert threads == 1 or threads * ranks <= min(len(cpus.cores or cpus.allowed), quota or 100)
