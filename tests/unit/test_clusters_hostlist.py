"""Slurm's short texts for hosts and for the tasks on them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.clusters.hostlist import NotAList, first_host, host_count, hosts, task_counts, tasks_on

TUX = "tux0-rack01 tux0-rack02 tux1-rack01 tux1-rack02 tux5-rack01 tux5-rack02 tux6-rack01 tux6-rack02 tux7-rack01 tux7-rack02"
LISTS = [
    ("n1", "n1"),
    ("a,b,c", "a b c"),
    ("", ""),
    (" ", ""),
    ("n1.example.org,n2.example.org", "n1.example.org n2.example.org"),
    ("n[1-2]", "n1 n2"),
    ("n[1-2,4]", "n1 n2 n4"),
    ("n[1-2],m3", "n1 n2 m3"),
    ("n[1-2], m3", "n1 n2 m3"),
    (" n1 ,n2 ", "n1 n2"),
    ("n[9-11]", "n9 n10 n11"),
    ("n[09-11]", "n09 n10 n11"),
    ("n[01-2]", "n01 n02"),
    ("n[1-02]", "n1 n2"),
    ("n[0]", "n0"),
    ("n[000]", "n000"),
    ("dgx[098-102]", "dgx098 dgx099 dgx100 dgx101 dgx102"),
    ("n[2,1]", "n2 n1"),
    ("n[1,1]", "n1 n1"),
    ("a[1],b[2]", "a1 b2"),
    ("a[1-2]b[3-4]", "a1b3 a1b4 a2b3 a2b4"),
    ("[1-2]", "1 2"),
    ("a[1][2-3]", "a12 a13"),
    ("tux[0-1,5-7]-rack[01-02]", TUX),
    ("gpu-[001-003,007]-ib", "gpu-001-ib gpu-002-ib gpu-003-ib gpu-007-ib"),
]
WRONG = [
    *(
        "n[3-1]",
        "n[]",
        "n[a-b]",
        "n[1-2]]",
        "n[1-2",
        "n]",
        "[",
        "n[1-[2]]",
        "n[1,]",
        "n[,1]",
        "n[1-]",
        "n[-1]",
        "n[1 -2]",
    ),
    *("a,,b", ",a", "a,", ",", "a b", "n[1] m", "n[1-2]x[", "n[٣]", "n[" + "9" * 5000 + "]"),
]


@pytest.mark.parametrize(("text", "names"), LISTS, ids=lambda value: repr(value)[:30])
def test_a_list_is_every_name_in_its_order(text, names):
    assert hosts(text) == tuple(names.split())
    assert host_count(text) == len(names.split())


@pytest.mark.parametrize(("text", "names"), [case for case in LISTS if case[1]], ids=lambda value: repr(value)[:30])
def test_the_first_host_is_the_first_name(text, names):
    assert first_host(text) == names.split()[0]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
@pytest.mark.parametrize("read", [hosts, host_count])
def test_what_is_no_list_is_refused_in_words_that_do_not_repeat_it(read, text):
    with pytest.raises(NotAList) as failure:
        read(text)
    assert isinstance(failure.value, ValueError)
    assert str(failure.value)
    assert len(text) < 5 or text not in str(failure.value)


@pytest.mark.parametrize("text", ["", " ", ",a", "n[1-", "n[]", "a b"])
def test_there_is_no_first_host_of_what_does_not_start_as_a_list(text):
    with pytest.raises(NotAList):
        first_host(text)


def test_a_list_of_more_hosts_than_there_can_be_is_counted_and_not_written_out():
    text = "n[0-999999999][0-999999999]"
    assert host_count(text) == 10**18
    assert first_host(text) == "n00"
    with pytest.raises(NotAList, match="more than 1000000 hosts"):
        hosts(text)


def test_only_as_much_is_read_as_is_asked_for():
    assert first_host("n[1-2],[[[") == "n1"
    assert tasks_on("2(x3),???", 2) == 2


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("2", ((2, 1),)),
        ("2(x2)", ((2, 2),)),
        ("2,1", ((2, 1), (1, 1))),
        ("3,1", ((3, 1), (1, 1))),
        ("2(x2),1", ((2, 2), (1, 1))),
        ("8(x100000),1", ((8, 100000), (1, 1))),
        ("", ()),
    ],
)
def test_tasks_on_each_host_are_counts_and_how_often(text, counts):
    assert task_counts(text) == counts
    if sum(times for _, times in counts) < 100:
        assert [tasks_on(text, index) for index in range(sum(times for _, times in counts))] == [
            tasks for tasks, times in counts for _ in range(times)
        ]


@pytest.mark.parametrize("text", ["2(x2", "2x2", "(x2)", "a", "2,", ",2", "2 ,1", "2(x)", "-1", "2()", "٣"])
def test_what_is_no_list_of_counts_is_refused(text):
    with pytest.raises(NotAList):
        task_counts(text)
    with pytest.raises(NotAList):
        tasks_on(text, 99)


def test_a_host_beyond_the_list_has_no_tasks():
    assert tasks_on("8(x100000),1", 100000) == 1
    with pytest.raises(NotAList, match="before host 100001"):
        tasks_on("8(x100000),1", 100001)


RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=4)
TEXTS = st.text("abcxyz0123456789-._", min_size=1, max_size=6)
ITEMS = st.lists(st.one_of(TEXTS, RANGES), min_size=1, max_size=3)


def written(item):
    """An item of the grammar, and the names that it means by the rule said the slow way."""
    text, names = "", [""]
    for part in item:
        if isinstance(part, str):
            text, names = text + part, [name + part for name in names]
            continue
        pieces, numbers = [], []
        for first, more, width in part:
            start = str(first).zfill(width)
            pieces.append(start if not more else f"{start}-{first + more}")
            numbers += [str(number).zfill(len(start)) for number in range(first, first + more + 1)]
        text += "[" + ",".join(pieces) + "]"
        names = [name + number for name in names for number in numbers]
    return text, names


@given(st.lists(ITEMS, min_size=1, max_size=3))
def test_any_list_means_the_names_that_the_rule_gives_said_the_slow_way(items):
    pairs = [written(item) for item in items]
    text = ",".join(text for text, _ in pairs)
    names = tuple(name for _, names in pairs for name in names)
    assert hosts(text) == names
    assert (host_count(text), first_host(text)) == (len(names), names[0])


@given(st.text("n[]-,12 x", max_size=12))
def test_any_text_is_a_list_or_is_refused(text):
    try:
        names = hosts(text)
    except NotAList:
        return
    assert len(names) == host_count(text)
    assert all(name and not set(name) & set("[], ") for name in names)


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(1, 5)), min_size=1, max_size=6))
def test_any_counts_are_read_as_they_were_written(counts):
    text = ",".join(str(tasks) if times == 1 else f"{tasks}(x{times})" for tasks, times in counts)
    assert task_counts(text) == tuple(counts)
    spread = [tasks for tasks, times in counts for _ in range(times)]
    assert [tasks_on(text, index) for index in range(len(spread))] == spread
