"""Which FER+ votes go with the data of a command."""

from __future__ import annotations

import os


def votes_of(data: str | None, given: str | None) -> str | None:
    """The votes that are ``given``, else those of FERPLUS_CSV, which belong to FER2013_CSV alone, or None."""
    if not given and data and data == os.environ.get("FER2013_CSV"):
        given = os.environ.get("FERPLUS_CSV")
    return given or None
