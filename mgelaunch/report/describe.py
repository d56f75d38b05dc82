"""One variable of the catalogue, or a list of them, in the user's language."""

from collections.abc import Sequence
from typing import Any, Literal

from mgelaunch.catalogue.variable import Reader, Variable
from mgelaunch.report.docs import MOMENT_WORDS, RESOURCE_WORDS
from mgelaunch.report.text import padded, width

Tongue = Literal["en", "zh"]

_LABELS = {
    "write": ("write", "写法"),
    "percentage": ("percent", "百分比"),
    "default": ("default", "默认"),
    "off": ("off", "关闭"),
    "read": ("read", "读取"),
    "by": ("by", "读取者"),
    "trap": ("trap", "注意"),
    "instead": ("instead", "替代"),
    "fix": ("repair", "修复"),
    "fact": ("source", "依据"),
}


def describe(variable: Variable, tongue: Tongue) -> str:
    """The row of the catalogue as a short text."""
    second = int(tongue == "zh")
    resource = variable.kind.resource
    rows = [
        ("write", variable.kind.legal[second]),
        ("percentage", RESOURCE_WORDS[resource][second] if resource else ""),
        ("default", variable.default or variable.default_note or ("unset", "不设置")[second]),
        ("off", variable.kind.off),
        ("read", MOMENT_WORDS[variable.moment][second]),
        ("by", ", ".join(map(_reader, variable.readers)) or ("nobody", "无")[second]),
        ("trap", variable.trap_zh if second else variable.trap),
        ("instead", variable.instead),
        ("fix", f"--fix {variable.fix}" if variable.fix else ""),
        ("fact", variable.source),
    ]
    labels = {key: _LABELS[key][second] for key, _ in rows}
    columns = max(map(width, labels.values())) + 2
    lines = [f"  {padded(labels[key], columns)}{text}" for key, text in rows if text]
    meaning = variable.zh if second else variable.en
    return "\n".join([f"{variable.name}  ({variable.kind.name})", f"  {meaning}", *lines])


def listing(variables: Sequence[Variable], tongue: Tongue) -> str:
    """One line a variable: name and meaning."""
    columns = max(len(variable.name) for variable in variables) + 2
    return "\n".join(
        f"{padded(variable.name, columns)}{variable.zh if tongue == 'zh' else variable.en}" for variable in variables
    )


def entry(variable: Variable) -> dict[str, Any]:
    """The row as JSON; keys and codes are English in every language."""
    return {
        "name": variable.name,
        "kind": variable.kind.name,
        "legal": variable.kind.legal[0],
        "unit": getattr(variable.kind, "unit", "") or None,
        "default": variable.default,
        "off": variable.kind.off or None,
        "resource": variable.kind.resource or None,
        "moment": variable.moment,
        "group": variable.group,
        "documented": variable.documented,
        "readers": [reader._asdict() for reader in variable.readers],
        "meaning_en": variable.en,
        "meaning_zh": variable.zh,
        "trap": variable.trap or None,
        "instead": variable.instead or None,
        "fix": variable.fix or None,
        "readback": variable.readback or None,
        "source": variable.source,
    }


def _reader(reader: Reader) -> str:
    since = f" from {reader.since}" if reader.since else ""
    until = f" before {reader.until}" if reader.until else ""
    builds = f" ({reader.builds} builds)" if reader.builds else ""
    return f"{reader.framework}{since}{until}{builds}"
