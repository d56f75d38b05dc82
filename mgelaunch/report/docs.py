"""The pages docs/variables.md and docs/variables.zh-CN.md: the whole catalogue as Markdown.

``python -m mgelaunch.report.docs`` in a checkout writes both; a test fails when they are stale.
"""

import os
from collections.abc import Iterable
from typing import Literal

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Resource
from mgelaunch.catalogue.variable import Framework, Moment, Reader, Variable

Language = Literal["en", "zh"]

MOMENT_WORDS: dict[Moment, tuple[str, str]] = {
    "start": ("interpreter start", "解释器启动时"),
    "import": ("import", "import 时"),
    "first_device": ("first device", "首次打开设备时"),
    "first_tensor": ("first tensor", "创建第一个张量时"),
    "first_use": ("first use", "首次使用该功能时"),
    "each_use": ("each use", "每次使用时"),
    "exit_too": ("import and exit", "import 时及退出时"),
    "never": ("never", "从不"),
}
"""What users see for a moment, in English and in Chinese."""

GROUP_WORDS: dict[str, tuple[str, str]] = {
    "device": ("MegEngine: devices", "MegEngine：设备"),
    "logging": ("MegEngine: logs", "MegEngine：日志"),
    "dataloader": ("MegEngine: data loading and shared memory", "MegEngine：数据加载与共享内存"),
    "distributed": ("MegEngine: several cards and machines", "MegEngine：多卡与多机"),
    "memory": ("MegEngine: device memory", "MegEngine：显存"),
    "sublinear": ("MegEngine: sublinear memory", "MegEngine：亚线性内存"),
    "dtr": ("MegEngine: DTR, releasing and recomputing tensors", "MegEngine：DTR（释放并重新计算张量）"),
    "graph": ("MegEngine: execution and graphs", "MegEngine：执行与计算图"),
    "fastrun": ("MegEngine: kernel selection and its cache", "MegEngine：内核选择及其缓存"),
    "jit": ("MegEngine: JIT and XLA", "MegEngine：JIT 与 XLA"),
    "debug": ("MegEngine: debugging", "MegEngine：调试"),
    "custom-op": ("MegEngine: custom operators", "MegEngine：自定义算子"),
    "brevitas": ("Brevitas", "Brevitas"),
    "torch": ("PyTorch", "PyTorch"),
    "cuda": ("CUDA and HIP", "CUDA 与 HIP"),
    "nccl": ("NCCL", "NCCL"),
    "threads": ("Threads", "线程"),
    "python": ("Python", "Python"),
    "paths": ("Paths", "路径"),
}
"""The groups in the order of the pages, with their headings in English and in Chinese."""

FRAMEWORK_WORDS: dict[Framework, tuple[str, str]] = {
    "megengine": ("MegEngine", "MegEngine"),
    "brevitas": ("Brevitas", "Brevitas"),
    "torch": ("PyTorch", "PyTorch"),
    "python": ("Python", "Python"),
    "cuda": ("CUDA", "CUDA"),
    "nccl": ("NCCL", "NCCL"),
    "system": ("libraries and scripts", "系统库与脚本"),
}
"""What users see for a reader, in English and in Chinese."""

UNIT_WORDS: dict[str, tuple[str, str]] = {
    "bytes": ("bytes; write a size with its unit", "字节；请写成带单位的容量"),
    "MiB": ("MiB; write a size with its unit", "MiB；请写成带单位的容量"),
    "seconds": ("seconds", "秒"),
    "threads": ("threads", "线程"),
    "processes": ("processes", "进程"),
    "events": ("events", "事件"),
    "commands": ("commands", "命令"),
    "iterations": ("iterations", "迭代"),
}
"""What users see for the unit of a number, in English and in Chinese."""

RESOURCE_WORDS: dict[Resource, tuple[str, str]] = {
    "device-memory": (
        "the card's memory; of the host's memory when the device is a CPU",
        "显卡的显存；设备是 CPU 时指主机内存",
    ),
    "shared-memory": ("the size of /dev/shm", "共享内存 /dev/shm 的容量"),
    "cpus": ("the CPUs that the job may use", "任务可用的 CPU 数"),
}
"""What a percentage refers to, in English and in Chinese. Local ranks that share it divide it."""

_INTRO = (
    """# Environment variables

This page is generated from mgelaunch's catalogue by `python -m mgelaunch.report.docs`; change the catalogue, never
the page. For each variable it says what the frameworks really do with it, how mgelaunch lets you write it, when it is
read and what to beware of. "Off" is what reaches your script when you turn the variable off: a text, or nothing at all.
""",
    """# 环境变量

本页由 `python -m mgelaunch.report.docs` 根据 mgelaunch 的变量清单生成；如需改动，请修改清单而不是本页。
每个变量都写明了框架实际如何使用它、在 mgelaunch 中怎样书写、何时读取以及需要注意什么。
“关闭”指关闭该变量时脚本实际得到的内容：某个值，或该变量不存在。
""",
)

_LABELS: dict[str, tuple[str, str]] = {
    "kind": ("Kind", "类型"),
    "unit": ("Unit", "单位"),
    "percentage": ("A percentage is of", "百分比所指"),
    "write": ("Write", "写法"),
    "default": ("Default", "默认"),
    "unset": ("not set", "未设置"),
    "off": ("Off", "关闭"),
    "absent": ("the variable is absent", "该变量不存在"),
    "no off": ("-", "无"),
    "read": ("Read", "读取"),
    "by": ("by", "由"),
    "nobody": ("by no version", "没有版本读取"),
    "trap": ("Beware", "注意"),
    "instead": ("Instead", "替代"),
    "fix": ("Repair", "修复"),
    "readback": ("Read back", "读回"),
    "source": ("Source", "依据"),
    "official": ("on the official settings page", "见于官方环境变量页面"),
}


def page(language: Language) -> str:
    """Render the whole catalogue as one Markdown page that ends with a line break."""
    column = 0 if language == "en" else 1
    parts = [_INTRO[column]]
    for group, headings in GROUP_WORDS.items():
        parts.append(f"## {headings[column]}\n")
        parts.extend(_entry(variable, column) for variable in _members(group))
    return "\n".join(parts)


def _members(group: str) -> Iterable[Variable]:
    return (variable for variable in CATALOGUE.values() if variable.group == group)


def _entry(variable: Variable, column: int) -> str:
    """One variable: its name, its meaning, one line for each fact."""
    facts = [
        *_values(variable, column),
        ("read", _read(variable, column)),
        ("trap", (variable.trap, variable.trap_zh)[column]),
        ("instead", f"`{variable.instead}`" if variable.instead else ""),
        ("fix", f"`mgelaunch run --fix {variable.fix}`" if variable.fix else ""),
        ("readback", f"`{variable.readback}`" if variable.readback else ""),
        ("source", variable.source),
    ]
    colon = (": ", "：")[column]
    lines = [f"- **{_LABELS[label][column]}**{colon}{fact}" for label, fact in facts if fact]
    if variable.documented:
        lines.append(f"- *{_LABELS['official'][column]}*")
    meaning = (variable.en, variable.zh)[column]
    return "\n".join([f"### `{variable.name}`\n", meaning, "", *lines, ""])


def _values(variable: Variable, column: int) -> list[tuple[str, str]]:
    """List what can be written and what it means; nothing for a variable that no version reads any more."""
    if variable.kind.name == "dead":
        return []
    unit = getattr(variable.kind, "unit", "")
    resource = variable.kind.resource
    return [
        ("kind", variable.kind.name),
        ("write", variable.kind.legal[column]),
        ("unit", UNIT_WORDS[unit][column] if unit else ""),
        ("percentage", RESOURCE_WORDS[resource][column] if resource else ""),
        ("default", _default(variable, column)),
        ("off", _off(variable, column)),
    ]


def _default(variable: Variable, column: int) -> str:
    if variable.default is None:
        return f"`{variable.default_note}`" if variable.default_note else _LABELS["unset"][column]
    return f"`{variable.default}`"


def _off(variable: Variable, column: int) -> str:
    off = variable.kind.off
    if off == "unset":
        return _LABELS["absent"][column]
    return f"`{off}`" if off else _LABELS["no off"][column]


def _read(variable: Variable, column: int) -> str:
    """When, and by whom."""
    moment = MOMENT_WORDS[variable.moment][column]
    if not variable.readers:
        return _LABELS["nobody"][column]
    readers = ("; ", "；")[column].join(_reader(reader, column) for reader in variable.readers)
    if variable.moment == "never":
        return readers
    return (f"{moment}, by {readers}", f"{moment}，读取者为 {readers}")[column]


def _reader(reader: Reader, column: int) -> str:
    """Name a framework with the versions and builds that read the variable."""
    words = [FRAMEWORK_WORDS[reader.framework][column]]
    if reader.since:
        words.append((f"since {reader.since}", f"{reader.since} 起")[column])
    if reader.until:
        words.append((f"before {reader.until}", f"{reader.until} 之前")[column])
    if reader.builds:
        words.append((f"({reader.builds} only)", f"（仅限 {reader.builds}）")[column])
    return " ".join(words)


def main() -> None:
    """Write both pages into the checkout that holds this file."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
    for name, language in PAGES:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(page(language))


PAGES: tuple[tuple[str, Language], ...] = (("variables.md", "en"), ("variables.zh-CN.md", "zh"))
"""The generated files in docs/ and their languages."""

if __name__ == "__main__":
    main()
