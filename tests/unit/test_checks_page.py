"""docs/checks.md and its Chinese sister list every code that can be found, and none that cannot."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mgelaunch

PAGES = Path(__file__).parents[2] / "docs"
PACKAGE = Path(mgelaunch.__file__).parent
CODE = re.compile(r"[a-z][a-z0-9]*\.[a-z][a-z0-9-]*")


def trees(*rooms):
    """The syntax trees of the modules of these rooms of the package."""
    paths = sorted(path for room in rooms for path in (PACKAGE / room).rglob("*.py"))
    assert paths
    return [ast.parse(path.read_text("utf-8")) for path in paths]


def constant(node):
    """The text of a literal; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def calls(tree, name):
    """The calls of the function `name`."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def composed(tree):
    """Codes of helpers that put an area before what they are given: ``Finding(severity, f"area.{code}", ...)``."""
    for helper in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for finding in calls(helper, "Finding"):
            code = finding.args[1]
            if isinstance(code, ast.JoinedStr):
                area = constant(code.values[0])
                yield from (f"{area}{constant(call.args[0])}" for call in calls(tree, helper.name))


@cache
def codes(*rooms):
    """Everything in these rooms that looks like a code."""
    found = set()
    for tree in trees(*rooms):
        found |= {text for node in ast.walk(tree) if CODE.fullmatch(text := constant(node))}
        found |= set(composed(tree))
    return found


def listed(page):
    """The codes in the first column of the tables of a page, in their order."""
    return re.findall(r"^\| `([^`]+)` \|", (PAGES / page).read_text("utf-8"), re.MULTILINE)


@pytest.fixture(params=["checks.md", "checks.zh-CN.md"], ids=["English", "Chinese"])
def page(request):
    """The name of a page."""
    return request.param


def test_a_page_lists_every_code_of_the_checks_and_of_the_commands(page):
    assert sorted(codes("checks", "cli") - set(listed(page))) == []


def test_a_page_lists_no_code_that_no_source_has(page):
    assert sorted(set(listed(page)) - codes(".")) == []


def test_a_page_lists_each_code_once(page):
    assert sorted(listed(page)) == sorted(set(listed(page)))


def test_both_pages_list_the_same_in_the_same_order():
    assert listed("checks.md") == listed("checks.zh-CN.md")


def test_every_literal_code_of_a_finding_looks_like_a_code():
    """Otherwise the comparison would pass over it in silence."""
    literal = [constant(call.args[1]) for tree in trees("checks", "cli") for call in calls(tree, "Finding")]
    assert [code for code in literal if code and not CODE.fullmatch(code)] == []


def test_codes_that_a_helper_puts_together_are_seen():
    assert {"together.dtr", "together.amd"} <= codes("checks")
