"""Values: whatever layer a text comes from, the job gets the canonical one, or nothing starts and the place is told."""

import shlex

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Total, Unmeasured
from mgelaunch.environment.flags import IMPLYING, implied
from mgelaunch.environment.source import Source

DTR = "MEGENGINE_DTR_EVICTION_THRESHOLD"
RESERVE = "MGB_CUDA_RESERVE_MEMORY"
LEVEL = "RUNTIME_OVERRIDE_LOG_LEVEL"
STATIC = "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE"
WORKERS = "MGB_SUBLINEAR_MEMORY_WORKERS"
CACHE = "MGE_FASTRUN_CACHE_DIR"

NAMED = [Source.ENV_FILE, Source.SOFT, Source.PROFILE, Source.FLAG, Source.SET]
INHERITED = [Source.SHELL, Source.KEPT]
ALL = [*NAMED, *INHERITED, Source.DOTENV]
PLACES = {
    Source.DOTENV: ".env:1:",
    Source.ENV_FILE: "named.env:1:",
    Source.SOFT: ".mgelaunch/soft.toml:2:1",
    Source.PROFILE: ".mgelaunch/firm.toml:2:1",
    Source.FLAG: "--flag",
    Source.SET: "--set",
    Source.SHELL: "shell",
    Source.KEPT: "shell",
}


def ids(source):
    return source.name.lower()


def unmeasured(*_):
    """The measure of a host that tells nothing."""
    return Unmeasured()


def layers(sources=ALL):
    return pytest.mark.parametrize("source", sources, ids=ids)


ROWS = {
    DTR: [("5GB", "5368709120"), ("5GiB", "5368709120"), ("3.5 gb", "3758096384"), ("80%", str((24 << 30) * 4 // 5))],
    "MEGENGINE_ENABLE_DROP": [(word, "1") for word in ("true", "on", "yes", "1")],
    STATIC: [("false", None), ("0", None)],
    RESERVE: [("8GiB", "b:8589934592"), ("90%", f"b:{(24 << 30) * 9 // 10}"), ("false", None), ("0", None)],
    LEVEL: [("error", "3"), ("ERROR", "3"), ("3", "3")],
    WORKERS: [("50%", "16")],
}


@layers()
@pytest.mark.parametrize(
    ("name", "said", "gets"),
    [pytest.param(name, said, gets, id=f"{name}={said}") for name, row in ROWS.items() for said, gets in row],
)
def test_whatever_layer_says_it_the_job_gets_the_canonical_text(project, source, name, said, gets):
    resolution = project.stack({source: {name: said}})
    unchanged = source in INHERITED and said == gets
    assert resolution.exported == ({} if unchanged else {name: gets})
    assert resolution.get(name) == gets
    replaced = source in INHERITED and not unchanged
    assert [(f.severity, f.code) for f in resolution.findings] == ([("info", "shell.canonical")] if replaced else [])


WRONG = {
    DTR: [("8", "value.unit"), ("1048575", "value.unit"), ("much", "value.unit"), ("120%", "value.percent")],
    "MEGENGINE_ENABLE_DROP": [("maybe", "value.switch"), ("50%", "value.switch")],
    LEVEL: [("loud", "value.choice")],
    WORKERS: [("-1", "value.range"), ("many", "value.integer")],
    "MGE_DEFAULT_DEVICE": [("cuda:0", "value.device")],
    "CUDA_VISIBLE_DEVICES": [("0,0", "value.devices")],
    "MGE_FASTRUN_CACHE_URL": [("localhost", "value.url")],
}


@layers()
@pytest.mark.parametrize(
    ("name", "said", "code"),
    [pytest.param(name, said, code, id=f"{name}={said}") for name, row in WRONG.items() for said, code in row],
)
def test_what_cannot_be_meant_is_refused_with_its_place(project, source, name, said, code):
    resolution = project.stack({source: {name: said}})
    (finding,) = resolution.findings
    assert (finding.severity, finding.code, finding.names) == ("error", code, (name,))
    assert finding.place.startswith(PLACES[source])
    assert (resolution.settings[name].wrong, resolution.get(name), resolution.exported) == (True, None, {})


def test_a_forgotten_unit_is_guessed_in_the_remedy(project):
    (finding,) = project.resolve(sets=((DTR, "8"),)).findings
    assert finding.remedy == f"-e {DTR}=8GiB"


def test_a_wrong_value_that_is_beaten_does_no_harm(project):
    project.write(".env", f"{DTR}=8\n")
    assert project.resolve(shell={DTR: "much"}, sets=((DTR, "8GiB"),)).findings == ()


# The shell.


@layers(INHERITED)
def test_a_canonical_text_of_the_shell_is_left_alone_in_silence(project, source):
    resolution = project.stack({source: {DTR: "5368709120", "OURS": " any thing "}})
    assert (resolution.exported, resolution.findings) == ({}, ())


@layers(INHERITED)
@pytest.mark.parametrize(("name", "said"), [(DTR, "5GB"), ("MEGENGINE_ENABLE_DROP", "true"), (STATIC, "0")])
def test_a_plain_meaning_in_the_shell_is_written_out_with_a_note(project, source, name, said):
    (finding,) = project.stack({source: {name: said}}).findings
    assert (finding.severity, finding.code, finding.names) == ("info", "shell.canonical", (name,))


# Empty texts.


@layers([*NAMED, Source.DOTENV])
@pytest.mark.parametrize("text", ["", "  "], ids=["empty", "blank"])
@pytest.mark.parametrize("name", [DTR, "MGB_WORKER_NO_SLEEP", CACHE, "MEGENGINE_LOGGING_LEVEL"])
def test_an_empty_text_in_a_file_or_a_flag_is_an_error(project, source, name, text):
    (finding,) = project.stack({source: {name: text}}).findings
    assert (finding.severity, finding.code, finding.remedy) == ("error", "value.empty", f"--unset {name}")
    assert finding.place.startswith(PLACES[source])


@layers(INHERITED)
@pytest.mark.parametrize("name", [DTR, "MGB_WORKER_NO_SLEEP", CACHE, "MEGENGINE_LOGGING_LEVEL"])
def test_an_empty_text_of_the_shell_is_absent_with_a_note(project, source, name):
    resolution = project.stack({source: {name: ""}})
    assert resolution.exported == {name: None}
    assert [(f.severity, f.code) for f in resolution.findings] == [("info", "shell.canonical")]


@layers()
def test_an_empty_text_is_a_text_for_a_stranger(project, source):
    assert project.stack({source: {"OURS": ""}}).get("OURS") == ""


@layers()
def test_an_empty_list_of_devices_means_none_of_them(project, source):
    resolution = project.stack({source: {"CUDA_VISIBLE_DEVICES": ""}})
    assert (resolution.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}, resolution.findings) == (True, ())


# Percentages.


@pytest.mark.parametrize(
    ("name", "sharers", "gets", "base"),
    [
        pytest.param(DTR, 1, str((24 << 30) * 4 // 5), "80% of 24.0 GiB", id="alone"),
        pytest.param(DTR, 3, str((24 << 30) * 4 // 5 // 3), "80% of 24.0 GiB / 3 ranks", id="shared by ranks"),
        pytest.param(WORKERS, 1, "25", "80% of 32 CPUs", id="cpus"),
        pytest.param(WORKERS, 100, "1", "80% of 32 CPUs / 100 ranks", id="never below the smallest legal number"),
        pytest.param(
            "MGE_PLASMA_MEMORY", 2, str((16 << 30) * 4 // 10), "80% of 16.0 GiB of /dev/shm / 2 ranks", id="shm"
        ),
    ],
)
def test_a_percentage_is_of_the_total_shared_by_the_ranks_and_shown_with_its_base(project, name, sharers, gets, base):
    setting = project.resolve(sets=((name, "80%"),), sharers=sharers).settings[name]
    assert (setting.text, setting.base) == (gets, base)


@layers()
@pytest.mark.parametrize("name", [DTR, RESERVE, WORKERS, "MGE_PLASMA_MEMORY"])
def test_a_total_that_cannot_be_measured_is_an_error_never_a_guess(project, source, name):
    resolution = project.stack({source: {name: "80%"}}, measure=unmeasured)
    (finding,) = resolution.findings
    assert (finding.severity, finding.code, finding.names) == ("error", "value.unmeasured", (name,))
    assert finding.place.startswith(PLACES[source])
    assert resolution.exported == {}


@pytest.mark.parametrize("name", [DTR, RESERVE, WORKERS, "MGE_PLASMA_MEMORY"])
def test_the_remedy_for_a_total_that_cannot_be_measured_is_an_amount(project, name):
    (finding,) = project.resolve(sets=((name, "80%"),), measure=unmeasured).findings
    option, pair = shlex.split(finding.remedy)
    assert option == "-e"
    assert project.resolve(sets=(tuple(pair.split("=")),), measure=unmeasured).findings == ()


def test_the_total_may_depend_on_the_device_that_the_job_gets(project):
    """A percentage in a profile is of the device that the command line chooses."""
    project.profile("p", f'[env]\n{DTR} = "50%"\nMGE_DEFAULT_DEVICE = "gpu0"')

    def measure(_, views, own):
        return Total({"cpu1": 100 << 20}[views[own]("MGE_DEFAULT_DEVICE")], "host memory")

    assert project.resolve("p", sets=(("MGE_DEFAULT_DEVICE", "CPU1"),), measure=measure).get(DTR) == str(50 << 20)


def test_why_a_total_is_not_known_is_said_with_what_helps(project):
    def mixed(*_):
        return Unmeasured("the cards differ", "-e CUDA_DEVICE_ORDER=PCI_BUS_ID")

    (finding,) = project.resolve(sets=((DTR, "80%"),), measure=mixed).findings
    assert finding.message.endswith("of device memory, which cannot be measured here: the cards differ")
    assert finding.remedy == f"-e CUDA_DEVICE_ORDER=PCI_BUS_ID  or  -e {DTR}=8GiB"


def test_a_total_may_depend_on_what_the_other_ranks_get(project):
    """One percentage of a card is shared by the ranks whose templates come to the same card."""
    project.profile("p", f'[env]\n{DTR} = "50%"\n[rank.env]\nMGE_DEFAULT_DEVICE = "gpu{{local_rank}}"')
    mates = tuple({"local_rank": str(rank)} for rank in range(3))

    def measure(_, views, own):
        return Total(200 << 20, " ".join(view("MGE_DEFAULT_DEVICE") for view in views) + f" of {own}")

    setting = project.resolve("p", measure=measure, placeholders=mates[2], mates=mates).settings[DTR]
    assert setting.base == "50% of gpu0 gpu1 gpu2 of 2"


# Paths.


@layers([Source.SET, Source.PROFILE, *INHERITED])
def test_a_url_is_no_path_and_is_not_repeated(project, source):
    """Made absolute, it would be shown with its password."""
    resolution = project.stack({source: {CACHE: "https://me:hunter2@host/cache"}})
    assert [finding.code for finding in resolution.findings] == ["value.path"]
    assert (resolution.get(CACHE), "hunter2" in repr(resolution.findings)) == (None, False)


def test_a_relative_path_is_relative_to_the_file_that_says_it(project):
    project.write(".env", f"{CACHE}=cache\n")
    project.write("deep/x.env", "MGE_HOME=./home\n")
    project.profile("p", '[env]\nMGB_JIT_WORKDIR = "../jit"\n[rank.env]\nCUDA_CACHE_PATH = "c"')
    resolution = project.resolve("p", cwd="deep")
    assert resolution.get(CACHE) == project.path("cache")
    assert resolution.get("MGB_JIT_WORKDIR") == project.path("jit")
    assert resolution.get("CUDA_CACHE_PATH") == project.path(".mgelaunch/c")
    assert project.resolve(env_files=("deep/x.env",)).get("MGE_HOME") == project.path("deep/home")


@layers([Source.SET, Source.FLAG, *INHERITED])
def test_a_relative_path_without_a_file_is_relative_to_the_working_directory(project, source):
    project.write("deep/x", "")
    resolution = project.stack({source: {CACHE: "cache"}}, cwd="deep")
    assert resolution.get(CACHE) == project.path("deep/cache")
    assert resolution.findings == ()


@layers()
@pytest.mark.parametrize("written", ["~/cache", "$HOME/cache"])
def test_home_is_written_out(project, source, written):
    assert project.stack({source: {CACHE: written}}).get(CACHE) == f"{project.home}/cache"


def test_every_part_of_a_search_path_is_made_absolute(project):
    project.write("deep/x.env", "PYTHONPATH=src:/opt/lib:~/lib\n")
    gets = f"{project.path('deep/src')}:/opt/lib:{project.home}/lib"
    assert project.resolve(env_files=("deep/x.env",)).get("PYTHONPATH") == gets


@pytest.mark.parametrize("text", ["src:lib", "src:", ":/opt/lib", ""])
@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_LIBRARY_PATH"])
def test_a_search_path_of_the_shell_is_left_alone(project, name, text):
    resolution = project.resolve(shell={name: text})
    assert (resolution.get(name), resolution.exported, resolution.findings) == (text, {}, ())


# Others.


@layers()
@pytest.mark.parametrize("text", ["50%", "", "anything at all"])
def test_a_dead_variable_passes_as_it_is(project, source, text):
    assert project.stack({source: {"MGB_COMP_GRAPH_OPT": text}}).get("MGB_COMP_GRAPH_OPT") == text


def test_placeholders_are_filled_before_the_value_is_read(project):
    project.profile("p", '[rank.env]\nMGE_DEFAULT_DEVICE = "GPU{local_rank}"\nMGB_JIT_WORKDIR = "/tmp/{{x}}-{run_id}"')
    resolution = project.resolve("p", placeholders={"local_rank": "3", "run_id": "r"})
    assert (resolution.get("MGE_DEFAULT_DEVICE"), resolution.get("MGB_JIT_WORKDIR")) == ("gpu3", "/tmp/{x}-r")


# No value is ever repeated.

PLANTED = (
    "hunter2", "hunter2%", "-hunter2", "8hunter2", "hunter2GiB", "b:hunter2", "gpu:hunter2", "cuda:hunter2", "0,hunter2",
    "hunter2,hunter2", "GPU-hunter2,hunter2", "hunter2:1", "max_split_size_mb:hunter2",
    "redis://hunter2", "redis://u:hunter2@h", "1e9hunter2", "hunter2 hunter2",
)  # fmt: skip


@layers()
@pytest.mark.parametrize("text", PLANTED)
def test_no_finding_about_a_wrong_value_repeats_it(project, source, text):
    resolution = project.stack({source: dict.fromkeys(CATALOGUE, text)})
    about = [f for f in resolution.findings if f.severity == "error"]
    assert about
    assert "hunter2" not in repr(about)


@pytest.mark.parametrize("key", IMPLYING)
@pytest.mark.parametrize("text", PLANTED)
def test_no_finding_about_a_wrong_option_repeats_it(project, key, text):
    flags = tuple(implied(key, text, f"--{key}"))
    assert "hunter2" not in repr(project.resolve(flags=flags).findings)


@layers()
def test_no_finding_about_a_name_repeats_the_value(project, source):
    resolution = project.stack({source: {"MGE_FASTRUN_CACHE_DIRS": "hunter2", "MGE_OUR_OWN": "hunter2"}})
    assert len(resolution.findings) == 2
    assert "hunter2" not in repr(resolution.findings)


def test_the_line_about_the_shell_repeats_neither_value(project):
    resolution = project.stack({Source.SHELL: {"OURS": "hunter2"}, Source.PROFILE: {"OURS": "hunter23"}})
    assert "hunter2" not in repr(resolution.findings)


def test_what_is_suggested_for_a_list_that_names_a_card_twice_does_not_repeat_the_list(project):
    (finding,) = project.resolve(sets=(("CUDA_VISIBLE_DEVICES", "GPU-hunter2,GPU-hunter2"),)).findings
    assert finding.code == "value.devices"
    assert "hunter2" not in repr(finding)


@layers(INHERITED)
def test_the_note_about_a_replaced_text_masks_the_password_of_an_address(project, source):
    (finding,) = project.stack({source: {"MGE_FASTRUN_CACHE_URL": " redis://:hunter2@localhost:6379"}}).findings
    assert finding.code == "shell.canonical"
    assert "hunter2" not in repr(finding)


def test_the_note_about_a_replaced_text_masks_what_a_profile_marks_secret(project):
    project.profile("p", f'[env]\n{CACHE} = {{ required = "where to?", secret = true }}')
    (finding,) = project.resolve("p", shell={CACHE: "~/hunter2"}).findings
    assert finding.code == "shell.canonical"
    assert "hunter2" not in repr(finding)


# What the job gets is final.


@pytest.mark.parametrize(
    "text", ["1", "0", "on", "off", "5GB", "80%", "4,2", "cpu0", "ERROR", "~/x", "a:1", "none", ":16:8"]
)
def test_a_job_that_calls_mgelaunch_again_keeps_what_it_got(project, text):
    outer = project.resolve(sets=tuple((name, text) for name in CATALOGUE))
    gets = {name: value for name, value in outer.exported.items() if value is not None}
    inner = project.resolve(shell=gets)
    assert len(gets) > 10
    assert (inner.exported, inner.findings) == ({}, ())
