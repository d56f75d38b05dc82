"""What is said about how a job ended: one sentence, then what may explain it, in ten lines at most."""

import errno
import os
import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.launch.events import Cause, Exit, Rules, State
from mgelaunch.launch.job import Outcome, how
from mgelaunch.launch.pump import Last
from mgelaunch.report.text import duration
from mgelaunch.report.verdict import ranks_shown, reason, verdict

TERMINATED, KILLED = Exit(1, signal.SIGTERM), Exit(1, signal.SIGKILL)


def outcome(cause, *exits, world=3, here=None, killed=(), attempt=0, rules=Rules(), **more):  # noqa: B008 - a frozen value
    """How a job ended that began at 100; `exits` are those of ranks in their order."""
    state = State(
        rules,
        world,
        range(world) if here is None else here,
        100.0,
        frozenset(),
        attempt=attempt,
        attempt_began=100.0,
        exits=exits,
        cause=cause,
        killed=frozenset(killed),
    )
    return Outcome(1, state, 60.0, **more)


def failed(rank, exit_, at=112.0):
    return Cause("rank", at, rank, exit_)


# -- the sentence ------------------------------------------------------------------------------------------


def test_of_a_job_that_went_well_nothing_is_said():
    well = outcome(None, (0, Exit(0)), (1, Exit(0)), (2, Exit(0)))
    assert (verdict(well), verdict(well, "/logs"), reason(well)) == ((), (), "")


SENTENCES = {
    "a code": (
        outcome(failed(1, Exit(3)), (1, Exit(3)), (0, TERMINATED), (2, TERMINATED)),
        "rank 1 failed first: it exited with 3 after 12 s; ranks 0 and 2 were stopped [rank.failed]",
    ),
    "one other": (
        outcome(failed(1, Exit(3)), (1, Exit(3)), (0, TERMINATED), world=2),
        "rank 1 failed first: it exited with 3 after 12 s; rank 0 was stopped [rank.failed]",
    ),
    "alone": (
        outcome(failed(0, Exit(3)), (0, Exit(3)), world=1),
        "rank 0 exited with 3 after 12 s [rank.failed]",
    ),
    "a signal": (
        outcome(failed(0, KILLED, 100.31), (0, KILLED), world=1),
        "rank 0 was killed by SIGKILL after 0.3 s [rank.failed]",
    ),
    "a signal without a name": (
        outcome(failed(0, Exit(1, 40)), (0, Exit(1, 40)), world=1),
        "rank 0 was killed by signal 40 after 12 s [rank.failed]",
    ),
    "some ended before": (
        outcome(failed(1, Exit(3)), (2, Exit(0)), (1, Exit(3)), (0, TERMINATED)),
        "rank 1 failed first: it exited with 3 after 12 s; rank 0 was stopped [rank.failed]",
    ),
    "one did not heed": (
        outcome(failed(1, Exit(3)), (1, Exit(3)), (0, TERMINATED), (2, KILLED), killed={2}),
        "rank 1 failed first: it exited with 3 after 12 s; rank 0 was stopped, rank 2 did not end and was killed [rank.failed]",
    ),
    "two did not heed": (
        outcome(failed(1, Exit(3)), (1, Exit(3)), (0, KILLED), (2, KILLED), killed={0, 2}),
        "rank 1 failed first: it exited with 3 after 12 s; ranks 0 and 2 did not end and were killed [rank.failed]",
    ),
    "a later start": (
        outcome(failed(0, Exit(3), 3700.0), (0, Exit(3)), world=1, attempt=2),
        "rank 0 exited with 3 after 1 h of start 3 [rank.failed]",
    ),
    "not started": (
        outcome(failed(0, Exit(126)), (0, Exit(126)), world=1, refused=OSError(errno.E2BIG, os.strerror(errno.E2BIG))),
        "rank 0 could not be started: Argument list too long [rank.failed]",
    ),
    "Ctrl-C": (
        outcome(Cause("signal", 112.0, exit=Exit(0, signal.SIGINT)), (1, TERMINATED), (0, TERMINATED)),
        "the job was stopped by SIGINT after 12 s [job.signal]",
    ),
    "a signal that one did not heed": (
        outcome(Cause("signal", 112.0, exit=Exit(0, signal.SIGHUP)), (1, Exit(0)), (0, KILLED), killed={0}),
        "the job was stopped by SIGHUP after 12 s; rank 0 did not end and was killed [job.signal]",
    ),
    "time limit": (
        outcome(Cause("time", 160.0), (0, TERMINATED), rules=Rules(time_limit=60)),
        "the job was stopped by its time limit of 60 s [job.time-limit]",
    ),
    "one has not joined": (
        outcome(Cause("join", 112.0, ranks=(2,)), rules=Rules(join_timeout=600), port=29500),
        "rank 2 has not joined the rendezvous at port 29500 within 10 min: init_process_group was not called there [rank.join]",
    ),
    "two have not joined": (
        outcome(Cause("join", 112.0, ranks=(0, 2)), rules=Rules(join_timeout=600), port=29500),
        "ranks 0 and 2 have not joined the rendezvous at port 29500 within 10 min: init_process_group was not called there [rank.join]",
    ),
    "one elsewhere has not joined": (
        outcome(Cause("join", 112.0, ranks=(4,)), world=5, here=range(4), rules=Rules(join_timeout=600), port=29500),
        "rank 4 has not joined the rendezvous at port 29500 within 10 min: init_process_group was not called there, or their host cannot reach that port [rank.join]",
    ),
    "some elsewhere have not joined": (
        outcome(
            Cause("join", 112.0, ranks=(2,), unnamed=3), world=8, here=range(4), rules=Rules(join_timeout=9), port=9
        ),
        "rank 2 has not joined the rendezvous at port 9 within 9 s: init_process_group was not called there; 3 ranks that cannot be named have not joined the rendezvous at port 9 within 9 s: init_process_group was not called there, or their host cannot reach that port [rank.join]",
    ),
    "strangers": (
        outcome(Cause("join", 112.0, unnamed=1), rules=Rules(join_timeout=600), port=29500),
        "1 rank that cannot be named has not joined the rendezvous at port 29500 within 10 min: init_process_group was not called there [rank.join]",
    ),
    "ranks of another host": (
        outcome(failed(5, Exit(3)), (5, Exit(3)), (4, TERMINATED), world=8, here=range(4, 6)),
        "rank 5 failed first: it exited with 3 after 12 s; rank 4 was stopped [rank.failed]",
    ),
    "server": (
        outcome(Cause("keeper", 112.0, exit=Exit(1))),
        "MegEngine's rendezvous server exited with 1 after 12 s [rendezvous.failed]",
    ),
    "output": (
        outcome(Cause("output", 112.0), lost=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        "the output cannot be written any more: No space left on device [output.lost]",
    ),
}


@pytest.mark.parametrize(("ended", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_first_line_says_why(ended, sentence):
    first = verdict(ended)[0]
    assert first == f"mgelaunch: error: {sentence}"
    assert first == f"mgelaunch: error: {reason(ended)} [{first.rpartition('[')[2]}"


@pytest.mark.parametrize(
    ("exit_", "text"),
    [
        (Exit(0), "exited with 0"),
        (Exit(255), "exited with 255"),
        (Exit(1, signal.SIGSEGV), "was killed by SIGSEGV"),
        (Exit(1, 64), "was killed by SIGRTMAX"),
        (Exit(1, 50), "was killed by signal 50"),
    ],
    ids=["0", "255", "SIGSEGV", "the last signal", "one without a name"],
)
def test_how_a_process_ended(exit_, text):
    assert how(exit_) == text


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ((0,), "rank 0"),
        ((0, 7), "ranks 0 and 7"),
        ((1, 2, 5), "ranks 1, 2 and 5"),
        (tuple(range(8)), "ranks 0, 1, 2, 3, 4, 5, 6 and 7"),
        (tuple(range(9)), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 1 more"),
        (tuple(range(64)), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 56 more"),
    ],
    ids=["one", "two", "three", "eight", "nine", "64"],
)
def test_ranks_are_named_as_long_as_they_are_few(ranks, text):
    assert ranks_shown(ranks) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.1 s"),
        (0.31, "0.3 s"),
        (4.04, "4 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (125, "2 min 5 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (9000, "2 h 30 min"),
        (90000, "25 h"),
    ],
)
def test_durations_are_shown_with_what_matters(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_duration_never_has_sixty_of_a_unit(seconds):
    assert not re.search(r"\b60 (s|min)\b", duration(seconds)) or seconds < 120  # 60 h are fine


# -- what may explain it -----------------------------------------------------------------------------------

LINES = tuple(f"line {number}" for number in range(5))


def test_the_last_lines_of_the_rank_and_the_folder_of_the_logs_follow():
    ended = outcome(failed(1, Exit(3)), (1, Exit(3)), last=Last(LINES, ""))
    assert verdict(ended, "/tmp/logs")[1:] == (
        "  its last lines:",
        *(f"    {line}" for line in LINES),
        "  logs: /tmp/logs",
    )


def test_the_end_of_a_traceback_is_named_when_it_is_not_the_last_line_anyway():
    last = Last(("ValueError: boom", "cleaning up"), "ValueError: boom")
    shown = verdict(outcome(failed(1, Exit(1)), (1, Exit(1)), last=last))
    assert shown[1] == "  its traceback ends with ValueError: boom"
    last = Last(("    raise", "ValueError: boom"), "ValueError: boom")
    shown = verdict(outcome(failed(1, Exit(1)), (1, Exit(1)), last=last))
    assert shown[1:] == ("  its last lines:", "        raise", "    ValueError: boom")


def test_memory_and_the_holder_of_the_port_are_named():
    last = Last(("RuntimeError: Address already in use",), "")
    ended = outcome(failed(1, KILLED), (1, KILLED), last=last, memory="three were killed", holder="process 7", port=9)
    assert verdict(ended)[1:3] == (
        "  likely out of memory: three were killed",
        "  port 9 is held by process 7; try --master-port 0",
    )


def test_the_last_lines_of_the_server_are_shown():
    ended = outcome(Cause("keeper", 112.0, exit=Exit(1)), keeper=("one", "two"))
    assert verdict(ended)[1:] == ("  its last lines:", "    one", "    two")


def test_the_very_last_line_is_never_the_one_that_is_left_out():
    last = Last(LINES, "ValueError: boom")
    ended = outcome(failed(1, KILLED), (1, KILLED), last=last, memory="memory", holder="process 7", port=9)
    shown = verdict(ended, "/tmp/logs")
    assert len(shown) <= 10
    assert shown[-2:] == (f"    {LINES[-1]}", "  logs: /tmp/logs")


TEXTS = st.text(max_size=20)
EXITS = st.one_of(st.builds(Exit, st.integers(1, 255)), st.builds(Exit, st.just(1), st.integers(1, 64)))
SEVERAL = st.lists(st.integers(0, 99), min_size=1, unique=True)


@st.composite
def outcomes(draw):
    """How any job may end."""
    exits = tuple((rank, draw(EXITS)) for rank in draw(SEVERAL))
    kind = draw(st.sampled_from(["rank", "signal", "time", "join", "keeper", "output"]))
    rank, exit_ = draw(st.sampled_from(exits)) if kind == "rank" else (-1, draw(EXITS))
    cause = Cause(kind, 100 + draw(st.floats(0, 1e6)), rank, exit_, tuple(draw(SEVERAL)))
    errors = st.sampled_from([None, OSError(errno.EPIPE, os.strerror(errno.EPIPE))])
    lines = st.lists(TEXTS, max_size=5).map(tuple)
    return outcome(
        cause,
        *exits,
        world=100,
        killed=draw(st.sets(st.sampled_from([rank for rank, _ in exits]))),
        attempt=draw(st.integers(0, 3)),
        rules=Rules(10.0, 60.0, 600.0),
        last=Last(draw(lines), draw(TEXTS)),
        memory=draw(TEXTS),
        holder=draw(TEXTS),
        port=draw(st.integers(0, 65535)),
        keeper=draw(lines)[:3],
        refused=draw(errors),
        lost=draw(errors),
    )


@given(outcomes(), TEXTS)
def test_whatever_happens_it_is_told_in_ten_lines_that_a_terminal_can_show(ended, folder):
    shown = verdict(ended, folder)
    assert 1 <= len(shown) <= 10
    assert all(line.isprintable() and line for line in shown)
    assert shown[0].startswith("mgelaunch: error: ")
    assert not folder or shown[-1].startswith("  logs: ")
