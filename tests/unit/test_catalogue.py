"""Invariants over the whole catalogue: every row can be shown, read, written and trusted."""

import os
import re

import pytest

from mgelaunch.catalogue import CATALOGUE, brevitas, megengine, system, torch
from mgelaunch.catalogue.kinds import Value
from mgelaunch.catalogue.names import OUR_PREFIXES, is_portable, near_miss
from mgelaunch.catalogue.numbers import Bytes, Integer, Reserve
from mgelaunch.catalogue.words import Choice, Switch
from mgelaunch.report.docs import FRAMEWORK_WORDS, GROUP_WORDS, MOMENT_WORDS, PAGES, page

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
MODULES = (megengine, brevitas, torch, system)
ROWS = [row for module in MODULES for row in module.VARIABLES]
DEAD = [row for row in ROWS if row.moment == "never"]

OFFICIAL_MEGENGINE = {
    "MGE_DEFAULT_DEVICE",
    "MEGENGINE_HOST_COMPUTE",
    "MEGENGINE_LOGGING_LEVEL",
    "RUNTIME_OVERRIDE_LOG_LEVEL",
    "MGB_DEBUG_VAR_SANITY_CHECK_LOG",
    "MGB_LOG_TRT_MEM_ALLOC",
    "MGE_PLASMA_MEMORY",
    "MGE_DATALOADER_PLASMA_DEBUG",
    "MGE_MM_OPR_DEBUG",
    "MEGENGINE_INPLACE_UPDATE",
    "MGB_CUDA_RESERVE_MEMORY",
    "MGB_ROCM_RESERVE_MEMORY",
    "MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY",
    "MGB_SUBLINEAR_MEMORY_GENETIC_NR_ITER",
    "MGB_SUBLINEAR_MEMORY_GENETIC_POOL_SIZE",
    "MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB",
    "MGB_SUBLINEAR_MEMORY_WORKERS",
    "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE",
    "MEGENGINE_ENABLE_SWAP",
    "MEGENGINE_ENABLE_DROP",
    "MEGENGINE_DTR_AUTO_DROP",
    "MEGENGINE_DTR_EVICTION_THRESHOLD",
    "MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE",
    "MEGENGINE_RECORD_COMPUTING_PATH",
    "MEGENGINE_INTERP_ASYNC_LEVEL",
    "MEGENGINE_ASYNC_QUEUE_SIZE",
    "MEGENGINE_CATCH_WORKER_EXEC",
    "MEGENGINE_EXECUTION_STRATEGY",
    "MGB_CONV_PROFILING_TIMEOUT",
    "MGB_PROFILE_ONLY_WAIT",
    "MGE_FASTRUN_CACHE_TYPE",
    "MGE_FASTRUN_CACHE_DIR",
    "MGB_JIT_BACKEND",
    "MGB_JIT_KEEP_INTERM",
    "MGB_JIT_WORKDIR",
    "CUDA_BIN_PATH",
    "MGB_DUMP_INPUT",
}
OFFICIAL_BREVITAS = {
    "BREVITAS_JIT",
    "BREVITAS_NATIVE_STE_BACKEND",
    "BREVITAS_VERBOSE",
    "BREVITAS_IGNORE_MISSING_KEYS",
    "BREVITAS_REINIT_ON_STATE_DICT_LOAD",
    "BREVITAS_LOGGING",
    "PYTORCH_JIT",
}


def broken(rule, rows=tuple(ROWS)):
    """The names of the rows that break a rule: a test wants none."""
    return [row.name for row in rows if not rule(row)]


def reads_as_itself(row, text):
    return row.kind.read(text) == Value(text)


def canonical_texts(kind):
    """Texts that the kind itself must hand to a reader."""
    if isinstance(kind, Switch):
        return [text for text in (kind.on_text, kind.off_text) if text is not None and not kind.harm]
    if isinstance(kind, Choice):
        return list(kind.values)
    if isinstance(kind, Integer):
        return [str(kind.minimum), *kind.words, *([str(kind.maximum)] if kind.maximum is not None else [])]
    if isinstance(kind, Bytes):
        return [str(max(kind.least, kind.scale) // kind.scale), *(["0"] if kind.off == "0" else [])]
    if isinstance(kind, Reserve):
        return ["1", "b:8589934592"]
    return [] if kind.off in {"", "unset"} else [kind.off]


# -- names -------------------------------------------------------------------------------------------


def test_no_name_stands_twice_in_a_module_or_in_two_of_them():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) == len(CATALOGUE)


def test_every_name_is_portable():
    assert broken(lambda row: is_portable(row.name)) == []


def test_no_name_of_the_catalogue_counts_as_a_slip_for_another():
    assert broken(lambda row: near_miss(row.name, CATALOGUE) is None) == []


def test_names_with_the_prefix_of_a_framework_stand_in_its_module():
    for module, prefixes in ((megengine, OUR_PREFIXES[:3]), (brevitas, OUR_PREFIXES[3:])):
        elsewhere = [row for row in ROWS if row not in module.VARIABLES]
        assert broken(lambda row, prefixes=prefixes: not row.name.startswith(prefixes), elsewhere) == []


# -- the official pages ------------------------------------------------------------------------------


def test_megengine_documents_37_variables():
    assert len(OFFICIAL_MEGENGINE) == 37


@pytest.mark.parametrize("name", sorted(OFFICIAL_MEGENGINE | OFFICIAL_BREVITAS))
def test_every_variable_of_the_official_pages_is_there_and_marked(name):
    assert CATALOGUE[name].documented


def test_nothing_else_is_marked_as_official():
    assert {row.name for row in ROWS if row.documented} == OFFICIAL_MEGENGINE | OFFICIAL_BREVITAS


# -- values ------------------------------------------------------------------------------------------


def test_a_default_is_legal_and_canonical():
    assert broken(lambda row: row.default is None or reads_as_itself(row, row.default)) == []


def test_a_default_is_a_text_or_a_note_not_both():
    assert broken(lambda row: row.default is None or not row.default_note) == []


def test_what_a_kind_writes_it_reads_back_as_the_same():
    assert broken(lambda row: all(reads_as_itself(row, text) for text in canonical_texts(row.kind))) == []


def test_the_text_that_says_off_is_legal():
    assert broken(lambda row: row.kind.off in {"", "unset"} or reads_as_itself(row, row.kind.off)) == []


def test_a_percentage_is_written_as_a_legal_text():
    measured = [row for row in ROWS if row.kind.resource]
    assert broken(lambda row: reads_as_itself(row, row.kind.render(4 << 30).text), measured) == []


def test_the_legal_spellings_are_told_in_both_languages():
    assert broken(lambda row: all(row.kind.legal)) == []


def test_only_one_switch_breaks_every_run():
    assert broken(lambda row: not getattr(row.kind, "harm", "")) == ["MGB_THROW_ON_FORK"]


def test_presence_variables_are_off_only_when_absent():
    absent = [row for row in ROWS if row.kind.name in {"presence", "nonempty", "reserve"}]
    assert len(absent) > 20
    assert broken(lambda row: row.kind.off == "unset" and row.kind.read("0") == Value(None), absent) == []


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("MEGENGINE_DTR_EVICTION_THRESHOLD", "device-memory"),
        ("MGB_CUDA_RESERVE_MEMORY", "device-memory"),
        ("MGE_PLASMA_MEMORY", "shared-memory"),
        ("MGB_SUBLINEAR_MEMORY_WORKERS", "cpus"),
        ("OMP_NUM_THREADS", "cpus"),
        ("MKL_NUM_THREADS", "cpus"),
    ],
)
def test_quantities_of_this_host_can_be_percentages(name, resource):
    assert CATALOGUE[name].kind.resource == resource


# -- texts -------------------------------------------------------------------------------------------


def is_english(text):
    """One plain sentence; it may begin with the name of a library."""
    opening = re.match(r"[A-Z0-9]|torch", text)
    return bool(opening) and text.endswith(".") and "  " not in text and not re.search(r"[一-鿿]", text)


def is_chinese(text):
    return bool(re.search(r"[一-鿿]", text)) and text.endswith("。")


def test_the_english_meaning_is_a_full_sentence():
    assert broken(lambda row: row.en[0].isupper() and is_english(row.en)) == []
    assert broken(lambda row: 30 <= len(row.en) <= 160) == []


def test_the_chinese_meaning_is_a_full_sentence():
    assert broken(lambda row: is_chinese(row.zh) and row.zh != row.en) == []
    assert broken(lambda row: 10 <= len(row.zh) <= 80) == []


@pytest.mark.parametrize("word", ["显存", "日志", "多卡", "共享内存", "线程", "缓存"])
def test_the_words_that_chinese_users_search_for_occur(word):
    assert any(word in row.zh for row in ROWS)


@pytest.mark.parametrize("column", ["en", "zh"])
def test_no_meaning_stands_for_two_variables(column):
    meanings = [getattr(row, column) for row in ROWS]
    assert len(meanings) == len(set(meanings))


def test_a_trap_is_told_in_both_languages_or_in_none():
    assert broken(lambda row: bool(row.trap) == bool(row.trap_zh)) == []


def test_a_trap_is_one_full_sentence_or_two():
    trapped = [row for row in ROWS if row.trap]
    assert broken(lambda row: is_english(row.trap) and is_chinese(row.trap_zh), trapped) == []
    assert broken(lambda row: len(row.trap) <= 200 and len(row.trap_zh) <= 130, trapped) == []


def test_every_row_says_whether_its_facts_were_measured_or_read():
    assert broken(lambda row: re.search(r"measured|from source|read only", row.source)) == []


# -- readers and moments -----------------------------------------------------------------------------


def test_group_moment_and_readers_have_words_on_the_pages():
    assert broken(lambda row: row.group in GROUP_WORDS and row.moment in MOMENT_WORDS) == []
    assert broken(lambda row: all(reader.framework in FRAMEWORK_WORDS for reader in row.readers)) == []


def test_a_dead_variable_says_what_to_use_or_that_nothing_replaces_it():
    assert broken(lambda row: bool(row.instead) != ("nothing replaces it" in row.en), DEAD) == []
    assert broken(lambda row: bool(row.instead) != ("没有替代变量" in row.zh), DEAD) == []


def test_a_dead_variable_has_no_reader_left():
    assert broken(lambda row: all(reader.until for reader in row.readers), DEAD) == []


def test_a_living_variable_has_a_reader_and_a_kind():
    living = [row for row in ROWS if row not in DEAD]
    assert broken(lambda row: any(not reader.until for reader in row.readers), living) == []
    assert broken(lambda row: row.kind.name != "dead", living) == []


def test_versions_are_plain_numbers():
    versions = [version for row in ROWS for reader in row.readers for version in (reader.since, reader.until)]
    assert [version for version in versions if not re.fullmatch(r"([0-9]+(\.[0-9]+)+)?", version)] == []


@pytest.mark.parametrize(
    ("name", "until"), [("MEGENGINE_ENABLE_SWAP", "1.7.0"), ("MEGENGINE_EXECUTION_STRATEGY", "1.10.0")]
)
def test_documented_variables_that_died_say_since_when(name, until):
    assert [reader.until for reader in CATALOGUE[name].readers] == [until]


@pytest.mark.parametrize("row", [row for row in ROWS if row.readback], ids=lambda row: row.name)
def test_a_read_back_is_one_python_expression(row):
    compile(row.readback, row.name, "eval")


# -- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "language"), PAGES)
def test_the_generated_page_is_not_stale(name, language):
    with open(os.path.join(DOCS, name), encoding="utf-8") as file:
        assert file.read() == page(language), "run: python -m mgelaunch.report.docs"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_variable_has_one_heading_on_the_page(language):
    headings = re.findall(r"^### `(.+)`$", page(language), re.MULTILINE)
    assert sorted(headings) == sorted(CATALOGUE)


def test_the_chinese_page_has_chinese_labels():
    assert re.findall(r"Beware|Default|Write|by no version|official", page("zh")) == []
