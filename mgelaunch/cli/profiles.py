"""``mgelaunch profiles``: which there are, and what one of them says."""

import json
from typing import Annotated, Any, Literal

import typer

from mgelaunch import __version__
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.cli.surroundings import inherited_environment, places, working_directory
from mgelaunch.environment.library import Found, available, chain
from mgelaunch.environment.project import Places
from mgelaunch.environment.relative import display
from mgelaunch.report.profiles import Listed, listing_document, profile_document, profile_listing, profile_text


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the two subcommands to `app`."""
    group = typer.Typer(help="Profiles: list them, show one.", no_args_is_help=True, context_settings=settings)
    interspersed = settings | {"allow_interspersed_args": True}
    group.command("list", context_settings=interspersed)(list_profiles)
    group.command("show", context_settings=interspersed)(show_profile)
    app.add_typer(group, name="profiles")


_Output = Annotated[Literal["text", "json"], typer.Option("-f", "--format", help="How to print.")]


def list_profiles(output: _Output = "text") -> int:
    """List all profiles in the order in which a name is looked up, and what each hides.

    Examples:

      mgelaunch profiles list
    """
    environ, cwd = inherited_environment(), working_directory()
    where = places(environ, cwd)
    found = [Listed(profile, _description(profile, where)) for profile in available(where)]
    if output == "json":
        print(json.dumps(listing_document(found), indent=2))
    else:
        print(profile_listing(found, lambda path: display(path, cwd)))
    return 0


def _description(profile: Found, where: Places) -> str:
    """The first sentence of the file's description, or that something is wrong with the file."""
    files = chain((profile.path,), where, __version__).files
    if not files or any(finding.severity == "error" for finding in files[-1].findings):
        return f"(wrong: mgelaunch profiles show {profile.name})"
    return files[-1].description.partition(". ")[0].rstrip(".")


def show_profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a path.")], output: _Output = "text"
) -> int:
    """Show what a profile and its bases say, bases first, with the line of each entry.

    Examples:

      mgelaunch profiles show dtr
    """
    environ, cwd = inherited_environment(), working_directory()
    profiles = chain((name,), places(environ, cwd), __version__, origin="")
    findings = (*profiles.findings, *(finding for file in profiles.files for finding in file.findings))
    say(findings)
    if output == "json":
        print(profile_document(profiles.files))
    elif profiles.files:
        print(profile_text(profiles.files, lambda path: display(path, cwd)))
    return diagnosis(findings)
