"""Environments that real engines have given their ranks, read by the rules that adapt to them.

Each file of ``environments/`` has an ``environ``, ``what`` it is and what is ``expected``: some fields of the
placement, or null where the process is no rank. ``above`` is the step whose daemon was above it, where that counts.
"""

import json
from pathlib import Path

import pytest

from mgelaunch.clusters.detect import detect

FILES = sorted((Path(__file__).parent / "environments").glob("*.json"))
CASES = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
RANKS = {name: case for name, case in CASES.items() if case["expected"] is not None}


@pytest.mark.parametrize("case", RANKS.values(), ids=list(RANKS))
def test_a_rank_is_placed_as_its_engine_placed_it(case):
    found = detect(case["environ"])
    assert (found.findings, found.allocation) == ((), "")
    placed = found.placement._asdict()
    assert {name: placed[name] for name in case["expected"]} == case["expected"]
    assert bool(placed["why_no_address"]) == (not placed["master_addr"])
    assert set(placed["variables"]) <= set(case["environ"])


@pytest.mark.parametrize("name", sorted(CASES.keys() - RANKS.keys()))
def test_a_process_of_a_job_that_is_no_task_is_in_its_allocation(name):
    environ = CASES[name]["environ"]
    assert detect(environ, above=CASES[name].get("above")) == (None, (), environ["SLURM_JOB_ID"])


@pytest.mark.parametrize("what", sorted({case["what"] for case in RANKS.values()}))
def test_the_ranks_of_one_start_agree_on_all_but_their_own_numbers(what):
    placed = [detect(case["environ"]).placement for case in RANKS.values() if case["what"] == what]
    assert len({(task.engine, task.world_size, task.master_addr, task.master_port) for task in placed}) == 1
    assert len({task.rank for task in placed}) == len(placed)
    assert placed[0].master_port
