"""What is to be proved, what is asked for it, and what an answer says of each variable."""

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.checks.proof import asked, differing, judged, questions, unasked
from mgelaunch.environment.source import Source
from mgelaunch.target.answers import Question, Read

DROP, LEVEL, PLASMA = "MEGENGINE_ENABLE_DROP", "MEGENGINE_LOGGING_LEVEL", "MGE_PLASMA_MEMORY"
JIT, NATIVE, THREADS = "BREVITAS_JIT", "BREVITAS_NATIVE_STE_BACKEND", "OMP_NUM_THREADS"
MISSING = {"megengine": "megengine is not installed in /env/bin/python"}


def resolved(project, shell=None, unsets=(), **sets):
    return project.resolve(shell=shell, sets=tuple(sets.items()), unsets=unsets)


def proofs(project, reads, *, missing=None, cpus=(2,), **said):
    """The rows by name, when these texts are read back."""
    told = {name: Read(read) if isinstance(read, str) else read for name, read in reads.items()}
    rows = judged(asked(resolved(project, **said)), told, missing or {}, cpus)
    return {row.name: row for row in rows}


def state(project, reads, **said):
    """The state and the reason of the only row."""
    (row,) = proofs(project, reads, **said).values()
    return row.state, row.why


class TestAsked:
    """Which variables are to be proved."""

    def names(self, resolution):
        return [setting.name for setting in asked(resolution)]

    def test_it_is_what_the_job_sets_and_removes(self, project):
        shell = {"MGB_THROW_ON_FORK": "1"}
        resolution = resolved(project, shell=shell, unsets=("MGB_THROW_ON_FORK",), **{DROP: "1", "OURS": "x"})
        assert self.names(resolution) == [DROP, "MGB_THROW_ON_FORK", "OURS"]

    def test_of_what_is_inherited_it_is_what_can_be_read_back(self, project):
        assert self.names(resolved(project, shell={DROP: "1", PLASMA: "67108864", "OURS": "x"})) == [DROP]

    def test_what_mgelaunch_adds_itself_counts_only_where_it_can_be_read_back(self, project):
        said = {Source.DERIVED: {THREADS: "1", "MASTER_ADDR": "127.0.0.1"}, Source.FLAG: {"PATH": "/a:/bin"}}
        assert self.names(project.stack(said)) == [THREADS]

    def test_a_wrong_value_is_nothing_to_be_proved(self, project):
        assert self.names(resolved(project, **{LEVEL: "LOUD", DROP: "1"})) == [DROP]


class TestQuestions:
    """What is imported for it, and where each variable is read."""

    def ask(self, project, *, full=False, **said):
        return questions(asked(resolved(project, **said)), full=full)

    def imports(self, project, **said):
        return [(question.imports, question.quick) for question in self.ask(project, **said)]

    def test_nothing_is_imported_for_nothing(self, project):
        assert self.ask(project, OURS="1") == ()

    def test_a_variable_is_read_with_its_framework(self, project):
        (question,) = self.ask(project, **{DROP: "1"})
        assert question == Question(("megengine",), False, {DROP: ("megengine", CATALOGUE[DROP].readback)})

    def test_megengine_is_imported_also_for_what_it_only_reads(self, project):
        """A bad value would make the import fail, which nobody else can tell."""
        assert self.imports(project, MGB_CONV_PROFILING_TIMEOUT="3") == [(("megengine",), False)]

    def test_a_removed_variable_that_nobody_can_read_back_is_no_reason_to_import_anything(self, project):
        assert self.imports(project, shell={PLASMA: "67108864"}, unsets=(PLASMA,)) == []

    def test_brevitas_is_looked_at_without_an_import(self, project):
        assert self.imports(project, **{JIT: "1"}) == [((), True)]

    def test_torch_is_imported_for_what_it_reads_back_and_brevitas_looked_at_beside_it(self, project):
        assert self.imports(project, **{JIT: "1", "PYTORCH_JIT": "1"}) == [(("torch",), True)]

    def test_torch_is_not_imported_for_what_it_only_reads(self, project):
        assert self.imports(project, TORCH_CPP_LOG_LEVEL="INFO") == []
        assert self.imports(project, TORCH_CPP_LOG_LEVEL="INFO", full=True) == [(("torch",), False)]

    def test_brevitas_is_imported_when_all_is_to_be_proved(self, project):
        assert self.imports(project, full=True, **{JIT: "1"}) == [(("brevitas",), False)]

    def test_megengine_and_torch_have_interpreters_of_their_own(self, project):
        said = {DROP: "1", THREADS: "1", "PYTHONUNBUFFERED": "1"}
        assert self.imports(project, **said) == [(("megengine",), False), (("torch",), False)]

    def test_what_any_interpreter_can_tell_is_asked_of_the_first_one(self, project):
        first, second = self.ask(project, **{DROP: "1", THREADS: "1", "PYTHONUNBUFFERED": "1"})
        assert (set(first.reads), set(second.reads)) == ({DROP, "PYTHONUNBUFFERED"}, {THREADS})
        (alone,) = self.ask(project, PYTHONUNBUFFERED="1")
        assert (alone.imports, set(alone.reads)) == ((), {"PYTHONUNBUFFERED"})

    @pytest.mark.parametrize("name", [name for name, row in CATALOGUE.items() if row.readback])
    def test_every_expression_uses_only_the_framework_that_is_there_for_it(self, project, name):
        settings = asked(project.resolve(shell={name: "1"}, unsets=(name,)))
        reads = [question.reads[name] for full in (False, True) for question in questions(settings, full=full)]
        for framework, expression in reads:
            others = {"megengine", "torch", "brevitas"} - {framework}
            assert not [other for other in others if f"{other}." in expression.replace(f"'{other}.", "")]


class TestJudged:
    """What an answer says of a variable."""

    def test_what_was_asked_for_is_proved(self, project):
        assert state(project, {DROP: "1"}, **{DROP: "on"}) == ("proved", "")

    def test_another_spelling_of_the_framework_means_the_same(self, project):
        assert state(project, {DROP: "True"}, **{DROP: "1"}) == ("proved", "")

    def test_another_value_differs(self, project):
        assert state(project, {DROP: "0"}, **{DROP: "1"}) == ("differs", "")
        assert state(project, {DROP: "what is this?"}, **{DROP: "1"}) == ("differs", "")
        assert state(project, {DROP: ""}, **{DROP: "1"}) == ("differs", "")

    @pytest.mark.parametrize("text", ["REPRODUCIBLE", "Reproduceable", "heuristic_reproducible"])
    def test_a_word_may_be_spelled_otherwise_than_it_is_read_back(self, project, text):
        name = "MEGENGINE_EXECUTION_STRATEGY"
        assert state(project, {name: "HEURISTIC_REPRODUCIBLE"}, **{name: text}) == ("proved", "")
        assert state(project, {name: "HEURISTIC"}, **{name: text}) == ("differs", "")

    def test_what_a_framework_only_foretells_is_never_proved(self, project):
        for text in ("0", "1"):
            assert state(project, {JIT: Read(text, predicted=True)}, **{JIT: "1"}) == ("predicted", "")

    @pytest.mark.parametrize(
        ("name", "text"), [("CUDA_VISIBLE_DEVICES", "1"), ("PYTORCH_CUDA_ALLOC_CONF", "backend:native")]
    )
    def test_what_is_read_when_a_device_is_opened_is_only_foretold(self, project, name, text):
        assert state(project, {name: text}, **{name: text}) == ("predicted", "")
        (finding,) = differing(tuple(proofs(project, {name: "0"}, **{name: text}).values()), ())
        assert (finding.code, finding.remedy) == ("prove.predicted", "")

    @pytest.mark.parametrize("unset", [DROP, "MEGENGINE_CATCH_WORKER_EXEC", "BREVITAS_REINIT_ON_STATE_DICT_LOAD"])
    def test_of_a_removed_variable_the_default_is_proved(self, project, unset):
        default = CATALOGUE[unset].default
        assert state(project, {unset: default}, unsets=(unset,)) == ("proved", "")
        assert state(project, {unset: str(1 - int(default))}, unsets=(unset,)) == ("differs", "")

    def test_a_removed_variable_that_means_on_when_it_is_there_is_proved_to_be_off(self, project):
        name = "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE"
        assert state(project, {name: "0"}, unsets=(name,)) == ("proved", "")

    def test_of_a_removed_variable_without_a_known_default_the_value_is_shown(self, project):
        assert state(project, {"MGE_HOME": "/home/me/x"}, unsets=("MGE_HOME",)) == ("shown", "")

    @pytest.mark.parametrize(
        ("wanted", "given", "expected"),
        [("2", "2", "proved"), ("8", "2", "capped"), ("8", "4", "capped"), ("8", "3", "differs"), ("1", "2", "differs"),
         ("3,2", "3", "proved"), ("8,2", "4", "capped")],
    )  # fmt: skip
    def test_threads_are_capped_by_cpus_or_cores_and_by_nothing_else(self, project, wanted, given, expected):
        row = proofs(project, {THREADS: given}, cpus=(4, 2), **{THREADS: wanted})[THREADS]
        assert row.state == expected

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [("MGE_PLASMA_MEMORY", "64MiB", "it is read later"), ("PYTHONHASHSEED", "0", "nothing shows it"),
         ("MGB_COMP_GRAPH_OPT", "1", "nobody reads it"), ("OURS", "1", "no catalogue has it")],
    )  # fmt: skip
    def test_what_cannot_be_read_back_is_not_provable(self, project, name, value, why):
        assert state(project, {}, **{name: value}) == ("unproved", why)

    def test_without_its_framework_a_variable_is_not_provable(self, project):
        assert state(project, {}, missing=MISSING, **{DROP: "1"}) == ("unproved", MISSING["megengine"])

    def test_an_expression_that_fails_says_why(self, project):
        error = "AttributeError: no such option"
        assert state(project, {DROP: Read(None, error=error)}, **{DROP: "1"}) == ("unproved", error)

    def test_an_interpreter_that_has_ended_too_early_proves_nothing(self, project):
        assert state(project, {}, **{DROP: "1"}) == ("unproved", "the interpreter did not come so far")


class TestUnasked:
    """The finding about a target without frameworks."""

    def findings(self, project, **said):
        return list(unasked(tuple(proofs(project, {}, missing=MISSING, **said).values()), MISSING))

    def test_settings_of_a_framework_that_is_not_there_are_counted(self, project):
        (finding,) = self.findings(project, **{DROP: "1", "MGE_DEFAULT_DEVICE": "cpu0", "OURS": "1"})
        assert (finding.severity, finding.code, finding.remedy) == ("warning", "prove.missing", "--python PATH")
        assert finding.names == (DROP, "MGE_DEFAULT_DEVICE")
        assert finding.message == "megengine is not installed in /env/bin/python: nothing is proved of 2 settings"

    def test_what_is_inherited_asks_for_no_framework(self, project):
        assert self.findings(project, shell={DROP: "1"}) == []

    def test_settings_of_nobody_miss_nothing(self, project):
        assert self.findings(project, OURS="1") == []


class TestDiffering:
    """The findings."""

    def findings(self, project, reads, fixes=(), **said):
        return list(differing(tuple(proofs(project, reads, **said).values()), fixes))

    def test_a_value_that_is_not_in_effect_is_an_error_at_its_place(self, project):
        project.profile("p", f"[env]\n{DROP} = 1\n")
        rows = judged(asked(project.resolve("p")), {DROP: Read("0")}, {}, ())
        (finding,) = differing(rows, ())
        assert (finding.severity, finding.code, finding.names) == ("error", "prove.differs", (DROP,))
        assert finding.message == f"{DROP}: asked 1, in effect 0"
        assert finding.place.endswith("p.toml:2:1")

    def test_a_dead_variable_is_told_with_what_to_use_instead_and_the_fix(self, project):
        name = "MEGENGINE_EXECUTION_STRATEGY"
        (finding,) = self.findings(project, {name: "HEURISTIC"}, **{name: "PROFILE"})
        assert finding.message == f"{name}: asked PROFILE, in effect HEURISTIC; instead: {CATALOGUE[name].instead}"
        assert finding.remedy == "--fix execution-strategy"
        (finding,) = self.findings(project, {name: "HEURISTIC"}, ("execution-strategy",), **{name: "PROFILE"})
        assert finding.remedy == ""

    def test_a_default_that_is_not_in_effect_is_an_error(self, project):
        (finding,) = self.findings(project, {DROP: "1"}, unsets=(DROP,))
        assert finding.message == f"{DROP}: asked the default, 0, in effect 1"

    def test_a_prediction_is_a_warning_only_where_it_is_not_what_was_asked(self, project):
        told = {JIT: Read("0", predicted=True), NATIVE: Read("1", predicted=True)}
        (finding,) = self.findings(project, told, **{JIT: "1", NATIVE: "1"})
        assert (finding.severity, finding.code, finding.names) == ("warning", "prove.predicted", (JIT,))

    def test_nothing_else_is_found(self, project):
        told = {DROP: "1", THREADS: "2", "MGE_HOME": "/x"}
        assert self.findings(project, told, unsets=("MGE_HOME",), **{DROP: "1", THREADS: "8", "OURS": "1"}) == []

    def test_a_secret_is_not_repeated(self, project):
        project.profile("p", f'[env]\n{DROP} = {{ value = "1", secret = true }}\n')
        (finding,) = differing(judged(asked(project.resolve("p")), {DROP: Read("0")}, {}, ()), ())
        assert finding.message == f"{DROP}: what is in effect is not what was asked for"
