"""Directories that settings name: what cannot be made or written, lies on a network or in memory, or is full."""

import pytest

from mgelaunch.checks.caches import CACHES, cache_directories
from mgelaunch.host.facts import HostFacts, Place
from mgelaunch.host.files import Files
from mgelaunch.host.storage import read_places

CACHE, FOLDER, XDG, HOME = "MGE_FASTRUN_CACHE_DIR", "MGE_HOME", "XDG_CACHE_HOME", "HOME"
TYPE = "MGE_FASTRUN_CACHE_TYPE"
OTHERS = ["CUDA_CACHE_PATH", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "MGE_CUSTOM_OP_DIR"]
WORKDIR = "MGB_JIT_WORKDIR"
MIB = 1 << 20
MEGENGINE, TORCH = {"megengine": "1.13.0"}, {"torch": "2.9.1"}
DEFAULT = "/home/me/.cache/megengine/persistent_cache"


def found(situation):
    """The findings of this topic."""
    return [finding for check in CACHES for finding in check(situation)]


def codes(situation):
    return [(finding.severity, finding.code) for finding in found(situation)]


def on(*places):
    """A host of which these places are known."""
    return HostFacts(storage=places)


def measured(situation, **said):
    """The situation with the directories measured that the checks ask for."""
    job = situation(**said)
    paths = [path for resolution in job.ranks for path in cache_directories(resolution)]
    return job._replace(facts=on(*read_places(Files(), paths, now=0)))


def repaired(situation, finding, **said):
    """The situations after each of the remedy's options, pasted into a shell."""
    return situation.repaired(finding._replace(remedy=finding.remedy.replace("$USER", "me")), **said)


# Which directories are measured.


@pytest.mark.parametrize(
    ("said", "paths"),
    [
        pytest.param({}, (), id="nothing is said"),
        pytest.param({CACHE: "/c", FOLDER: "/h", XDG: "/x", HOME: "/home/me"}, ("/c",), id="the cache itself"),
        pytest.param({FOLDER: "/h", XDG: "/x"}, ("/h/persistent_cache",), id="MegEngine's folder"),
        pytest.param({XDG: "/x", HOME: "/home/me"}, ("/x/megengine/persistent_cache",), id="the user's caches"),
        pytest.param({HOME: "/home/me"}, (DEFAULT,), id="the user's home"),
        pytest.param({CACHE: "/c", HOME: "/home/me", TYPE: "MEMORY"}, (), id="no cache on disk"),
        pytest.param({"TRITON_CACHE_DIR": "caches/triton"}, (), id="a path that the catalogue did not place"),
        pytest.param({CACHE: "/c", "CUDA_CACHE_PATH": "/c", WORKDIR: "/c"}, ("/c",), id="each once"),
    ],
)
def test_the_directories_to_be_measured_are_those_that_the_frameworks_will_use(situation, said, paths):
    assert cache_directories(situation(shell=said).resolution) == paths


@pytest.mark.parametrize("name", [CACHE, FOLDER, XDG, *OTHERS, WORKDIR])
def test_a_directory_that_refers_to_a_secret_is_never_measured(situation, name):
    """What was measured is shown and sent to others, with its path."""
    situation.project.write("secret.env", f"{name}=/caches/${{MY_TOKEN}}\n")
    job = situation(shell={"MY_TOKEN": "hunter2"}, env_files=("secret.env",))
    assert job.get(name) == "/caches/hunter2"
    assert cache_directories(job.resolution) == ()


# cache.blocked.


@pytest.mark.parametrize("path", ["file", "file/below", "file/far/below", "gone/below"])
def test_a_cache_that_cannot_be_created_is_an_error_for_megengine(situation, path):
    situation.project.write("file", "")
    (situation.project.folder / "gone").symlink_to("nowhere")
    (finding,) = found(measured(situation, sets=((CACHE, path),), installed=MEGENGINE))
    assert (finding.severity, finding.code, finding.names) == ("error", "cache.blocked", (CACHE,))
    assert finding.message.endswith("is not a directory, and the import of MegEngine would fail")
    assert finding.place == "--set"


@pytest.mark.parametrize("path", [".", "new", "new/far/below", ".mgelaunch"])
def test_a_cache_that_exists_or_can_be_created_is_fine(situation, path):
    job = measured(situation, sets=((CACHE, path),), installed=MEGENGINE)
    assert [finding for finding in found(job) if finding.code == "cache.blocked"] == []


BLOCKED = "/ is not writable"


@pytest.mark.parametrize(
    ("said", "path", "level_without"),
    [
        pytest.param({CACHE: "/c"}, "/c", ["warning"], id="the cache itself"),
        pytest.param({FOLDER: "/h"}, "/h/persistent_cache", ["warning"], id="MegEngine's folder"),
        pytest.param({XDG: "/x"}, "/x/megengine/persistent_cache", [], id="the user's caches"),
        pytest.param({HOME: "/home/me"}, DEFAULT, [], id="the user's home"),
    ],
)
@pytest.mark.parametrize("installed", [MEGENGINE, TORCH, {}], ids=["megengine", "torch", "nothing"])
def test_the_obstacle_is_an_error_only_where_the_target_has_megengine(situation, said, path, level_without, installed):
    said = {"shell": said, "installed": installed, "facts": on(Place(path, "/", BLOCKED))}
    findings = found(situation(**said))
    assert [finding.code for finding in findings] == ["cache.blocked"] * len(findings)
    assert [finding.severity for finding in findings] == (["error"] if installed is MEGENGINE else level_without)
    for finding in findings:
        assert finding.about == "job"
        assert finding.remedy
        assert all(codes(job) == [] for job in repaired(situation, finding, **said))


@pytest.mark.parametrize(
    ("said", "path"),
    [
        pytest.param({CACHE: "/c", TYPE: "MEMORY"}, "/c", id="no cache on disk"),
        pytest.param({CACHE: "/c", FOLDER: "/h"}, "/h/persistent_cache", id="not used"),
        pytest.param({CACHE: "/c", HOME: "/home/me"}, DEFAULT, id="the default, not used"),
        pytest.param({}, "/c", id="nothing is said"),
    ],
)
def test_the_obstacle_counts_only_where_megengine_will_put_its_cache(situation, said, path):
    assert found(situation(shell=said, installed=MEGENGINE, facts=on(Place(path, "/", BLOCKED)))) == []


def test_a_default_that_is_blocked_is_named_by_its_path_because_no_setting_chose_it(situation):
    (finding,) = found(situation(shell={HOME: "/home/me"}, installed=MEGENGINE, facts=on(Place(DEFAULT, "/", BLOCKED))))
    assert finding.message.startswith(f"MegEngine's cache ({DEFAULT}) cannot be created: {BLOCKED}")
    assert (finding.names, finding.place) == ((), "")
    assert finding.remedy == f"-e {CACHE}=/var/tmp/$USER-mge-fastrun-cache-dir"


@pytest.mark.parametrize(
    ("path", "number"),
    [("/c", 1), ("/c/{rank}", 2), ("/c/{rank}/x", 1)],
    ids=["one for all", "both are blocked", "that of the second is"],
)
def test_the_caches_of_all_ranks_are_looked_at_and_each_once(situation, path, number):
    situation.project.profile("p", f'[rank.env]\n{CACHE} = "{path}"')
    facts = on(*(Place(blocked, "/", BLOCKED) for blocked in ("/c", "/c/0", "/c/1", "/c/1/x")))
    assert codes(situation("p", ranks=2, facts=facts)) == [("warning", "cache.blocked")] * number


# cache.network, cache.memory.

NETWORKS = ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "9p", "fuse.sshfs", "fuse.glusterfs"]
NETWORKS += ["afs", "virtiofs", "gfs2", "ocfs2", "fuse.gcsfuse", "fuse.s3fs", "fuse.ceph", "fuse.juicefs", "fuse.jfs"]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("name", "path"), [(CACHE, "/c"), (FOLDER, "/c/persistent_cache")])
def test_a_kernel_cache_on_a_network_is_a_warning(situation, kind, name, path):
    said = {"shell": {name: "/c"}, "facts": on(Place(path, "/", kind=kind))}
    (finding,) = found(situation(**said))
    assert (finding.severity, finding.code, finding.names, finding.place) == (
        "warning",
        "cache.network",
        (name,),
        "shell",
    )
    assert all(codes(job) == [] for job in repaired(situation, finding, **said))


ILLS = {
    "network": ("warning", "cache.network", {"kind": "nfs"}),
    "memory": ("info", "cache.memory", {"kind": "tmpfs"}),
    "full": ("warning", "cache.full", {"free": 0}),
    "no inode": ("warning", "cache.full", {"inodes": 0}),
}


@pytest.mark.parametrize(("severity", "code", "ill"), ILLS.values(), ids=ILLS)
@pytest.mark.parametrize("installed", [MEGENGINE, TORCH], ids=["megengine", "torch"])
def test_the_users_caches_concern_megengine_only_where_it_is_installed(situation, severity, code, ill, installed):
    place = Place("/x/megengine/persistent_cache", "/x", **ill)
    job = situation(shell={XDG: "/x"}, installed=installed, facts=on(place))
    assert codes(job) == ([(severity, code)] if installed is MEGENGINE else [])


@pytest.mark.parametrize(("severity", "code", "ill"), ILLS.values(), ids=ILLS)
@pytest.mark.parametrize("installed", [MEGENGINE, TORCH], ids=["megengine", "torch"])
def test_of_the_default_below_home_all_else_is_a_fact_of_the_host(situation, severity, code, ill, installed):
    said = {"shell": {HOME: "/home/me"}, "installed": installed, "facts": on(Place(DEFAULT, "/home/me", **ill))}
    findings = found(situation(**said))
    assert [(f.severity, f.code, f.about, f.names) for f in findings] == (
        [("info", code, "job" if severity == "info" else "host", ())] if installed is MEGENGINE else []
    )
    for finding in findings:
        (job,) = repaired(situation, finding, **said)
        assert found(job) == []


@pytest.mark.parametrize("kind", ["", "ext4", "xfs", "overlay", "btrfs", "fuseblk", "fuse.fuse-overlayfs"])
def test_a_kernel_cache_on_a_disk_is_fine(situation, kind):
    assert found(situation(shell={CACHE: "/c"}, facts=on(Place("/c", "/", kind=kind)))) == []


def test_a_kernel_cache_in_memory_is_information(situation):
    assert codes(situation(shell={CACHE: "/c"}, facts=on(Place("/c", "/", kind="tmpfs")))) == [("info", "cache.memory")]


@pytest.mark.parametrize("kind", ["nfs", "tmpfs"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_caches_may_lie_anywhere(situation, kind, name):
    assert found(situation(shell={name: "/c"}, facts=on(Place("/c", "/", kind=kind)))) == []


# cache.readonly.


@pytest.mark.parametrize("obstacle", [BLOCKED, "/c is on a read-only file system"], ids=["not writable", "read-only"])
@pytest.mark.parametrize("name", OTHERS)
def test_another_cache_that_cannot_be_written_is_a_warning(situation, obstacle, name):
    said = {"shell": {name: "/c"}, "facts": on(Place("/c", "/", obstacle))}
    (finding,) = found(situation(**said))
    assert (finding.severity, finding.code, finding.names) == ("warning", "cache.readonly", (name,))
    assert f"cannot be written: {obstacle}, so " in finding.message
    jobs = repaired(situation, finding, **said)
    assert len(jobs) == 2
    assert all(found(job) == [] for job in jobs)


def test_of_a_directory_with_an_obstacle_nothing_else_is_said(situation):
    ills = {"kind": "nfs", "free": 0, "inodes": 0}
    said = {CACHE: "/c", "TRITON_CACHE_DIR": "/t"}
    job = situation(shell=said, facts=on(Place("/c", "/", BLOCKED, **ills), Place("/t", "/", BLOCKED, **ills)))
    assert sorted(codes(job)) == [("warning", "cache.blocked"), ("warning", "cache.readonly")]


def test_a_recompilation_in_silence_is_said_of_the_cuda_cache_unless_it_is_off(situation):
    facts = on(Place("/c", "/c", BLOCKED))
    (finding,) = found(situation(shell={"CUDA_CACHE_PATH": "/c"}, facts=facts))
    assert "at each start, in silence" in finding.message
    assert found(situation(shell={"CUDA_CACHE_PATH": "/c", "CUDA_CACHE_DISABLE": "1"}, facts=facts)) == []


# cache.full.


@pytest.mark.parametrize(
    ("free", "inodes", "full"),
    [
        (64 * MIB, 1, False),
        (64 * MIB - 1, 1, True),
        (0, 0, True),
        (None, 0, True),
        (None, None, False),
        (1 << 40, None, False),
    ],
)
@pytest.mark.parametrize("name", [CACHE, *OTHERS])
def test_a_cache_without_room_is_a_warning(situation, free, inodes, full, name):
    said = {"shell": {name: "/c"}, "facts": on(Place("/c", "/", free=free, inodes=inodes))}
    findings = found(situation(**said))
    assert [(f.severity, f.code, f.names) for f in findings] == [("warning", "cache.full", (name,))] * full
    for finding in findings:
        assert all(found(job) == [] for job in repaired(situation, finding, **said))


# jit.workdir.


@pytest.mark.parametrize("path", ["file", "file/below", "new/below", "new/far/below"])
@pytest.mark.parametrize("layer", ["shell", "sets"])
def test_a_work_directory_that_megengine_cannot_make_is_a_warning(situation, path, layer):
    situation.project.write("file", "")
    path = situation.project.path(path)
    said = {"shell": {WORKDIR: path}} if layer == "shell" else {"sets": ((WORKDIR, path),)}
    (finding,) = found(measured(situation, **said))
    assert (finding.severity, finding.code, finding.names) == ("warning", "jit.workdir", (WORKDIR,))
    assert "SystemError" in finding.message
    for job in repaired(situation, finding, **said):
        places = read_places(Files(), cache_directories(job.resolution), now=0)
        assert found(job._replace(facts=on(*places))) == []


@pytest.mark.parametrize("path", [".", "new", "new/", ".mgelaunch/new"])
def test_a_work_directory_that_is_there_or_whose_parent_is_there_is_fine(situation, path):
    assert found(measured(situation, shell={WORKDIR: situation.project.path(path)})) == []


def test_a_work_directory_that_was_not_measured_is_not_judged(situation):
    assert found(situation(shell={WORKDIR: "/nowhere/at/all"})) == []
    assert found(situation(shell={WORKDIR: "/nowhere/at/all"}, facts=on(Place("/nowhere/at/all")))) == []


@pytest.mark.parametrize(("ranks", "local_ranks", "shared"), [(1, 1, False), (2, 2, True), (1, 2, True)])
def test_a_work_directory_that_ranks_share_is_a_warning(situation, ranks, local_ranks, shared):
    said = {"shell": {WORKDIR: "/tmp"}, "ranks": ranks, "local_ranks": local_ranks}
    findings = found(situation(**said))
    assert [(f.severity, f.code) for f in findings] == [("warning", "jit.workdir")] * shared
    for finding in findings:
        assert "[rank.env]" in finding.remedy
        assert all(found(job) == [] for job in repaired(situation, finding, **said))


@pytest.mark.parametrize(("ranks", "local_ranks"), [(2, 2), (1, 2), (1, 1)])
def test_the_suggested_line_gives_each_rank_a_work_directory_of_its_own(situation, ranks, local_ranks):
    (finding,) = found(situation(shell={WORKDIR: "/tmp"}, local_ranks=2))
    _, _, line = finding.remedy.partition("in [rank.env]: ")
    situation.project.profile("p", f"[rank.env]\n{line}")
    job = situation("p", ranks=ranks, local_ranks=local_ranks)
    assert len({resolution.get(WORKDIR) for resolution in job.ranks}) == ranks
    assert found(job) == []


def test_the_work_directory_of_every_rank_is_looked_at(situation):
    situation.project.profile("p", '[rank.env]\nMGB_JIT_WORKDIR = "/no/{rank}/jit"')
    facts = on(Place("/no/0/jit", "/no/0"), Place("/no/1/jit", "/no"))
    assert codes(situation("p", ranks=2, facts=facts)) == [("warning", "jit.workdir")]
