"""What each rank is told of itself and of the others, who may say otherwise, and that the dry-run tells the truth."""

import contextlib
import json
import os
import re
import socket
import sys

import pytest

RANK_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SAVE = "import json, os; json.dump(dict(os.environ), open(f'seen-{os.environ[\"RANK\"]}.json', 'w'))"


@pytest.fixture
def seen(world):
    """A function that starts ranks and returns the whole environment of each; the job must say nothing."""
    world.write("save.py", SAVE)

    def run(*options, **environ):
        done = world.run("run", *options, "save.py", **environ)
        said = [line for line in done.stderr.splitlines() if "logs and records" not in line]
        assert (done.returncode, done.stdout, said) == (0, "", [])
        files = sorted(world.project.glob("seen-*.json"))
        return [json.loads(file.read_text("utf-8")) for file in files]

    return run


@pytest.fixture
def ports():
    """Four ports that nobody listens to."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(4)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in held]


@pytest.fixture
def environment(tmp_path):
    """A function that makes a virtual environment with such distributions and returns its interpreter."""

    def make(*distributions):
        prefix = tmp_path / "venv"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
        (prefix / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
        packages = prefix / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        packages.mkdir(parents=True)
        for distribution in distributions:
            (packages / f"{distribution}.dist-info").mkdir()
        return str(prefix / "bin" / "python")

    return make


def of(environments, name):
    return [environ.get(name) for environ in environments]


# -- who I am ------------------------------------------------------------------------------------


def test_every_rank_knows_who_it_is_and_who_the_others_are(seen):
    ranks = seen("-n", "3", RANK="9", WORLD_SIZE="1", GROUP_RANK="4")
    assert of(ranks, "RANK") == of(ranks, "LOCAL_RANK") == ["0", "1", "2"]
    assert of(ranks, "WORLD_SIZE") == of(ranks, "LOCAL_WORLD_SIZE") == ["3"] * 3
    assert of(ranks, "NODE_RANK") == of(ranks, "GROUP_RANK") == ["0"] * 3


def test_one_rank_is_told_the_same(seen):
    (only,) = seen("-n", "1")
    assert [only[name] for name in RANK_NAMES] == ["0", "0", "1", "1", "0", "0"]
    assert only["MASTER_ADDR"] == "127.0.0.1"
    assert only["MASTER_PORT"].isdecimal()


def test_a_profile_can_say_how_many_ranks_there_are(world, seen):
    world.write(".mgelaunch/two.toml", "[launch]\nnproc-per-node = 2\n")
    assert of(seen("-p", "two"), "WORLD_SIZE") == ["2", "2"]


def test_the_flag_beats_the_number_of_a_profile(world, seen):
    world.write(".mgelaunch/two.toml", "[launch]\nnproc-per-node = 2\n")
    assert of(seen("-p", "two", "-n", "1"), "WORLD_SIZE") == ["1"]


@pytest.mark.parametrize("how", ["--set", "--unset", "--env-file", "a profile"])
def test_nobody_else_can_say_who_a_rank_is(world, how):
    world.write("ranks.env", "".join(f"{name}=0\n" for name in RANK_NAMES))
    world.write(".mgelaunch/own.toml", "[env]\n" + "".join(f"{name} = '0'\n" for name in RANK_NAMES))
    options = {
        "--set": [word for name in RANK_NAMES for word in ("--set", f"{name}=0")],
        "--unset": [word for name in RANK_NAMES for word in ("--unset", name)],
        "--env-file": ["--env-file", "ranks.env"],
        "a profile": ["-p", "own"],
    }
    done = world.run("run", "-n", "2", *options[how], "touch", "started")
    *errors, last = done.stderr.splitlines()
    assert done.returncode == 125
    assert last == "mgelaunch: nothing was started (exit code 125, name.owned)"
    assert sorted(re.search(r" ([A-Z_]+) is ", error)[1] for error in errors) == sorted(RANK_NAMES)
    assert all(error.endswith(" [name.owned]") for error in errors)
    assert not (world.project / "started").exists()


# -- where we meet -------------------------------------------------------------------------------


def ephemeral():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    return range(low, high + 1)


def test_all_ranks_meet_at_one_free_port_that_no_connection_takes_before_them(world):
    world.write(
        "bind.py",
        """import os, socket
place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["RANK"] == "0": socket.create_server(place).close()
print(place[1])""",
    )
    done = world.run("run", "-n", "3", "bind.py")
    assert (done.returncode, done.stderr) == (0, "")
    (port,) = {int(line.split()[1]) for line in done.stdout.splitlines()}
    if ephemeral().start > 1024 + 256:  # else there is hardly a port below
        assert 1024 <= port < ephemeral().start


@pytest.mark.parametrize(
    ("layers", "winner"),
    [("shell", 0), ("shell profile", 1), ("shell profile flag", 2), ("shell profile flag set", 3)],
    ids=["the shell", "then a profile", "then the flag", "then --set"],
)
def test_the_port_is_what_the_strongest_layer_says(world, ports, layers, winner):
    world.write(".mgelaunch/place.toml", f"[launch]\nmaster-port = {ports[1]}\n")
    options = {
        "profile": ["-p", "place"],
        "flag": ["--master-port", ports[2]],
        "set": ["-e", f"MASTER_PORT={ports[3]}"],
    }
    given = [word for layer in layers.split() for word in options.get(layer, [])]
    done = world.run("run", "-n", "2", *given, "sh", "-c", 'echo "$MASTER_PORT"', MASTER_PORT=ports[0])
    assert sorted(done.stdout.splitlines()) == [f"[0] {ports[winner]}", f"[1] {ports[winner]}"]


def test_a_port_of_0_is_a_free_one_whatever_the_shell_says(seen, ports):
    (port, other) = of(seen("-n", "2", "--master-port", "0", MASTER_PORT=ports[0]), "MASTER_PORT")
    assert port == other
    assert port not in (ports[0], "0")


def test_a_port_that_somebody_holds_is_refused(world):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = world.run("run", "-n", "2", "--master-port", port, "touch", "started")
    assert done.returncode == 125
    assert done.stderr.endswith("mgelaunch: nothing was started (exit code 125, port.taken)\n")
    assert f"process {os.getpid()}" in done.stderr
    assert not (world.project / "started").exists()


@pytest.mark.parametrize(
    "options", [["--master-addr", "192.0.2.1"], ["-e", "MASTER_ADDR=192.0.2.1"]], ids=lambda o: o[0]
)
def test_an_address_of_another_host_is_refused(world, options):
    done = world.run("run", "-n", "2", *options, "touch", "started")  # an address that no host has (RFC 5737)
    assert done.returncode == 125
    assert done.stderr.endswith("mgelaunch: nothing was started (exit code 125, port.address)\n")
    assert not (world.project / "started").exists()


# -- what is derived -----------------------------------------------------------------------------


def test_ranks_of_python_do_not_keep_their_output_back_and_share_the_cpus(seen):
    ranks = seen("-n", "2")
    assert of(ranks, "PYTHONUNBUFFERED") == ["1", "1"]
    (threads,) = {int(rank[name]) for rank in ranks for name in THREADS}
    assert 1 <= threads <= max(1, len(os.sched_getaffinity(0)) // 2)


def test_what_is_derived_gives_way_to_the_shell(seen, environment):
    shell = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MASTER_ADDR": "localhost", "NCCL_LAUNCH_MODE": "GROUP"}
    for rank in seen("-n", "2", "--python", environment("megengine-1.13.0"), **shell):
        assert {name: rank[name] for name in shell} == shell


def test_without_ranks_nothing_of_it_is_set(world):
    world.write("show.py", "import json, os; print(json.dumps(dict(os.environ)))")
    done = world.run("run", "show.py")
    assert not {*RANK_NAMES, "MASTER_ADDR", "MASTER_PORT", "PYTHONUNBUFFERED"} & set(json.loads(done.stdout))


def test_templates_of_a_profile_are_filled_for_each_rank(world, seen):
    world.write(
        ".mgelaunch/each.toml",
        """[rank.env]
OURS = "{rank} of {world_size} at {master_addr}:{master_port}"
PLACE = "/tmp/jit-{run_id}-{local_rank}"
""",
    )
    ranks = seen("-n", "2", "-p", "each", "--log-dir", "logs")
    assert of(ranks, "OURS") == [f"{rank} of 2 at 127.0.0.1:{ranks[0]['MASTER_PORT']}" for rank in (0, 1)]
    (folder,) = os.listdir(world.project / "logs")
    assert of(ranks, "PLACE") == [f"/tmp/jit-{folder}-{rank}" for rank in (0, 1)]


def test_gpu_is_the_card_of_the_local_rank(seen):
    assert of(seen("-n", "2", "--no-check", "--device", "gpu"), "MGE_DEFAULT_DEVICE") == ["gpu0", "gpu1"]


@pytest.mark.parametrize(
    ("installed", "ranks", "mode"),
    [(["megengine-1.13.0"], 2, "PARALLEL"), (["megengine-1.13.0"], 1, None), (["torch-2.9.1"], 2, None)],
    ids=["MegEngine", "one rank", "something else"],
)
def test_several_ranks_of_megengine_get_the_launch_mode_of_its_own_launcher(seen, environment, installed, ranks, mode):
    got = seen("-n", str(ranks), "--python", environment(*installed))
    assert of(got, "NCCL_LAUNCH_MODE") == [mode] * ranks


# -- the dry-run ---------------------------------------------------------------------------------

EACH = "[rank.env]\nMGB_JIT_WORKDIR = '/tmp/jit-{rank}'\n"
PLAIN = ("-n", "3", "-p", "each", "-e", "TEAM=ours", "save.py", "-x")


@pytest.fixture
def dry(world):
    """A function that asks for the dry-run of three ranks which differ by one folder."""
    world.write("save.py", SAVE)
    world.write(".mgelaunch/each.toml", EACH)
    return lambda *options: world.run("run", *options, *PLAIN)


def test_the_dry_run_shows_what_differs_starts_nothing_and_says_the_same_twice(world, dry):
    one, other = dry("--dry-run"), dry("--dry-run")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == other.stdout
    marked = {line[2:].split()[0]: line for line in one.stdout.splitlines() if line.startswith("* ")}
    assert set(marked) == {"RANK", "MGB_JIT_WORKDIR"}
    assert "0 | 1 | 2 of 3" in marked["RANK"]
    assert "/tmp/jit-0 | /tmp/jit-1 | /tmp/jit-2" in marked["MGB_JIT_WORKDIR"]
    assert "  TEAM " in one.stdout
    assert one.stdout.endswith("nothing was started\n")
    assert not list(world.project.glob("seen-*"))


def test_the_dry_run_in_json_says_the_same_twice_and_what_each_rank_gets(world, seen):
    world.write(".mgelaunch/each.toml", "[env]\nMGB_CUDA_RESERVE_MEMORY = {unset = true}\n" + EACH)
    world.environ["MGB_CUDA_RESERVE_MEMORY"] = "0"
    options = ("-n", "3", "-p", "each", "-e", "TEAM=ours", "save.py")
    one, other = (world.run("run", "--dry-run", "-f", "json", *options) for _ in range(2))
    assert one.stdout == other.stdout
    planned = [process["environment"] for process in json.loads(one.stdout)["processes"]]
    got = seen(*options[:-1])
    assert {environ.pop("MASTER_PORT") for environ in planned} == {"{master_port}"}
    assert all(environ.pop("MASTER_PORT").isdecimal() for environ in got)
    changed = [{**world.environ, **environ} for environ in planned]
    assert got == [{name: text for name, text in environ.items() if text is not None} for environ in changed]


def test_the_dry_run_shows_one_rank_whole(dry):
    done = dry("--dry-run", "--rank", "2")
    rows = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert (rows["RANK"], rows["LOCAL_RANK"], rows["WORLD_SIZE"]) == ("2", "2", "3")
    assert "|" not in done.stdout
    (process,) = json.loads(dry("--dry-run", "-f", "json", "--rank", "2").stdout)["processes"]
    assert (process["rank"], process["environment"]["RANK"]) == (2, "2")


@pytest.mark.parametrize(
    "options", [["--dry-run", "--rank", "3"], ["--dry-run", "--rank", "-1"], ["--rank", "0"]], ids=" ".join
)
def test_a_rank_that_there_is_not_cannot_be_shown(dry, options):
    done = dry(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rank" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- without ranks -------------------------------------------------------------------------------

NEED_RANKS = {
    "--max-restarts": "1",
    "--log-dir": "logs",
    "--quiet": None,
    "--rendezvous": "megengine",
    "--join-timeout": "10s",
    "--grace": "10s",
    "--time-limit": "1h",
    "--master-addr": "127.0.0.1",
    "--master-port": "0",
    "--nnodes": "1",
    "--node-rank": "0",
}


@pytest.mark.parametrize(("option", "value"), NEED_RANKS.items(), ids=NEED_RANKS)
def test_an_option_that_needs_ranks_says_what_to_add(world, option, value):
    done = world.run("run", option, *([value] if value else []), "touch", "started")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"mgelaunch: error: {option} needs ranks")
    assert "-n 1" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(world.project) == [".mgelaunch"]


def test_port_0_of_the_shell_is_a_free_port_for_the_dry_run_and_for_the_ranks(world):
    told = world.run("run", "--dry-run", "-f", "json", "-n", "2", "true", MASTER_PORT="0")
    assert [each["environment"]["MASTER_PORT"] for each in json.loads(told.stdout)["processes"]] == [
        "{master_port}"
    ] * 2
    ran = world.run("run", "-n", "2", "sh", "-c", "echo $MASTER_PORT", MASTER_PORT="0")
    ports = {int(line.split()[-1]) for line in ran.stdout.splitlines()}
    assert len(ports) == 1
    assert 0 not in ports
