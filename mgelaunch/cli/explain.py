"""``mgelaunch explain``: every layer that speaks of one variable, and what the variable means."""

import json
from typing import Annotated, Any, Literal

import typer

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.names import near_miss
from mgelaunch.cli.decide import decide
from mgelaunch.cli.language import Language, chosen
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.report.describe import describe, entry
from mgelaunch.report.document import setting_document
from mgelaunch.report.explain import explanation


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`. NAME may stand before the options."""
    interspersed = settings | {"allow_interspersed_args": True}
    app.command("explain", context_settings=interspersed)(with_options(explain))


def explain(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The variable.")],
    output: Annotated[Literal["text", "json"], typer.Option("-f", "--format", help="How to print.")] = "text",
    lang: Annotated[Language, typer.Option("--lang", help="Language of the meaning.")] = "auto",
) -> int:
    """Show every layer that mentions NAME, the winner first, and what NAME means.

    Examples:

      mgelaunch explain MEGENGINE_DTR_EVICTION_THRESHOLD -p dtr
    """
    decision = decide(options)
    if name not in decision.resolution.settings and name.upper() in CATALOGUE:
        name = name.upper()
    findings = [finding for finding in decision.findings if name in finding.names or not finding.names]
    say(findings)
    setting = decision.resolution.settings.get(name)
    variable = CATALOGUE.get(name)
    if output == "json":
        shown = {
            "version": 1,
            "setting": setting_document(setting, findings) if setting else None,
            "variable": entry(variable) if variable else None,
        }
        print(json.dumps(shown, indent=2))
        return diagnosis(findings)
    demands = [demand for demand in decision.resolution.layers.demands if demand.name == name]
    print(explanation(name, setting, findings, demands))
    if variable:
        print(f"\n{describe(variable, chosen(lang))}")
    elif meant := near_miss(name, CATALOGUE):
        print(f"\nNo framework reads it; did you mean {meant}?")
    else:
        print("\nIt is not in the catalogue, so a value is passed on as it is.")
    return diagnosis(findings)
