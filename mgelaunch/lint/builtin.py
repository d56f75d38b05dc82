"""What a few functions return when they are given constants."""

from collections.abc import Mapping, Sequence

from mgelaunch.lint.bindings import Binding, External, Function, Known, together
from mgelaunch.lint.evaluate import as_text, attribute, either, texts
from mgelaunch.lint.packages import CONTEXTS

_KEEPING = frozenset({"list", "tuple", "set", "frozenset", "sorted", "reversed"})
_PARTIAL = "functools.partial"


def outcome(name: str, args: Sequence[Binding], keywords: Mapping[str, Binding]) -> Binding:
    """What the call of `name`, which is no function of the script, returns."""
    first = args[0] if args else None
    if name == "str" and args:
        return as_text(first)
    if name == "dict":
        return together({**items(first), **keywords})
    if name in _KEEPING and isinstance(first, Known):
        return together(tuple(map(Known, first.value))) if isinstance(first.value, dict) else first
    if name == "getattr" and len(args) > 1 and (names := texts(args[1])):
        return attribute(first, names[0])
    if name == _PARTIAL and isinstance(first, Function):
        return first._replace(partial=len(args) + len(keywords) > 1)
    if name == "torch.device":
        return first  # whatever takes a device takes its text
    if name.endswith("multiprocessing.get_context"):
        methods = texts(first if args else keywords.get("method"))
        return either([External(CONTEXTS.get(method, f"{name}()")) for method in methods] or [External(f"{name}()")])
    return External(f"{name}()")


def items(binding: Binding) -> dict[str, Binding]:
    """The items of a constant dictionary, or of a constant list of pairs."""
    if not isinstance(binding, Known):
        return {}
    if isinstance(binding.value, dict):
        return binding.value
    pairs = binding.value if isinstance(binding.value, tuple) else ()
    known = [pair.value for pair in pairs if isinstance(pair, Known) and isinstance(pair.value, tuple)]
    return {name: pair[1] for pair in known if len(pair) == 2 for name in texts(pair[0])}


CHANGING = frozenset(
    {
        *("append", "extend", "insert", "remove", "reverse", "sort", "add", "discard"),
        *("update", "setdefault", "pop", "popitem", "clear"),
    }
)
"""Methods that make a constant another one."""


def change(owner: Known, name: str, args: Sequence[Binding]) -> Binding:
    """What a constant is after the method `name`, one of `CHANGING`: the dictionary itself, or another list."""
    match owner.value, name:
        case dict(known), "update" if args and isinstance(args[0], Known) and isinstance(args[0].value, dict):
            known.update(dict.fromkeys(args[0].value))
            known.update(
                {key: each for key, each in args[0].value.items() if isinstance(each, Known) and not each.depth}
            )
            return owner
        case dict(known), "update" | "setdefault" | "pop" | "popitem" | "clear":
            known.update(dict.fromkeys(known))
            return owner
        case tuple(parts), "append" if args:
            return together((*parts, args[0]))
    return None


def method(owner: Binding, name: str, args: Sequence[Binding]) -> Binding:
    """What a method of a constant returns."""
    match owner, name:
        case Known(dict(known)), "items":
            return together(tuple(together((Known(key), value)) for key, value in known.items()))
        case Known(dict(known)), "keys":
            return together(tuple(map(Known, known)))
        case Known(dict(known)), "copy":
            return together(dict(known))
        case Known(dict(known)), "get" if args:
            return either(known[key] for key in texts(args[0]) if key in known) if texts(args[0]) else None
        case Known(str(text)), "split" if not args:
            return together(tuple(map(Known, text.split())))
        case Known(str(text)), "upper" | "lower" | "strip" if not args:
            return Known(getattr(text, name)())
    return None
