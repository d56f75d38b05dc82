"""The dry-run and the explanation for people: who won, who was beaten, what is removed or wrong, and no secret."""

import pytest

from mgelaunch.environment.source import Source
from mgelaunch.launch.command import Command
from mgelaunch.launch.plan import plan
from mgelaunch.report.explain import explanation
from mgelaunch.report.table import columns, dry_run
from mgelaunch.report.text import width
from mgelaunch.target.interpreter import Interpreter

PYTHON = Interpreter("/env/bin/python", "CONDA_PREFIX")
DTR, LEVEL = "MEGENGINE_DTR_EVICTION_THRESHOLD", "MEGENGINE_LOGGING_LEVEL"


def shown(resolution, interpreter=PYTHON, command=None):
    planned = plan(command, "/cwd", [resolution.exported])
    return dry_run([resolution], interpreter, "3.10.13, megengine 1.13.0", planned, resolution.findings)


def rows(text):
    """The lines of the table: mark and cells by name."""
    _, table, _ = text.split("\n\n")
    return {line[2:].split()[0]: (line[0], line[2:].split()[1:]) for line in table.splitlines()[1:]}


def explained(resolution, name):
    findings = [finding for finding in resolution.findings if name in finding.names]
    return explanation(name, resolution.settings.get(name), findings)


# The dry-run.


def test_what_differs_between_ranks_is_marked_and_shown_side_by_side(project):
    project.profile("p", '[env]\nOURS = "1"\n[rank.env]\nMGE_DEFAULT_DEVICE = "gpu{local_rank}"')
    ranks = [project.resolve("p", placeholders={"local_rank": str(rank)}) for rank in range(6)]
    planned = plan(None, "/cwd", [rank.exported for rank in ranks], [(rank,) for rank in range(6)], supervised=True)
    text = dry_run(ranks, PYTHON, "", planned, ())
    told = rows(text)
    assert told["OURS"][0] == " "
    assert told["MGE_DEFAULT_DEVICE"] == (
        "*",
        ["gpu0", "|", "gpu1", "|", "gpu2", "|", "gpu3", "|", "...", "p:4", "import"],
    )
    assert text.splitlines()[2] == "start   6 ranks here, supervised; on CPUs 0 | 1 | 2 | 3 | ..."


def test_it_says_which_python_and_which_command(project):
    lines = shown(project.resolve(), command=Command("/bin/x", ("x", "train.py", "a b"))).splitlines()
    assert lines[0] == "python  /env/bin/python  3.10.13, megengine 1.13.0  by CONDA_PREFIX"
    assert lines[-2:] == ["command   /bin/x train.py 'a b'", "nothing was started"]
    assert shown(project.resolve()).splitlines()[-2] == "command   (nothing to start)"
    assert shown(project.resolve(), Interpreter("", "")).splitlines()[0] == "python  (not found)"


def test_a_row_has_value_layer_moment_and_the_beaten(project):
    project.write(".env", f"{LEVEL}=INFO\n")
    project.profile("p", f'[env]\n{DTR} = {{ default = "50%" }}')
    told = rows(shown(project.resolve("p", shell={LEVEL: "DEBUG"}, sets=((LEVEL, "error"),))))
    assert told[LEVEL] == (" ", ["ERROR", "--set", "import", "shell,", ".env:1"])
    assert told[DTR] == (" ", ["12884901888", "50%", "of", "24.0", "GiB", "p:2", "default", "import"])


def test_a_layer_that_is_beaten_twice_is_named_once(project):
    told = rows(shown(project.resolve(sets=(("OURS", "1"), ("OURS", "2"), ("OURS", "3")))))
    assert told["OURS"] == (" ", ["3", "--set", "--set"])


def test_a_removed_variable_is_marked(project):
    told = rows(shown(project.resolve(unsets=("OURS", "MGB_CUDA_RESERVE_MEMORY"), shell={"OURS": "1"})))
    assert told["OURS"] == ("-", ["(removed)", "--unset", "shell"])
    assert told["MGB_CUDA_RESERVE_MEMORY"][0] == "-"


@pytest.mark.parametrize("source", [Source.SHELL, Source.DOTENV, Source.PROFILE, Source.SET])
def test_a_wrong_value_is_marked_and_not_shown(project, source):
    told = rows(shown(project.stack({source: {DTR: "7777"}})))
    assert told[DTR][0] == "!"
    assert told[DTR][1][0] == "(wrong)"


def test_a_broken_reference_is_marked_as_wrong_and_not_as_removed(project):
    project.profile("p", '[env]\nOURS = "${NOPE}"')
    assert rows(shown(project.resolve("p")))["OURS"] == ("!", ["(wrong)", "p:2"])


def test_a_name_that_is_an_error_is_marked_and_keeps_its_value(project):
    told = rows(shown(project.resolve(sets=(("MGE_FASTRUN_CACHE_DIRS", "x"),))))
    assert told["MGE_FASTRUN_CACHE_DIRS"] == ("!", ["x", "--set"])


def test_of_the_shell_only_what_the_catalogue_knows_is_shown(project):
    assert list(rows(shown(project.resolve(shell={"EDITOR": "vi", "OMP_NUM_THREADS": "4"})))) == ["OMP_NUM_THREADS"]


def layers_line(resolution):
    return shown(resolution).splitlines()[1]


def test_the_layers_are_listed_low_to_high(project):
    project.write(".env", "A=1\n")
    project.write("b.env", "A=2\n")
    project.profile("base", "")
    project.profile("top", 'extends = ["base"]')
    found, named = project.resolve("top"), project.resolve("shipped:dtr", env_files=("b.env",))
    profiles = "base [.mgelaunch/base.toml] < top [.mgelaunch/top.toml]"
    assert layers_line(found) == f"layers  .env < shell < {profiles} < --set"
    assert layers_line(named) == "layers  shell < b.env < dtr [shipped] < --set"


def test_a_named_env_file_stands_above_the_shell_even_if_nothing_of_it_wins(project):
    project.write("sub/.env", "A=1\n")
    resolution = project.resolve(env_files=("sub/.env",), sets=(("A", "2"),))
    assert layers_line(resolution) == "layers  shell < sub/.env < --set"


def test_columns_stand_below_each_other_two_blanks_apart_for_wide_characters_too(project):
    sets = (("OURS", "显存"), ("B", "e\u0301"), ("LONGER_THAN_THAT", "x"), ("ONE", "ａｂ"))
    lines = [line for line in shown(project.resolve(sets=sets)).splitlines() if "--set" in line and "<" not in line]
    head = next(line for line in shown(project.resolve(sets=sets)).splitlines() if "NAME" in line)
    assert {width(line[: line.index("--set")]) for line in lines} == {head.index("FROM")}
    assert len(lines) == len(sets)


def test_the_last_column_leaves_no_blanks_behind_it():
    assert list(columns([("", "a", "bb"), ("!", "ccc", ""), ("-", "", "d")])) == ["  a    bb", "! ccc", "-      d"]


# The explanation.


def test_the_winner_comes_first_then_the_beaten_highest_first_then_the_framework(project):
    project.write(".env", f"{LEVEL}=INFO\n")
    project.profile("p", f'[env]\n{LEVEL} = "warn"')
    resolution = project.resolve("p", shell={LEVEL: "DEBUG"}, sets=((LEVEL, "error"),))
    outcome, *lines = explained(resolution, LEVEL).splitlines()
    assert outcome == f"{LEVEL} = ERROR"
    assert [line.split() for line in lines] == [
        ["set", "by", "--set", "error"],
        ["beats", "p:2", ".mgelaunch/p.toml:2:1", "warn"],
        ["beats", "shell", "DEBUG"],
        ["beats", ".env:1", f".env:1:{len(LEVEL) + 2}", "INFO"],
        ["default", "the", "framework", "INFO"],
    ]


def test_a_percentage_is_explained_by_its_base(project):
    outcome = explained(project.resolve(sets=((DTR, "50%"),)), DTR).splitlines()[0]
    assert outcome == f"{DTR} = 12884901888  (50% of 24.0 GiB)"


def test_a_removed_variable_is_called_so(project):
    lines = explained(project.resolve(unsets=("OURS",), shell={"OURS": "1"}), "OURS").splitlines()
    assert [line.split() for line in lines] == [
        ["OURS", "is", "removed"],
        ["set", "by", "--unset", "unset"],
        ["beats", "shell", "1"],
    ]


def test_a_wrong_value_is_called_so_and_not_shown(project):
    text = explained(project.resolve(sets=((DTR, "7777"),)), DTR)
    assert text.startswith(f"{DTR} = (wrong)")
    assert "7777" not in text


def test_a_variable_that_no_layer_names_is_not_there(project):
    assert "OURS" in explained(project.resolve(), "OURS")


# Secrets.


FILES = [Source.DOTENV, Source.ENV_FILE, Source.SOFT, Source.PROFILE]


@pytest.mark.parametrize("source", [*FILES, Source.SHELL, Source.SET])
@pytest.mark.parametrize("name", ["WANDB_API_KEY", "DB_PASSWORD"])
def test_no_table_and_no_explanation_shows_a_secret(project, source, name):
    resolution = project.stack({source: {name: "hunter2"}, Source.DERIVED: {name: "x"}})
    assert "hunter2" not in shown(resolution) + explained(resolution, name)


@pytest.mark.parametrize("source", FILES)
def test_nor_what_refers_to_a_secret(project, source):
    resolution = project.stack({source: {"COPY": "x${DB_PASSWORD}"}}, shell={"DB_PASSWORD": "hunter2"})
    assert resolution.get("COPY") == "xhunter2"
    assert "hunter2" not in shown(resolution) + explained(resolution, "COPY")


def test_a_secret_that_was_beaten_is_masked_as_well(project):
    project.profile("p", '[env]\nOURS = { value = "hunter2", secret = true }')
    resolution = project.resolve("p", shell={"OURS": "hunter22"}, sets=(("OURS", "hunter222"),))
    assert "hunter2" not in shown(resolution) + explained(resolution, "OURS")


def test_a_loser_that_refers_to_a_secret_is_masked_although_the_winner_is_not(project):
    project.write(".env", 'OURS="${DB_PASSWORD}"\n')
    resolution = project.resolve(shell={"DB_PASSWORD": "hunter2"}, sets=(("OURS", "plain"),))
    text = explained(resolution, "OURS")
    assert "hunter2" not in text
    assert "plain" in text


def test_the_password_of_an_address_is_masked(project):
    name = "MGE_FASTRUN_CACHE_URL"
    resolution = project.resolve(sets=((name, "redis://:hunter2@localhost:6379"),))
    assert "hunter2" not in shown(resolution) + explained(resolution, name)
    assert "localhost:6379" in shown(resolution)


def test_so_is_one_in_the_command_line(project):
    command = Command("/bin/x", ("x", "--store=redis://:hunter2@localhost"))
    assert "hunter2" not in shown(project.resolve(), command=command)
