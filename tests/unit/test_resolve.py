"""Precedence: what mgelaunch finds by itself gives way to your shell, what you name does not, --set has the last word."""

from itertools import combinations

import pytest

from mgelaunch.environment.source import Source

SPEAKING = [source for source in Source if source not in {Source.FRAMEWORK, Source.OWNED}]
# The shell speaks of a variable from one of two places: --keep-shell only moves it.
PAIRS = [pair for pair in combinations(SPEAKING, 2) if pair != (Source.SHELL, Source.KEPT)]
USER = [source for source in SPEAKING if source not in {Source.DERIVED, Source.SOFT}]
MAY_UNSET = [Source.PROFILE, Source.SET]


def ids(source):
    return source.name.lower()


def codes(resolution):
    return [finding.code for finding in resolution.findings]


@pytest.mark.parametrize(("low", "high"), PAIRS, ids=ids)
def test_the_higher_layer_wins(project, low, high):
    setting = project.stack({low: {"OURS": "low"}, high: {"OURS": "high"}}).settings["OURS"]
    assert (setting.text, setting.winner.source) == ("high", high)
    # A named env file replaces the found one, which is then not even read.
    replaced = (low, high) == (Source.DOTENV, Source.ENV_FILE)
    assert [loser.source for loser in setting.beaten] == ([] if replaced else [low])


@pytest.mark.parametrize(("low", "high"), [pair for pair in PAIRS if pair[1] in MAY_UNSET], ids=ids)
def test_unset_wins_like_a_value(project, low, high):
    resolution = project.stack({low: {"OURS": "low"}, high: {"OURS": None}})
    assert resolution.exported == {"OURS": None}
    assert resolution.settings["OURS"].winner.source is high


@pytest.mark.parametrize(("low", "high"), [pair for pair in PAIRS if pair[0] in MAY_UNSET], ids=ids)
def test_unset_is_beaten_like_a_value(project, low, high):
    assert project.stack({low: {"OURS": None}, high: {"OURS": "high"}}).get("OURS") == "high"


def test_all_losers_are_kept_highest_first(project):
    said = {source: {"OURS": ids(source)} for source in SPEAKING if source not in {Source.KEPT, Source.DOTENV}}
    setting = project.stack(said).settings["OURS"]
    assert [loser.text for loser in (setting.winner, *setting.beaten)] == [
        "set", "flag", "profile", "env_file", "shell", "soft", "derived"
    ]  # fmt: skip


@pytest.mark.parametrize("user", USER, ids=ids)
def test_a_soft_value_gives_way_to_every_layer_that_a_user_wrote(project, user):
    assert project.stack({Source.SOFT: {"OURS": "soft"}, user: {"OURS": "user"}}).get("OURS") == "user"


def test_a_soft_value_beats_what_mgelaunch_derives(project):
    assert project.stack({Source.DERIVED: {"OURS": "derived"}, Source.SOFT: {"OURS": "soft"}}).get("OURS") == "soft"


@pytest.mark.parametrize("shell", [{}, {"OURS": "mine"}], ids=["alone", "with a shell"])
@pytest.mark.parametrize("order", [("firm", "soft"), ("soft", "firm")], ids=" then ".join)
def test_a_soft_value_gives_way_to_a_firm_one_of_any_other_profile(project, shell, order):
    project.profile("firm", '[env]\nOURS = "firm"')
    project.profile("soft", '[env]\nOURS = { default = "soft" }')
    assert project.resolve(*order, shell=shell).get("OURS") == "firm"


def test_a_firm_value_in_the_last_profile_hardens_a_soft_one_of_its_base(project):
    project.profile("base", '[env]\nOURS = { default = "soft" }')
    project.profile("top", 'extends = ["base"]\n[env]\nOURS = "firm"')
    assert project.resolve("top", shell={"OURS": "mine"}).get("OURS") == "firm"


@pytest.mark.parametrize(
    ("profiles", "gets"),
    [
        pytest.param(("one", "two"), "two", id="the later one wins"),
        pytest.param(("two", "one"), "one", id="order is the user's"),
        pytest.param(("one", "two", "one"), "two", id="each file once, at its first place"),
        pytest.param(("on-one", "two", "one"), "two", id="a base counts as a place"),
    ],
)
def test_profiles_are_read_left_to_right_bases_first(project, profiles, gets):
    project.profile("one", '[env]\nOURS = "one"')
    project.profile("two", '[env]\nOURS = "two"')
    project.profile("on-one", 'extends = ["one"]')
    assert project.resolve(*profiles).get("OURS") == gets


@pytest.mark.parametrize("soft", [False, True], ids=["firm", "soft"])
def test_the_rank_section_beats_the_env_section_of_its_own_file(project, soft):
    value = '{ default = "rank" }' if soft else '"rank"'
    project.profile("p", f'[rank.env]\nOURS = {value}\n[env]\nOURS = "all"')
    assert project.resolve("p").get("OURS") == "rank"


def test_the_rank_section_of_a_base_gives_way_to_the_env_section_above_it(project):
    project.profile("base", '[rank.env]\nOURS = "rank"')
    project.profile("top", 'extends = ["base"]\n[env]\nOURS = "all"')
    assert project.resolve("top").get("OURS") == "all"


def test_the_last_set_wins(project):
    assert project.resolve(sets=(("OURS", "1"), ("OTHER", "2"), ("OURS", "3"))).get("OURS") == "3"


def test_the_last_env_file_wins(project):
    project.write("a.env", "OURS=a\nA=1\n")
    project.write("b.env", "OURS=b\n")
    resolution = project.resolve(env_files=("a.env", "b.env"))
    assert (resolution.get("OURS"), resolution.get("A")) == ("b", "1")


def test_a_named_env_file_replaces_the_found_one(project):
    project.write(".env", "OURS=found\n")
    project.write("other.env", "OTHER=named\n")
    resolution = project.resolve(env_files=("other.env",))
    assert resolution.exported == {"OTHER": "named"}
    assert resolution.layers.env_files == (("other.env", Source.ENV_FILE),)


@pytest.mark.parametrize("pattern", ["NCCL_DEBUG", "NCCL_*", "*"])
def test_keep_shell_takes_names_and_patterns(project, pattern):
    project.profile("p", '[env]\nNCCL_DEBUG = "WARN"')
    assert project.resolve("p", shell={"NCCL_DEBUG": "INFO"}, keep_shell=(pattern,)).get("NCCL_DEBUG") == "INFO"


def test_a_profile_can_keep_the_shell_too(project):
    project.profile("p", '[env]\nNCCL_DEBUG = "WARN"\nNCCL_IB_HCA = "mlx5"\n[launch]\nkeep-shell = ["NCCL_DEBUG"]')
    resolution = project.resolve("p", shell={"NCCL_DEBUG": "INFO", "NCCL_IB_HCA": "mlx4"})
    assert (resolution.get("NCCL_DEBUG"), resolution.get("NCCL_IB_HCA")) == ("INFO", "mlx5")


# What a start has to say of the shell.

DTR = "MEGENGINE_DTR_EVICTION_THRESHOLD"


@pytest.mark.parametrize(
    ("name", "shell", "profile"),
    [
        pytest.param("OURS", "1", "1", id="the same text"),
        pytest.param(DTR, "5GB", "5368709120", id="the same meaning"),
        pytest.param("MGB_WORKER_NO_SLEEP", "0", "off", id="both absent"),
    ],
)
def test_a_value_that_equals_the_shells_beats_it_in_silence(project, name, shell, profile):
    resolution = project.stack({Source.SHELL: {name: shell}, Source.PROFILE: {name: profile}})
    assert "shell.beaten" not in codes(resolution)


@pytest.mark.parametrize("winner", [Source.ENV_FILE, Source.PROFILE], ids=ids)
def test_all_differing_values_of_the_shell_give_one_line_with_the_option_that_keeps_them(project, winner):
    names = ("ONE", "TWO", DTR)
    said = {
        Source.SHELL: dict.fromkeys(names, "5GB") | {"SAME": "x"},
        winner: dict.fromkeys(names, "6GB") | {"SAME": "x"},
    }
    (finding,) = project.stack(said).findings
    assert (finding.severity, finding.code, set(finding.names)) == ("info", "shell.beaten", set(names))
    for name in names:
        assert name in finding.message
        assert f"--keep-shell {name}" in finding.remedy
    assert "5GB" not in repr(finding)


def test_what_the_line_suggests_keeps_the_shell(project):
    said = {Source.SHELL: {"ONE": "1"}, Source.PROFILE: {"ONE": "2"}}
    (finding,) = project.stack(said).findings
    kept = project.stack({Source.PROFILE: {"ONE": "2"}, Source.KEPT: {"ONE": "1"}})
    assert finding.remedy == "--keep-shell ONE"
    assert (kept.get("ONE"), kept.findings) == ("1", ())


def test_an_unset_that_beats_the_shell_is_told_as_well(project):
    resolution = project.stack({Source.SHELL: {"OURS": "1"}, Source.PROFILE: {"OURS": None}})
    assert codes(resolution) == ["shell.beaten"]


@pytest.mark.parametrize("winner", [Source.FLAG, Source.SET], ids=ids)
def test_an_option_beats_the_shell_in_silence(project, winner):
    assert project.stack({Source.SHELL: {"OURS": "1"}, winner: {"OURS": "2"}}).findings == ()


@pytest.mark.parametrize("loser", [Source.DERIVED, Source.SOFT, Source.DOTENV], ids=ids)
def test_the_shell_wins_in_silence(project, loser):
    resolution = project.stack({Source.SHELL: {"OURS": "1"}, loser: {"OURS": "2"}})
    assert (resolution.get("OURS"), resolution.findings) == ("1", ())


# What is exported.


def test_only_what_differs_from_the_shell_by_its_layer_is_exported(project):
    project.profile("p", '[env]\nSAME = "1"\nNEW = "2"')
    resolution = project.resolve("p", shell={"SAME": "1", "LEFT": "alone"}, unsets=("GONE",))
    assert resolution.exported == {"GONE": None, "NEW": "2", "SAME": "1"}


def test_a_wrong_setting_is_not_exported(project):
    resolution = project.stack({Source.SHELL: {DTR: "much"}, Source.SET: {"OURS": "1"}})
    assert resolution.exported == {"OURS": "1"}
    assert resolution.settings[DTR].wrong


def test_settings_are_sorted_by_name(project):
    assert list(project.resolve(sets=(("B", "1"), ("A", "1")), shell={"C": "1"}).settings) == ["A", "B", "C"]


# Names.

SLIPS = {
    "two letters": ("MEGENGINE_DTR_AUTODROOP", "MEGENGINE_DTR_AUTO_DROP"),
    "one letter elsewhere": ("OMP_NUM_THREAD", "OMP_NUM_THREADS"),
    "words in another order": ("MEGENGINE_DROP_ENABLE", "MEGENGINE_ENABLE_DROP"),
    "another prefix": ("MEGENGINE_FASTRUN_CACHE_DIR", "MGE_FASTRUN_CACHE_DIR"),
}
slips = pytest.mark.parametrize(("slip", "meant"), SLIPS.values(), ids=SLIPS)


@slips
@pytest.mark.parametrize("named", [Source.SOFT, Source.ENV_FILE, Source.PROFILE, Source.FLAG, Source.SET], ids=ids)
def test_a_near_miss_in_what_the_user_named_is_an_error(project, named, slip, meant):
    (finding,) = project.stack({named: {slip: "1"}}).findings
    assert (finding.severity, finding.code, finding.names) == ("error", "name.unknown", (slip,))
    assert meant in finding.message
    assert finding.place


@slips
@pytest.mark.parametrize("found", [Source.DOTENV, Source.SHELL, Source.KEPT], ids=ids)
def test_a_near_miss_in_what_was_only_found_is_a_warning(project, found, slip, meant):
    (finding,) = project.stack({found: {slip: "1"}}).findings
    assert (finding.severity, finding.code) == ("warning", "name.unknown")
    assert meant in finding.message


def test_a_near_miss_that_is_named_and_found_is_an_error_where_it_is_named(project):
    slip = "MGE_FASTRUN_CACHE_DIRS"
    (finding,) = project.stack({Source.SHELL: {slip: "1"}, Source.PROFILE: {slip: "1"}}).findings
    assert (finding.severity, finding.place) == ("error", ".mgelaunch/firm.toml:2:1")


@pytest.mark.parametrize("source", [Source.SHELL, Source.PROFILE, Source.SET], ids=ids)
def test_a_stranger_under_our_prefixes_passes_and_is_listed(project, source):
    resolution = project.stack({source: {"MGE_OUR_OWN_BUILD": "1"}})
    (finding,) = resolution.findings
    assert (finding.severity, finding.code) == ("info", "name.stranger")
    assert resolution.get("MGE_OUR_OWN_BUILD") == "1"


def test_a_stranger_elsewhere_passes_in_silence(project):
    assert project.resolve(sets=(("WANDB_MODE", "offline"),), shell={"EDITOR": "vi"}).findings == ()


def test_an_allowed_name_is_no_slip(project):
    resolution = project.resolve(sets=(("MGE_FASTRUN_CACHE_DIRS", "1"),), allow_unknown=("MGE_FASTRUN_CACHE_DIRS",))
    assert (resolution.get("MGE_FASTRUN_CACHE_DIRS"), resolution.findings) == ("1", ())


def test_the_remedy_for_a_slip_is_the_right_name_and_the_message_tells_how_to_allow_it(project):
    (finding,) = project.resolve(sets=(("MGE_FASTRUN_CACHE_DIRS", "1"),)).findings
    assert finding.remedy == "-e MGE_FASTRUN_CACHE_DIR=..."
    assert "--allow-unknown MGE_FASTRUN_CACHE_DIRS" in finding.message


def test_a_name_that_no_shell_can_carry_is_an_error_when_it_is_named_and_nothing_when_it_is_inherited(project):
    (finding,) = project.stack({Source.FLAG: {"A-B": "1"}, Source.SHELL: {"BASH_FUNC_x%%": "() { :; }"}}).findings
    assert (finding.severity, finding.code) == ("error", "name.portable")


# What a profile demands.

DEMAND = '[env]\nOURS = { required = "ask your administrator", secret = true }'


@pytest.mark.parametrize("source", SPEAKING, ids=ids)
def test_a_demand_is_met_by_any_other_layer_and_marks_the_value_secret(project, source):
    project.profile("demand", DEMAND)
    resolution = project.stack({source: {"OURS": "1"}}, "demand")
    assert (resolution.get("OURS"), resolution.findings) == ("1", ())
    assert resolution.settings["OURS"].secret


@pytest.mark.parametrize("shell", [{}, {"OURS": ""}], ids=["not set", "empty"])
def test_an_unmet_demand_is_an_error_with_the_authors_words_and_place(project, shell):
    project.profile("demand", DEMAND)
    (finding,) = project.resolve("demand", shell=shell).findings
    assert (finding.severity, finding.code, finding.names) == ("error", "profile.required", ("OURS",))
    assert "ask your administrator" in finding.message
    assert finding.place == ".mgelaunch/demand.toml:2:1"


def test_a_value_that_is_there_but_wrong_is_told_once(project):
    project.profile("demand", f'[env]\n{DTR} = {{ required = "how much?" }}')
    assert codes(project.resolve("demand", shell={DTR: "much"})) == ["value.unit"]


def test_what_another_rank_has_worked_out_is_taken_over_and_changes_nothing(project):
    project.profile(
        "p",
        "[env]\nMGB_SUBLINEAR_MEMORY_WORKERS = '50%'\nMEGENGINE_DTR_AUTO_DROP = true\nMGE_WRONG_NAME = '1'\n"
        "[rank.env]\nMGE_DEFAULT_DEVICE = 'gpu{local_rank}'\nMGB_JIT_WORKDIR = '/tmp/jit-{rank}'\nOMP_NUM_THREADS = 'x{rank}'",
    )
    mates = tuple({"rank": str(rank), "local_rank": str(rank)} for rank in range(3))

    def rank(number, **options):
        shell = {"MGE_DEFAULT_DEVICE": "gpu0", "OURS": "1", "NCCL_DEBUG": "INFO"}
        return project.resolve("p", shell=shell, placeholders=mates[number], mates=mates, **options)

    first = rank(0)
    for number in (1, 2):
        alone, after = rank(number), rank(number, like=first)
        assert after.settings == alone.settings
        assert after.settings != first.settings
        assert {*first.findings, *after.findings} == {*first.findings, *alone.findings}
