"""What several sources say becomes one stream: no line is torn, none is lost, and what stays unfinished is shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.launch.weave import Weaver

CLEAR = b"\r\x1b[K"


def weaver(*, ansi=False, **prefixes):
    """A weaver of the sources a, b and c, each with its name in brackets before its lines unless told otherwise."""
    return Weaver({name: prefixes.get(name, b"[%s] " % name.encode()) for name in "abc"}, ansi=ansi)


def bare(*, ansi=False):
    """A weaver of one source without a prefix."""
    return Weaver({"a": b""}, ansi=ansi)


def fed(woven, *said, now=0.0):
    """The stream when the sources say these things, given as ``a:text``, at one moment."""
    return b"".join(woven.feed(text[:1].decode(), text[2:], now) for text in said)


def test_every_line_begins_with_the_prefix_of_its_source():
    assert fed(weaver(), b"a:one\ntwo\n", b"b:three\n") == b"[a] one\n[a] two\n[b] three\n"


def test_a_prefix_may_hold_escapes():
    assert fed(weaver(a=b"\x1b[31m[a]\x1b[0m "), b"a:one\n") == b"\x1b[31m[a]\x1b[0m one\n"


def test_an_empty_line_has_a_prefix_too():
    assert fed(weaver(), b"a:\n\n") == b"[a] \n[a] \n"


def test_an_unfinished_line_waits_for_its_end():
    woven = weaver()
    assert fed(woven, b"a:one\ntw") == b"[a] one\n"
    assert fed(woven, b"b:three\n", b"a:o\n") == b"[b] three\n[a] two\n"


def test_a_source_that_is_not_known_is_an_error():
    with pytest.raises(KeyError):
        weaver().feed("d", b"one\n", 0.0)


@pytest.mark.parametrize(
    "data",
    [b"\0\1\2\n", b"\xff\xfe\xc3\n", bytes(byte for byte in range(256) if byte not in b"\r\n") + b"\n"],
    ids=["NUL", "no UTF-8", "every byte"],
)
def test_binary_data_passes_unchanged(data):
    assert fed(weaver(), b"a:" + data) == b"[a] " + data


class TestPatience:
    """What stays without a line end is shown after one second."""

    def test_nothing_is_due_while_nothing_waits(self):
        woven = weaver()
        assert woven.due is None
        fed(woven, b"a:one\n")
        assert woven.due is None

    def test_it_is_counted_from_when_the_line_began(self):
        woven = weaver()
        woven.feed("a", b"one\nPass", 5.0)
        woven.feed("a", b"word: ", 5.5)
        assert woven.due == 6.0

    def test_a_line_that_begins_later_has_a_patience_of_its_own(self):
        woven = weaver()
        woven.feed("a", b"on", 5.0)
        woven.feed("a", b"e\ntwo", 5.5)
        assert woven.due == 6.5

    def test_the_first_that_is_due_counts(self):
        woven = weaver()
        woven.feed("b", b"one", 5.0)
        woven.feed("a", b"two", 5.25)
        assert woven.due == 6.0
        assert woven.ripe(6.0) == b"[b] one"
        assert woven.due == 6.25

    def test_before_that_moment_nothing_is_shown(self):
        woven = weaver()
        woven.feed("a", b"Password: ", 5.0)
        assert woven.ripe(5.999) == b""
        assert woven.ripe(6.0) == b"[a] Password: "
        assert woven.due is None

    def test_it_can_be_told(self):
        woven = Weaver({"a": b""}, ansi=False, patience=0.5)
        woven.feed("a", b"one", 1.0)
        assert woven.due == 1.5

    def test_two_prompts_have_a_line_each(self):
        woven = weaver()
        fed(woven, b"a:one", b"b:two")
        assert woven.ripe(1.0) == b"[a] one\n[b] two"


class TestLongLines:
    """A line of up to 1 MiB is never torn; what is longer is not kept."""

    def test_one_mebibyte_waits(self):
        woven, line = weaver(), bytes(1 << 20)
        assert woven.feed("a", line, 0.0) == b""
        assert fed(woven, b"b:one\n", b"a:\n") == b"[b] one\n[a] " + line + b"\n"

    def test_more_is_shown_at_once(self):
        woven = weaver()
        assert woven.feed("a", bytes(1 << 20), 0.0) == b""
        assert woven.feed("a", b"x", 0.0) == b"[a] " + bytes(1 << 20) + b"x"
        assert woven.due is None

    def test_and_goes_on_without_waiting(self):
        woven = weaver()
        woven.feed("a", bytes((1 << 20) + 1), 0.0)
        assert woven.feed("a", b"more", 0.0) == b"more"

    def test_whole_lines_before_it_do_not_count(self):
        assert weaver().feed("a", b"x" * (1 << 20) + b"\nrest", 0.0).endswith(b"x\n")


class TestOpenLine:
    """A line that was shown unfinished stays open until somebody ends it."""

    @pytest.fixture
    def prompted(self):
        woven = weaver()
        woven.feed("a", b"Password: ", 0.0)
        woven.ripe(1.0)
        return woven

    def test_the_stream_is_then_in_the_middle_of_a_line(self, prompted):
        assert prompted.open
        assert not weaver().open

    def test_its_source_goes_on_without_a_prefix(self, prompted):
        assert fed(prompted, b"a:thanks\nnext\n") == b"thanks\n[a] next\n"
        assert not prompted.open

    def test_its_source_goes_on_without_waiting(self, prompted):
        assert fed(prompted, b"a:.", b"a:.") == b".."

    def test_another_source_begins_a_line_of_its_own(self, prompted):
        assert fed(prompted, b"b:one\n") == b"\n[b] one\n"

    def test_another_source_that_has_nothing_to_show_leaves_it_alone(self, prompted):
        assert fed(prompted, b"b:on") == b""
        assert fed(prompted, b"a:thanks\n") == b"thanks\n"

    def test_the_interrupted_source_has_its_prefix_again(self, prompted):
        assert fed(prompted, b"b:one\n", b"a:thanks\n") == b"\n[b] one\n[a] thanks\n"

    def test_the_interrupted_source_waits_again(self, prompted):
        fed(prompted, b"b:one\n")
        assert prompted.feed("a", b"tha", 2.0) == b""
        assert prompted.due == 3.0

    @pytest.mark.parametrize("ansi", [False, True])
    def test_a_message_of_ours_ends_it(self, ansi):
        woven = weaver(ansi=ansi)
        fed(woven, b"a:Password: ")
        woven.ripe(1.0)
        assert woven.interrupt() == b"\n"
        assert not woven.open
        assert woven.interrupt() == b""
        assert fed(woven, b"a:thanks\n") == b"[a] thanks\n"


class TestBars:
    """A carriage return within a line is a progress bar, and is shown at once."""

    def test_each_state_has_the_prefix(self):
        assert fed(weaver(), b"a:\r 1%", b"a:\r 2%\r 3%") == b"[a] \r[a]  1%\r[a]  2%\r[a]  3%"

    def test_on_a_terminal_the_rest_of_the_old_state_is_erased(self):
        erased = CLEAR + b"[a]  2%"
        assert fed(weaver(ansi=True), b"a:\r 1%", b"a:\r 2%").endswith(erased)

    def test_a_line_end_ends_it(self):
        woven = weaver()
        assert fed(woven, b"a:\r99%", b"a:\r100%\nDone\n") == b"[a] \r[a] 99%\r[a] 100%\n[a] Done\n"
        assert not woven.open

    def test_a_state_that_comes_in_pieces_is_shown_in_pieces(self):
        assert fed(weaver(), b"a:\r 1", b"a:%") == b"[a] \r[a]  1%"

    def test_text_that_waited_is_shown_before_it(self):
        assert fed(weaver(), b"a:abc", b"a:\r 1%") == b"[a] abc\r[a]  1%"

    @pytest.mark.parametrize("ansi", [False, True])
    def test_a_carriage_return_before_a_line_end_is_no_bar(self, ansi):
        assert fed(weaver(ansi=ansi), b"a:one\r\ntwo\r\nthr") == b"[a] one\r\n[a] two\r\n"

    def test_a_line_end_may_come_in_two_pieces(self):
        woven = weaver()
        assert fed(woven, b"a:one\r") == b""
        assert fed(woven, b"a:\ntwo\n") == b"[a] one\r\n[a] two\n"

    def test_only_the_last_of_several_carriage_returns_belongs_to_the_line_end(self):
        assert fed(weaver(), b"a:one\r\r\n") == b"[a] one\r[a] \r\n"

    def test_a_carriage_return_at_the_end_waits_for_what_follows(self):
        woven = weaver()
        assert fed(woven, b"a: 1%\r") == b""
        assert fed(woven, b"a: 2%\r") == b"[a]  1%\r[a]  2%"
        assert fed(woven, b"a: 3%\r") == b"\r[a]  3%"

    def test_what_stands_before_it_is_shown_after_the_usual_patience(self):
        woven = weaver()
        fed(woven, b"a: 1%\r")
        assert woven.ripe(woven.due) == b"[a]  1%"
        assert woven.due is None
        assert fed(woven, b"a: 2%\r") == b"\r[a]  2%"

    @pytest.mark.parametrize("ansi", [False, True])
    def test_prefixes_that_are_empty_add_no_escapes(self, ansi):
        assert fed(bare(ansi=ansi), b"a:\r 1%", b"a:\r 2%\n") == b"\r 1%\r 2%\n"


class TestBarsOfSeveralSources:
    """On a terminal they take turns on one line; elsewhere each begins a line of its own, so that grep finds it."""

    def barred(self, *, ansi):
        woven = weaver(ansi=ansi)
        fed(woven, b"a:\r 1%")
        return woven

    @pytest.mark.parametrize(("ansi", "lead"), [(True, CLEAR), (False, b"\n")], ids=["terminal", "elsewhere"])
    def test_a_bar_takes_the_place_of_a_bar(self, ansi, lead):
        woven = self.barred(ansi=ansi)
        assert fed(woven, b"b:\r 5%") == lead + b"[b]  5%"
        assert fed(woven, b"a:\r 2%") == lead + b"[a]  2%"

    @pytest.mark.parametrize(("ansi", "lead"), [(True, CLEAR), (False, b"\n")], ids=["terminal", "elsewhere"])
    def test_a_bar_that_ends_takes_the_place_of_a_bar(self, ansi, lead):
        assert fed(self.barred(ansi=ansi), b"b:\r100%\n") == lead + b"[b] 100%\n"

    @pytest.mark.parametrize(("ansi", "lead"), [(True, CLEAR), (False, b"\n")], ids=["terminal", "elsewhere"])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
    def test_a_whole_line_clears_it_on_a_terminal_and_ends_it_elsewhere(self, ansi, lead, end):
        assert fed(self.barred(ansi=ansi), b"b:one" + end) == lead + b"[b] one" + end

    @pytest.mark.parametrize(("ansi", "lead"), [(True, CLEAR), (False, b"\n")], ids=["terminal", "elsewhere"])
    def test_so_does_a_prompt(self, ansi, lead):
        woven = self.barred(ansi=ansi)
        woven.feed("b", b"Password: ", 0.0)
        assert woven.ripe(1.0) == lead + b"[b] Password: "

    @pytest.mark.parametrize(("ansi", "lead"), [(True, CLEAR), (False, b"\n")], ids=["terminal", "elsewhere"])
    def test_so_does_a_message_of_ours(self, ansi, lead):
        woven = self.barred(ansi=ansi)
        assert woven.interrupt() == lead
        assert not woven.open

    @pytest.mark.parametrize("ansi", [False, True])
    def test_it_comes_back_with_its_next_state(self, ansi):
        woven = self.barred(ansi=ansi)
        fed(woven, b"b:one\n")
        assert fed(woven, b"a:\r 2%") == b"[a]  2%"
        assert woven.open

    @pytest.mark.parametrize("ansi", [False, True])
    def test_a_prompt_is_not_overwritten_by_the_bar_of_another(self, ansi):
        woven = weaver(ansi=ansi)
        fed(woven, b"a:Password: ")
        woven.ripe(1.0)
        assert fed(woven, b"b:\r 5%") == b"\n[b]  5%"

    def test_a_state_that_was_shown_by_patience_is_a_bar(self):
        woven = weaver(ansi=True)
        fed(woven, b"a: 1%\r")
        woven.ripe(1.0)
        assert fed(woven, b"b:one\n") == CLEAR + b"[b] one\n"


class TestEnd:
    """What is left of a source that has ended is shown as it is."""

    def test_no_line_end_is_added(self):
        woven = weaver()
        fed(woven, b"a:one")
        assert woven.close("a") == b"[a] one"
        assert woven.open
        assert woven.due is None

    def test_nothing_is_left_after_a_line_end(self):
        woven = weaver()
        fed(woven, b"a:one\n")
        assert woven.close("a") == b""
        assert not woven.open

    def test_who_comes_next_begins_a_line(self):
        woven = weaver()
        fed(woven, b"a:one")
        woven.close("a")
        assert fed(woven, b"b:two\n") == b"\n[b] two\n"

    @pytest.mark.parametrize("ansi", [False, True])
    def test_the_last_state_of_a_bar_stays(self, ansi):
        woven = weaver(ansi=ansi)
        fed(woven, b"a:\r99%")
        assert woven.close("a") == b""
        assert fed(woven, b"b:one\n") == b"\n[b] one\n"

    def test_a_source_that_begins_anew_begins_a_line(self):
        woven = weaver()
        fed(woven, b"a:one")
        woven.close("a")
        assert fed(woven, b"a:two\n") == b"\n[a] two\n"

    @pytest.mark.parametrize("said", [b"one\r", b"\r", b"one\n\r", b"\r 1%\r"])
    def test_a_carriage_return_that_waited_is_shown(self, said):
        woven = bare()
        assert fed(woven, b"a:" + said) + woven.close("a") == said

    def test_one_whose_line_is_over_is_not(self):
        woven = weaver()
        fed(woven, b"a: 1%\r", b"a: 2%\r", b"b:one\n")
        assert woven.close("a") == b""


LINE = st.lists(st.sampled_from([b"x", b"yy", b"[a] ", b"\0", b"\xe4\xbd\xa0", b" "]), max_size=4).map(b"".join)
PIECES = st.lists(st.integers(1, 9), max_size=12)


def cut(data, sizes):
    """`data` in pieces of these sizes, and the rest of it."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


@settings(deadline=None)
@given(st.data(), st.fixed_dictionaries({name: st.lists(LINE, max_size=6) for name in "abc"}))
def test_every_line_appears_once_whole_and_in_order(data, said):
    """However the lines of three sources are cut and interleaved."""
    woven, stream = weaver(), b""
    waiting = {name: cut(b"".join(line + b"\n" for line in said[name]), data.draw(PIECES)) for name in "abc"}
    while left := [name for name in "abc" if waiting[name]]:
        name = data.draw(st.sampled_from(left))
        stream += woven.feed(name, waiting[name].pop(0), 0.0)
    lines = stream.split(b"\n")
    assert lines.pop() == b""
    for name in "abc":
        prefix = b"[%s] " % name.encode()
        assert [line[4:] for line in lines if line.startswith(prefix)] == said[name]
    assert len(lines) == sum(map(len, said.values()))


CHUNKS = st.lists(
    st.tuples(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\0"])).map(b"".join), st.booleans())
)


@settings(deadline=None)
@given(CHUNKS, st.booleans())
def test_one_source_without_a_prefix_is_passed_on_byte_for_byte(chunks, ansi):
    """However it is cut, and wherever patience ends."""
    woven, stream = bare(ansi=ansi), b""
    for now, (chunk, waits) in enumerate(chunks):
        stream += woven.feed("a", chunk, float(now))
        stream += woven.ripe(now + 1.0) if waits else b""
    assert stream + woven.close("a") == b"".join(chunk for chunk, _ in chunks)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), CHUNKS), max_size=5), st.booleans())
def test_no_visible_byte_is_lost_and_no_open_line_goes_unnoticed(said, ansi):
    """Whatever is said by whom, with bars and prompts: every byte but returns is there. On a terminal the last state of
    a bar that another one has replaced is there twice, because the first time it was erased."""
    woven, stream, told = weaver(ansi=ansi, a=b"", b=b"", c=b""), b"", b""
    for now, (name, chunks) in enumerate(said):
        for chunk, waits in chunks:
            shown = woven.feed(name, chunk, float(now))
            shown += woven.ripe(now + 1.0) if waits else b""
            stream, told = stream + shown, told + chunk
            assert woven.open or not stream or stream.endswith((b"\n", CLEAR))
    stream += b"".join(map(woven.close, "abc"))
    for sign in (b"a", b"\0"):
        assert stream.count(sign) == told.count(sign) or (ansi and stream.count(sign) > told.count(sign))
    assert stream.count(b"\n") >= told.count(b"\n")


def test_the_last_states_of_two_bars_are_both_there_when_they_end_one_after_the_other():
    woven = weaver(ansi=True, a=b"[a] ", b=b"[b] ")
    shown = b"".join(
        woven.feed(name, text, 0.0) for name, text in [("a", b"\r100%"), ("b", b"\r100%"), ("a", b"\n"), ("b", b"\n")]
    )
    assert [line.rpartition(b"\x1b[K")[2] for line in shown.split(b"\n")[:2]] == [b"[a] 100%", b"[b] 100%"]
