"""Profiles for people and programs: the list, and what one of them says."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mgelaunch.catalogue.names import is_secret
from mgelaunch.environment.library import Found
from mgelaunch.environment.profile import Entry, ProfileFile, Requirement
from mgelaunch.environment.profile_values import LaunchValue
from mgelaunch.host.amounts import shown as size
from mgelaunch.report.table import columns
from mgelaunch.report.text import duration, escaped, masked, shown


class Listed(NamedTuple):
    """A profile in the list: where it was found, and its own description."""

    found: Found
    description: str


def profile_listing(profiles: Sequence[Listed], display: Callable[[str], str]) -> str:
    """One line a profile: name, place, description; and one for each file that it hides."""
    rows = [("", "NAME", "FROM", "DESCRIPTION")]
    for profile in profiles:
        rows.append(("", profile.found.name, _place(profile.found, display), escaped(profile.description)))
        rows += [("", "", f"hides {_place(hidden, display)}", "") for hidden in profile.found.hides]
    return "\n".join(columns(rows))


def _place(found: Found, display: Callable[[str], str]) -> str:
    return "shipped" if found.shelf == "shipped" else display(found.path)


def listing_document(profiles: Sequence[Listed]) -> dict[str, Any]:
    """The list as JSON."""
    return {
        "version": 1,
        "profiles": [
            {
                "name": profile.found.name,
                "from": profile.found.shelf,
                "path": profile.found.path,
                "description": profile.description,
                "hides": [hidden.path for hidden in profile.found.hides],
            }
            for profile in profiles
        ],
    }


def profile_text(files: Sequence[ProfileFile], display: Callable[[str], str]) -> str:
    """What the files of a chain say, bases first."""
    return "\n\n".join(_file_text(file, display) for file in files)


def _file_text(file: ProfileFile, display: Callable[[str], str]) -> str:
    head = [f"{file.name}  {display(file.path)}"]
    head += [f"  {escaped(file.description)}"] if file.description else []
    rows = [("", entry.name, _said(entry), entry.where) for entry in file.env]
    rows += [("", entry.name, _said(entry), f"{entry.where} rank") for entry in file.rank_env]
    rows += [("", f"[launch] {key.key}", _meant(key.value), key.where) for key in file.launch]
    rows += [("", f"[requires] {need.key}", _needed(need), need.where) for need in file.requires]
    return "\n".join([*head, *(columns(rows) if rows else ())])


def _said(entry: Entry) -> str:
    if entry.required:
        return "(required)"
    if entry.unset:
        return "(removed)"
    text = shown(entry.text, secret=entry.secret or is_secret(entry.name))
    return f"{text}  (gives way)" if entry.soft else text


def _meant(value: LaunchValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return duration(value)
    return shown(", ".join(value) if isinstance(value, tuple) else str(value))


def _needed(need: Requirement) -> str:
    return size(need.value) if isinstance(need.value, int) else escaped(need.value)


def profile_document(files: Sequence[ProfileFile]) -> str:
    """The same as JSON, secrets masked, durations in seconds, sizes in bytes."""
    shown_files = [
        {
            "name": file.name,
            "path": file.path,
            "description": file.description,
            "extends": [base.name for base in file.extends],
            "env": [_entry(entry) for entry in file.env],
            "rank_env": [_entry(entry) for entry in file.rank_env],
            "launch": [{"key": key.key, "value": key.value, "where": key.where} for key in file.launch],
            "requires": [{"key": need.key, "value": need.value, "where": need.where} for need in file.requires],
        }
        for file in files
    ]
    return json.dumps({"version": 1, "files": shown_files}, indent=2)


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "value": masked(entry.text, secret=entry.secret or is_secret(entry.name)),
        "unset": entry.unset,
        "soft": entry.soft,
        "required": entry.required or None,
        "where": entry.where,
    }
