"""How a job has ended, by the records of its ranks; and in which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.clusters.verdict import Ending, ending, judge
from mgelaunch.launch.engine import Ended
from mgelaunch.launch.events import Cause, Exit, Rules
from mgelaunch.report.driven import lines, reason


def of(rank, code=0, *, signal=0, told=False, end=None, **more):
    """The ending of a rank on the host of two that it is on; the higher the rank the later, unless said otherwise."""
    when = f"2026-01-01T00:00:{rank:02d}.000Z" if end is None else end
    return Ending(rank, f"n{rank // 2 + 1}", when, None if signal else code, signal, told, **more)


WELL = tuple(of(rank) for rank in range(4))


def said(endings, engine=0, cause=None, world=4, *, by_signal=0, given_up=False):
    """The exit code, and the sentence."""
    verdict = judge(world, endings, 128 + by_signal if by_signal else engine)
    ended = Ended(Exit(engine, by_signal), cause, given_up)
    return verdict.code, reason(verdict, cause, ended, "slurm", world, Rules(time_limit=5400.0))


def test_only_zeros_of_all_ranks_are_a_success():
    assert judge(4, WELL, 0).code == 0
    assert said(WELL) == (0, "")


def test_what_the_engine_says_of_ranks_that_all_ended_well_is_not_believed():
    assert said(WELL, 1) == (0, "")
    verdict = judge(4, WELL, 1)
    told = list(lines("", verdict, Ended(Exit(1), None, given_up=False), "slurm", "/runs/1"))
    assert told == ["mgelaunch: warning: srun exited with 1, and every rank ended with 0 [cluster.engine]"]


def test_the_earliest_that_exited_by_itself_is_the_culprit():
    others = [of(rank, signal=15, told=True) for rank in (0, 1, 2)]
    code, sentence = said([*others, of(3, 3)], 143)
    assert (code, sentence) == (3, "rank 3 on n2 exited with 3; 0 of 4 ranks ended with 0")
    two = [of(0, 7, end="b"), of(1, 9, end="a"), of(2), of(3)]
    assert judge(4, two, 1).first.rank == 1


def test_a_follower_that_exits_with_its_own_code_is_no_culprit():
    """Rank 0 handles TERM by leaving with 1, before the killed one is recorded."""
    assert judge(4, [of(0, 1, told=True), of(1, signal=9), *WELL[2:]], 143).first.rank == 1
    assert said([of(0, 1, told=True, end="0"), of(1, signal=9), *WELL[2:]], 143) == (
        137,
        "rank 1 on n1 was killed by SIGKILL; 2 of 4 ranks ended with 0",
    )


def test_an_exit_comes_before_a_death_by_signal():
    """What a rank says with its exit code explains more than how the others were killed meanwhile."""
    assert judge(4, [of(0, signal=11, end="a"), of(1, 3, end="b"), *WELL[2:]], 1).first.rank == 1


def test_when_all_were_told_the_first_that_ended_is_named():
    assert judge(2, [of(0, signal=15, told=True, end="b"), of(1, signal=15, told=True, end="a")], 143).code == 143


@pytest.mark.parametrize(("engine", "code"), [(0, 1), (143, 143), (9, 9)])
def test_a_rank_without_a_word_is_a_failure_whatever_the_engine_says(engine, code):
    running = of(2, end="")
    got, sentence = said([*WELL[:2], running], engine)
    assert got == code
    assert sentence == (
        "2 of 4 ranks ended with 0; rank 2 on n2 left no word of an end; rank 3 left no record; "
        f"srun {'exited with ' + str(engine)}"
    )


def test_lost_ranks_are_named_by_host():
    endings = [of(0, signal=15, told=True), of(1, signal=15, told=True), of(2, end=""), of(3, end="")]
    _, sentence = said(endings, by_signal=15)
    assert "ranks 2 and 3 on n2 left no word of an end" in sentence


def test_a_rank_that_refused_is_no_failure_of_the_script():
    reasons = ("error: too little memory [mem.limit]",)
    endings = [of(rank, 125, refused=reasons) for rank in range(4)]
    code, sentence = said(endings, 125)
    assert (code, sentence) == (125, "nothing was started as rank 0 on n1")
    told = list(lines(sentence, judge(4, endings, 125), Ended(Exit(125), None, given_up=False), "mpi", "/runs/1"))
    assert told[1:] == ["  error: too little memory [mem.limit]", "  records: /runs/1"]


def test_a_signal_or_a_time_limit_is_the_reason_before_any_rank():
    ended = [of(rank, signal=15, told=True) for rank in range(4)]
    assert said(ended, cause=Cause("signal", 0.0, exit=Exit(0, 15)))[1] == "the job was stopped by SIGTERM"
    assert said(ended, cause=Cause("time", 0.0))[1].startswith("the job was stopped by its time limit of 1 h 30 min")


def test_ranks_that_end_with_0_because_they_were_told_to_have_not_done_their_work():
    told = [*WELL[:3], of(3, told=True)]
    assert said(told, 0) == (143, "the ranks were told to end, and not by mgelaunch; 4 of 4 ended with 0")


def test_an_engine_that_had_to_be_ended_is_a_warning_when_all_ranks_ended_well():
    told = list(lines("", judge(4, WELL, 137), Ended(Exit(1, 9), None, given_up=True), "mpi", "/runs/1"))
    assert told == ["mgelaunch: warning: mpirun had to be ended, because its ranks had [cluster.hung]"]


def test_the_last_lines_of_the_culprit_are_shown_and_nothing_that_a_terminal_would_obey():
    verdict = judge(4, [of(0, 3, last=("a", "b\x1b[2J")), *WELL[1:]], 3)
    told = list(lines("why", verdict, Ended(Exit(3), None, given_up=False), "mpi", "/runs/1"))
    assert told[1:3] == ["  its last lines:", "    a"]
    assert "\x1b" not in told[3]


def test_a_record_is_read_as_it_was_written():
    record = {"rank": 3, "host": "n2", "end": "e", "exit_code": None, "signal": 9, "stopped_by": "SIGKILL"}
    assert ending(json.loads(json.dumps(record))) == Ending(3, "n2", "e", None, 9, told=True)
    assert ending({"rank": 0, "host": "n1", "start": "s"}).end == ""


@pytest.mark.parametrize("record", [{}, {"rank": 1}, {"rank": None, "host": "n1"}])
def test_what_is_no_record_is_told(record):
    with pytest.raises((KeyError, TypeError)):
        ending(record)


@st.composite
def histories(draw):
    """A number of ranks, and how some of them ended."""
    world = draw(st.integers(1, 6))
    endings = []
    for rank in draw(st.sets(st.integers(0, world - 1))):
        signal = draw(st.sampled_from((0, 0, 9, 15)))
        code = draw(st.sampled_from((0, 0, 1, 3)))
        end = draw(st.sampled_from(("", "a", "b", "c")))
        endings.append(of(rank, code, signal=signal, told=draw(st.booleans()), end=end))
    return world, endings


@given(histories(), st.integers(0, 255))
def test_zero_is_said_of_whole_success_alone_and_every_rank_is_accounted_for(history, engine):
    world, endings = history
    verdict = judge(world, endings, engine)
    well = [each for each in endings if each.end and not each.status]
    by_themselves = not any(each.told for each in well)
    assert (verdict.code == 0) == (len(well) == world and by_themselves)
    assert verdict.well == len(well)
    failed = sum(bool(each.end and each.status) for each in endings)
    assert verdict.well + failed + len(verdict.missing) == world
    assert bool(reason(verdict, None, Ended(Exit(engine), None, given_up=False), "mpi", world, Rules())) == bool(
        verdict.code
    )
