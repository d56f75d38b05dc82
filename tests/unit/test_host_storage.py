"""Directories that settings name, and ``/dev/shm``: what they lie on, and why they cannot be used."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.host.facts import Place, SharedMemory
from mgelaunch.host.files import Files
from mgelaunch.host.storage import read_places, read_shared_memory

NOW = 1_700_000_000.0
ROOT = "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw"


def line(point, kind, options="rw", of_file_system="rw", optional=""):
    """A line of mountinfo."""
    return f"30 1 0:30 / {point} {options}{optional} - {kind} source {of_file_system}"


@pytest.fixture
def host(tmp_path):
    """A function that makes a root with these mounts and directories."""

    def make(*lines, folders=()):
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/self/mountinfo").write_text("".join(f"{text}\n" for text in lines))
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        return Files(str(tmp_path))

    return make


def place(files, path):
    (found,) = read_places(files, [path], NOW)
    assert found.path == path
    return found


@pytest.mark.parametrize("kind", ["proc", "sysfs", "cgroup2"])
def test_nothing_can_be_made_in_the_kernels_own_file_systems(host, kind):
    """access(2) says yes to root there."""
    found = place(host(ROOT, line("/kernel", kind), folders=["kernel"]), "/kernel/cache")
    assert found.obstacle == f"/kernel is the kernel's own ({kind})"


# What a directory lies on.


@pytest.mark.parametrize(
    ("mounts", "path", "kind"),
    [
        ([ROOT], "/data/cache", "ext4"),
        ([ROOT, line("/data", "nfs4")], "/data/cache", "nfs4"),
        ([ROOT, line("/data", "lustre")], "/data", "lustre"),
        ([line("/", "overlay")], "/data/cache", "overlay"),
        ([line("/data", "tmpfs"), ROOT], "/data/cache", "tmpfs"),
        ([ROOT, line("/data", "nfs"), line("/data/cache", "xfs")], "/data/cache", "xfs"),
        ([ROOT, line("/data", "nfs"), line("/data/cache", "xfs")], "/data", "nfs"),
        ([ROOT, line("/data", "nfs"), line("/data", "tmpfs")], "/data/cache", "tmpfs"),
        ([ROOT, line("/dat", "nfs")], "/data/cache", "ext4"),
        ([ROOT, line("/data/cache2", "nfs")], "/data/cache", "ext4"),
        ([ROOT, line("/my\\040data", "fuse.sshfs")], "/my data", "fuse.sshfs"),
        ([ROOT, line("/data", "cifs", optional=" shared:1 master:2")], "/data", "cifs"),
        ([ROOT, "nonsense", line("/data", "nfs")], "/data", "nfs"),
        ([line("/elsewhere", "nfs")], "/data", ""),
        ([], "/data", ""),
    ],
    ids=[
        "root",
        "nfs",
        "lustre",
        "overlay",
        "listed before the root",
        "the deepest",
        "above the deepest",
        "the later of two",
        "part of a name",
        "a longer name",
        "an escaped blank",
        "optional fields",
        "a line that is none",
        "no mount above",
        "no mounts",
    ],
)
def test_the_type_is_that_of_the_deepest_and_latest_mount(host, mounts, path, kind):
    assert place(host(*mounts, folders=["data/cache", "my data"]), path).kind == kind


def test_the_type_is_that_of_where_a_link_leads(host, tmp_path):
    files = host(ROOT, line("/data", "nfs"), folders=["data", "home"])
    (tmp_path / "home/cache").symlink_to("../data")
    assert place(files, "/home/cache/new").kind == "nfs"


def test_space_and_inodes_are_those_of_the_nearest_ancestor(host, tmp_path):
    found, numbers = place(host(ROOT, folders=["data"]), "/data/new/far"), os.statvfs(tmp_path)
    assert found.existing == "/data"
    assert found.free == pytest.approx(numbers.f_bavail * numbers.f_frsize, abs=1 << 30)
    assert found.inodes == (pytest.approx(numbers.f_favail, abs=100_000) if numbers.f_files else None)


def test_places_come_in_the_order_in_which_they_were_asked_for(host):
    assert [found.path for found in read_places(host(ROOT), ["/b", "/a", "/b"], NOW)] == ["/b", "/a", "/b"]


# What is in the way.


@pytest.mark.parametrize("path", ["/data", "/data/", "/", "/data/new", "/data//new/far/below/", "/data/./new"])
def test_a_directory_that_is_there_or_can_be_made_has_no_obstacle(host, path):
    found = place(host(ROOT, folders=["data"]), path)
    assert (found.obstacle, found.read_only, found.writable) == ("", False, True)


@pytest.mark.parametrize("path", ["/data/file", "/data/file/below", "/data/file/far/below"])
def test_a_file_in_the_way_is_named(host, tmp_path, path):
    files = host(ROOT, folders=["data"])
    (tmp_path / "data/file").touch()
    assert place(files, path) == Place(path, "/data/file", "/data/file is not a directory")


@pytest.mark.parametrize("path", ["/data/gone", "/data/gone/below"])
def test_a_link_to_nothing_is_in_the_way(host, tmp_path, path):
    files = host(ROOT, folders=["data"])
    (tmp_path / "data/gone").symlink_to("nowhere")
    assert place(files, path) == Place(path, "/data/gone", "/data/gone is not a directory")


@pytest.mark.parametrize("path", ["/data", "/data/new/far"])
@pytest.mark.parametrize(("options", "of_file_system"), [("ro,nosuid", "rw"), ("rw", "ro,size=4k")])
def test_a_read_only_file_system_is_in_the_way_of_root_too(host, path, options, of_file_system):
    found = place(host(ROOT, line("/data", "nfs", options, of_file_system), folders=["data"]), path)
    assert found.obstacle == "/data is on a read-only file system"
    assert (found.read_only, found.writable) == (True, False)


def test_an_option_that_only_begins_like_read_only_is_another(host):
    files = host(ROOT, line("/data", "ext4", "rw,root=1", "rw,errors=remount-ro"), folders=["data"])
    assert place(files, "/data").read_only is False


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("path", ["/data", "/data/new"])
@pytest.mark.parametrize("mode", [0o555, 0o666, 0o000])
def test_a_directory_that_may_not_be_written_is_in_the_way(host, tmp_path, path, mode):
    files = host(ROOT, folders=["data"])
    (tmp_path / "data").chmod(mode)
    found = place(files, path)
    (tmp_path / "data").chmod(0o755)
    assert (found.obstacle, found.read_only, found.writable) == ("/data is not writable", False, False)


@pytest.mark.parametrize("path", ["", "data/cache", "~/cache"])
def test_of_a_path_that_is_not_absolute_nothing_is_known(host, path):
    assert place(host(ROOT, folders=["data"]), path) == Place(path)


def test_without_a_root_nothing_is_known(tmp_path):
    assert place(Files(str(tmp_path / "gone")), "/data") == Place("/data")


@pytest.mark.parametrize("path", ["/data/" + "a" * 300, "/data" + "/a" * 60_000, "/data/a\0b", "/data/\ud800"])
def test_a_path_that_no_kernel_takes_ends_at_what_is_there(host, path):
    assert place(host(ROOT, folders=["data"]), path).existing == "/data"


# Locks that nobody holds any more.


@pytest.fixture
def cache(host, tmp_path):
    """A function that puts files of some age, in seconds, below /cache, and lists the stale locks in it."""
    files = host(ROOT, folders=["cache"])

    def locks(path="/cache", **ages):
        for name, age in ages.items():
            file = tmp_path / "cache" / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            os.utime(file, (NOW - age, NOW - age))
        return place(files, path).stale_locks

    return locks


def test_old_locks_in_the_directory_and_one_level_below_are_stale(cache):
    found = cache(lock=3600, op__lock=601, op__deep__lock=3600, op__cache=3600, locks=3600, new__lock=10)
    assert found == ("/cache/lock", "/cache/op/lock")


@pytest.mark.parametrize(("age", "stale"), [(600, 0), (601, 1), (0, 0), (-100, 0), (1e9, 1)])
def test_a_lock_is_stale_after_ten_minutes(cache, age, stale):
    assert len(cache(lock=age)) == stale


def test_in_torchs_own_directory_locks_lie_a_level_deeper(tmp_path):
    lock = tmp_path / "cache/torch_extensions/py311_cpu/op/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (0, 0))
    (found,) = read_places(Files(str(tmp_path)), ["/cache/torch_extensions"], 3600)
    assert found.stale_locks == ("/cache/torch_extensions/py311_cpu/op/lock",)


def test_a_directory_that_is_yet_to_be_made_has_no_locks(cache):
    cache(lock=3600)
    assert cache("/cache/new") == ()


def test_a_slash_at_the_end_hides_no_locks(cache):
    assert cache("/cache/", lock=3600) == ("/cache/lock",)


def test_only_files_are_locks_and_only_directories_are_searched(cache, tmp_path):
    cache(elsewhere__lock=3600)
    (tmp_path / "cache/elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "cache/link").symlink_to("../elsewhere")
    (tmp_path / "cache/op/lock").mkdir(parents=True)
    os.utime(tmp_path / "cache/op/lock", (0, 0))
    assert cache() == ()


# Shared memory.


@pytest.mark.parametrize(
    ("mounts", "kind", "writable"),
    [
        ([ROOT, line("/dev/shm", "tmpfs")], "tmpfs", True),
        ([ROOT, line("/dev", "devtmpfs")], "devtmpfs", True),
        ([line("/", "overlay")], "overlay", True),
        ([ROOT, line("/dev/shm", "tmpfs", "ro")], "tmpfs", False),
        ([ROOT, line("/dev/shm", "tmpfs"), line("/dev/shm", "tmpfs", "rw", "ro")], "tmpfs", False),
        ([line("/elsewhere", "tmpfs")], "", True),
    ],
    ids=["tmpfs", "directory of /dev", "directory of the root", "read-only", "read-only on top", "unknown"],
)
def test_the_type_of_shared_memory_is_that_of_its_mount(host, tmp_path, mounts, kind, writable):
    found, numbers = read_shared_memory(host(*mounts, folders=["dev/shm"])), os.statvfs(tmp_path)
    assert (found.kind, found.writable) == (kind, writable)
    assert found.size == numbers.f_blocks * numbers.f_frsize
    assert found.free == pytest.approx(numbers.f_bavail * numbers.f_frsize, abs=1 << 30)


def test_shared_memory_that_is_a_link_has_the_type_of_where_it_leads(host, tmp_path):
    files = host(ROOT, line("/run", "tmpfs"), folders=["run/shm", "dev"])
    (tmp_path / "dev/shm").symlink_to("../run/shm")
    assert read_shared_memory(files).kind == "tmpfs"


@pytest.mark.parametrize("there", [False, True], ids=["nothing", "a file"])
def test_without_a_directory_there_is_no_shared_memory(host, tmp_path, there):
    files = host(ROOT, line("/dev/shm", "tmpfs"), folders=["dev"])
    if there:
        (tmp_path / "dev/shm").touch()
    assert read_shared_memory(files) == SharedMemory()


def test_without_mounts_nothing_is_known_of_shared_memory(host):
    assert read_shared_memory(host(folders=["dev/shm"])) is None


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no /dev/shm is mounted here")
def test_the_shared_memory_of_this_host_has_the_size_that_statvfs_tells():
    numbers = os.statvfs("/dev/shm")
    assert read_shared_memory(Files()).size == numbers.f_blocks * numbers.f_frsize


# Whatever is there.


@given(st.binary(max_size=300), st.text(max_size=60))
def test_no_mounts_and_no_path_are_too_strange(tmp_path_factory, mountinfo, path):
    folder = tmp_path_factory.mktemp("root")
    (folder / "proc/self").mkdir(parents=True)
    (folder / "dev/shm").mkdir(parents=True)
    (folder / "proc/self/mountinfo").write_bytes(mountinfo)
    files = Files(str(folder))
    assert [found.path for found in read_places(files, [path, f"/{path}"], NOW)] == [path, f"/{path}"]
    read_shared_memory(files)


fields = st.lists(
    st.sampled_from(["1", "0:1", "/", "/dev/shm", "/dev", "rw", "ro", "-", "", "tmpfs", "\\040", "\\777"])
)


@given(st.lists(fields.map(" ".join), max_size=5))
def test_no_line_of_the_mounts_is_too_strange(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("root")
    (folder / "proc/self").mkdir(parents=True)
    (folder / "dev/shm").mkdir(parents=True)
    (folder / "proc/self/mountinfo").write_text("\n".join(lines))
    files = Files(str(folder))
    assert read_places(files, ["/dev/shm/new"], NOW)[0].existing == "/dev/shm"
    read_shared_memory(files)
