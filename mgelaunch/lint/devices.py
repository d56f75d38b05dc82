"""Calls that open a device: from then on some variables are read; and the one that has processes start afresh."""

import ast
from collections.abc import Iterator, Mapping, Sequence

from mgelaunch.lint.bindings import Binding, choices
from mgelaunch.lint.evaluate import texts
from mgelaunch.lint.packages import CONTEXTS, CUDA_MAY_START, CUDA_METHODS, CUDA_STARTS, NO_TENSOR, PLACING, TENSORS
from mgelaunch.lint.state import AFRESH, CUDA, MAYBE_CUDA, TENSOR


def opened(
    node: ast.Call, name: str, args: Sequence[Binding], keywords: Mapping[str, Binding]
) -> Iterator[tuple[str, bool]]:
    """What the call does: `CUDA`, `MAYBE_CUDA`, `TENSOR`, `AFRESH`, each with whether it is sure. `name` is the full
    name of what is called, empty when it is not known.
    """
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in CUDA_STARTS or (method in CUDA_METHODS and name != "torch.cuda"):
        yield CUDA, True
    elif name in CUDA_MAY_START:
        yield MAYBE_CUDA, True
    elif name.endswith("multiprocessing.set_start_method"):
        if not CONTEXTS.keys().isdisjoint(texts(args[0] if args else keywords.get("method"))):
            yield AFRESH, True
    elif name.startswith(TENSORS) and not name.startswith(NO_TENSOR):
        yield TENSOR, True
        yield CUDA, True
    elif method in PLACING or name.startswith("torch."):
        named = (keywords.get("device"), keywords.get("map_location"))
        for device in (*args, *named) if method in PLACING else named:
            on_card = [text.startswith("cuda") for text in texts(device)]
            if any(on_card):
                yield CUDA, all(on_card) and len(on_card) == len(choices(device))
