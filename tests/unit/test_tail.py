"""The end of what a rank said: its last lines as a terminal would show them, and the exception it died of."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.launch.tail import Tail


def tail(*pieces, **limit):
    """A tail to which these pieces were added, bytes or text."""
    kept = Tail(**limit)
    for piece in pieces:
        kept.add(piece if isinstance(piece, bytes) else piece.encode())
    return kept


class TestKept:
    """Only the end is kept."""

    @given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
    def test_it_is_the_last_bytes_however_they_came(self, pieces, limit):
        kept, whole = tail(*pieces, limit=limit), tail(b"".join(pieces)[-limit:])
        assert kept.lines(100) == whole.lines(100)

    @given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
    def test_no_more_than_twice_the_limit_is_held(self, pieces, limit):
        assert sum(map(len, tail(*pieces, limit=limit)._pieces)) < 2 * limit

    def test_it_is_16_kib_unless_told_otherwise(self):
        kept = tail(b"first\n" + b"x" * 7 + b"\n", *[b"y" * 63 + b"\n"] * 255, b"z" * 55 + b"\n")
        assert kept.lines(1000)[0] == "x" * 7
        assert len(kept.lines(1000)) == 257


class TestLines:
    """What is shown of it."""

    def test_they_are_the_last_ones(self):
        assert tail("one\ntwo\nthr", "ee\n").lines(2) == ("two", "three")

    def test_there_may_be_fewer(self):
        assert tail("one\n").lines(5) == ("one",)
        assert tail().lines(5) == ()

    def test_none_is_none(self):
        assert tail("one\n").lines(0) == ()

    def test_a_line_without_an_end_counts(self):
        assert tail("one\ntwo").lines(5) == ("one", "two")

    def test_blank_lines_do_not(self):
        assert tail("one\n\n  \n\x1b[0m\ntwo\n").lines(5) == ("one", "two")

    def test_blanks_before_a_line_stay_and_those_behind_go(self):
        assert tail("  one  \n").lines(1) == ("  one",)

    def test_what_is_no_utf_8_is_replaced(self):
        assert tail(b"\xe4\xbd\xa0 \xff\n").lines(1) == ("你 \ufffd",)

    @pytest.mark.parametrize(
        ("said", "seen"),
        [
            ("\r 1%\r 2%", " 2%"),
            (" 1%\r 2%\r", " 2%"),
            ("one\r\n", "one"),
            ("99%\r100%\r\r\n", "100%"),
        ],
        ids=["returns before", "returns after", "a line end", "a line end that was made twice"],
    )
    def test_of_a_progress_bar_the_last_state_is_seen(self, said, seen):
        assert tail(said).lines(5) == (seen,)

    @pytest.mark.parametrize("said", ["99%\r   \r", "99%\r\x1b[K", "\r"], ids=["blanks", "erased", "nothing"])
    def test_a_bar_that_was_wiped_out_is_not(self, said):
        assert tail(said).lines(5) == ()

    @pytest.mark.parametrize(
        "said",
        [
            "\x1b[1;31mone\x1b[0m",
            "\x1b[38;2;1;2;3mone",
            "\x1b[?25lone\x1b[2K",
            "\x1b]0;title\x07one",
            "\x1b]8;;http://there\x1b\\one\x1b]8;;\x1b\\",
            "\x1b(Bone\x1b7",
            "\x1bPq\x1b\\one",
            "one\x1b",
            "\0o\x07n\x08e\x7f\x85",
            "\u202eone\u2066",
            "o\u2028n\u2029e",
        ],
        ids=["colour", "RGB", "cursor", "title", "link", "charset", "DCS", "cut", "controls", "bidi", "separators"],
    )
    def test_escapes_and_control_characters_are_left_out(self, said):
        assert tail(said).lines(5) == ("one",)

    def test_a_tab_is_a_blank(self):
        assert tail("one\ttwo").lines(1) == ("one two",)

    def test_at_most_300_characters_are_shown(self):
        assert tail("你" * 300).lines(1) == ("你" * 300,)
        assert tail("你" * 301).lines(1) == ("你" * 299 + "…",)


FRAMES = 'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n    main()\n    ^^^^^^\n'


class TestException:
    """The line of the last traceback that names it."""

    def test_there_is_none_without_a_traceback(self):
        assert tail("ValueError: boom\n").exception == ""
        assert tail().exception == ""

    @pytest.mark.parametrize(
        "named",
        [
            "ValueError: boom",
            "KeyboardInterrupt",
            "torch.cuda.OutOfMemoryError: CUDA out of memory.",
            "t.main.<locals>.Odd: why",
            "Fehler_ä: wörtlich",
        ],
    )
    def test_it_comes_after_the_last_frame(self, named):
        assert tail(f"epoch 1\n{FRAMES}{named}\nbye: bye\n").exception == named

    def test_only_the_first_line_of_its_message_counts(self):
        assert tail(f"{FRAMES}ValueError: one\ntwo: three\n").exception == "ValueError: one"

    def test_the_last_traceback_counts(self):
        assert tail(f"{FRAMES}ValueError: one\nepoch 2\n{FRAMES}KeyError: 'two'\n").exception == "KeyError: 'two'"

    @pytest.mark.parametrize(
        "between",
        [
            "During handling of the above exception, another exception occurred:",
            "The above exception was the direct cause of the following exception:",
        ],
        ids=["context", "cause"],
    )
    def test_of_a_chain_it_is_the_last(self, between):
        assert tail(f"{FRAMES}KeyError: 1\n\n{between}\n\n{FRAMES}ValueError: 2\n").exception == "ValueError: 2"

    def test_the_beginning_may_be_cut_off(self):
        said = FRAMES + "ValueError: boom\n"
        assert tail(said, limit=len(said) - 20).exception == "ValueError: boom"

    def test_a_traceback_that_has_no_end_yet_names_none(self):
        assert tail(FRAMES).exception == ""

    def test_colours_are_left_out(self):
        said = '  File \x1b[35m"t.py"\x1b[0m, line \x1b[35m3\x1b[0m, in \x1b[35mf\x1b[0m\n\x1b[1;35mValueError\x1b[0m: \x1b[35mboom\x1b[0m\n'
        assert tail(said).exception == "ValueError: boom"

    def test_the_words_that_torch_puts_before_each_line_are_left_out(self):
        said = "".join(f"[rank1]: {line}\n" for line in (FRAMES + "ValueError: boom").splitlines())
        assert tail(said).exception == "ValueError: boom"

    def test_a_traceback_of_a_logger_is_none(self):
        said = "".join(f"12:00:00 ERROR {line}\n" for line in (FRAMES + "ValueError: boom").splitlines())
        assert tail(said).exception == ""

    def test_a_line_of_a_logger_is_no_exception(self):
        assert tail(FRAMES + "[12:00:00] ERROR: it broke\n").exception == ""

    def test_a_dump_after_a_crash_names_none(self):
        said = 'Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File "t.py", line 3 in f\n'
        assert tail(FRAMES + "ValueError: old\n" + said + "\nExtension modules: a.b (total: 1)\n").exception == ""

    def test_a_long_one_is_cut(self):
        assert tail(FRAMES + "ValueError: " + "x" * 300).exception == "ValueError: " + "x" * 287 + "…"

    @pytest.mark.parametrize(
        ("code", "named"),
        [
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("if True print()", "SyntaxError: "),
            ("assert False", "AssertionError"),
            ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
            ("try: 1 / 0\nexcept Exception: {}[1]", "KeyError: 1"),
            ("try: 1 / 0\nexcept Exception as e: raise OSError(2, 'none') from e", "FileNotFoundError: [Errno 2] none"),
            ("raise SystemError('one\\n\\ntwo')", "SystemError: one"),
        ],
        ids=["simple", "syntax", "bare", "recursion", "context", "cause", "several lines"],
    )
    def test_it_is_found_in_what_python_writes(self, code, named):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
            exec(code, {})
        said = "".join(traceback.format_exception(caught.value))
        assert tail(said).exception.startswith(named)
