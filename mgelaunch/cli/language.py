"""Which language the catalogue speaks to this user."""

import os
import sys
from typing import Literal

Language = Literal["auto", "en", "zh"]


def chosen(asked: Language) -> Literal["en", "zh"]:
    """The language asked for; with ``auto`` the locale's, as far as stdout can carry Chinese."""
    if asked != "auto":
        return asked
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    if not locale.startswith("zh"):
        return "en"
    try:
        "中文".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "en"
    return "zh"
