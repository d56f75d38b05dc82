"""Surroundings that real jobs have: ranks of other launchers, odd homes, odd locales, names that look like positions."""

import json
import os
import subprocess

import pytest

SHOW = "import os, json; print(json.dumps(dict(os.environ)))"


def child(world, *args, **environ):
    world.write("show.py", SHOW)
    done = world.run("run", *args, "show.py", **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_under_a_launcher_of_ranks_a_template_gets_the_rank_that_was_inherited(world):
    world.write(
        ".mgelaunch/p.toml", '[rank.env]\nOURS = "{rank} of {world_size}, {local_rank} of {local_world_size}"\n'
    )
    ranks = {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}
    got = child(world, "-p", "p", "--device", "gpu", "--no-check", **ranks)  # whatever cards there are
    assert (got["OURS"], got["MGE_DEFAULT_DEVICE"]) == ("7 of 8, 3 of 4", "gpu3")


def test_a_command_is_the_one_of_path_unless_the_python_belongs_to_an_environment(world):
    ours = world.write("tools/tool", "#!/bin/sh\necho ours\n")
    theirs = world.write("usr/bin/tool", "#!/bin/sh\necho theirs\n")
    python = world.write("usr/bin/python", "#!/bin/sh\n")
    for program in (ours, theirs, python):
        program.chmod(0o755)
    path = f"{world.project}/tools:{os.environ['PATH']}"
    assert world.run("run", "--python", python, "tool", PATH=path).stdout == "ours\n"
    world.write("usr/pyvenv.cfg", "")
    assert world.run("run", "--python", python, "tool", PATH=path).stdout == "theirs\n"


@pytest.mark.parametrize("option", ["--gpu-ids", "--device", "--threads", "--python", "-n"])
def test_an_option_that_is_empty_by_mistake_is_a_usage_error(world, option):
    done = world.run("run", option, "", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert option in done.stderr


def test_a_folder_on_pythonpath_does_not_choose_the_interpreter(world):
    world.write("src/megengine/__init__.py", "")
    plan = world.run(
        "run", "--dry-run", "-f", "json", "true", PYTHONPATH=str(world.project / "src"), MGELAUNCH_PYTHON=""
    )
    assert json.loads(plan.stdout)["target"]["chosen_by"] != "mgelaunch's own"


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_the_locale_that_the_user_set_reaches_the_script(world, locale):
    command = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={world.home}", f"LC_CTYPE={locale}"]
    command += [*world.command("run", "printenv", "LC_CTYPE")]
    done = subprocess.run(command, cwd=world.project, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"{locale}\n"


def test_a_file_whose_path_looks_like_a_position_is_named_with_its_real_one(world):
    world.write("12:30:45/e.env", "A=1\nB\n")
    done = world.run("run", "--env-file", "12:30:45/e.env", "true")
    assert done.returncode == 125
    assert "error: 12:30:45/e.env:2:1: " in done.stderr


def test_what_cannot_be_started_cannot_be_ignored(world):
    assert world.run("run", "--ignore", "target.missing", "nope").returncode == 127


@pytest.mark.parametrize("value", ["~nobody/x", "$SCRATCH/x"])
def test_a_path_that_nobody_expands_is_refused(world, value):
    done = world.run("run", "-e", f"MGE_HOME={value}", "true")
    assert done.returncode == 125
    assert "[value.path]" in done.stderr


def test_a_path_of_the_shell_stays_as_it_is(world):
    assert child(world, XDG_CACHE_HOME="/a/../b")["XDG_CACHE_HOME"] == "/a/../b"


def test_a_soft_value_that_loses_needs_no_reference(world):
    world.write(".mgelaunch/p.toml", '[env]\nMGE_HOME = { default = "${SCRATCH}/x" }\n')
    assert child(world, "-p", "p", MGE_HOME="/somewhere")["MGE_HOME"] == "/somewhere"
    assert world.run("run", "-p", "p", "true").returncode == 125


def test_an_unset_on_the_command_line_is_right_for_a_name_that_nobody_reads(world):
    done = world.run("run", "--unset", "MEGENGINE_LOGING_LEVEL", "true", MEGENGINE_LOGING_LEVEL="ERROR")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_profile_that_cannot_be_read_hides_what_it_may_have_called_secret(world):
    world.write("a.env", "MYPASS=hunter2\n")
    world.write(".mgelaunch/p.toml", "[env]\nMYPASS = { secret = true\n")
    done = world.run("run", "--dry-run", "--env-file", "a.env", "-p", "p")
    assert done.returncode == 3
    assert "hunter2" not in done.stdout + done.stderr


def test_a_swallowed_line_hides_its_secret(world):
    world.write("a.env", 'NOTE="1\nAPI_KEY=hunter2\nB=x"\n')
    done = world.run("explain", "NOTE", "--env-file", "a.env")
    assert "hunter2" not in done.stdout + done.stderr


def test_a_secret_on_the_command_line_of_the_target_is_masked(world):
    done = world.run("run", "--dry-run", "env", "WANDB_API_KEY=hunter2", "true")
    assert "hunter2" not in done.stdout + done.stderr


def test_json_is_json_whatever_the_terminal_can_carry(world):
    done = world.run("run", "--dry-run", "-f", "json", "-e", "X=é", "true", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["processes"][0]["environment"]["X"] == "é"


def test_a_glued_module_is_refused_behind_other_options_as_well(world):
    done = world.run("run", "-p", "dtr", "-mpdb", "train.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "write -m pdb" in done.stderr


def test_the_last_profile_decides_whether_warnings_are_errors(world):
    world.write(".mgelaunch/strict.toml", "[launch]\nstrict = true\n")
    world.write(".mgelaunch/lax.toml", 'extends = ["strict"]\n[launch]\nstrict = false\n')
    warned = {"MEGENGINE_LOGING_LEVEL": "ERROR"}
    assert [world.run("run", "-p", name, "true", **warned).returncode for name in ("strict", "lax")] == [125, 0]


def test_a_percentage_of_a_card_is_of_what_nvidia_smi_tells(world):
    smi = world.write(
        "bin/nvidia-smi", "#!/bin/sh\necho '0, GPU-1, 00000000:07:00.0, GTX, 24576, 24000, Default, [N/A]'\n"
    )
    smi.chmod(0o755)
    path = f"{smi.parent}:{os.environ['PATH']}"
    got = child(world, "-p", "dtr", "--device", "gpu0", PATH=path)
    assert got["MEGENGINE_DTR_EVICTION_THRESHOLD"] == str((24576 << 20) * 80 // 100)
    smi.write_text("#!/bin/sh\nexit 9\n")
    done = world.run("run", "-p", "dtr", "--device", "gpu0", "true", PATH=path)
    assert done.returncode == 125
    assert "[value.unmeasured]" in done.stderr
