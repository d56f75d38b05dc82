"""--fix makes true what MegEngine says of two settings: shown by what it reads back, with the fix and without."""

import json
import subprocess

import pytest

pytestmark = pytest.mark.megengine

STRATEGY = "MEGENGINE_EXECUTION_STRATEGY"
READ = """
import json, sys
import megengine
from megengine.core import get_option
from megengine.functional.debug_param import get_execution_strategy
options = ("enable_dtr_auto_drop", "enable_drop", "record_computing_path", "dtr_eviction_threshold",
           "dtr_evictee_minimum_size", "enable_dtr_sqrt_sampling")
print(json.dumps([str(get_execution_strategy()), megengine.config.benchmark_kernel,
                  megengine.config.deterministic_kernel, {name: get_option(name) for name in options}]))
"""
DTR = {
    "MEGENGINE_DTR_AUTO_DROP": "1",
    "MEGENGINE_ENABLE_DROP": "1",
    "MEGENGINE_RECORD_COMPUTING_PATH": "1",
    "MEGENGINE_DTR_EVICTION_THRESHOLD": "3GiB",
    "MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE": "2MiB",
    "MEGENGINE_DTR_SQRT_SAMPLING": "1",
}
EVICTIONS = """
import collections, glob, json
import megengine, numpy
from megengine.utils.profiler import Profiler
data = megengine.tensor(numpy.ones(1 << 20, "float32"))
with Profiler("profile", formats=["chrome_timeline.json"]):
    kept = []
    for _ in range(8):
        data = data * 1.5 + 1
        kept.append(data)
    total = float(sum(each.mean() for each in kept).numpy())
(path,) = glob.glob("profile/*.json")
with open(path) as file:
    events = json.load(file)
names = collections.Counter(event.get("name") for event in (events if isinstance(events, list) else events["traceEvents"]))
print(json.dumps([names["AutoEvict"], total]))
"""
"""Counts what only that allocator does: it evicts before it allocates, on a CPU as well, and far below the threshold."""

A_CARD = """
cd "$1" && shift && mkdir dev && mount -t tmpfs tmpfs dev
for each in null zero full random urandom tty; do touch dev/$each && mount --bind /dev/$each dev/$each; done
mkdir dev/shm && mount --bind /dev/shm dev/shm && touch dev/nvidiactl && mount --move dev /dev && exec "$@"
"""
"""A /dev as a host with NVIDIA's driver has it, as far as the bootstrap looks."""


def read(job, python, *options, sets=None):
    ran = job.launched(python, READ, options=options, sets={"MGE_DEFAULT_DEVICE": "cpu0", **(sets or {})})
    assert ran.returncode == 0, ran.stderr
    return ran, ran.report


@pytest.mark.parametrize(
    ("text", "strategy", "profile", "deterministic"),
    [
        ("PROFILE", "PROFILE", True, False),
        ("HEURISTIC", "HEURISTIC", False, False),
        ("PROFILE_REPRODUCIBLE", "PROFILE|REPRODUCIBLE", True, True),
        ("REPRODUCEABLE", "HEURISTIC|REPRODUCIBLE", False, True),
        ("profile", "PROFILE", True, False),
    ],
)
def test_the_strategy_of_the_environment_is_in_effect(job, megengine_python, text, strategy, profile, deterministic):
    ran, (shown, *flags, _) = read(job, megengine_python, "--fix", "execution-strategy", sets={STRATEGY: text})
    assert flags == [profile, deterministic]
    assert all(word in shown for word in strategy.split("|"))
    assert "mgelaunch: " not in ran.stderr


def test_without_the_fix_it_is_not_and_the_warning_names_the_fix(job, megengine_python):
    ran, (shown, *flags, _) = read(job, megengine_python, sets={STRATEGY: "PROFILE"})
    assert flags == [False, False]
    assert "HEURISTIC" in shown
    assert "; try --fix execution-strategy [name.dead]" in ran.stderr


def test_a_fix_whose_variable_is_not_set_changes_nothing(job, megengine_python):
    plain, fixed = (read(job, megengine_python, *options)[1] for options in ((), ("--fix", "execution-strategy")))
    assert plain == fixed


def test_a_strategy_that_there_is_none_of_is_refused_before_the_start(job, megengine_python):
    ran = job.launched(megengine_python, READ, options=("--fix", "execution-strategy"), sets={STRATEGY: "OPTIMIZED"})
    assert (ran.returncode, ran.stdout) == (125, "")
    assert "[fix.value]" in ran.stderr


def test_a_strategy_that_only_the_script_sets_wrong_is_one_line_and_the_script_goes_on(job, megengine_python):
    script = f"import os\nos.environ['{STRATEGY}'] = 'NONE_SUCH'\n{READ}"
    ran = job.launched(megengine_python, script, options=("--fix", "execution-strategy"))
    assert ran.returncode == 0
    lines = [line for line in ran.stderr.splitlines() if line.startswith("mgelaunch")]
    assert lines == [
        "mgelaunch: warning: --fix execution-strategy was of no avail: this MegEngine raises ValueError [fix.failed]"
    ]


def test_a_late_change_of_the_strategy_is_told_by_the_guard(job, megengine_python):
    script = f"import megengine, os\nos.environ['{STRATEGY}'] = 'PROFILE'\n"
    told = [
        "script.py:2: MEGENGINE_EXECUTION_STRATEGY is set after"
        in job.launched(megengine_python, script, options=options).stderr
        for options in (("--guard", "--fix", "execution-strategy"), ("--guard",))
    ]
    assert told == [True, False]


def test_ranks_and_processes_that_are_spawned_have_it_too(job, megengine_python):
    script = """
import multiprocessing, os
def show():
    import megengine
    print(os.environ["RANK"], megengine.config.benchmark_kernel, flush=True)
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=show)
    process.start(), process.join()
"""
    ran = job.launched(
        megengine_python, script, options=("-n", "2", "--fix", "execution-strategy"), sets={STRATEGY: "PROFILE"}
    )
    assert sorted(ran.stdout.splitlines()) == ["[0] 0 True", "[1] 1 True"]


def test_a_fix_does_nothing_where_megengine_is_not_imported(job, megengine_python):
    script = (
        "import sys; print('megengine' in sys.modules, [f for f in sys.meta_path if 'mgelaunch' in type(f).__module__])"
    )
    ran = job.launched(megengine_python, script, options=("--fix", "execution-strategy"), sets={STRATEGY: "PROFILE"})
    assert ran.stdout.startswith("False ")
    assert ran.stderr == ""


# -- DTR --------------------------------------------------------------------------------------------------


def test_on_a_cpu_the_allocator_is_left_out_and_the_values_are_those_of_the_environment(job, megengine_python):
    plain, fixed = (read(job, megengine_python, *options, sets=DTR) for options in ((), ("--fix", "dtr-allocator")))
    assert plain[1] == fixed[1]
    assert fixed[1][3]["dtr_eviction_threshold"] == 3 << 30
    assert [line[-9:] for line in fixed[0].stderr.splitlines() if line.startswith("mgelaunch")] == ["[fix.cpu]"]


def test_without_dtr_there_is_nothing_to_complete(job, megengine_python):
    plain, fixed = (read(job, megengine_python, *options) for options in ((), ("--fix", "dtr-allocator")))
    assert plain[1] == fixed[1]
    assert "mgelaunch: " not in fixed[0].stderr


@pytest.mark.parametrize("fix", [(), ("--fix", "dtr-allocator")], ids=["without", "with"])
def test_where_there_is_a_card_the_allocator_that_evicts_is_installed(world, megengine_python, unshare, tmp_path, fix):
    script = world.write("script.py", READ + EVICTIONS)
    settings = [word for name, text in DTR.items() for word in ("-e", f"{name}={text}")]
    command = world.command("run", "--python", megengine_python, "--no-check", *fix, *settings, script)
    done = subprocess.run(
        [*unshare, "sh", "-ec", A_CARD, "sh", str(tmp_path), *command],
        cwd=world.project,
        env=world.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (*_, options), (evictions, total) = map(json.loads, done.stdout.splitlines()[-2:])
    assert (evictions > 0, total) == (bool(fix), 205.66015625)
    assert (options["dtr_eviction_threshold"], options["dtr_evictee_minimum_size"]) == (3 << 30, 2 << 20)
    assert "mgelaunch: " not in done.stderr
