"""What stands behind TARGET is TARGET's own, letter for letter; what stands before it is mgelaunch's, strictly."""

import json

import pytest

SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


ARGUMENTS = {
    "options of ours": ["--r=16", "--help", "-n", "3", "--profile", "x"],
    "wrong values for our options": ["-p", "nope", "-e", "broken", "--dry-run", "--unset", "1x"],
    "dashes": ["--", "-m", "--", "-"],
    "what would be refused before TARGET": ["-m", "pdb", "-mpdb", "-n=4"],
    "empty and blank": ["", " ", "a b", "\n", "\t"],
    "Chinese and accents": ["--名字=训练", "数据 集", "é"],
    "negative numbers": ["-1", "-.5", "-0x10", "--lr", "-1e-3"],
    "signs that somebody expands": ["$HOME", "*", "~", '"', "'", "\\", "${X}", "{rank}", "%s"],
    "underscores": ["--local_rank=0", "--batch-size", "64", "--use_amp"],
    "mgelaunch itself": ["mgelaunch", "run", "show.py"],
}
ALL = [arg for args in ARGUMENTS.values() for arg in args]


@pytest.mark.parametrize("args", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_a_script_arrive_verbatim(world, args):
    world.write("show.py", SHOW)
    done = world.run("run", "show.py", *args)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == args


def test_arguments_of_a_module_arrive_verbatim(world):
    world.write("tools/__init__.py", "")
    world.write("tools/show.py", SHOW)
    assert json.loads(world.run("run", "-m", "tools.show", *ALL).stdout) == ALL


def test_arguments_of_a_command_arrive_verbatim(world):
    world.write("show", f"#!{world.environ['MGELAUNCH_PYTHON']}\n{SHOW}\n").chmod(0o755)
    assert json.loads(world.run("run", "./show", *ALL).stdout) == ALL


@pytest.mark.parametrize(
    "args",
    [["--", "show.py", "x", "--", "-n"], ["-e", "A=1", "--", "show.py", "x", "--", "-n"]],
    ids=["alone", "after options"],
)
def test_two_dashes_before_target_only_end_the_options(world, args):
    world.write("show.py", SHOW)
    done = world.run("run", *args)
    assert (done.returncode, json.loads(done.stdout)) == (0, ["x", "--", "-n"])


def test_an_option_of_ours_behind_target_changes_nothing(world):
    world.write("show.py", "import os, sys; print(os.environ.get('A'), sys.argv[1:])")
    done = world.run("run", "-e", "A=before", "show.py", "-e", "A=behind")
    assert done.stdout == "before ['-e', 'A=behind']\n"


@pytest.mark.parametrize(
    ("dashes", "underscores"),
    [
        (["--env-file", "a.env"], ["--env_file", "a.env"]),
        (["--env-file=a.env"], ["--env_file=a.env"]),
        (["--no-env-file"], ["--no_env_file"]),
        (["--keep-shell", "A", "--allow-unknown", "MGE_OURS"], ["--keep_shell", "A", "--allow_unknown", "MGE_OURS"]),
        (["--gpu-ids", "0,1", "--no-check"], ["--gpu_ids", "0,1", "--no_check"]),
    ],
    ids=["a value behind", "a value with =", "a switch", "two", "beside others"],
)
def test_underscores_in_long_options_are_as_good_as_dashes(world, dashes, underscores):
    world.write("a.env", "A=1\n")
    world.write(".env", "A=2\nMGE_OURS=3\n")
    one, other = (world.run("run", "--dry-run", *options) for options in (dashes, underscores))
    assert one.returncode == other.returncode == 0
    assert one.stdout == other.stdout


def test_underscores_in_values_and_names_stay_underscores(world):
    done = world.run("run", "--set", "A_B=c_d", "sh", "-c", 'echo "$A_B"')
    assert done.stdout == "c_d\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-n=4", "show.py"], "write -n 4, not -n=4"),
        (["-mpdb", "show.py"], "write -m pdb, not -mpdb"),
        (["--proflie", "x", "show.py"], "--profile"),
        (["--env-fiel=x", "show.py"], "--env-file"),
        (["--dryrun", "show.py"], "--dry-run"),
        (["--prof", "x", "show.py"], "--profile"),
        (["-Z", "show.py"], "-Z"),
        (["--set", "show.py"], "TARGET"),
        (["--profile"], "--profile"),
        ([], "TARGET"),
        (["-p", "x"], "TARGET"),
        (["--format", "json", "show.py"], "--dry-run"),
        (["--dry-run", "--format", "xml", "show.py"], "json"),
        (["--no-check=yes", "show.py"], "--no-check"),
    ],
    ids=[
        *("-n=4", "-mpdb", "--proflie", "--env-fiel", "--dryrun", "an abbreviation", "a letter", "a swallowed TARGET"),
        *(
            "a missing value",
            "nothing",
            "no TARGET",
            "--format without --dry-run",
            "an unknown format",
            "a value too much",
        ),
    ],
)
def test_a_slip_before_target_is_a_usage_error_that_names_the_right_spelling(world, args, says):
    world.write("show.py", "open('marker', 'w')")
    done = world.run("run", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("mgelaunch: error: ")
    assert says in done.stderr
    assert done.stderr.endswith(" [usage]\n")
    assert not (world.project / "marker").exists()
