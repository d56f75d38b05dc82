"""A row of the catalogue is told in the user's language; names and codes are the same in both."""

import json

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.report.describe import describe, entry, listing
from mgelaunch.report.text import width

BOTH = pytest.mark.parametrize("tongue", ["en", "zh"])
DTR = CATALOGUE["MEGENGINE_DTR_EVICTION_THRESHOLD"]
DEAD = CATALOGUE["MEGENGINE_ENABLE_SWAP"]


@BOTH
def test_every_row_is_told_with_its_meaning_its_spellings_and_its_trap(tongue):
    second = tongue == "zh"
    for name, row in CATALOGUE.items():
        told = describe(row, tongue)
        assert told.startswith(f"{name}  ({row.kind.name})\n  {row.zh if second else row.en}\n")
        for text in (row.kind.legal[second], row.trap_zh if second else row.trap, row.instead, row.source):
            assert text in told, name


@BOTH
def test_the_texts_of_a_row_stand_below_each_other(tongue):
    lines = describe(DTR, tongue).splitlines()[2:]
    assert len({width(line[: len(line) - len(text)]) for line, text in zip(lines, texts(lines), strict=True)}) == 1


def texts(lines):
    """What stands behind the labels."""
    return [line.split(maxsplit=1)[1] for line in lines]


def test_what_a_row_lacks_has_no_line():
    lines = describe(CATALOGUE["MGB_LOG_VAR_SIZE_MB"], "en").splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["write", "default", "off", "read", "by", "source"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("MEGENGINE_ENABLE_SWAP", "megengine before 1.7.0"),
        ("MGE_DATA_MONITOR", "megengine from 1.13.2"),
        ("MGB_ROCM_RESERVE_MEMORY", "megengine (ROCm builds)"),
        ("MGB_COMP_GRAPH_OPT", "nobody"),
        ("OMP_NUM_THREADS", "system, torch"),
    ],
)
def test_the_readers_are_told_with_their_bounds(name, line):
    assert f"by       {line}\n" in describe(CATALOGUE[name], "en")


@BOTH
def test_a_listing_has_one_line_a_variable_with_the_meanings_below_each_other(tongue):
    rows = [DTR, DEAD]
    lines = listing(rows, tongue).splitlines()
    meanings = [row.zh if tongue == "zh" else row.en for row in rows]
    assert [line.split(maxsplit=1) for line in lines] == [[r.name, m] for r, m in zip(rows, meanings, strict=True)]
    assert len({line.index(meaning) for line, meaning in zip(lines, meanings, strict=True)}) == 1


def test_every_row_is_json_with_the_same_keys():
    rows = [entry(row) for row in CATALOGUE.values()]
    assert json.loads(json.dumps(rows)) == rows
    assert {tuple(row) for row in rows} == {tuple(entry(DTR))}
    assert [row["name"] for row in rows] == list(CATALOGUE)


def test_what_a_row_says_in_json():
    row = entry(DTR)
    assert (row["kind"], row["unit"], row["default"], row["resource"]) == ("bytes", "bytes", "0", "device-memory")
    assert (row["moment"], row["documented"], row["off"]) == ("import", True, "0")
    assert row["readers"] == [{"framework": "megengine", "since": "", "until": "", "builds": ""}]
    assert (row["meaning_en"], row["meaning_zh"]) == (DTR.en, DTR.zh)
    assert entry(CATALOGUE["CXX"])["unit"] is None
