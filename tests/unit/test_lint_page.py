"""docs/lint.md and its Chinese sister say what lint can find; so do the pages of the checks."""

import ast
import re
from pathlib import Path

import pytest

import mgelaunch

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = sorted((Path(mgelaunch.__file__).parent / "lint").glob("*.py"))


def codes():
    """The codes of lint's own findings in its sources."""
    texts = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if re.fullmatch(r"lint\.[a-z]+", text)}


@pytest.mark.parametrize("page", ["lint.md", "lint.zh-CN.md", "checks.md", "checks.zh-CN.md"])
def test_a_page_lists_every_code_of_lint(page):
    listed = re.findall(r"^\| `(lint\.[a-z]+)` \|", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(codes())


def test_both_pages_have_the_same_parts():
    english, chinese = ((DOCS / page).read_text("utf-8") for page in ("lint.md", "lint.zh-CN.md"))
    for part in (r"^#+ ", r"^\|", r"^- ", r"^```"):
        assert len(re.findall(part, english, re.MULTILINE)) == len(re.findall(part, chinese, re.MULTILINE)), part


def test_the_pages_show_what_the_command_prints(tmp_path):
    from .lint_scripts import outcome

    line = 'import os\nos.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = "5GB"\nos.environ["MGB_COMP_GRAPH_OPT"] = ""\n'
    for finding in outcome(tmp_path, {"train.py": f"import megengine\n{line}"}, "train.py").findings:
        if finding.severity != "info":
            sentence = finding.message.partition('" at ')[0]
            for page in ("lint.md", "lint.zh-CN.md"):
                text = (DOCS / page).read_text("utf-8")
                assert f"{finding.severity} {finding.code} {sentence}" in text
                assert f"    {finding.remedy}\n" in text
