"""Devices that a job names are held against the cards that it will see, and against their state."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.checks.cards import RESERVE, asks_about_cards, on_purpose
from mgelaunch.checks.device_memory import DEVICE_MEMORY
from mgelaunch.checks.devices import DEVICES
from mgelaunch.host.facts import Card, CardProcess, Cpus, Devices, HostFacts, Slice

GIB = 1 << 30
DEVICE, LIST, ORDER = "MGE_DEFAULT_DEVICE", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


def card(number, **more):
    """An idle card of 24 GiB."""
    given = {"uuid": f"GPU-{number}{number}{number}", "name": "A", "total": 24 * GIB, "free": 24 * GIB, "mig": False}
    return Card(number, **{**given, "mode": "default", "processes": (), **more})


def host(*cards, source="nvml", **more):
    """A host with these cards; a number stands for so many idle ones."""
    listed = tuple(map(card, range(cards[0]))) if cards and isinstance(cards[0], int) else cards
    source = "none" if not listed and source == "nvml" else source
    return HostFacts(devices=Devices(source, "nvidia", listed, **more))


def findings(situation, area=""):
    return [finding for check in DEVICES for finding in check(situation) if finding.code.startswith(area)]


def told(situation):
    return [(finding.severity, finding.code) for finding in findings(situation)]


def repaired(situation, code, **said):
    """The codes that are left after pasting each alternative of the one remedy for `code`."""
    (finding,) = findings(situation(**said), code)
    return [{finding.code for finding in findings(again)} for again in situation.repaired(finding, **said)]


AMD = HostFacts(devices=Devices("sysfs", "amd", (card(0),)))
EMPTY = HostFacts(devices=Devices("nvml", "nvidia", (), driver="550.90"))
"""A driver that works and shows no card."""
GRANTORS = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"]

# The device that a job names.


@pytest.mark.parametrize(
    ("device", "facts", "expected"),
    [
        pytest.param("gpu1", host(2), [], id="the last card"),
        pytest.param("gpu2", host(2), [("error", "dev.default")], id="one beyond"),
        pytest.param("gpu1:3", host(2), [], id="a stream of a card"),
        pytest.param("gpux", host(2), [], id="any card"),
        pytest.param("gpux", host(), [("error", "dev.default")], id="any card where there is none"),
        pytest.param("gpu0", host(), [("error", "dev.default")], id="a card where there is none"),
        pytest.param("xpu2", host(2), [("error", "dev.default")], id="one beyond of whatever there is"),
        pytest.param("xpux", host(), [("info", "dev.none")], id="whatever there is"),
        pytest.param("cpu0", host(), [], id="a CPU where there is no card"),
        pytest.param("multithread2", host(), [], id="threads"),
        pytest.param("gpu0", EMPTY, [("error", "dev.default")], id="a card where the driver shows none"),
        pytest.param("xpux", EMPTY, [("info", "dev.none")], id="whatever there is where the driver shows none"),
        pytest.param("cpu0", EMPTY, [], id="a CPU where the driver shows none"),
        pytest.param("gpu0", host(source="unknown"), [("warning", "dev.unknown")], id="nobody knows the cards"),
        pytest.param("gpu9", HostFacts(), [], id="nobody asked for the cards"),
        pytest.param("cambricon7", host(2), [], id="Cambricon"),
        pytest.param("atlas7", host(2), [], id="Atlas"),
        pytest.param("xpu7", AMD, [], id="a card of whichever maker"),
    ],
)
def test_a_card_that_is_not_there_is_an_error(situation, device, facts, expected):
    assert told(situation(sets=((DEVICE, device),), facts=facts)) == expected


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param({"sets": ((DEVICE, "gpu2"),)}, "gpu2, and 2 GPUs are visible, gpu0 to gpu1", id="all are visible"),
        pytest.param(
            {"sets": ((DEVICE, "gpu2"),), "shell": {LIST: "1"}},
            "gpu2, and 1 GPU is visible, gpu0 (CUDA_VISIBLE_DEVICES=1, from your shell)",
            id="one is",
        ),
        pytest.param(
            {"sets": ((DEVICE, "gpu0"), (LIST, "-1"))},
            "gpu0, and no GPU is visible (CUDA_VISIBLE_DEVICES=-1, from --set)",
            id="none is",
        ),
        pytest.param(
            {"sets": ((DEVICE, "gpu0"),), "facts": host()}, "gpu0, and this host has no GPU", id="none is there"
        ),
    ],
)
def test_what_is_visible_is_said(situation, said, words):
    (finding,) = findings(situation(**{"facts": host(2), **said}))
    assert (finding.message, finding.place) == (f"{DEVICE} is {words}", "--set")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"options": "--device gpu3", "facts": host(2)}, id="too high"),
        pytest.param({"sets": ((DEVICE, "gpu3"),), "facts": host(2)}, id="too high by --set"),
        pytest.param({"options": "--device gpu0 --gpu-ids none", "facts": host(2)}, id="hidden"),
        pytest.param({"sets": ((DEVICE, "gpu0"), (LIST, "-1")), "facts": host(2)}, id="hidden by --set"),
        pytest.param({"options": "--device gpu0", "facts": host()}, id="no card"),
        pytest.param({"options": "--device gpu3 --gpu-ids none", "facts": host(2)}, id="too high and hidden"),
    ],
)
def test_a_device_that_is_there_is_offered(situation, said):
    (finding,) = findings(situation(**said), "dev.default")
    options = said.pop("options", "")
    for remedy in finding.remedy.split("  or  "):
        assert findings(situation(**said, options=f"{options} {remedy}"), "dev.default") == []


@pytest.mark.parametrize(
    ("device", "facts", "words"),
    [
        pytest.param("rocm0", host(2), "MegEngine's public wheels have no ROCm", id="ROCm beside CUDA"),
        pytest.param("rocm0", AMD, "MegEngine's public wheels have no ROCm", id="ROCm"),
        pytest.param("rocmx", HostFacts(), "MegEngine's public wheels have no ROCm", id="ROCm somewhere"),
        pytest.param("gpu0", AMD, "a card of CUDA's, and the cards of this host are AMD's", id="CUDA on AMD's card"),
        pytest.param("gpux", AMD, "a card of CUDA's, and the cards of this host are AMD's", id="any of CUDA's"),
    ],
)
def test_a_device_that_no_public_wheel_can_use_is_a_warning(situation, device, facts, words):
    said = {"sets": ((DEVICE, device),), "facts": facts}
    (finding,) = findings(situation(**said), "dev.default")
    assert (finding.severity, finding.names, finding.place) == ("warning", (DEVICE,), "--set")
    assert words in finding.message
    assert all("dev.default" not in codes for codes in repaired(situation, "dev.default", **said))


@pytest.mark.parametrize("device", ["cambricon0", "atlasx"])
@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param(None, [], id="no MegEngine"),
        pytest.param("1.13.0", ["error"], id="the last release"),
        pytest.param("1.12.4+cu118", ["error"], id="an older one"),
        pytest.param("1.13.1", ["warning"], id="a later one"),
        pytest.param("my own", ["warning"], id="no version"),
    ],
)
def test_devices_of_other_makers_are_refused_by_releases(situation, device, version, expected):
    said = {"sets": ((DEVICE, device),), "installed": {"megengine": version} if version else {}, "facts": host(1)}
    assert [finding.severity for finding in findings(situation(**said), "dev.default")] == expected
    if expected:
        assert all("dev.default" not in codes for codes in repaired(situation, "dev.default", **said))


@pytest.mark.parametrize(
    ("device", "cpus", "expected"),
    [("cpu7", 8, 0), ("cpu8", 8, 1), ("cpux", 8, 0), ("cpu8", None, 0)],
    ids=["the last CPU", "one beyond", "any", "nobody knows"],
)
def test_a_cpu_beyond_the_last_is_a_note(situation, device, cpus, expected):
    said = {"sets": ((DEVICE, device),), "facts": HostFacts(cpus=Cpus(online=cpus))}
    assert told(situation(**said)) == [("info", "dev.default")] * expected
    if expected:
        assert repaired(situation, "dev.default", **said) == [set()]


# As many cards as ranks.

BY_RANK = "--device gpu"


@pytest.mark.parametrize(
    ("ranks", "options", "facts", "expected"),
    [
        pytest.param(2, BY_RANK, host(2), [], id="a card each"),
        pytest.param(3, BY_RANK, host(2), [("error", "dev.count")], id="a rank too many"),
        pytest.param(3, "", host(2), [("warning", "dev.count")], id="the script chooses"),
        pytest.param(3, "--device xpux", host(2), [("warning", "dev.count")], id="the script chooses, said in full"),
        pytest.param(3, "--device gpu0", host(2), [], id="all on one card on purpose"),
        pytest.param(3, "--device cpu0", host(2), [], id="on the CPU"),
        pytest.param(3, BY_RANK, host(), [("error", "dev.default")], id="no card at all, told once"),
        pytest.param(3, "", host(), [("info", "dev.none")], id="no card, and none asked for"),
        pytest.param(3, "", EMPTY, [("info", "dev.none")], id="the driver shows no card, and none asked for"),
        pytest.param(3, "", host(source="unknown"), [], id="unknown cards"),
        pytest.param(3, BY_RANK, host(source="unknown"), [("warning", "dev.unknown")], id="unknown, and asked for"),
        pytest.param(1, BY_RANK, host(1), [], id="one rank"),
    ],
)
def test_ranks_that_take_their_own_card_need_as_many(situation, ranks, options, facts, expected):
    assert told(situation(ranks=ranks, options=options, facts=facts)) == expected


def test_the_count_and_the_list_are_named(situation):
    (finding,) = findings(situation(ranks=8, options=BY_RANK, shell={LIST: "4,5"}, facts=host(8)))
    assert finding.message == f"8 ranks, 2 visible GPUs ({LIST}=4,5, from your shell)"
    assert (finding.remedy, finding.names) == ("-n 2  or  --gpu-ids 0-7", (DEVICE, LIST))


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        pytest.param({"shell": {LIST: "1"}, "facts": host(2)}, "-n 1  or  --gpu-ids 0-1", id="a mere shell's list"),
        *(
            pytest.param({"shell": {job: "7", LIST: "1"}, "facts": host(2)}, "-n 1", id=f"not ours by {job}")
            for job in GRANTORS
        ),
        pytest.param({"options": "--gpu-ids 1", "facts": host(2)}, "-n 1  or  --gpu-ids 0-1", id="enough cards"),
        pytest.param({"facts": host(1)}, "-n 1", id="too few cards"),
        pytest.param(
            {"sets": ((LIST, "1"),), "facts": host(2)}, f"-n 1  or  -e {LIST}=0,1 -e {ORDER}=PCI_BUS_ID", id="--set"
        ),
        pytest.param(
            {"options": "--gpu-ids 0", "facts": host(card(0), card(1, mode="prohibited"), card(2))},
            "-n 1  or  --gpu-ids 0,2",
            id="a card that lets nobody in",
        ),
    ],
)
@pytest.mark.parametrize("options", [BY_RANK, ""], ids=["by rank", "the script chooses"])
def test_as_many_ranks_or_cards_as_there_are_are_offered(situation, said, remedy, options):
    said = {**said, "ranks": 2}
    options = f"{options} {said.pop('options', '')}"
    (finding,) = findings(situation(options=options, **said))
    assert (finding.code, finding.remedy) == ("dev.count", remedy)
    for each in remedy.split("  or  "):
        assert findings(situation(**said, options=f"{options} {each}"), "dev.count") == []


def test_under_another_launcher_its_number_of_ranks_is_not_ours_to_change(situation):
    (finding,) = findings(situation(ranks=1, local_ranks=2, facts=host(1)))
    assert (finding.code, finding.remedy) == ("dev.count", "--device gpu0")
    assert findings(situation(ranks=1, local_ranks=2, facts=host(1), options="--device gpu0")) == []


@pytest.mark.parametrize(
    ("more", "expected", "remedy"),
    [
        pytest.param({"facts": host(2)}, [], "", id="a card each"),
        pytest.param({"facts": host(1)}, [("error", "dev.count")], "--device gpu0", id="too few cards"),
        pytest.param(
            {"facts": host(2), "shell": {LIST: "1"}}, [("error", "dev.count")], "--gpu-ids 0-1", id="too few visible"
        ),
        pytest.param(
            {"facts": host(2), "shell": {LIST: "1", "SLURM_JOB_ID": "7"}},
            [("error", "dev.count")],
            "--device gpu0",
            id="too few granted",
        ),
        pytest.param({"facts": host(source="unknown")}, [("warning", "dev.unknown")], "", id="unknown cards"),
    ],
)
def test_of_another_launchers_ranks_a_later_one_lacks_the_card_that_the_first_has(situation, more, expected, remedy):
    said = {"ranks": 1, "local_ranks": 2, **more}
    assert told(situation(options=BY_RANK, **said)) == expected
    if remedy:
        (finding,) = findings(situation(options=BY_RANK, **said))
        assert finding.remedy == remedy
        assert findings(situation(options=f"{BY_RANK} {remedy}", **said), "dev.count") == []


def test_ranks_with_a_list_each_are_judged_one_by_one(situation):
    situation.project.profile("p", f'[rank.env]\n{LIST} = "{{local_rank}}"\n{DEVICE} = "gpu0"')
    assert findings(situation("p", ranks=2, facts=host(2))) == []
    situation.project.profile("q", f'[rank.env]\n{LIST} = "{{local_rank}}"\n{DEVICE} = "gpu{{local_rank}}"')
    assert told(situation("q", ranks=2, facts=host(2))) == [("error", "dev.default")]


# The list of visible cards.


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"options": "--gpu-ids 0,1"}, [], id="cards that are there"),
        pytest.param({"options": "--gpu-ids 0,2"}, [("error", "dev.visible")], id="one that is not, by an option"),
        pytest.param({"sets": ((LIST, "2"),)}, [("error", "dev.visible")], id="only one that is not"),
        pytest.param({"shell": {LIST: "0,2"}}, [("warning", "dev.visible")], id="one that is not, from the shell"),
        pytest.param({"shell": {LIST: "2"}}, [("warning", "dev.visible")], id="nothing else, from the shell"),
        pytest.param(
            {"shell": {LIST: "2"}, "options": "--device gpu0"}, [("error", "dev.visible")], id="and a card is wanted"
        ),
        pytest.param({"sets": ((LIST, "GPU-000"),)}, [], id="an id that is there"),
        pytest.param({"sets": ((LIST, "GPU-9"),)}, [("error", "dev.visible")], id="an id that is not"),
        pytest.param({"sets": ((LIST, "-1"),)}, [], id="hidden on purpose"),
        pytest.param(
            {"sets": ((LIST, "0,2"),), "facts": host(source="unknown")},
            [("warning", "dev.unknown")],
            id="unknown cards",
        ),
        pytest.param({"shell": {LIST: "0,2"}, "facts": host(source="unknown")}, [], id="unknown cards, by the shell"),
        pytest.param({"sets": ((LIST, "0,2"),), "facts": HostFacts()}, [], id="nobody asked"),
        pytest.param({"sets": ((LIST, "GPU-9"),), "facts": host(card(0, uuid=""))}, [], id="unknown ids"),
        pytest.param(
            {"sets": ((LIST, "MIG-9"),), "facts": host(card(0, mig=True), source="nvidia-smi")}, [], id="unknown slices"
        ),
    ],
)
def test_a_card_of_the_list_that_is_not_there_is_noticed(situation, said, expected):
    assert told(situation(**{"facts": host(2), **said})) == expected


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        pytest.param({"sets": ((LIST, "7,1,9"),)}, f"-e {LIST}=1", id="the rest of the list"),
        pytest.param({"sets": ((LIST, "GPU-9,GPU-1"),)}, f"-e {LIST}=GPU-1", id="the rest of the ids"),
        pytest.param({"options": "--gpu-ids 7"}, "--gpu-ids 0-1", id="all cards"),
        pytest.param({"shell": {LIST: "7,1"}}, f"-e {LIST}=1", id="the rest of the shell's list"),
        pytest.param({"shell": {LIST: "7"}}, "--gpu-ids 0-1", id="all cards for a mere shell's list"),
        pytest.param({"shell": {LIST: "1"}, "options": "--gpu-ids 7"}, "--gpu-ids 0-1", id="more than the shell's"),
        pytest.param({"shell": {LIST: "1"}, "sets": ((LIST, "0,7"),)}, f"-e {LIST}=0", id="others than the shell's"),
        *(
            pytest.param({"shell": {job: "7", LIST: "1"}, **said}, remedy, id=f"{what} by {job}")
            for job in GRANTORS
            for what, said, remedy in (
                ("the granted cards", {"options": "--gpu-ids 7"}, "--gpu-ids 1"),
                ("no others", {"sets": ((LIST, "0,7"),)}, f"-e {LIST}=1 -e {ORDER}=PCI_BUS_ID"),
            )
        ),
        pytest.param({"sets": ((LIST, "0"),), "facts": host()}, f"-e {LIST}=-1  or  --unset {LIST}", id="no list"),
        pytest.param(
            {"sets": ((LIST, "0"),), "facts": EMPTY},
            f"-e {LIST}=-1  or  --unset {LIST}",
            id="no list where no card is shown",
        ),
    ],
)
def test_the_cards_that_are_there_are_offered(situation, said, remedy):
    said = {"facts": host(2), **said}
    (finding,) = findings(situation(**said), "dev.visible")
    assert finding.remedy == remedy
    assert all("dev.visible" not in codes for codes in repaired(situation, "dev.visible", **said))


@pytest.mark.parametrize("job", GRANTORS)
def test_of_a_list_that_a_scheduler_gave_nothing_is_made_up(situation, job):
    (finding,) = findings(situation(shell={LIST: "7", job: "7"}, facts=host(2)), "dev.visible")
    assert finding.remedy == ""


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ({"shell": {LIST: "0"}}, None),
        ({"profile": "[env]\nCUDA_VISIBLE_DEVICES = '0'"}, "warning"),
        ({"options": "--gpu-ids 0"}, "error"),
        ({"sets": ((LIST, "0"),)}, "error"),
    ],
    ids=["a shell", "a file", "an option", "the last word"],
)
@pytest.mark.parametrize("facts", [host(), EMPTY], ids=["no driver", "a driver that shows none"])
def test_a_list_on_a_host_without_cards_weighs_as_much_as_who_says_it(situation, said, severity, facts):
    situation.project.profile("p", said.get("profile", ""))
    said = {key: value for key, value in said.items() if key != "profile"}
    found = [finding.severity for finding in findings(situation("p", facts=facts, **said), "dev.visible")]
    assert found == ([severity] if severity else [])


def test_what_cuda_ignores_is_said(situation):
    (finding,) = findings(situation(options="--gpu-ids 0,2,1", facts=host(2)))
    assert finding.message == (
        "CUDA ignores entry 2 and what follows it, for there is no such card here "
        f"({LIST}=0,2,1, from --gpu-ids), and sees 1 card"
    )


def test_a_second_slice_is_left_out_with_a_warning(situation):
    slices = (Slice("MIG-aaa"), Slice("MIG-bbb"))
    said = {"sets": ((LIST, "MIG-aaa,MIG-bbb"),), "facts": host(card(0, mig=True, slices=slices))}
    (finding,) = findings(situation(**said))
    assert (finding.severity, finding.code, finding.remedy) == ("warning", "dev.visible", f"-e {LIST}=MIG-aaa")
    assert repaired(situation, "dev.visible", **said) == [set()]


def test_cards_that_may_not_be_opened_are_not_counted(situation):
    facts = host(card(0, accessible=False), card(1), card(2))
    assert told(situation(options="--gpu-ids 0-1", ranks=2, facts=facts)) == []
    (finding,) = findings(situation(options="--gpu-ids 2", facts=facts))
    assert (finding.code, finding.remedy) == ("dev.visible", "--gpu-ids 0-1")


# The order of unlike cards.

MIXED = host(card(0, name="A"), card(1, name="B"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"shell": {LIST: "0"}}, True, id="a card by its number"),
        pytest.param({"sets": ((DEVICE, "gpu1"),)}, True, id="the second card"),
        pytest.param({"ranks": 2}, True, id="two cards"),
        pytest.param({}, False, id="the first card, whichever it is"),
        pytest.param({"sets": ((LIST, "GPU-000"),)}, False, id="a card by its id"),
        pytest.param({"options": "--gpu-ids 0"}, False, id="numbered as in nvidia-smi"),
        pytest.param({"shell": {LIST: "0"}, "sets": ((ORDER, "FASTEST_FIRST"),)}, False, id="an order on purpose"),
        pytest.param({"shell": {LIST: "0"}, "sets": ((DEVICE, "cpu0"),)}, False, id="the CPU"),
        pytest.param({"shell": {LIST: "0"}, "facts": host(2)}, False, id="like cards"),
    ],
)
def test_the_order_of_unlike_cards_is_left_open(situation, said, expected):
    said = {"facts": MIXED, **said}
    assert told(situation(**said)) == ([("warning", "dev.order")] if expected else [])
    if expected:
        assert repaired(situation, "dev.order", **said) == [set()]


# What else runs on the cards.

OTHERS = (CardProcess(41, GIB), CardProcess(42))
MPS = {"shell": {"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}}


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        pytest.param({"mode": "prohibited"}, {}, "error", id="prohibited"),
        pytest.param({"mode": "exclusive-process"}, {}, None, id="exclusive and idle"),
        pytest.param({"mode": "exclusive-process", "processes": OTHERS}, {}, "error", id="exclusive and taken"),
        pytest.param({"mode": "exclusive-thread", "processes": OTHERS}, {}, "error", id="exclusive by thread"),
        pytest.param({"mode": "exclusive-process", "processes": None}, {}, None, id="exclusive, nobody knows"),
        pytest.param({"mode": "exclusive-process"}, {"ranks": 2}, "error", id="exclusive and shared"),
        pytest.param({"mode": "exclusive-process", "processes": OTHERS}, MPS, None, id="exclusive and taken by MPS"),
        pytest.param({"mode": "exclusive-process"}, {"ranks": 2, **MPS}, None, id="exclusive and shared through MPS"),
        pytest.param({"mode": "prohibited"}, MPS, "error", id="prohibited, whatever MPS does"),
        pytest.param({"mode": "exclusive-process", "free": 6 * GIB}, MPS, "warning", id="little left, with MPS"),
        pytest.param({"processes": OTHERS}, {}, "warning", id="taken"),
        pytest.param({"total": 1000, "free": 900}, {}, None, id="nine tenths free"),
        pytest.param({"total": 1000, "free": 899}, {}, "warning", id="less"),
        pytest.param({"total": None, "free": None, "processes": None, "mode": ""}, {}, None, id="nothing known"),
    ],
)
def test_the_state_of_a_card_matters_to_a_job_that_means_cards(situation, state, more, expected):
    job = situation(options="--device gpu0", facts=host(card(0, **state)), **more)
    assert told(job) == ([(expected, "dev.busy")] if expected else [])


@pytest.mark.parametrize("mps", [None, False, True])
def test_mps_that_runs_on_the_host_shares_exclusive_cards(situation, mps):
    cards = [card(number, mode="exclusive-process", processes=OTHERS) for number in range(2)]
    shared = situation(options="--device gpu0", ranks=2, facts=host(cards[0], mps=mps))
    taken = situation(options="--device gpu", ranks=2, facts=host(*cards, mps=mps))
    expected = [] if mps else [("error", "dev.busy")]
    assert (told(shared), told(taken)) == (expected, expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("--device gpu0", "error", id="they name it"),
        pytest.param("--gpu-ids 0", "warning", id="they name none"),
        pytest.param("--gpu-ids 0 --device gpux", "warning", id="they name any"),
    ],
)
def test_that_ranks_share_an_exclusive_card_is_certain_where_they_name_it(situation, options, expected):
    job = situation(options=options, ranks=2, facts=host(card(0, mode="exclusive-process")))
    assert [finding.severity for finding in findings(job, "dev.busy")] == [expected]


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        pytest.param(
            [
                {"mode": "exclusive-process", "processes": OTHERS},
                {"mode": "exclusive-process", "processes": OTHERS[1:]},
            ],
            "each of cards 0, 1 (A) is in mode exclusive-process, which admits one process, and another one has it",
            id="modes",
        ),
        pytest.param(
            [{"mode": "prohibited"}, {"name": "B", "mode": "prohibited"}],
            "each of card 0 (A), card 1 (B) is in mode prohibited, which refuses every process",
            id="unlike cards",
        ),
        pytest.param([{"processes": OTHERS}] * 2, "each of cards 0, 1 (A) has 2 other processes on it", id="processes"),
        pytest.param(
            [{"free": 6 * GIB}, {"free": 8 * GIB}],
            "card 0 (A) has 6.0 GiB of 24.0 GiB free; card 1 (A) has 8.0 GiB of 24.0 GiB free",
            id="memory",
        ),
    ],
)
def test_all_cards_stand_in_one_finding(situation, cards, message):
    facts = host(*(card(number, **state) for number, state in enumerate(cards)))
    (finding,) = findings(situation(options="--gpu-ids 0-1 --device gpu", ranks=2, facts=facts))
    assert (finding.code, finding.message) == ("dev.busy", message)


def test_one_command_sets_the_mode_of_all_cards(situation):
    facts = host(card(0, mode="prohibited"), card(1, mode="prohibited"))
    (finding,) = findings(situation(options="--gpu-ids 0-1 --device gpu", ranks=2, facts=facts))
    assert finding.remedy == "sudo nvidia-smi -i 0,1 -c DEFAULT"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"mode": "prohibited"}, ("warning", "job")),
        ({"processes": OTHERS}, ("info", "host")),
        ({"free": GIB}, ("info", "host")),
    ],
    ids=["prohibited", "taken", "full"],
)
def test_it_matters_less_to_a_job_that_names_none(situation, state, expected):
    (finding,) = findings(situation(facts=host(card(0, **state))))
    assert (finding.severity, finding.about, finding.code) == (*expected, "dev.busy")


@pytest.mark.parametrize(
    "said",
    [
        {"sets": ((DEVICE, "gpu0"),)},
        {"options": "--gpu-ids 0"},
        {"sets": (("MEGENGINE_DTR_EVICTION_THRESHOLD", "1GiB"),)},
        {"sets": (("MEGENGINE_DTR_AUTO_DROP", "1"),)},
        {"sets": (("MGB_CUDA_RESERVE_MEMORY", "1"),)},
    ],
    ids=["a device", "a list", "a threshold", "DTR", "a reserve"],
)
def test_what_means_cards(situation, said):
    assert told(situation(facts=host(card(0, processes=OTHERS)), **said)) == [("warning", "dev.busy")]


@pytest.mark.parametrize(
    "said",
    [{"shell": {LIST: "0"}}, {"sets": (("MEGENGINE_DTR_EVICTION_THRESHOLD", "0"),)}, {"sets": ((LIST, "-1"),)}],
    ids=["a list of the shell", "a threshold that is off", "no card"],
)
def test_what_does_not(situation, said):
    assert [f for f in findings(situation(facts=host(card(0, processes=OTHERS)), **said)) if f.about == "job"] == []


def test_cards_that_the_job_does_not_use_may_be_busy(situation):
    facts = host(card(0), card(1, mode="prohibited"), card(2, processes=OTHERS))
    assert told(situation(options="--device gpu0", facts=facts)) == []


def test_ranks_that_another_launcher_has_started_are_no_strangers(situation):
    job = situation(options="--device gpu0", ranks=1, local_ranks=2, facts=host(card(0, processes=OTHERS)))
    assert told(job) == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"mode": "prohibited"}, "card 0 (A) is in mode prohibited, which refuses every process"),
        (
            {"mode": "exclusive-process", "processes": OTHERS},
            "card 0 (A) is in mode exclusive-process, which admits one process, and another one has it (process 41)",
        ),
        ({"free": 6 * GIB}, "card 0 (A) has 6.0 GiB of 24.0 GiB free"),
        ({"processes": OTHERS}, "card 0 (A) has 2 other processes on it"),
        (
            {"free": 6 * GIB, "processes": OTHERS[:1]},
            "card 0 (A) has 6.0 GiB of 24.0 GiB free and another process on it",
        ),
    ],
    ids=["mode", "taken", "memory", "processes", "both"],
)
def test_the_state_is_said_with_its_numbers(situation, state, message):
    (finding,) = findings(situation(options="--device gpu0", facts=host(card(0, **state))))
    assert finding.message == message


@pytest.mark.parametrize("state", [{"mode": "prohibited"}, {"free": 0}, {"processes": OTHERS}], ids=str)
@pytest.mark.parametrize("said", [{"options": "--device gpu0"}, {"sets": ((DEVICE, "gpu0"), (LIST, "0"))}], ids=str)
def test_an_idle_card_is_offered(situation, state, said):
    facts = host(card(0, **state), card(1, processes=None, free=None), card(2))
    (finding,) = findings(situation(facts=facts, **said))
    options = said.get("options", "")
    (remedy, *_) = finding.remedy.split("  or  ")
    assert f"{LIST}=2" in remedy or "--gpu-ids 2" in remedy
    assert findings(situation(facts=facts, **{**said, "options": f"{options} {remedy}"})) == []


def test_where_no_card_is_idle_none_is_offered(situation):
    facts = host(card(0, mode="prohibited"), card(1, free=0))
    (finding,) = findings(situation(options="--device gpu0", facts=facts))
    assert finding.remedy == "sudo nvidia-smi -i 0 -c DEFAULT"


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        pytest.param({}, "--gpu-ids 1", id="any card"),
        pytest.param({LIST: "0,2"}, "--gpu-ids 1", id="any card, whatever a mere shell's list says"),
        pytest.param({LIST: "-1"}, "--gpu-ids 1", id="any card, though the shell hides all"),
        pytest.param({"SLURM_JOB_ID": "7"}, "", id="Slurm, and no list"),
        pytest.param({"SLURM_JOB_ID": "7", LIST: "-1"}, "", id="Slurm gave none"),
        pytest.param({"SLURM_JOB_ID": "7", LIST: "GPU-000,GPU-222"}, "--gpu-ids 2", id="one of a list of ids"),
        pytest.param({"PBS_JOBID": "7", LIST: "0,2"}, "--gpu-ids 2", id="one that PBS gave"),
        pytest.param({"LSB_JOBID": "7", LIST: "0"}, "", id="none that LSF gave"),
    ],
)
def test_only_cards_that_the_job_was_given_are_offered(situation, shell, expected):
    facts = host(card(0, processes=OTHERS), card(1), card(2))
    found = findings(situation(shell=shell, options="--gpu-ids 0 --device gpu0", facts=facts), "dev.busy")
    assert [finding.remedy for finding in found] == [expected]


def test_a_grant_is_counted_by_the_bus_even_on_unlike_cards(situation):
    facts = host(card(0, name="A", processes=OTHERS), card(1, name="B"), card(2, name="C"))
    shell = {LIST: "0,1", "SLURM_JOB_ID": "7"}
    (finding,) = findings(situation(shell=shell, options="--gpu-ids 0 --device gpu0", facts=facts), "dev.busy")
    assert finding.remedy == "--gpu-ids 1"
    fastest = ((ORDER, "FASTEST_FIRST"), (LIST, "GPU-000"))
    (finding,) = findings(situation(shell=shell, sets=fastest, facts=facts), "dev.busy")
    assert finding.remedy == f"-e {LIST}=1 -e {ORDER}=PCI_BUS_ID"


def test_of_an_allocated_card_no_slice_is_offered_since_some_may_be_others(situation):
    job = situation(shell={"SLURM_JOB_ID": "7", LIST: "0"}, options="--device gpu0", facts=host(DIVIDED, card(1)))
    (finding,) = findings(job, "dev.mig")
    assert finding.remedy == "nvidia-smi -L"


@pytest.mark.parametrize(
    ("options", "facts", "ranks", "remedy"),
    [
        pytest.param("--device gpu0", host(card(0, mode="exclusive-process")), 2, "-n 1", id="all on one"),
        pytest.param(
            "--gpu-ids 0-1",
            host(card(0, mode="exclusive-process"), card(1, mode="exclusive-process")),
            4,
            "-n 2",
            id="two on each",
        ),
    ],
)
def test_as_many_ranks_as_exclusive_cards_admit_are_offered(situation, options, facts, ranks, remedy):
    finding = findings(situation(options=options, ranks=ranks, facts=facts), "dev.busy")[0]
    assert finding.remedy.split("  or  ")[0] == remedy
    assert findings(situation(options=f"{options} {remedy}", ranks=ranks, facts=facts)) == []


# Divided cards.

SLICES = (Slice("MIG-aaa", 5 * GIB, 5 * GIB), Slice("MIG-bbb", 5 * GIB, 5 * GIB))
DIVIDED = card(0, mig=True, slices=SLICES)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"options": "--gpu-ids 0"}, ("warning", "job"), id="by number"),
        pytest.param({"options": "--device gpu0"}, ("warning", "job"), id="as a device"),
        pytest.param({}, ("info", "host"), id="by chance"),
        pytest.param({"sets": ((LIST, "MIG-bbb"),)}, None, id="a slice"),
        pytest.param({"options": "--device cpu0"}, None, id="the CPU"),
        pytest.param({"options": "--gpu-ids 0", "facts": host(card(0, mig=None))}, None, id="not known"),
        pytest.param(
            {"options": "--gpu-ids 0", "facts": host(card(0, mig=True, slices=SLICES[:1]))}, None, id="one slice"
        ),
    ],
)
def test_a_divided_card_has_no_number_of_its_own(situation, said, expected):
    found = [(f.severity, f.about) for f in findings(situation(**{"facts": host(DIVIDED), **said}), "dev.mig")]
    assert found == ([expected] if expected else [])


def test_a_slice_is_offered(situation):
    said = {"sets": ((LIST, "0"),), "facts": host(DIVIDED, card(1))}
    (finding,) = findings(situation(**said), "dev.mig")
    assert finding.remedy == f"-e {LIST}=MIG-aaa"
    assert repaired(situation, "dev.mig", **said) == [set()]


# Drivers.

BROKEN = host(source="unknown", broken=True, problem="the driver and its library differ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--device gpu0", ("error", "job")),
        ("--gpu-ids 0", ("warning", "job")),
        ("", ("info", "host")),
        ("--device cpu0", ("info", "host")),
    ],
    ids=["a card is named", "a list of cards", "nothing said", "the CPU"],
)
def test_a_broken_driver_matters_to_a_job_that_means_cards(situation, options, expected):
    (finding,) = findings(situation(options=options, facts=BROKEN))
    assert (finding.code, finding.severity, finding.about) == ("dev.driver", *expected)
    assert finding.message == "the driver of the cards does not work: the driver and its library differ"


def test_for_a_broken_driver_the_cpu_is_offered(situation):
    said = {"options": "--device gpu0", "facts": BROKEN}
    (finding,) = findings(situation(**said))
    assert [(f.severity, f.about) for f in findings(situation(facts=BROKEN, options=finding.remedy))] == [
        ("info", "host")
    ]


UNKNOWN = host(source="unknown", problem="no driver answers")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"options": "--device gpu0"}, True, id="a card is named"),
        pytest.param({"options": "--gpu-ids 0"}, True, id="a list of the job"),
        pytest.param({"sets": ((RESERVE, "1"),)}, True, id="a reserve"),
        pytest.param({"shell": {LIST: "0"}}, False, id="a list of the shell"),
        pytest.param({"options": "--device cpu0"}, False, id="the CPU"),
        pytest.param({"options": "--device xpux"}, False, id="whatever there is"),
        pytest.param({}, False, id="nothing said"),
        pytest.param({"options": "--device gpu0", "facts": HostFacts()}, False, id="nobody looked"),
    ],
)
def test_that_nobody_could_look_at_cards_is_a_warning_to_a_job_that_means_them(situation, said, expected):
    found = findings(situation(**{"facts": UNKNOWN, **said}))
    assert [(f.severity, f.code, f.about) for f in found] == [("warning", "dev.unknown", "job")] * expected


@pytest.mark.parametrize(
    ("problem", "words"), [("no driver answers", "looked at: no driver answers, so"), ("", "looked at, so")]
)
def test_why_nobody_could_look_is_said(situation, problem, words):
    (finding,) = findings(situation(options="--device gpu0", facts=host(source="unknown", problem=problem)))
    assert words in finding.message
    assert finding.remedy == "--ignore dev.unknown"


@pytest.mark.parametrize(
    ("facts", "options", "expected"),
    [
        pytest.param(host(1, libcuda=False), "", 1, id="missing"),
        pytest.param(host(1, libcuda=False), "--device gpu0", 1, id="missing, and a card is named"),
        pytest.param(host(1, libcuda=False), "--device cpu0", 0, id="not needed"),
        pytest.param(host(1, libcuda=True), "", 0, id="there"),
        pytest.param(host(1), "", 0, id="unknown"),
        pytest.param(host(libcuda=False), "--gpu-ids none", 0, id="no card either"),
    ],
)
def test_without_libcuda_cards_are_of_no_use(situation, facts, options, expected):
    found = findings(situation(options=options, facts=facts), "dev.libcuda")
    assert [finding.severity for finding in found] == ["warning"] * expected
    if expected:
        assert repaired(situation, "dev.libcuda", options=options, facts=facts) == [set()]


# dev.grant.


@pytest.mark.parametrize(
    ("granted", "wanted", "taken"),
    [
        pytest.param("4,5", "4", "", id="a part of it"),
        pytest.param("4, 5", "5,4", "", id="all of it in another order"),
        pytest.param("4,5", "none", "", id="none of it"),
        pytest.param("4,5", "0", "0 is not among the cards that Slurm granted (4,5)", id="another card"),
        pytest.param("4,5", "4-7", "6, 7 are not among the cards that Slurm granted (4,5)", id="more cards"),
        pytest.param("GPU-11111111", "0", "", id="names that cannot be compared with numbers"),
    ],
)
def test_the_pool_is_a_part_of_what_a_scheduler_granted(situation, granted, wanted, taken):
    job = situation(shell={"SLURM_JOB_ID": "7", LIST: granted}, options=f"--gpu-ids {wanted}")
    found = [(f.severity, f.message) for f in findings(job) if f.code == "dev.grant"]
    assert found == ([("error", taken)] if taken else [])
    if taken:
        (finding,) = [f for f in findings(job) if f.code == "dev.grant"]
        assert "dev.grant" not in {
            f.code
            for fixed in situation.repaired(finding, shell={"SLURM_JOB_ID": "7", LIST: granted})
            for f in findings(fixed)
        }


def test_without_a_scheduler_a_list_of_the_shell_is_no_grant(situation):
    assert findings(situation(shell={LIST: "4,5"}, options="--gpu-ids 0")) == []


# Whether cards must be measured at all.


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({"options": "--device gpu0"}, True, id="a card"),
        pytest.param({"options": "--device xpux"}, True, id="whatever there is"),
        pytest.param({"options": "--device rocm0"}, True, id="AMD's"),
        pytest.param({"options": "--device cpu0"}, False, id="the CPU"),
        pytest.param({"options": "--device multithread2"}, False, id="threads"),
        pytest.param({"shell": {LIST: "0"}}, True, id="a list of the shell"),
        pytest.param({"options": "--device cpu0", "shell": {LIST: "0"}}, True, id="a list, and the CPU"),
        pytest.param({"sets": ((LIST, "-1"),)}, False, id="no card"),
        pytest.param({"shell": {LIST: ""}}, False, id="an empty list"),
        pytest.param({"sets": ((ORDER, "PCI_BUS_ID"),)}, True, id="an order"),
        pytest.param({"sets": (("MEGENGINE_DTR_EVICTION_THRESHOLD", "1GiB"),)}, True, id="a threshold"),
        pytest.param({"sets": (("MEGENGINE_DTR_EVICTION_THRESHOLD", "0"),)}, False, id="a threshold that is off"),
        pytest.param({"sets": (("MEGENGINE_DTR_AUTO_DROP", "1"),)}, True, id="DTR"),
        pytest.param({"sets": (("MEGENGINE_DTR_AUTO_DROP", "0"),)}, False, id="DTR that is off"),
        pytest.param({"sets": (("MGB_CUDA_RESERVE_MEMORY", "1"),)}, True, id="a reserve"),
        pytest.param({"sets": (("MGB_CUDA_RESERVE_MEMORY", "0"),)}, False, id="a reserve that is off"),
        pytest.param({"sets": (("OMP_NUM_THREADS", "1"),)}, False, id="something else"),
    ],
)
def test_cards_are_measured_where_something_is_said_about_them(situation, said, expected):
    assert asks_about_cards(situation(**said).resolution) is expected


@pytest.mark.parametrize(("key", "expected"), [("device-memory", True), ("host-memory", False)])
def test_device_memory_that_a_profile_requires_is_measured(situation, key, expected):
    situation.project.profile("p", f'[requires]\n{key} = "1GiB"')
    assert asks_about_cards(situation("p").resolution) is expected


# Whatever is said and measured.

AMOUNTS = st.none() | st.integers(0, 1 << 64)
CARDS = st.builds(
    Card,
    number=st.integers(0, 5),
    uuid=st.sampled_from(["", "GPU-0", "GPU-11", "GPU-12"]),
    name=st.sampled_from(["", "A", "B"]),
    total=AMOUNTS,
    free=AMOUNTS,
    mode=st.sampled_from(["", "default", "exclusive-thread", "prohibited", "exclusive-process"]),
    mig=st.sampled_from([None, True, False]),
    slices=st.sampled_from([(), SLICES, SLICES[:1]]),
    processes=st.sampled_from([None, (), OTHERS]),
    accessible=st.sampled_from([None, True, False]),
)
HOSTS = st.builds(
    Devices,
    source=st.sampled_from(["nvml", "nvidia-smi", "proc", "sysfs", "none", "unknown"]),
    vendor=st.sampled_from(["", "nvidia", "amd"]),
    cards=st.lists(CARDS, max_size=3).map(tuple),
    broken=st.booleans(),
    libcuda=st.sampled_from([None, True, False]),
    mps=st.sampled_from([None, True, False]),
)


@settings(max_examples=80, deadline=None)
@given(
    devices=st.none() | HOSTS,
    device=st.sampled_from(
        ["gpu0", "gpu3", "xpux", "cpu0", "cpu999999999999", "gpux", "rocm0", "cuda:0", "atlas0", ""]
    ),
    cards=st.sampled_from([None, "", "-1", "0", "1,0", "9", "0,0", "GPU-1", "GPU-0,GPU-11", "MIG-a", "all", "\ufffd"]),
    order=st.sampled_from([None, "PCI_BUS_ID", "x"]),
    options=st.sampled_from(["", "--device gpu", "--gpu-ids 0-3", f"-e {LIST}=1"]),
    ranks=st.integers(1, 4),
    more=st.integers(0, 2),
    online=st.none() | st.integers(0, 9),
    job=st.sampled_from([None, "7"]),
    reserve=st.sampled_from([None, "1", "b:9GiB", "0"]),
    version=st.sampled_from([{}, {"megengine": "1.13.0"}, {"megengine": "x"}]),
)
def test_no_check_ever_raises_nor_finds_an_error_that_nobody_would_look_for(
    new_situation, devices, device, cards, order, options, ranks, more, online, job, reserve, version
):
    said = ((DEVICE, device), (LIST, cards), (ORDER, order), ("SLURM_JOB_ID", job), (RESERVE, reserve))
    shell = {name: text for name, text in said if text is not None}
    facts = HostFacts(devices=devices, cpus=Cpus(online=online))
    situation = new_situation()(
        shell=shell, options=options, ranks=ranks, local_ranks=ranks + more, facts=facts, installed=version
    )
    asks = any(map(asks_about_cards, situation.ranks))
    assert asks or not on_purpose(situation)
    for finding in [*findings(situation), *(each for check in DEVICE_MEMORY for each in check(situation))]:
        assert finding.message
        assert not finding.message.endswith(".") or devices.problem.endswith(".")
        assert asks or finding.severity != "error"


@pytest.mark.parametrize("options", ["--device gpu", "--gpu-ids 7", "-e MGE_DEFAULT_DEVICE=cpu9", ""])
def test_nothing_is_said_where_nothing_is_known(situation, options):
    assert findings(situation(options=options, ranks=4)) == []
