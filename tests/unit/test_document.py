"""The decision as JSON: the shape that programs rely on, stable, and without a secret when it is a diagnostic."""

import json

import pytest

from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding
from mgelaunch.launch.command import Command
from mgelaunch.launch.plan import plan
from mgelaunch.report.document import document
from mgelaunch.target.interpreter import Interpreter

PYTHON = Interpreter("/env/bin/python", "--python", ("/env/bin/python",))
COMMAND = Command(PYTHON.path, (PYTHON.path, "train.py", "-b", "64"))
DTR, STATIC = "MEGENGINE_DTR_EVICTION_THRESHOLD", "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE"


def shown(resolution, interpreter=PYTHON, command=COMMAND, findings=None, *, mask=True):
    """The document as a program reads it."""
    planned = plan(command, "/cwd", [resolution.exported])
    findings = resolution.findings if findings is None else findings
    return json.loads(json.dumps(document([resolution], interpreter, planned, findings, mask=mask)))


def settings(document):
    return {setting["name"]: setting for setting in document["settings"]}


SETTING = {"name", "value", "unset", "source", "where", "kind", "moment", "beaten", "problems"}


def test_the_shape(project):
    project.profile("p", f'[env]\n{DTR} = {{ default = "50%" }}\n{STATIC} = false\nOURS = "1"')
    resolution = project.resolve("p", shell={"HOME": "/home/me", "OURS": "0", DTR: "8"}, sets=((DTR, "9"),))
    told = shown(resolution)
    assert told["version"] == 1
    assert told["target"] == {"python": "/env/bin/python", "chosen_by": "--python"}
    assert told["processes"] == [
        {
            "rank": 0,
            "program": "/env/bin/python",
            "argv": ["/env/bin/python", "train.py", "-b", "64"],
            "cwd": "/cwd",
            "environment": {STATIC: None, "OURS": "1"},
            "deferred": [],
            "cpus": None,
        }
    ]
    assert all(setting.keys() >= SETTING for setting in told["settings"])
    assert {key: settings(told)[DTR][key] for key in SETTING} == {
        "name": DTR,
        "value": None,
        "unset": False,
        "source": "set",
        "where": "--set",
        "kind": "bytes",
        "moment": "import",
        "beaten": [{"source": "shell", "where": "shell"}, {"source": "profile", "where": "p:2"}],
        "problems": ["value.unit"],
    }
    error = next(finding for finding in told["findings"] if finding["severity"] == "error")
    assert error.keys() >= {"severity", "code", "message", "names", "remedy"}
    assert (error["code"], error["names"], error["remedy"]) == ("value.unit", [DTR], f"-e {DTR}=9GiB")


def test_a_stranger_has_no_kind_and_no_moment(project):
    (setting,) = shown(project.resolve(sets=(("OURS", "1"),)))["settings"]
    assert (setting["value"], setting["unset"], setting["kind"], setting["moment"]) == ("1", False, None, None)


def test_a_removed_variable_is_null_and_unset(project):
    told = shown(project.resolve(unsets=("OURS",), shell={"OURS": "1"}))
    assert (settings(told)["OURS"]["value"], settings(told)["OURS"]["unset"]) == (None, True)
    assert told["processes"][0]["environment"] == {"OURS": None}


def test_a_broken_reference_is_a_problem_and_nothing_that_is_removed(project):
    project.profile("p", '[env]\nOURS = "${NOPE}"')
    (setting,) = shown(project.resolve("p"))["settings"]
    assert (setting["value"], setting["unset"], setting["problems"]) == (None, False, ["reference.unset"])


@pytest.mark.parametrize(
    "winner", [Source.DERIVED, Source.SOFT, Source.DOTENV, Source.ENV_FILE, Source.PROFILE, Source.SET]
)
def test_the_source_is_a_word(project, winner):
    words = {Source.SOFT: "profile", Source.ENV_FILE: "env-file"}
    (setting,) = shown(project.stack({winner: {"OURS": "1"}}))["settings"]
    assert setting["source"] == words.get(winner, winner.name.lower())


def test_the_environment_names_what_another_layer_than_the_shell_decides_even_when_it_is_equal(project):
    resolution = project.stack({Source.SHELL: {"SAME": "1", "LEFT": "2"}, Source.PROFILE: {"SAME": "1"}})
    assert shown(resolution)["processes"][0]["environment"] == {"SAME": "1"}


def test_of_the_shell_only_what_the_catalogue_knows_is_listed(project):
    told = shown(project.resolve(shell={"EDITOR": "vi", "OMP_NUM_THREADS": "4"}))
    assert list(settings(told)) == ["OMP_NUM_THREADS"]
    assert told["processes"][0]["environment"] == {}


def test_without_a_target_there_is_no_python_and_no_command(project):
    told = shown(project.resolve(sets=(("OURS", "1"),)), None, None)
    assert (told["target"], told["processes"][0]["argv"]) == (None, [])
    assert told["processes"][0]["environment"] == {"OURS": "1"}


def test_a_python_that_was_not_found_is_null(project):
    nowhere = Interpreter("", "", (), (Finding("error", "target.python", "no Python was found"),))
    assert shown(project.resolve(), nowhere, Command("", ()))["target"]["python"] is None


def test_problems_are_the_codes_of_errors_and_warnings_that_name_the_setting(project):
    findings = [
        Finding("error", "a.error", "m", ("OURS", "OTHER")),
        Finding("warning", "b.warning", "m", ("OURS",)),
        Finding("info", "c.info", "m", ("OURS",)),
        Finding("error", "d.error", "m", ("OTHER",)),
    ]
    told = shown(project.resolve(sets=(("OURS", "1"),)), findings=findings)
    assert settings(told)["OURS"]["problems"] == ["a.error", "b.warning"]
    assert [finding["code"] for finding in told["findings"]] == ["a.error", "b.warning", "c.info", "d.error"]


def test_the_order_is_stable(project):
    said = [("B", "1"), ("A", "2"), ("MGE_HOME", "/x")]
    one, other = (shown(project.resolve(sets=tuple(sets))) for sets in (said, said[::-1]))
    assert json.dumps(one) == json.dumps(other)
    assert list(settings(one)) == sorted(settings(one))


# Secrets.


def secrets(project):
    """Every way in which a value becomes secret, and a password in an address."""
    project.write(".env", 'DB_PASSWORD="hunter2"\nCOPY="x${DB_PASSWORD}"\n')
    project.profile(
        "p",
        '[env]\nPIN = { value = "hunter2", secret = true }\nCALM = { required = "say it", secret = true }\n'
        'ON = "${HF_TOKEN}"\nMGE_FASTRUN_CACHE_URL = "redis://:hunter2@localhost:6379"',
    )
    return project.resolve("p", shell={"CALM": "hunter2", "HF_TOKEN": "hunter2"}, sets=(("WANDB_API_KEY", "hunter2"),))


def test_a_diagnostic_masks_every_secret(project):
    told = shown(secrets(project))
    assert "hunter2" not in json.dumps(told)
    assert settings(told)["MGE_FASTRUN_CACHE_URL"]["value"].startswith("redis://:")


def test_a_diagnostic_masks_a_password_in_the_command_line_too(project):
    command = Command("/bin/x", ("x", "--store=redis://:hunter2@localhost"))
    assert "hunter2" not in json.dumps(shown(project.resolve(), command=command))
    assert "hunter2" in json.dumps(shown(project.resolve(), command=command, mask=False))


def test_a_product_has_the_real_values(project):
    told = shown(secrets(project), mask=False)
    environment = told["processes"][0]["environment"]
    assert environment == {
        "DB_PASSWORD": "hunter2",
        "COPY": "xhunter2",
        "PIN": "hunter2",
        "ON": "hunter2",
        "MGE_FASTRUN_CACHE_URL": "redis://:hunter2@localhost:6379",
        "WANDB_API_KEY": "hunter2",
    }
    assert settings(told)["PIN"]["value"] == "hunter2"
