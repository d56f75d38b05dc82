"""--bind-cpus gives a rank its share of the CPUs before it becomes the script; thread counts follow what it may use."""

import json
import os
import sys

import pytest

ALLOWED = sorted(os.sched_getaffinity(0))
SHOW = "import json, os; print(json.dumps([sorted(os.sched_getaffinity(0)), dict(os.environ)]))"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
two_cpus = pytest.mark.skipif(len(ALLOWED) < 2, reason="one CPU cannot be divided")


def ranks(number, local_rank):
    return {
        "RANK": str(local_rank),
        "WORLD_SIZE": str(number),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(number),
    }


@pytest.fixture
def started(world):
    """A function that runs a script with options and tells its CPUs and its environment."""
    world.write("show.py", SHOW)

    def run(*options, **environ):
        done = world.run("run", *options, "show.py", **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_one_process_keeps_all_that_it_may_use(started):
    assert started("--bind-cpus", "cores")[0] == started("--bind-cpus", "none")[0] == started()[0] == ALLOWED


@two_cpus
def test_ranks_of_a_launcher_share_the_cpus_and_leave_none_out(started):
    shares = [started("--bind-cpus", "cores", **ranks(2, rank))[0] for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == ALLOWED
    assert all(shares)


NARROWED = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); "
EXEC, SPAWN = "os.execv(sys.argv[2], sys.argv[2:])", "import subprocess; subprocess.run(sys.argv[2:], check=True)"


@two_cpus
@pytest.mark.parametrize(
    ("narrow", "threads"),
    [
        pytest.param(EXEC, "1", id="by the launcher, for this rank"),
        pytest.param(SPAWN, None, id="with the launcher, for all ranks"),
    ],
)
def test_cpus_that_a_launcher_gave_to_one_rank_are_not_divided_again(world, start, narrow, threads):
    world.write("show.py", SHOW)
    world.environ |= ranks(2, 1)
    wrapper = (sys.executable, "-c", NARROWED + narrow, str(ALLOWED[0]))
    told, said = start("run", "--bind-cpus", "cores", "--threads", "100%", "show.py", wrapper=wrapper).communicate()
    if threads is None:
        assert b"[cpu.bind]" in said
    else:
        cpus, environ = json.loads(told)
        assert (cpus, environ["OMP_NUM_THREADS"]) == (ALLOWED[:1], threads)


@two_cpus
def test_without_the_option_or_with_none_nothing_is_bound(started):
    assert started(**ranks(2, 1))[0] == started("--bind-cpus", "none", **ranks(2, 1))[0] == ALLOWED


@two_cpus
def test_a_profile_can_ask_for_it_and_the_option_beats_the_profile(world, started):
    world.write(".mgelaunch/p.toml", "[launch]\nbind-cpus = 'cores'\n")
    assert started("-p", "p", **ranks(2, 0))[0] != ALLOWED
    assert started("-p", "p", "--bind-cpus", "none", **ranks(2, 0))[0] == ALLOWED


@pytest.mark.parametrize("command", ["run", "check"])
def test_more_ranks_than_cpus_are_refused(world, command):
    done = world.run(command, "--bind-cpus", "cores", "true", **ranks(len(ALLOWED) + 1, 0))
    assert done.returncode == {"run": 125, "check": 4}[command]
    assert "[cpu.bind]" in done.stderr
    assert "--bind-cpus none" in done.stderr


@two_cpus
def test_the_plan_shows_the_cpus_of_each_rank(world):
    options = ("--dry-run", "-n", "2", "--bind-cpus", "cores")
    plan = json.loads(world.run("run", "-f", "json", *options).stdout)
    shares = [process["cpus"] for process in plan["processes"]]
    assert sorted(shares[0] + shares[1]) == ALLOWED
    assert "; on CPUs " in world.run("run", *options).stdout


@two_cpus
def test_several_ranks_get_thread_counts_that_nobody_set_and_the_plan_says_why(world, started):
    environ = started(**ranks(len(ALLOWED), 0))[1]
    assert [environ[name] for name in THREADS] == ["1"] * 3
    told = world.run("run", "--dry-run", "-f", "json", **ranks(len(ALLOWED), 0)).stdout
    (setting,) = [setting for setting in json.loads(told)["settings"] if setting["name"] == "OMP_NUM_THREADS"]
    assert (setting["value"], setting["source"]) == ("1", "derived")
    assert setting["where"].endswith(f"/ {len(ALLOWED)}")


@two_cpus
@pytest.mark.parametrize("said", THREADS)
def test_a_thread_count_that_somebody_sets_is_kept_and_one_for_openmp_stands_for_all(world, started, said):
    others = dict.fromkeys(THREADS, None if said == THREADS[0] else "1")
    by_shell, by_flag = (started(**ranks(2, 0), **{said: "7"})[1], started("-e", f"{said}=7", **ranks(2, 0))[1])
    for environ in (by_shell, by_flag):
        assert {name: environ.get(name) for name in THREADS} == others | {said: "7"}
    assert "[together.threads]" not in world.run("run", "-e", f"{said}=2", "true", **ranks(2, 0)).stderr


def test_one_process_without_a_quota_gets_no_thread_counts(world, started):
    if json.loads(world.run("check", "-f", "json").stdout)["host"]["cpus"]["quota"]:
        pytest.skip("a cgroup limits the CPU time of these tests")
    assert not set(THREADS) & set(started()[1])
