"""``mgelaunch vars``: the catalogue, searchable in both languages."""

import json
from typing import Annotated, Any, Literal

import typer

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.names import near_miss
from mgelaunch.catalogue.variable import Variable
from mgelaunch.cli.language import Language, chosen
from mgelaunch.cli.say import complain
from mgelaunch.report.describe import describe, entry, listing


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`."""
    app.command("vars", context_settings=settings | {"allow_interspersed_args": True})(variables)


def variables(
    word: Annotated[str, typer.Argument(metavar="[WORD]", help="A name, or a word of a name or meaning.")] = "",
    lang: Annotated[Language, typer.Option("--lang", help="Language of the meanings.")] = "auto",
    output: Annotated[Literal["text", "json"], typer.Option("-f", "--format", help="How to print.")] = "text",
) -> int:
    """List the variables that the frameworks really read, or those whose name or meaning contains WORD.

    Examples:

      mgelaunch vars dtr

      mgelaunch vars 显存 --lang zh

      mgelaunch vars MGB_CUDA_RESERVE_MEMORY
    """
    found = _search(word)
    if not found:
        meant = near_miss(word.upper(), CATALOGUE)
        hint = f"; did you mean {meant}?" if meant else ""
        complain(f"mgelaunch: no variable has this word in its name or meaning{hint}")
        return 1
    if output == "json":
        shown = {"version": 1, "variables": [entry(variable) for variable in found]}
        print(json.dumps(shown, indent=2))
    elif len(found) == 1:
        print(describe(found[0], chosen(lang)))
    else:
        print(listing(found, chosen(lang)))
    return 0


def _search(word: str) -> list[Variable]:
    exact = CATALOGUE.get(word.upper())
    if exact:
        return [exact]
    return [variable for variable in CATALOGUE.values() if word.casefold() in _texts(variable).casefold()]


def _texts(variable: Variable) -> str:
    return "\n".join((variable.name, variable.group, variable.en, variable.zh, variable.trap, variable.trap_zh))
