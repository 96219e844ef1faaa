"""Write the table of options in docs/configuration.md, from the configuration; ``make man`` runs this."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from fer_edge.config import GROUPS, OPTIONS, TABLE
from fer_edge.option import Option
from fer_edge.toml_text import toml

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_TABLE = re.compile(r"(<!-- made by tools/options\.py \(make man\) -->\n).*(<!-- end -->\n)", re.DOTALL)


def page() -> str:
    """The page with its table as it should be."""
    return _TABLE.sub(lambda found: f"{found[1]}{table()}{found[2]}", PAGE.read_text(encoding="utf-8"))


def table() -> str:
    """A Markdown table with a row for each option, in the order of the help."""
    rows = ["| key | value | default | may be set | what it does |", "|---|---|---|---|---|"]
    for group in GROUPS:
        rows.append(f"| **{group}** | | | | |")
        rows += [_row(one) for one in OPTIONS.values() if one.group == group]
    return "\n".join([*rows, ""])


def _row(one: Option) -> str:
    written = one.written(one.default)
    default = "none" if written is None else f"`{toml(written)}`"
    formatter = argparse.HelpFormatter("")
    explained = formatter._expand_help(argparse.Action([one.flag], one.name, help=one.explained))
    cells = [f"`{one.name}`", _values(one), default, ", ".join(_where(one)), explained]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _where(one: Option) -> list[str]:
    return ["camera"] * (one.name in TABLE) + ["reload"] * one.reloads


def _values(one: Option) -> str:
    if one.choices:
        values = ", ".join(f"`{toml(choice)}`" for choice in one.choices)
        return f"list of {values}" if one.many else values
    if one.kind.toml == (bool,):
        return "`true`, `false`"
    return one.kind.noun.removeprefix("a ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
