"""``mgelaunch check``: what it shows, how it ends, and that it says *error* exactly when ``run`` refuses."""

import json
import os
import re

import pytest

from mgelaunch.host.facts import Card, CardProcess, Cpus, Devices, HostFacts, Limits, Memory, Rlimit, SharedMemory
from mgelaunch.host.recorded import to_document

GIB = 1 << 30
CACHE = "MGE_FASTRUN_CACHE_DIR"
A100 = Card(0, "GPU-11111111-a", "NVIDIA A100", "00000000:07:00.0", 40 * GIB, 39 * GIB, "default", processes=())
TWO_CARDS = Devices("nvml", "nvidia", (A100, A100._replace(number=1, uuid="GPU-22222222-b")), "535.1", libcuda=True)
SERVER = HostFacts(
    memory=Memory(256 * GIB, 200 * GIB, cgroups="v1", v1_limit_file=True),
    cpus=Cpus(32, tuple(range(32)), tuple((core, core + 16) for core in range(16))),
    shared_memory=SharedMemory("tmpfs", 128 * GIB, 120 * GIB, True),
    limits=Limits(Rlimit(65536, 65536), Rlimit(None, None), Rlimit(None, None), Rlimit(None, None)),
    devices=TWO_CARDS,
    tools=(),
    stores=(),
)


@pytest.fixture
def on(world):
    """A function that checks options against recorded facts, and returns the exit code and what is said."""

    def check(facts, *options):
        path = world.write("facts.json", json.dumps(to_document(facts)))
        done = world.run("check", "--facts", path, "-f", "json", *options)
        shown = json.loads(done.stdout)
        assert shown.keys() == {"version", "host", "findings"}
        assert all(f.keys() == {"severity", "code", "message", "names", "remedy"} for f in shown["findings"])
        return done.returncode, [(f["severity"], f["code"]) for f in shown["findings"]], done

    return check


# -- what it shows -------------------------------------------------------------------------------------


def test_every_topic_has_a_mark_and_the_last_line_counts(world):
    path = world.write("facts.json", json.dumps(to_document(SERVER)))
    done = world.run("check", "--facts", path)
    assert done.returncode == 0
    first, *topics, last = done.stdout.splitlines()
    assert first == f"The host is the one of {path}; the target is of this one."
    marks = {line.split()[1]: line.split()[0] for line in topics}
    assert marks == dict.fromkeys(
        ("settings", "target", "devices", "memory", "shm", "cpus", "storage", "limits", "tools"), "ok"
    )
    assert last == "0 errors, 0 warnings, 9 ok, 0 not checked. `mgelaunch run` with these options would start."


def test_the_mark_comes_first_the_code_last_and_the_remedy_has_a_line_of_its_own(world):
    path = world.write("facts.json", json.dumps(to_document(SERVER)))
    done = world.run("check", "--facts", path, "--gpu-ids", "0,1", "--device", "gpu", "-n", "8")
    lines = done.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.endswith("  dev.count")]
    assert re.fullmatch(r"ERROR +devices +.*8 ranks.*2 visible GPUs.*  dev\.count", lines[at])
    assert re.fullmatch(r" +-n 2.*", lines[at + 1])
    assert lines[-1].endswith("`mgelaunch run` with these options would refuse.")
    assert done.returncode == 4


def test_what_is_not_measured_is_marked_and_never_counts_as_fine(world):
    path = world.write("facts.json", json.dumps(to_document(HostFacts())))
    lines = world.run("check", "--facts", path).stdout.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("?")} >= {"devices", "memory", "shm", "cpus", "limits"}
    assert not [
        line
        for line in lines[:-1]
        if line.startswith("ok") and line.split()[1] not in {"settings", "target", "storage"}
    ]
    assert re.search(r" 6 not checked\.", lines[-1])


def test_without_checks_nothing_of_the_host_is_looked_at(world):
    lines = world.run("check", "--no-check").stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("?")] == [["?", "host"]]


def test_this_host_is_measured(world):
    host = json.loads(world.run("check", "-f", "json").stdout)["host"]
    mounted = os.statvfs("/dev/shm")
    assert host["cpus"]["allowed"] == sorted(os.sched_getaffinity(0))
    assert host["shared_memory"]["size"] == mounted.f_blocks * mounted.f_frsize
    assert host["memory"]["total"] > 0
    assert host["limits"]["nofile"]["soft"] > 0
    assert host["devices"]["source"] in {"nvml", "nvidia-smi", "proc", "sysfs", "none", "unknown"}


def test_what_check_prints_as_json_can_be_replayed(world):
    recorded = world.run("check", "-f", "json")
    path = world.write("facts.json", recorded.stdout)
    assert (
        json.loads(world.run("check", "-f", "json", "--facts", path).stdout)["host"]
        == json.loads(recorded.stdout)["host"]
    )


def test_findings_go_to_stderr_too_unless_both_are_one_terminal(world, start):
    path = world.write("facts.json", json.dumps(to_document(SERVER)))
    options = ("check", "--facts", str(path), "--device", "gpu7")
    apart = world.run(*options)
    assert "[dev.default]" in apart.stderr
    together, _ = start(*options, stderr=-2).communicate(timeout=30)
    assert together.decode().count("dev.default") == 1


def test_under_github_actions_findings_are_annotations(world):
    path = world.write("facts.json", json.dumps(to_document(SERVER)))
    world.write(".mgelaunch/p.toml", "[requires]\nhost-memory = '1TiB'\n")
    done = world.run("check", "--facts", path, "-p", "p", "--device", "gpu7", GITHUB_ACTIONS="true")
    assert done.returncode == 4
    annotations = done.stderr.splitlines()
    assert any(re.fullmatch(r"::error title=dev\.default::.*gpu7.*", line) for line in annotations)
    (located,) = [line for line in annotations if "title=mem" in line or "title=requires" in line]
    assert located.startswith("::error file=.mgelaunch/p.toml,line=2,col=1,title=")


def test_an_annotation_escapes_what_github_would_decode(world):
    memory = SERVER.memory._replace(available=GIB)
    path = world.write("facts.json", json.dumps(to_document(SERVER._replace(memory=memory))))
    done = world.run("check", "--facts", path, "-p", "dtr", "--device", "cpu0", GITHUB_ACTIONS="true")
    (line,) = [line for line in done.stderr.splitlines() if "title=dtr.mem" in line]
    assert "(80%25 of 256.0 GiB" in line
    assert "80% of" not in line


# -- how it ends ---------------------------------------------------------------------------------------

SMALL_SHM = SERVER._replace(shared_memory=SharedMemory("tmpfs", 64 << 20, 64 << 20, True))
PLASMA = ("-e", "MGE_PLASMA_MEMORY=4GiB")


@pytest.mark.parametrize(
    ("facts", "options", "code", "said"),
    [
        pytest.param(SERVER, (), 0, None, id="a fine host"),
        pytest.param(SMALL_SHM, (), 0, ("warning", "shm.size"), id="what is merely true of the host is a warning"),
        pytest.param(SMALL_SHM, ("--strict",), 0, ("warning", "shm.size"), id="... under --strict as well"),
        pytest.param(SMALL_SHM, PLASMA, 0, ("warning", "shm.size"), id="what a script may not use is a warning"),
        pytest.param(SMALL_SHM, (*PLASMA, "--strict"), 4, ("error", "shm.size"), id="--strict makes it an error"),
        pytest.param(SMALL_SHM, (*PLASMA, "--strict", "--ignore", "shm.size"), 0, None, id="--ignore takes it back"),
        pytest.param(SMALL_SHM, (*PLASMA, "--strict", "--no-check"), 0, None, id="--no-check as well"),
        pytest.param(SERVER, ("--device", "gpu2"), 4, ("error", "dev.default"), id="a card that is not there"),
        pytest.param(SERVER, ("--gpu-ids", "0,7"), 4, ("error", "dev.visible"), id="... in the pool"),
        pytest.param(SERVER, ("-n", "4", "--device", "gpu"), 4, ("error", "dev.count"), id="more ranks than cards"),
        pytest.param(SERVER, ("-e", "OMP_NUM_THREADS=33"), 0, ("warning", "cpu.threads"), id="more threads than CPUs"),
        pytest.param(SERVER, ("-e", "MGB_SUBLINEAR_MEMORY_WORKERS=129"), 4, ("error", "cpu.sublinear"), id="workers"),
        pytest.param(SERVER, ("-e", "MGE_DEFAULT_DEVICE=cuda:0"), 3, ("error", "value.device"), id="a wrong setting"),
    ],
)  # fmt: skip
def test_the_exit_code_tells_errors_and_a_wrong_setting_comes_first(on, facts, options, code, said):
    ended, findings, done = on(facts, *options)
    assert ended == code, done.stdout
    assert (said is None) or said in findings, done.stdout
    if said is None:
        assert "shm.size" not in [code for _, code in findings]


BUSY = A100._replace(mode="exclusive-process", processes=(CardProcess(4242),))


def test_a_busy_exclusive_card_is_refused(on):
    server = SERVER._replace(devices=TWO_CARDS._replace(cards=(BUSY, TWO_CARDS.cards[1])))
    assert ("error", "dev.busy") in on(server, "--device", "gpu0")[1]
    assert ("error", "dev.busy") not in on(server, "--device", "gpu1")[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "cannot be read", id="no file"),
        pytest.param('{"host": {"memory": {"total": 5', "no JSON", id="truncated"),
        pytest.param("", "no JSON", id="empty"),
        pytest.param("[" * 100_000, "no JSON", id="very deep"),
        pytest.param("\0\xff", "no JSON", id="binary"),
        pytest.param('{"host": {"memory": {"total": "much"}}}', "host.memory.total", id="of a wrong type"),
        pytest.param("{}", "no facts", id="something else"),
    ],
)
def test_a_bad_file_of_facts_is_a_usage_error_in_one_line(world, content, reason):
    if content is not None:
        world.write("facts.json", content)
    done = world.run("check", "--facts", "facts.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_facts_of_another_machine_do_not_judge_a_start(world):
    world.write("facts.json", json.dumps(to_document(SERVER)))
    done = world.run("run", "--facts", "facts.json", "true")
    assert (done.returncode, "--facts belongs to" in done.stderr) == (2, True)


def test_percentages_for_another_machine_are_bound_to_its_facts(world):
    world.write("facts.json", json.dumps(to_document(SERVER)))
    name = "MEGENGINE_DTR_EVICTION_THRESHOLD"
    done = world.run("run", "--dry-run", "-f", "json", "--facts", "facts.json", "-e", f"{name}=50%")
    assert json.loads(done.stdout)["processes"][0]["environment"][name] == str(20 * GIB)
    travelling = world.run("env", "-f", "docker", "--facts", "facts.json", "-e", f"{name}=50%")
    assert travelling.stdout == f"{name}={20 * GIB}\n"


@pytest.mark.parametrize(
    ("said", "name", "remedy"),
    [
        (["-e"], CACHE, f"-e {CACHE}=/var/tmp/$USER-mge-fastrun-cache-dir"),
        (["--env-file"], CACHE, f"--unset {CACHE}  or  -e {CACHE}=/var/tmp/$USER-mge-fastrun-cache-dir"),
        (["-e"], "CUDA_BIN_PATH", "without -e CUDA_BIN_PATH"),
        (["--env-file"], "CUDA_BIN_PATH", "--unset CUDA_BIN_PATH"),
    ],
)
def test_nobody_is_told_to_unset_what_set_sets(world, said, name, remedy):
    """Both together are a usage error."""
    world.write("file", "")
    world.write("a.env", f"{name}={world.project}/file/below\n")
    done = world.run("check", "-f", "json", *said, f"{name}=file/below" if said == ["-e"] else "a.env")
    (finding,) = [finding for finding in json.loads(done.stdout)["findings"] if finding["names"] == [name]]
    assert finding["remedy"] == remedy


# -- check and run agree -------------------------------------------------------------------------------

CASES = {
    "nothing": [],
    "a profile": ["-p", "dtr"],
    "every cheap profile": ["-p", "dtr", "-p", "quiet", "-p", "threads", "-p", "reserve", "-p", "debug"],
    "a strict profile": ["--strict", "-p", "reserve"],
    "a device that is not there": ["--device", "gpu31"],
    "a card that is not there": ["--gpu-ids", "31"],
    "hidden cards": ["--gpu-ids", "none", "-p", "dtr"],
    "hidden cards and a card": ["--gpu-ids", "none", "--device", "gpu0"],
    "the CPU": ["--device", "cpu0", "-p", "dtr"],
    "a wrong value": ["-e", "MGE_DEFAULT_DEVICE=cuda:0"],
    "a wrong value, ignored": ["-e", "MGE_DEFAULT_DEVICE=cuda:0", "--ignore", "value.device"],
    "a wrong value without checks": ["-e", "MGE_DEFAULT_DEVICE=cuda:0", "--no-check"],
    "too many workers": ["-e", "MGB_SUBLINEAR_MEMORY_WORKERS=9999"],
    "too many workers, ignored": ["-e", "MGB_SUBLINEAR_MEMORY_WORKERS=9999", "--ignore", "cpu.sublinear"],
    "too many workers, ignored by a profile": ["-p", "careless"],
    "too many workers without checks": ["-e", "MGB_SUBLINEAR_MEMORY_WORKERS=9999", "--no-check"],
    "a blocked cache": ["-e", f"{CACHE}=file/cache"],
    "too much plasma memory": ["-e", "MGE_PLASMA_MEMORY=900GiB"],
    "too much plasma memory, strict": ["-e", "MGE_PLASMA_MEMORY=900GiB", "--strict"],
    "too much plasma memory, strict, ignored": [
        *("-e", "MGE_PLASMA_MEMORY=900GiB", "--strict", "--ignore", "shm.size", "--ignore", "shm.mem"),
        *("--ignore", "cgroup2.loader", "--ignore", "plasma.arrow", "--ignore", "requires.unchecked"),
    ],
    "more memory than there is": ["-p", "greedy"],
    "more shared memory than there is": ["-p", "shared"],
    "a card's memory": ["-p", "card"],
    "little memory": ["-p", "modest"],
    "a setting that nobody reads": ["-e", "MEGENGINE_EXECUTION_STRATEGY=PROFILE"],
    "a setting that nobody reads, strict": ["-e", "MEGENGINE_EXECUTION_STRATEGY=PROFILE", "--strict"],
    "bound CPUs": ["--bind-cpus", "cores"],
    "a missing profile": ["-p", "nope"],
    "a supervisor's key without ranks": ["-p", "supervised"],
    "an engine": ["-p", "engine"],
    "ranks": ["-n", "2"],
    "ranks of a profile": ["-p", "ranks"],
    "ranks elsewhere": ["-n", "2", "--master-addr", "192.0.2.7"],
    "MegEngine's server without MegEngine": ["-n", "2", "--rendezvous", "megengine"],
    "a jit folder without a parent": ["-e", "MGB_JIT_WORKDIR=no/such/parent"],
    "brevitas": ["-p", "brevitas-jit"],
    "many threads, strict": ["-e", "OMP_NUM_THREADS=4096", "--strict"],
}  # fmt: skip


@pytest.fixture
def profiles(world):
    world.write("file", "")
    world.write(".mgelaunch/ranks.toml", "[launch]\nnproc-per-node = 2\n")
    world.write(
        ".mgelaunch/careless.toml", "[env]\nMGB_SUBLINEAR_MEMORY_WORKERS = 9999\n[launch]\nignore = ['cpu.sublinear']\n"
    )
    world.write(".mgelaunch/greedy.toml", "[requires]\nhost-memory = '900TiB'\n")
    world.write(".mgelaunch/modest.toml", "[requires]\nhost-memory = '1MiB'\n")
    world.write(".mgelaunch/shared.toml", "[requires]\nshared-memory = '900TiB'\n")
    world.write(".mgelaunch/card.toml", "[requires]\ndevice-memory = '900TiB'\n")
    world.write(".mgelaunch/supervised.toml", "[launch]\nmax-restarts = 1\n")
    world.write(".mgelaunch/engine.toml", "[launch]\ncluster = 'slurm'\n")
    return world


@pytest.mark.parametrize("target", [["true"], ["nope.py"]], ids=["a target", "a target that is not there"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_check_says_error_exactly_when_run_refuses(profiles, options, target):
    checked, ran = profiles.run("check", *options, *target), profiles.run("run", *options, *target)
    assert ran.returncode in {0, 125, 126, 127}, ran.stderr
    assert (checked.returncode != 0) == (ran.returncode != 0), f"{checked.stdout}\n{ran.stderr}"
    assert ("would refuse" in checked.stdout) == (ran.returncode != 0)
    errors = {
        line.split("[")[-1].rstrip("]") for line in ran.stderr.splitlines() if line.startswith("mgelaunch: error")
    }
    assert errors == {
        line.split("[")[-1].rstrip("]") for line in checked.stderr.splitlines() if line.startswith("mgelaunch: error")
    }


# -- with cards that the stub of NVML tells of ----------------------------------------------------------

A100_LINE = "card uuid=GPU-1111 bus=00000000:07:00.0 total=42949672960 used=1073741824 mode=0 mig=0 name=NVIDIA A100"
PAIR = (A100_LINE, A100_LINE.replace("GPU-1111", "GPU-2222").replace(":07:", ":08:"))
MIXED = (PAIR[0], "card uuid=GPU-3333 bus=00000000:0F:00.0 total=8589934592 used=0 mode=0 name=GTX 1080")
EXCLUSIVE = (PAIR[0].replace("mode=0", "mode=3 processes=4242:1000000"), PAIR[1])
FULL = (PAIR[0].replace("used=1073741824", "used=40000000000"), PAIR[1])
HIDING = ("-e", "CUDA_VISIBLE_DEVICES=-1", "--device", "gpu0")

ON_CARDS = {
    "a card": (PAIR, ["--device", "gpu1"], None),
    "cards that nobody asks for, strict": (EXCLUSIVE, ["--strict"], None),
    "a card that is not there": (PAIR, ["--device", "gpu2"], "dev.default"),
    "a card of the pool": (PAIR, ["--gpu-ids", "1", "--device", "gpu0"], None),
    "a card outside the pool": (PAIR, ["--gpu-ids", "1", "--device", "gpu1"], "dev.default"),
    "a pool that is not there": (PAIR, ["--gpu-ids", "0,2"], "dev.visible"),
    "no card visible": (PAIR, HIDING, "dev.default"),
    "a percentage": (PAIR, ["-p", "dtr"], None),
    "a percentage of unlike cards": (MIXED, ["-p", "dtr"], "value.unmeasured"),
    "a percentage of unlike cards in order": (MIXED, ["-p", "dtr", "-e", "CUDA_DEVICE_ORDER=PCI_BUS_ID"], None),
    "a busy exclusive card": (EXCLUSIVE, ["--device", "gpu0"], "dev.busy"),
    "the other card": (EXCLUSIVE, ["--gpu-ids", "1", "--device", "gpu0"], None),
    "a full card": (FULL, ["-p", "dtr"], None),
    "a full card, strict": (FULL, ["-p", "dtr", "--strict"], "dtr.mem"),
    "a threshold above the card": (PAIR, ["-p", "dtr", "-e", "MEGENGINE_DTR_EVICTION_THRESHOLD=64GiB"], None),
    "all memory reserved": (PAIR, ["-p", "reserve"], None),
    "too much reserved": (PAIR, ["-e", "MGB_CUDA_RESERVE_MEMORY=64GiB", "--device", "gpu0"], "resv.sum"),
    "a driver that does not match": (("fail nvmlInitWithFlags 18", "fail nvmlInit_v2 18"), ["--device", "gpu0"], "dev.driver"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "options", "code"), ON_CARDS.values(), ids=ON_CARDS)
def test_check_and_run_agree_on_cards(world, cards, lines, options, code):
    checked, ran = (world.run(command, *options, "true", **cards(*lines)) for command in ("check", "run"))
    assert (ran.returncode, checked.returncode != 0) == (125 if code else 0, bool(code)), ran.stderr + checked.stdout
    if code:
        assert f"[{code}]" in ran.stderr
        assert f"  {code}\n" in checked.stdout


@pytest.mark.parametrize(
    ("ranks", "lines", "options", "code"),
    [
        pytest.param("2", PAIR, ["--device", "gpu"], None, id="a card each"),
        pytest.param("gpu", PAIR, ["--device", "gpu"], None, id="as many as cards"),
        pytest.param("3", PAIR, ["--device", "gpu"], "dev.count", id="more than cards"),
        pytest.param("2", PAIR, ["--device", "gpu", "--gpu-ids", "0"], "dev.count", id="more than the pool"),
        pytest.param("2", PAIR, ["--device", "gpu0", "-p", "reserve"], "resv.share", id="all memory, twice"),
        pytest.param("2", EXCLUSIVE, ["--device", "gpu"], "dev.busy", id="a busy exclusive card"),
        pytest.param("gpu", (), [], "dev.count", id="no card"),
    ],
)
def test_ranks_are_planned_and_checked_on_cards(world, cards, ranks, lines, options, code):
    done = world.run("check", "-f", "json", "-n", ranks, *options, **cards(*lines))
    errors = {f["code"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"}
    assert (errors, done.returncode) == ({code} if code else set(), 4 if code else 0), done.stdout


def test_each_rank_gets_its_card_and_its_share_of_one_that_it_shares(world, cards):
    name, environ = "MEGENGINE_DTR_EVICTION_THRESHOLD", cards(*PAIR)
    for device, share in (("gpu", 42949672960 // 2), ("gpu0", 42949672960 // 4)):
        plan = world.run(
            "run", "--dry-run", "-f", "json", "-n", "2", "--device", device, "-e", f"{name}=50%", **environ
        )
        processes = json.loads(plan.stdout)["processes"]
        assert [process["environment"][name] for process in processes] == [str(share)] * 2
        assert [process["environment"]["RANK"] for process in processes] == ["0", "1"]
    told = world.run("run", "--dry-run", "-n", "2", "--device", "gpu", **environ).stdout
    assert re.search(r"^\* MGE_DEFAULT_DEVICE +gpu0 \| gpu1 ", told, re.MULTILINE)
    assert "start   2 ranks here, supervised" in told


def test_a_rank_variable_belongs_to_mgelaunch_once_it_starts_the_ranks(world):
    done = world.run("run", "--dry-run", "-n", "2", "-e", "RANK=5")
    assert done.returncode == 3
    assert "[name.owned]" in done.stderr
    assert "[name.owned]" not in world.run("run", "--dry-run", "-e", "RANK=5").stderr


@pytest.mark.parametrize("options", [["-n", "2"], ["-p", "ranks"]], ids=["an option", "a profile"])
def test_check_says_how_many_ranks_would_start_and_starts_none(profiles, options):
    last = profiles.run("check", *options, "touch", "trace").stdout.splitlines()[-1]
    assert last.endswith("`mgelaunch run` with these options would start 2 ranks.")
    assert not (profiles.project / "trace").exists()
    started = profiles.run("run", *options, "touch", "trace")
    assert (started.returncode, started.stdout) == (0, "")
    assert (profiles.project / "trace").exists()


@pytest.mark.parametrize("ranks", ["0", "-1", "1.5", "many", "1025", "1:4", "=4"])
def test_a_number_of_ranks_that_cannot_be_meant_is_a_usage_error(world, ranks):
    done = world.run("check", f"-n{ranks}" if ranks == "=4" else "-n", *([] if ranks == "=4" else [ranks]))
    assert (done.returncode, done.stdout) == (2, "")
