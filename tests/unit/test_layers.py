"""What ``${X}`` in a file sees: lower layers, earlier lines of a .env, never siblings in TOML; and always the meaning."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.environment.flags import implied
from mgelaunch.environment.source import Source

DTR = "MEGENGINE_DTR_EVICTION_THRESHOLD"
WORKERS = "MGB_SUBLINEAR_MEMORY_WORKERS"
REFERENCE = {"COPY": "<${OURS}>"}
FILES = [Source.DOTENV, Source.ENV_FILE, Source.SOFT, Source.PROFILE]


def ids(source):
    return source.name.lower()


def codes(resolution):
    return [finding.code for finding in resolution.findings]


# Who sees whom.


@pytest.mark.parametrize("file", FILES, ids=ids)
@pytest.mark.parametrize("lower", [Source.DERIVED, Source.SHELL, Source.KEPT], ids=ids)
def test_every_file_sees_what_is_derived_and_the_shell(project, file, lower):
    resolution = project.stack({lower: {"OURS": "x"}, file: REFERENCE})
    assert (resolution.get("COPY"), codes(resolution)) == ("<x>", [])


@pytest.mark.parametrize("found", ["found", "named"])
def test_a_profile_sees_the_env_file(project, found):
    project.write(".env", "OURS=found\n")
    project.write("named.env", "OURS=named\n")
    resolution = project.stack({Source.PROFILE: REFERENCE}, env_files=("named.env",) if found == "named" else ())
    assert resolution.get("COPY") == f"<{found}>"


def test_a_profile_sees_its_bases_and_those_before_it(project):
    project.profile("base", '[env]\nOURS = "1"')
    project.profile("top", 'extends = ["base"]\n[env]\nOURS = "${OURS}2"')
    project.profile("last", '[env]\nOURS = "${OURS}3"')
    assert project.resolve("top", "last").get("OURS") == "123"


def test_a_second_env_file_sees_the_first(project):
    project.write("a.env", "OURS=a\n")
    project.write("b.env", "OURS=${OURS}b\n")
    assert project.resolve(env_files=("a.env", "b.env")).get("OURS") == "ab"


@pytest.mark.parametrize("file", FILES, ids=ids)
@pytest.mark.parametrize("higher", [Source.FLAG, Source.SET], ids=ids)
def test_no_file_sees_the_options_above_it(project, file, higher):
    assert "reference.unset" in codes(project.stack({file: REFERENCE, higher: {"OURS": "x"}}))


def test_an_env_file_sees_its_own_earlier_lines(project):
    project.write("named.env", "OURS=1\nCOPY=<${OURS}>\nOURS=2\n")
    resolution = project.resolve(env_files=("named.env",), shell={"OURS": "shell"})
    assert (resolution.get("COPY"), resolution.get("OURS")) == ("<1>", "2")


def test_the_found_env_file_gives_way_to_the_shell_in_its_references_too(project):
    project.write(".env", "OURS=1\nCOPY=<${OURS}>\n")
    assert project.resolve(shell={"OURS": "shell"}).get("COPY") == "<shell>"
    assert project.resolve().get("COPY") == "<1>"


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param('[env]\nOURS = "sibling"\nCOPY = "${OURS}"', id="below"),
        pytest.param('[env]\nCOPY = "${OURS}"\nOURS = "sibling"', id="above"),
        pytest.param('[env]\nOURS = "sibling"\n[rank.env]\nCOPY = "${OURS}"', id="from the rank section"),
        pytest.param('[rank.env]\nOURS = "sibling"\n[env]\nCOPY = "${OURS}"', id="into the rank section"),
    ],
)
def test_a_profile_never_sees_its_own_lines(project, sections):
    project.profile("p", sections)
    assert project.resolve("p", shell={"OURS": "shell"}).get("COPY") == "shell"
    assert codes(project.resolve("p")) == ["reference.unset"]


# What it sees.


@pytest.mark.parametrize(
    ("name", "said", "seen"),
    [
        pytest.param(DTR, "5GB", "5368709120", id="a size in bytes"),
        pytest.param(DTR, "50%", "12884901888", id="a percentage of its total"),
        pytest.param("MEGENGINE_ENABLE_DROP", "on", "1", id="a switch"),
        pytest.param("OURS", " x ", " x ", id="a stranger as it is"),
    ],
)
@pytest.mark.parametrize("lower", [Source.SHELL, Source.SOFT, Source.KEPT], ids=ids)
def test_a_reference_sees_the_text_that_the_job_gets(project, lower, name, said, seen):
    resolution = project.stack({lower: {name: said}, Source.PROFILE: {"COPY": f"${{{name}}}"}})
    assert resolution.get("COPY") == resolution.get(name) == seen


def test_a_reference_sees_a_path_as_absolute(project):
    project.write("named.env", "MGE_HOME=cache\nCOPY=${MGE_HOME}/x\n")
    assert project.resolve(env_files=("named.env",)).get("COPY") == project.path("cache/x")


@pytest.mark.parametrize(
    "lower",
    [
        pytest.param({Source.SHELL: {"OURS": "x"}, Source.SOFT: {}}, id="set"),
        pytest.param({}, id="never set"),
    ],
)
def test_what_a_lower_profile_unsets_is_not_set_for_a_reference(project, lower):
    project.profile("gone", "[env]\nOURS = { unset = true }")
    resolution = project.stack({**lower, Source.PROFILE: {"COPY": "${OURS:-default}"}}, "gone")
    assert resolution.get("COPY") == "default"


def test_a_presence_variable_that_is_off_is_not_set_for_a_reference(project):
    said = {Source.SHELL: {"MGB_WORKER_NO_SLEEP": "0"}, Source.PROFILE: {"COPY": "${MGB_WORKER_NO_SLEEP-absent}"}}
    assert project.stack(said).get("COPY") == "absent"


def test_placeholders_of_a_value_are_not_made_by_a_reference(project):
    project.profile("p", '[rank.env]\nCOPY = "{rank}-${OURS}"')
    assert project.resolve("p", shell={"OURS": "{rank}"}, placeholders={"rank": "7"}).get("COPY") == "7-{rank}"


TEXTS = {
    "OURS": st.sampled_from(["", "x", "a b", "5GB"]),
    DTR: st.sampled_from(["0", "5GB", "6 GiB", "80%"]),
    WORKERS: st.sampled_from(["3", "50%"]),
    "MEGENGINE_ENABLE_DROP": st.sampled_from(["on", "off", "1"]),
    "MGB_WORKER_NO_SLEEP": st.sampled_from(["on", "off"]),
}
KNOWN = {  # the shell is known before any file is read, so the found .env sees it although it gives way to it
    Source.DOTENV: [Source.DERIVED, Source.SHELL],
    Source.ENV_FILE: [Source.DERIVED, Source.SHELL],
    Source.SOFT: [Source.DERIVED, Source.DOTENV, Source.SHELL, Source.ENV_FILE],
    Source.PROFILE: [Source.DERIVED, Source.DOTENV, Source.SHELL, Source.ENV_FILE, Source.SOFT],
}


@st.composite
def stacks(draw):
    """A file, a variable, and what the layers that are read before that file say of it."""
    file = draw(st.sampled_from(FILES))
    name = draw(st.sampled_from(sorted(TEXTS)))
    said = draw(st.dictionaries(st.sampled_from(KNOWN[file]), TEXTS[name], max_size=3))
    if Source.SHELL in said and draw(st.booleans()):
        said[Source.KEPT] = said.pop(Source.SHELL)
    return file, name, said


@settings(max_examples=120, deadline=None, database=None)
@given(stacks())
def test_a_reference_equals_what_the_job_gets_when_nothing_higher_speaks(new_project, stack):
    file, name, said = stack
    below = {source: {name: text} for source, text in said.items()}
    resolution = new_project().stack({**below, file: {"COPY": f"${{{name}-none}}"}})
    gets = resolution.get(name)
    assert resolution.get("COPY") == ("none" if gets is None else gets)


# Secrets.


@pytest.mark.parametrize("file", FILES, ids=ids)
@pytest.mark.parametrize("name", ["WANDB_API_KEY", "DB_PASSWORD", "HF_TOKEN"])
def test_a_reference_to_a_secret_name_makes_the_value_secret(project, file, name):
    resolution = project.stack({Source.SHELL: {name: "hunter2"}, file: {"COPY": f"x${{{name}}}"}})
    assert resolution.get("COPY") == "xhunter2"
    assert resolution.settings["COPY"].secret


def test_secrecy_is_handed_on_from_file_to_file(project):
    project.write(".env", 'ONE="${DB_PASSWORD}"\nTWO="${ONE}"\n')
    resolution = project.stack({Source.PROFILE: {"THREE": "${TWO}"}}, shell={"DB_PASSWORD": "hunter2"})
    assert [resolution.settings[name].secret for name in ("ONE", "TWO", "THREE")] == [True, True, True]


SECRET = {
    "its value": ('[env]\nOURS = { value = "hunter2", secret = true }', {}),
    "its default": ('[env]\nOURS = { default = "hunter2", secret = true }', {}),
    "a default that gave way": ('[env]\nOURS = { default = "x", secret = true }', {"OURS": "hunter2"}),
    "a demand": ('[env]\nOURS = { required = "export it", secret = true }', {"OURS": "hunter2"}),
}


@pytest.mark.parametrize(("base", "shell"), SECRET.values(), ids=SECRET)
def test_a_reference_to_a_name_that_a_profile_marks_secret_makes_the_value_secret(project, base, shell):
    project.profile("base", base)
    project.profile("top", 'extends = ["base"]\n[env]\nCOPY = "tcp://${OURS}"')
    resolution = project.resolve("top", shell=shell)
    assert resolution.get("COPY") == "tcp://hunter2"
    assert resolution.settings["OURS"].secret
    assert resolution.settings["COPY"].secret


def test_a_reference_to_a_demand_of_the_same_file_makes_the_value_secret(project):
    project.profile("p", '[env]\nOURS = { required = "export it", secret = true }\nCOPY = "tcp://${OURS}"')
    assert project.resolve("p", shell={"OURS": "hunter2"}).settings["COPY"].secret


def test_a_value_beside_a_secret_is_not_secret(project):
    project.profile("p", '[env]\nOURS = { value = "x", secret = true }\nOTHER = "${HOME}"')
    resolution = project.resolve("p", shell={"HOME": "/home/me"})
    assert (resolution.settings["OURS"].secret, resolution.settings["OTHER"].secret) == (True, False)


# Files.


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(str, "file.missing", id="not there"),
        pytest.param(Path.mkdir, "file.unreadable", id="a folder"),
    ],
)
def test_a_named_env_file_that_cannot_be_read_is_an_error_at_its_path(project, make, code):
    make(project.folder / "named.env")
    (finding,) = project.resolve(env_files=("named.env",)).findings
    assert (finding.severity, finding.code, finding.place) == ("error", code, "named.env")


@pytest.mark.parametrize("cwd", ["", "deep/er"], ids=["in the root", "below it"])
def test_a_file_is_called_as_a_user_would_in_the_working_directory(project, cwd):
    project.write(".env", "OURS=1\n")
    project.write("deep/er/x", "")
    ((file, _),) = project.resolve(cwd=cwd).layers.env_files
    assert file == (".env" if not cwd else project.path(".env"))


def test_where_and_place_lead_to_the_line(project):
    project.write(".env", "\nONE=1\n")
    project.profile("p", '[env]\n\nTWO = "2"\n[rank.env]\nTHREE = "3"')
    settings = project.resolve("p", sets=(("FOUR", "4"),), unsets=("FIVE",), shell={"SIX": "6"}).settings
    assert {name: (s.winner.where, s.winner.place) for name, s in settings.items()} == {
        "ONE": (".env:2", ".env:2:5"),
        "TWO": ("p:3", ".mgelaunch/p.toml:3:1"),
        "THREE": ("p:5", ".mgelaunch/p.toml:5:1"),
        "FOUR": ("--set", ""),
        "FIVE": ("--unset", ""),
        "SIX": ("shell", ""),
    }


def test_all_problems_of_all_files_come_out_in_one_run(project):
    project.write("named.env", "A=${NOPE}\nB\n")
    project.profile("p", '[env]\nC = "${NOPE}"\nD = 1.5\n[launch]\nthreadz = 1')
    resolution = project.resolve("p", "missing", env_files=("named.env",), sets=((DTR, "8"),))
    assert sorted(codes(resolution)) == [
        "envfile.syntax", "profile.key", "profile.type", "profile.unknown", "reference.unset", "reference.unset",
        "value.unit",
    ]  # fmt: skip


def test_what_a_profile_says_of_options_is_handed_on(project):
    project.profile("p", '[launch]\nstrict = true\nignore = ["together.dtr"]\n[requires]\npython = ">=3.8"')
    layers = project.resolve("p").layers
    assert [(key.key, key.value) for key in layers.launch] == [("strict", True), ("ignore", ("together.dtr",))]
    assert [(need.key, need.value) for need in layers.requires] == [("python", ">=3.8")]


DEVICE = "MGE_DEFAULT_DEVICE"


@pytest.mark.parametrize(("keep", "gets"), [((), "cpu1"), ((DEVICE,), "cpu9")], ids=["as it is", "keep-shell"])
def test_an_option_in_a_profile_has_the_place_of_the_profile(project, keep, gets):
    project.profile("p", '[launch]\ndevice = "cpu1"')
    resolution = project.resolve("p", shell={DEVICE: "cpu9"}, keep_shell=keep)
    assert resolution.get(DEVICE) == gets
    assert codes(resolution) == ([] if keep else ["shell.beaten"])


def test_the_option_itself_is_above_the_same_key_of_a_profile(project):
    project.profile("p", '[launch]\ndevice = "cpu1"')
    flags = tuple(implied("device", "cpu2", "--device"))
    assert project.resolve("p", shell={DEVICE: "cpu9"}, keep_shell=("*",), flags=flags).get(DEVICE) == "cpu2"


def test_what_a_profile_says_of_a_variable_beats_its_own_and_its_bases_options(project):
    project.profile("base", '[launch]\ndevice = "cpu1"')
    project.profile("own", '[env]\nMGE_DEFAULT_DEVICE = "cpu0"\n[launch]\ndevice = "cpu2"')
    project.profile("child", 'extends = ["base"]\n[env]\nMGE_DEFAULT_DEVICE = "cpu0"')
    assert [project.resolve(name).get(DEVICE) for name in ("own", "child")] == ["cpu0", "cpu0"]


def test_a_setting_whose_reference_cannot_be_followed_is_wrong_and_not_removed(project):
    project.profile("p", '[env]\nCOPY = "${NOPE}"')
    resolution = project.resolve("p")
    assert codes(resolution) == ["reference.unset"]
    assert resolution.settings["COPY"].wrong
    assert resolution.exported == {}
