"""What is decided about the ranks of a job, told as histories: what happens when, and what is to be done then."""

import itertools
import signal
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.launch.events import (
    Alone,
    Attended,
    Broken,
    Cause,
    Clock,
    Dismiss,
    Ended,
    Exit,
    Finish,
    Forsake,
    Joined,
    Kill,
    Notice,
    Restart,
    Resumed,
    Rules,
    Suspend,
    Sweep,
    Tell,
    Told,
)
from mgelaunch.launch.lifecycle import AGAIN, DOUBLED, NOTICE, begin, restarted, step, wake

WELL = Exit(0)


class Actions(list):
    """What is to be done: unlike other tuples, actions of different kinds are never equal."""

    def __eq__(self, other):
        return [(type(each), each) for each in self] == [(type(each), each) for each in other]

    __hash__ = None

    def __contains__(self, action):
        return any((type(each), each) == (type(action), action) for each in self)

    def __getitem__(self, at):
        return Actions(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def have(self, *kinds):
        """Whether one of them is of one of these kinds."""
        return any(isinstance(action, kinds) for action in self)


class Job:
    """A job whose ranks were started at time 0, all of them or those that are `here`."""

    def __init__(self, world=3, here=None, **rules):
        self.state = begin(Rules(**rules), world, 0.0, here)

    def at(self, now, *events):
        """What is to be done when these events happen at `now`; a restart is carried out at once."""
        done = Actions()
        for event in events:
            self.state, actions = step(self.state, event, now)
            done += actions
            if Actions(actions).have(Restart):
                self.state = restarted(self.state, now)
        return done

    def ended(self, now, *ranks, how=WELL):
        """What is to be done when these ranks end at `now`, one after the other."""
        return self.at(now, *(Ended(rank, how) for rank in ranks))

    @property
    def wake(self):
        return wake(self.state)


# -- ranks end ---------------------------------------------------------------------------------------------


def test_a_rank_that_ends_with_0_ends_nobody():
    job = Job()
    assert job.ended(1, 1) == []
    assert (job.state.stopping, job.state.running) == (False, {0, 2})


def test_a_job_whose_ranks_all_end_with_0_ends_with_0():
    job = Job()
    job.ended(1, 2, 0)
    assert job.ended(2, 1) == [Dismiss(), Sweep()]
    assert job.at(2.1, Alone()) == [Finish(0)]


def test_what_a_job_that_went_well_has_left_is_killed_at_the_end_of_the_grace():
    job = Job(world=1, grace=4)
    job.ended(1, 0)
    assert job.at(1 + NOTICE, Clock()) == [Notice((), 4 - NOTICE)]
    assert job.at(5, Clock()) == [Dismiss(), Kill()]
    assert job.at(5.01, Alone()) == [Finish(0)]


def test_when_a_rank_fails_the_others_are_told_and_what_it_left_is_swept():
    assert Job().ended(1, 1, how=Exit(3)) == [Tell((0, 2), SIGTERM), Sweep(1)]


def test_ranks_that_ended_before_the_failure_are_not_told():
    job = Job(world=4)
    job.ended(1, 2)
    assert job.ended(2, 0, how=Exit(1))[0] == Tell((1, 3), SIGTERM)


def test_what_a_rank_that_was_stopped_has_left_is_swept_and_in_the_end_everything():
    job = Job()
    job.ended(1, 1, how=Exit(3))
    assert job.ended(1.1, 0, how=Exit(1, SIGTERM)) == [Sweep(0)]
    assert job.ended(1.2, 2) == [Dismiss(), Sweep(2), Sweep()]


def test_when_the_last_rank_fails_nobody_is_told_and_everything_is_swept():
    job = Job(world=2)
    job.ended(1, 0)
    assert job.ended(2, 1, how=Exit(3)) == [Dismiss(), Sweep(1), Sweep()]
    assert job.at(2, Alone()) == [Finish(3)]


@pytest.mark.parametrize(
    ("how", "code"),
    [(Exit(3), 3), (Exit(255), 255), (Exit(137), 137), (Exit(1, SIGKILL), 137), (Exit(1, SIGSEGV), 139)],
    ids=["3", "255", "exit 137", "SIGKILL", "SIGSEGV"],
)
def test_the_code_is_that_of_the_rank_that_failed_first(how, code):
    job = Job()
    job.ended(0.5, 0)
    job.ended(1, 1, how=how)
    job.ended(2, 2, how=Exit(77))
    assert job.state.cause == Cause("rank", 1, 1, how)
    assert job.state.exits == ((0, WELL), (1, how), (2, Exit(77)))
    assert job.at(3, Alone()) == [Finish(code)]


def test_a_second_failure_tells_nobody_again():
    job = Job()
    job.ended(1, 1, how=Exit(3))
    assert job.ended(1, 0, how=Exit(4)) == [Sweep(0)]


# -- the grace ---------------------------------------------------------------------------------------------


def test_at_the_end_of_the_grace_everything_is_killed_again_and_again():
    job = Job(grace=10)
    job.ended(1, 1, how=Exit(3))
    job.at(1 + NOTICE, Clock())
    assert job.wake == 11
    assert job.at(10.99, Clock()) == []
    for again in range(3):
        assert job.at(11 + again, Clock()) == [Dismiss(), Kill()]
        assert job.wake == 11 + again + AGAIN
    assert job.state.killed == {0, 2}
    job.ended(14, 0, 2, how=Exit(1, SIGKILL))
    assert job.at(14, Alone()) == [Finish(3)]


def test_a_rank_that_ended_in_time_does_not_count_as_killed():
    job = Job(grace=1)
    job.ended(0, 1, how=Exit(3))
    job.ended(0.5, 2)
    job.at(1, Clock())
    assert job.state.killed == {0}


def test_a_grace_of_0_kills_at_once():
    job = Job(grace=0)
    job.ended(1, 1, how=Exit(3))
    assert job.at(1, Clock()) == [Dismiss(), Kill()]


def test_the_user_is_told_once_after_a_second_which_ranks_are_waited_for():
    job = Job(grace=10)
    job.ended(5, 1, how=Exit(3))
    job.ended(5.5, 0)
    assert job.at(5 + NOTICE - 0.01, Clock()) == []
    assert job.at(5 + NOTICE, Clock()) == [Notice((2,), 10 - NOTICE)]
    assert job.at(5 + NOTICE + 0.1, Clock()) == []


def test_there_is_no_notice_when_the_grace_is_shorter():
    job = Job(grace=0.5)
    job.ended(0, 1, how=Exit(3))
    assert job.at(2, Clock(), Clock()) == [Dismiss(), Kill()]


# -- signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "passed_on", "code"),
    [(SIGINT, SIGTERM, 130), (SIGTERM, SIGTERM, 143), (SIGHUP, SIGHUP, 129), (SIGQUIT, SIGQUIT, 131)],
    ids=["INT", "TERM", "HUP", "QUIT"],
)
def test_a_signal_that_ends_the_job(told, passed_on, code):
    """Ctrl-C becomes TERM for the ranks; whatever they make of it, the code is that of the signal."""
    job = Job()
    assert job.at(1, Told(told)) == [Tell((0, 1, 2), passed_on)]
    job.ended(2, 0, 1, 2, how=Exit(9))
    assert job.at(2, Alone()) == [Finish(code)]


@pytest.mark.parametrize("number", [SIGUSR1, SIGUSR2, SIGWINCH], ids=["USR1", "USR2", "WINCH"])
def test_a_signal_that_is_passed_on_ends_nothing(number):
    job = Job()
    job.ended(1, 1)
    assert job.at(1, Told(number)) == [Tell((0, 2), number)]
    assert not job.state.stopping


@pytest.mark.parametrize("number", [SIGUSR1, SIGUSR2, SIGWINCH], ids=["USR1", "USR2", "WINCH"])
def test_a_signal_is_passed_on_while_the_job_is_stopped_too(number):
    job = Job()
    job.at(1, Told(SIGTERM))
    assert job.at(2, Told(number)) == [Tell((0, 1, 2), number)]


def test_other_signals_change_nothing():
    job = Job()
    before = job.state
    assert job.at(1, Told(SIGCONT), Told(signal.SIGALRM)) == []
    assert job.state == before


def test_a_second_ctrl_c_kills_at_once():
    job = Job()
    job.at(1, Told(SIGINT))
    assert job.at(1 + DOUBLED, Told(SIGINT)) == [Dismiss(), Kill()]
    assert job.state.killed == {0, 1, 2}
    job.ended(2, 0, 1, 2, how=Exit(1, SIGKILL))
    assert job.at(2, Alone()) == [Finish(130)]


def test_a_ctrl_c_that_comes_twice_at_once_is_one():
    job = Job()
    job.at(1, Told(SIGINT))
    assert job.at(1 + DOUBLED * 0.9, Told(SIGINT)) == []
    assert job.state.killed == frozenset()
    assert job.at(2, Told(SIGINT)) == [Dismiss(), Kill()]


def test_a_ctrl_c_that_meant_a_running_job_kills_nobody_when_a_rank_has_just_failed():
    job = Job()
    job.ended(1, 1, how=Exit(3))
    assert job.at(1.2, Told(SIGINT)) == []
    assert job.at(2, Told(SIGINT)) == [Dismiss(), Kill()]


def test_what_cannot_be_killed_is_given_up_in_the_end():
    job = Job()
    job.ended(1, 1, how=Exit(3))
    job.at(11, Clock())
    actions = []
    for turn in range(200):
        actions = job.at(12 + turn, Clock())
        if actions[-1:] == [Finish(3)]:
            break
    assert actions[-1:] == [Finish(3)]
    assert (actions[0].ranks, actions[0].left) == ((0, 2), -1.0)


def test_a_signal_while_what_a_good_job_left_is_ended_gives_the_code():
    job = Job()
    job.ended(1, 0, 1, 2)
    job.at(1.5, Told(SIGTERM))
    assert job.at(2, Alone()) == [Finish(143)]


def test_ctrl_c_while_the_user_waits_for_a_job_that_is_stopped_kills_at_once():
    job = Job()
    job.ended(1, 1, how=Exit(3))
    job.at(2.1, Clock())
    assert job.at(2.5, Told(SIGINT)) == [Dismiss(), Kill()]
    job.ended(1, 0, 2, how=Exit(1, SIGKILL))
    assert job.at(1, Alone()) == [Finish(3)]


@pytest.mark.parametrize("number", [SIGTERM, SIGHUP, SIGQUIT], ids=["TERM", "HUP", "QUIT"])
def test_a_second_signal_of_another_kind_tells_nobody_again(number):
    job = Job()
    job.at(1, Told(SIGTERM))
    assert job.at(2, Told(number)) == []
    assert job.state.killed == frozenset()


# -- suspended ---------------------------------------------------------------------------------------------


def test_ctrl_z_suspends_and_what_was_suspended_goes_on_afterwards():
    job = Job()
    job.ended(1, 1)
    assert job.at(1, Told(SIGTSTP)) == [Suspend()]
    assert job.at(9, Resumed(8)) == [Tell((0, 2), SIGCONT)]


def test_suspended_time_is_no_part_of_the_grace():
    job = Job(grace=10)
    job.at(0, Told(SIGTERM))
    job.at(1, Told(SIGTSTP))
    job.at(101, Resumed(100))
    assert not job.at(109, Clock(), Clock()).have(Kill)
    assert job.at(110, Clock()) == [Dismiss(), Kill()]


def test_suspended_time_is_no_part_of_the_time_to_join():
    job = Job(join_timeout=10)
    job.at(105, Resumed(100))
    assert job.wake == 110
    assert job.at(109, Clock()) == []


def test_suspended_time_is_part_of_the_time_limit():
    job = Job(time_limit=60)
    job.at(105, Resumed(100))
    assert job.at(105, Clock()) == [Tell((0, 1, 2), SIGTERM)]
    assert job.state.cause.kind == "time"


# -- time limit and rendezvous -----------------------------------------------------------------------------


def test_a_job_that_takes_too_long_is_stopped():
    job = Job(time_limit=60)
    assert job.wake == 60
    assert job.at(59.9, Clock()) == []
    assert job.at(60, Clock()) == [Tell((0, 1, 2), SIGTERM)]
    job.ended(61, 0, 1, 2)
    assert job.at(61, Alone()) == [Finish(124)]


def test_the_time_limit_counts_from_the_first_start():
    job = Job(world=1, time_limit=60, max_restarts=1)
    job.ended(50, 0, how=Exit(1))
    assert job.at(50, Alone()) == [Restart()]
    assert job.wake == 60
    assert job.at(60, Clock()) == [Tell((0,), SIGTERM)]


def test_ranks_that_do_not_join_are_named_and_the_job_is_stopped():
    job = Job(world=4, join_timeout=30)
    job.at(1, Joined(2), Joined(0), Joined(2))
    assert job.at(29.9, Clock()) == []
    assert job.at(30, Clock()) == [Tell((0, 1, 2, 3), SIGTERM)]
    assert job.state.cause == Cause("join", 30, ranks=(1, 3))
    job.ended(31, 0, 1, 2, 3)
    assert job.at(31, Alone()) == [Finish(1)]


def test_when_all_have_joined_no_time_runs_any_more():
    job = Job(world=2, join_timeout=30)
    assert job.wake == 30
    job.at(1, Joined(1), Joined(0))
    assert job.wake is None
    assert job.at(1000, Clock()) == []


def test_every_attempt_has_its_own_time_to_join():
    job = Job(world=1, join_timeout=30, max_restarts=1)
    job.at(1, Joined(0))
    job.ended(20, 0, how=Exit(1))
    job.at(20, Alone())
    assert job.wake == 50


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (Broken("keeper", WELL), 1),
        (Broken("keeper", Exit(1, SIGSEGV)), 1),
        (Broken("output"), 1),
        (Broken("output", Exit(1, signal.SIGPIPE)), 141),
    ],
    ids=["the server ended", "the server crashed", "the output is full", "nobody reads the output"],
)
def test_without_rendezvous_or_output_the_job_is_stopped(broken, code):
    job = Job()
    assert job.at(1, broken) == [Tell((0, 1, 2), SIGTERM)]
    job.ended(2, 0, 1, 2)
    assert job.at(2, Alone()) == [Finish(code)]


def test_a_server_that_ends_while_the_job_is_stopped_is_no_cause():
    job = Job()
    job.ended(1, 0, how=Exit(3))
    assert job.at(2, Broken("keeper")) == []
    assert job.state.cause.kind == "rank"


# -- some ranks of a larger job ----------------------------------------------------------------------------

WEST, EAST = range(4), range(4, 8)
"""The ranks of two hosts."""


def test_ranks_are_called_by_their_number_in_the_whole_job():
    job = Job(8, EAST)
    assert job.state.running == {4, 5, 6, 7}
    assert job.ended(1, 5, how=Exit(3)) == [Tell((4, 6, 7), SIGTERM), Sweep(5)]
    assert job.state.cause == Cause("rank", 1, 5, Exit(3))


def test_and_are_when_they_are_started_again():
    job = Job(8, EAST, max_restarts=1)
    assert fail(job, 5) == [Restart()]
    assert (job.state.running, job.state.world) == ({4, 5, 6, 7}, 8)


def test_ranks_elsewhere_have_to_join_too():
    job = Job(8, WEST, join_timeout=30)
    job.at(1, *map(Joined, WEST))
    assert job.wake == 30
    job.at(2, *[Joined(None, remote=True)] * 4)
    assert job.wake is None


def missing(*joined):
    """The numbers of those that have not joined, and how many more there are, of eight ranks with four here."""
    job = Job(8, WEST, join_timeout=30)
    job.at(1, *joined)
    job.at(30, Clock())
    return job.state.cause.ranks, job.state.cause.unnamed


AWAY, STRANGER = Joined(None, remote=True), Joined(None)


def test_all_that_have_not_joined_are_named_while_none_is_a_stranger():
    assert missing(Joined(0), Joined(3)) == ((1, 2, 4, 5, 6, 7), 0)
    assert missing(Joined(0), Joined(3), Joined(5)) == ((1, 2, 4, 6, 7), 0)


def test_strangers_from_other_hosts_leave_names_to_those_that_are_missing_here():
    assert missing(*map(Joined, WEST), AWAY, AWAY, AWAY) == ((), 1)
    assert missing(Joined(0), Joined(1), Joined(3), AWAY, AWAY, AWAY, AWAY) == ((2,), 0)
    assert missing(Joined(0), Joined(1), Joined(3), AWAY, AWAY) == ((2,), 2)


def test_a_stranger_of_this_host_may_be_anybody():
    assert missing(Joined(0), STRANGER, AWAY) == ((), 5)


def lingering(**rules):
    """A job of which four ranks have joined and ended well here, and four have joined elsewhere."""
    job = Job(8, WEST, linger=600, join_timeout=30, **rules)
    job.at(1, Attended(still=True), *map(Joined, WEST), *[AWAY] * 4)
    assert job.ended(100, *WEST) == []
    return job


def test_the_server_stays_while_ranks_elsewhere_are_connected():
    job = lingering()
    assert (job.wake, job.state.stopping) == (700, False)
    assert job.at(150, Attended(still=False)) == [Dismiss(), Sweep()]
    assert job.at(151, Alone()) == [Finish(0)]


def test_it_goes_at_once_when_they_have_gone_before():
    job = Job(8, WEST, linger=600)
    job.at(1, Attended(still=True), *map(Joined, WEST), *[AWAY] * 4)
    job.at(90, Attended(still=False))
    assert job.ended(100, *WEST) == [Dismiss(), Sweep()]


def test_it_waits_for_those_that_have_not_joined_yet():
    job = Job(8, WEST, linger=600, join_timeout=30)
    job.at(1, Attended(still=True), *map(Joined, WEST), *[AWAY] * 3)
    job.ended(2, *WEST)
    assert job.at(4, Attended(still=False)) == []
    assert job.at(5, Attended(still=True), AWAY) == []
    assert job.at(9, Attended(still=False)) == [Dismiss(), Sweep()]
    assert job.at(9, Alone()) == [Finish(0)]


def test_those_that_never_join_are_a_failure_then_too():
    job = Job(8, WEST, linger=600, join_timeout=30)
    job.at(1, *map(Joined, WEST), AWAY)
    job.ended(2, *WEST)
    assert job.wake == 30
    assert job.at(30, Clock()) == [Dismiss(), Sweep()]
    assert (job.state.cause.kind, job.state.cause.unnamed) == ("join", 3)
    assert job.at(30, Alone()) == [Finish(1)]


def test_at_the_deadline_it_goes_and_the_user_is_told_but_nothing_has_failed():
    job = lingering()
    assert job.at(699.9, Clock()) == []
    assert job.at(700, Clock()) == [Forsake(600), Dismiss(), Sweep()]
    assert job.at(700, Alone()) == [Finish(0)]


@pytest.mark.parametrize(
    ("event", "code"),
    [(Told(SIGTERM), 143), (Told(SIGINT), 130), (Broken("keeper"), 1), (Broken("output"), 1), (Clock(), 124)],
    ids=["TERM", "Ctrl-C", "server", "output", "time limit"],
)
def test_whatever_ends_a_job_ends_it_while_the_server_stays(event, code):
    job = lingering(time_limit=200)
    assert job.at(200, event) == [Dismiss(), Sweep()]
    assert job.at(200, Alone()) == [Finish(code)]


def test_a_failure_here_is_not_waited_with():
    job = Job(8, WEST, linger=600)
    job.at(1, Attended(still=True), *map(Joined, WEST), *[AWAY] * 4)
    job.ended(2, 0, 1, 2)
    assert job.ended(3, 3, how=Exit(3)) == [Dismiss(), Sweep(3), Sweep()]
    assert job.at(3, Alone()) == [Finish(3)]


@pytest.mark.parametrize(("world", "linger"), [(4, 600), (8, None)], ids=["no ranks elsewhere", "no wish to wait"])
def test_the_server_stays_for_nobody(world, linger):
    job = Job(world, WEST, linger=linger)
    job.at(1, Attended(still=True), *map(Joined, WEST))
    assert job.ended(2, *WEST) == [Dismiss(), Sweep()]


# -- restarts ----------------------------------------------------------------------------------------------


def fail(job, now):
    """What is to be done in the end when the ranks fail at `now`."""
    job.ended(now, *sorted(job.state.running), how=Exit(3))
    return job.at(now, Alone())


def test_a_failure_is_final_without_restarts():
    assert fail(Job(), 100) == [Finish(3)]


def test_a_failure_early_after_the_first_start_is_no_accident():
    assert fail(Job(max_restarts=9, early=3), 2.9) == [Finish(3)]


def test_a_later_failure_starts_all_ranks_again():
    job = Job(max_restarts=1, early=3)
    assert fail(job, 3) == [Restart()]
    assert (job.state.running, job.state.attempt, job.state.stopping) == ({0, 1, 2}, 1, False)


def test_after_the_first_start_no_failure_is_too_early_and_each_counts():
    job = Job(max_restarts=2, early=3)
    assert [fail(job, now) for now in (3, 3.1, 3.2)] == [[Restart()], [Restart()], [Finish(3)]]


def test_ranks_are_started_again_only_when_nothing_of_them_is_left():
    job = Job(max_restarts=1)
    job.ended(5, 1, how=Exit(3))
    assert job.at(5, Alone()) == []
    assert not job.ended(6, 0, 2).have(Restart)
    assert job.at(6, Alone()) == [Restart()]


@pytest.mark.parametrize(
    ("event", "code"),
    [(Told(SIGTERM), 143), (Told(SIGINT), 130), (Broken("keeper"), 1), (Broken("output"), 1), (Clock(), 124)],
    ids=["TERM", "Ctrl-C", "server", "output", "time limit"],
)
def test_only_the_failure_of_a_rank_is_mended_by_a_restart(event, code):
    job = Job(max_restarts=9, time_limit=60)
    job.at(60, event)
    assert fail(job, 61) == [Finish(code)]


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP, SIGQUIT], ids=["INT", "TERM", "HUP", "QUIT"])
def test_a_user_who_ends_the_job_while_it_is_stopped_for_a_restart_ends_it(number):
    job = Job(max_restarts=9)
    job.ended(5, 1, how=Exit(3))
    job.at(5.5, Told(number))
    job.ended(6, 0, 2)
    (last,) = job.at(6, Alone())
    assert isinstance(last, Finish)
    assert last.code in (3, 128 + number)


# -- every history -----------------------------------------------------------------------------------------

EXITS = st.sampled_from([WELL, Exit(3), Exit(1), Exit(1, SIGKILL), Exit(1, SIGTERM)])
SIGNALS = st.sampled_from([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGWINCH, SIGTSTP, SIGCONT])
RANKS = st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(Ended, RANKS, EXITS),
    st.builds(Told, SIGNALS),
    st.builds(Joined, st.one_of(RANKS, st.none()), st.booleans()),
    st.builds(Attended, st.booleans()),
    st.builds(Broken, st.sampled_from(["keeper", "output"]), st.sampled_from([Exit(1), Exit(1, signal.SIGPIPE)])),
    st.builds(Resumed, st.sampled_from([0.0, 0.5, 20.0])),
    st.just(Clock()),
    st.just(Alone()),
)
PAUSES = st.sampled_from([0.0, 0.01, 0.06, 0.2, 1.0, 3.0, 11.0])
LIMITS = st.sampled_from([None, 2.0, 30.0])
RULES = st.builds(Rules, st.sampled_from([0.0, 0.5, 10.0]), LIMITS, LIMITS, st.integers(0, 2), st.just(3.0), LIMITS)
WORLDS = st.integers(1, 4).flatmap(lambda here: st.tuples(st.just(range(here)), st.integers(here, 6)))
"""Ranks here, and how many there are."""
HISTORIES = st.lists(st.tuples(PAUSES, EVENTS), max_size=60)


def played(rules, ranks, history):
    """Each moment of a history that can happen: the state before, the time, the event, the state after and what is
    done. It ends with the job. A rank ends once; nothing is alone while a rank runs.
    """
    here, world = ranks
    state, now = begin(rules, world, 0.0, here), 0.0
    for pause, wanted in history:
        now, event = now + pause, wanted
        if (isinstance(event, Ended) and event.rank not in state.running) or (
            isinstance(event, Alone) and (state.running or not state.stopping)
        ):
            event = Clock()
        after, actions = step(state, event, now)
        yield state, now, event, after, Actions(actions)
        if Actions(actions).have(Finish):
            return
        state = restarted(after, now) if Actions(actions).have(Restart) else after


def played_out(rules, ranks, history):
    """The same with a long end, in which all ranks end, and those elsewhere have come and gone."""
    gone = [(0.0, Joined(rank)) for rank in range(ranks[1])] + [(0.0, Attended(still=False))]
    end = [*((0.1, Ended(rank, WELL)) for rank in ranks[0]), *gone, (0.1, Alone())]
    return list(played(rules, ranks, [*history, *itertools.chain(*[end] * (rules.max_restarts + 1))]))


@given(RULES, WORLDS, HISTORIES)
def test_nobody_is_told_anything_after_the_end(rules, ranks, history):
    for _, _, _, after, actions in played(rules, ranks, history):
        for action in actions:
            if isinstance(action, Tell | Notice):
                assert set(action.ranks) <= after.running


@given(RULES, WORLDS, HISTORIES)
def test_a_rank_is_told_to_end_once(rules, ranks, history):
    """... and from then on only what is passed on to it, or that it goes on."""
    for before, _, _, _, actions in played(rules, ranks, history):
        told = [action.signal for action in actions if isinstance(action, Tell)]
        assert not before.stopping or not {SIGTERM, SIGHUP, SIGQUIT, SIGINT} & set(told)


@given(RULES, WORLDS, HISTORIES)
def test_a_job_that_is_being_stopped_is_stopped(rules, ranks, history):
    for before, _, _, after, actions in played(rules, ranks, history):
        assert after.stopping or not before.stopping
        if before.stopping:
            # Nothing has gone wrong until a user ends what a good job has left behind.
            assert after.cause == before.cause or (before.cause is None and after.cause.kind == "signal")
        assert before.stopping or not actions.have(Kill)


@given(RULES, WORLDS, HISTORIES)
def test_a_job_ends_or_starts_again_only_when_nothing_of_it_is_left_and_then_always(rules, ranks, history):
    for before, _, event, _, actions in played(rules, ranks, history):
        over = actions.have(Finish, Restart)
        assert over == isinstance(event, Alone)
        assert not (over and before.running)


@given(RULES, WORLDS, HISTORIES)
def test_every_end_of_a_rank_that_is_not_well_is_swept_behind(rules, ranks, history):
    for _, _, event, after, actions in played(rules, ranks, history):
        if isinstance(event, Ended) and after.stopping and after.running:
            assert Sweep(event.rank) in actions
        if isinstance(event, Ended) and not after.running and not after.lingering:
            assert actions[-1:] == [Sweep()]
            assert actions.have(Dismiss)


@given(RULES, WORLDS, HISTORIES)
def test_the_server_stays_only_for_ranks_elsewhere_when_all_is_well_here_and_then_goes(rules, ranks, history):
    here, world = ranks
    for before, now, event, after, actions in played(rules, ranks, history):
        if after.lingering:
            assert rules.linger is not None
            assert len(here) < world
            assert {how.status for _, how in after.exits} == {0}
            assert not after.running
            assert now < after.linger_at or not isinstance(event, Clock)
        assert not (after.lingering and actions.have(Dismiss, Sweep))
        assert not (before.lingering and not after.lingering) or actions.have(Dismiss)


@given(RULES, WORLDS, HISTORIES)
def test_the_clock_changes_something_exactly_when_it_is_asked_for(rules, ranks, history):
    """So a loop that waits until then misses nothing and never turns for nothing."""
    for before, now, _, _, _ in played(rules, ranks, history):
        due = wake(before) is not None and now >= wake(before)
        assert (step(before, Clock(), now) != (before, ())) == due


@given(RULES, WORLDS, HISTORIES)
def test_the_code_says_why_the_job_ended(rules, ranks, history):
    *_, (_, _, _, state, actions) = played_out(rules, ranks, history)
    (finish,) = actions
    cause = state.cause
    if cause is None:
        assert finish.code == 0
        assert {how.status for _, how in state.exits} == {0}
    else:
        expected = {"time": 124, "join": 1, "keeper": 1}.get(cause.kind, cause.exit.status)
        assert finish.code == expected != 0
    if cause and cause.kind == "rank":
        assert cause.exit == dict(state.exits)[cause.rank]


@given(RULES, WORLDS, HISTORIES)
def test_every_rank_ends_once_in_an_attempt_and_no_attempt_is_too_many(rules, ranks, history):
    *_, (_, _, _, state, _) = played_out(rules, ranks, history)
    assert sorted(rank for rank, _ in state.exits) == list(ranks[0])
    assert state.attempt <= rules.max_restarts
