"""Text for CSV files that spreadsheets open: names must not become formulas."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in a spreadsheet, by OWASP's list; the last four are full-width forms."""


def inert(text: str) -> str:
    """Return ``text`` as a cell that no spreadsheet executes.

    An apostrophe is put before text that would begin a formula, as OWASP advises ("CSV Injection"). Numbers
    are not for this function: -0.5 is one, and stays as it is.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
