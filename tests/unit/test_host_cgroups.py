"""Which control groups bind a process, and the CPU time and tasks that they grant, on trees of files."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgelaunch.host.cgroups import Chain, Group, chain, cpu_quota, kind, pids_limit
from mgelaunch.host.facts import Limit, Quota
from mgelaunch.host.files import Files
from mgelaunch.host.mounts import mounts

V2 = "/sys/fs/cgroup"


def v2(root="/", point=V2):
    """A line of mountinfo that shows version 2 from the group `root` on."""
    return f"35 24 0:30 {root} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def v1(controllers, root="/", point=""):
    """A line of mountinfo that shows the hierarchy of `controllers` of version 1."""
    return f"36 24 0:31 {root} {point or f'{V2}/{controllers}'} rw - cgroup cgroup rw,{controllers}\n"


@pytest.fixture
def tree(host_tree):
    """A function that writes a host: what the process is in, what is mounted, other files by their paths."""

    def write(groups, mounted, **files):
        host = host_tree({"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounted} | files.pop("files", {}))
        for mount in mounts(host):
            os.makedirs(host.real(mount.point), exist_ok=True)
        return host

    return write


def walked(files, controller="memory"):
    """The directories of a chain below the usual mount point, own first."""
    return [group.directory for group in chain(files, controller).groups]


def test_the_walk_goes_from_the_own_group_up_to_the_mount_point(tree):
    files = tree("0::/slurm/job1\n", v2(), files={f"{V2}/slurm/job1/memory.max": "max\n"})
    assert chain(files, "memory") == Chain(
        "v2", (Group(f"{V2}/slurm/job1", "/slurm/job1"), Group(f"{V2}/slurm", "/slurm"), Group(V2, "/"))
    )


@pytest.mark.parametrize(
    ("groups", "mounted", "own", "expected"),
    [
        ("0::/", v2(), "", [V2]),
        ("0::/a", v2("/a"), "", [V2]),
        ("0::/a/b/c", v2("/a"), "/b/c", [f"{V2}/b/c", f"{V2}/b", V2]),
        ("0::/", v2("/../../.."), "", [V2]),
        ("0::/../other", v2(), "/../other", [V2]),
        ("0::/gone", v2(), "", [V2]),
        ("0::/ab", v2("/a"), "b", [V2]),
        ("0::/a:b/c:d", v2(), "/a:b/c:d", [f"{V2}/a:b/c:d", f"{V2}/a:b", V2]),
        ("0::/a b", v2(), "/a b", [f"{V2}/a b", V2]),
        ("0::/a b/c", v2(r"/a\040b"), "/c", [f"{V2}/c", V2]),
        ("0::/x", v2(point=r"/mnt/c\040g"), "", ["/mnt/c g"]),
        ("0::/a\x0bb", v2(), "/a\x0bb", [f"{V2}/a\x0bb", V2]),
    ],
    ids=[
        "own-namespace",
        "own-group-is-the-mounts-root",
        "subtree-mounted",
        "namespace-with-the-old-mounts",
        "outside-the-namespace",
        "no-such-directory",
        "mere-prefix-of-a-name",
        "colons",
        "blank",
        "octal-escape-in-root",
        "octal-escape-in-mount-point",
        "odd-line-break-in-a-name",
    ],
)
def test_the_own_directory_is_the_mount_point_and_the_path_below_the_mounts_root(tree, groups, mounted, own, expected):
    files = tree(f"{groups}\n", mounted, files={f"{V2}{own}/memory.max": "max\n"})
    assert walked(files) == expected


def test_of_two_mounts_the_one_that_shows_more_ancestors_is_walked(tree):
    files = tree(
        "0::/docker/abc\n",
        v2(point="/rootfs/cgroup") + v2("/docker/abc"),
        files={f"{V2}/memory.max": "max\n", "/rootfs/cgroup/docker/abc/memory.max": "max\n"},
    )
    assert walked(files)[-1] == "/rootfs/cgroup"


@pytest.mark.parametrize("root", ["/", "/../.."], ids=["both-show-it", "neither-does"])
def test_of_two_mounts_that_show_as_much_the_later_is_walked(tree, root):
    mounted = v2(root, "/first") + v2(root, "/second")
    files = tree("0::/\n", mounted, files={"/first/memory.max": "1\n", "/second/memory.max": "2\n"})
    assert walked(files) == ["/second"]


def test_of_two_mounts_at_one_point_the_later_covers_the_earlier(tree):
    files = tree("0::/\n", v2() + v2("/../sibling"), files={f"{V2}/memory.max": "max\n"})
    assert [group.level for group in chain(files, "memory").groups] == ["/../sibling"]


def test_a_controller_that_a_line_of_version_1_names_is_not_looked_for_in_version_2(tree):
    files = tree(
        "4:memory:/a\n0::/b\n",
        v2(point=f"{V2}/unified") + v1("memory"),
        files={f"{V2}/memory/a/x": "", f"{V2}/unified/b/memory.max": "1\n"},
    )
    assert (chain(files, "memory").version, walked(files)) == ("v1", [f"{V2}/memory/a", f"{V2}/memory"])


def test_a_controller_that_no_line_of_version_1_names_is_looked_for_in_version_2(tree):
    files = tree("4:memory:/a\n0::/\n", v1("memory") + v2(point=f"{V2}/unified"))
    assert chain(files, "pids") == Chain("v2", (Group(f"{V2}/unified", "/"),))


def test_controllers_that_are_mounted_together_are_found_each(tree):
    files = tree("4:cpu,cpuacct:/\n", v1("cpu,cpuacct"))
    assert walked(files, "cpu") == walked(files, "cpuacct") == [f"{V2}/cpu,cpuacct"]


def test_of_a_mount_that_another_one_hides_nothing_is_known(host_tree):
    """As when /sys is mounted again over its parts: the kernel's list still has them."""
    host = host_tree({"/proc/self/cgroup": "4:memory:/job\n", "/proc/self/mountinfo": v1("memory")})
    assert chain(host, "memory").groups == ()
    assert kind(host) == ""


def test_a_controller_that_is_not_mounted_has_no_groups(tree):
    assert chain(tree("4:memory:/a\n", v1("cpu")), "memory") == Chain("v1", ())


def test_a_name_with_control_characters_is_shown_without_them(tree):
    files = tree("0::/a\x1b[2J\n", v2(), files={f"{V2}/a\x1b[2J/memory.max": "max\n"})
    assert chain(files, "memory").groups[0] == Group(f"{V2}/a\x1b[2J", "/a?[2J")


def test_a_name_that_is_not_utf_8_is_found(tree, tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/sys/fs/cgroup/\xff")
    assert chain(tree(b"0::/\xff\n", v2()), "memory").groups[0].level == "/?"


@pytest.mark.parametrize(
    ("groups", "mounted", "expected"),
    [
        ("0::/\n", v2(), "v2"),
        ("4:memory:/\n", v1("memory"), "v1"),
        ("4:memory:/\n0::/\n", v1("memory") + v2(point=f"{V2}/unified"), "hybrid"),
        ("1:name=systemd:/\n0::/\n", v2(), "v2"),
        ("1:name=systemd:/\n", "", "none"),
        ("4:memory:/\n", v1("cpu"), ""),
        ("0::/\n", "", ""),
        ("", v2(), ""),
        ("nonsense\n:::\n0::relative\n7::/\n", v2(), ""),
    ],
    ids=["v2", "v1", "hybrid", "named", "only-named", "unmounted-v1", "unmounted-v2", "empty", "nonsense"],
)
def test_the_kind_is_told_from_the_lines_and_unknown_when_the_memory_controller_is_not_mounted(
    tree, groups, mounted, expected
):
    assert kind(tree(groups, mounted)) == expected


def test_a_kernel_without_the_list_of_groups_has_none(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("22 27 0:21 / /proc rw - proc proc rw\n")
    assert kind(Files(str(tmp_path))) == "none"


def test_nothing_is_known_below_a_root_that_does_not_exist(tmp_path):
    files = Files(str(tmp_path / "absent"))
    assert (kind(files), chain(files, "memory"), cpu_quota(files), pids_limit(files)) == (
        "",
        Chain(),
        None,
        (None, None),
    )


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("150000 100000", "50000 100000", Quota(0.5, "cpu.max", "/slurm/job1")),
        ("50000 100000", "150000 100000", Quota(0.5, "cpu.max", "/slurm")),
        ("350000 100000", "max 100000", Quota(3.5, "cpu.max", "/slurm")),
        ("max", "200000", Quota(2.0, "cpu.max", "/slurm/job1")),
        ("max 100000", "max 100000", None),
        ("100000 100000", "100000 100000", Quota(1.0, "cpu.max", "/slurm/job1")),
        ("0 100000", "100000 0", None),
        ("-1 100000", "oops", None),
        ("1e5 100000", "", None),
    ],
    ids=["inner", "outer", "only-outer", "no-period", "none", "equal", "zero", "negative", "nonsense"],
)
def test_the_lowest_quota_of_version_2_counts(tree, outer, inner, expected):
    files = {f"{V2}/slurm/cpu.max": f"{outer}\n", f"{V2}/slurm/job1/cpu.max": f"{inner}\n"}
    assert cpu_quota(tree("0::/slurm/job1\n", v2(), files=files)) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("150000", "100000", Quota(1.5, "cpu.cfs_quota_us", "/docker")),
        ("-1", "100000", None),
        ("150000", "0", None),
        ("150000", "", None),
        ("0", "100000", None),
    ],
    ids=["1.5", "none", "no-period", "empty-period", "zero"],
)
def test_the_quota_of_version_1_is_divided_by_its_period(tree, quota, period, expected):
    files = {
        f"{V2}/cpu,cpuacct/docker/cpu.cfs_quota_us": f"{quota}\n",
        f"{V2}/cpu,cpuacct/docker/cpu.cfs_period_us": f"{period}\n",
        f"{V2}/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1\n",
    }
    assert cpu_quota(tree("3:cpu,cpuacct:/docker/abc\n0::/\n", v1("cpu,cpuacct"), files=files)) == expected


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("max", "100", (Limit(100, "pids.max", "/pod/c1"), 7)),
        ("50", "100", (Limit(50, "pids.max", "/pod"), 9)),
        ("50", "oops", (Limit(50, "pids.max", "/pod"), 9)),
        ("max", "max", (None, None)),
        (str(1 << 60), "-1", (None, None)),
    ],
    ids=["inner", "outer", "nonsense", "none", "boundless"],
)
def test_the_lowest_bound_of_tasks_counts_with_what_its_own_group_holds(tree, version, outer, inner, expected):
    base = V2 if version == "v2" else f"{V2}/pids"
    files = {
        f"{base}/pod/pids.max": f"{outer}\n",
        f"{base}/pod/pids.current": "9\n",
        f"{base}/pod/c1/pids.max": f"{inner}\n",
        f"{base}/pod/c1/pids.current": "7\n",
    }
    groups, mounted = ("0::/pod/c1\n", v2()) if version == "v2" else ("8:pids:/pod/c1\n", v1("pids"))
    assert pids_limit(tree(groups, mounted, files=files)) == expected


def test_a_bound_of_tasks_is_known_where_their_number_is_not(tree):
    assert pids_limit(tree("0::/\n", v2(), files={f"{V2}/pids.max": "64"})) == (Limit(64, "pids.max", "/"), None)


WORDS = (
    *b"max -1 0 7 : / .. 0::/ 4:cpu:/ 4:pids,memory:/a rw,cpu,pids cgroup cgroup2 /sys/fs/cgroup".split(),
    *(b" ", b"\n", b" - ", b"1 2 3 / ", b"\0", b"\xff", "²".encode(), "１".encode(), b"9" * 5000),
)
nonsense = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=nonsense, mounted=nonsense, content=st.tuples(*[nonsense] * 5), known=st.sampled_from(["", "v1", "v2"]))
def test_no_content_of_any_file_makes_a_reading_fail(tree, groups, mounted, content, known):
    groups = {"v1": b"4:cpu,pids:/a\n", "v2": b"0::/a\n"}.get(known, groups)
    mounted = {"v1": v1("cpu,pids", point=V2), "v2": v2()}.get(known, mounted)
    names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "pids.max", "pids.current")
    files = tree(groups, mounted, files={f"{V2}/a/{name}": text for name, text in zip(names, content)})
    quota, (pids, tasks) = cpu_quota(files), pids_limit(files)
    assert quota is None or quota.cpus > 0
    assert pids is None or 0 <= pids.amount < 1 << 60
    assert tasks is None or tasks >= 0
    assert kind(files) in {"", "none", "v1", "v2", "hybrid"}
    json.dumps((quota, pids, tasks, chain(files, "cpu")), allow_nan=False)
