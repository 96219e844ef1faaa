"""``fer-edge notice``: what a run computes, keeps and sends, as a sheet for the door."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, printable
from ..option import nonempty

if TYPE_CHECKING:
    from ..config import Config

HELP = "Print a notice for the door: what a run computes, keeps and sends."
EPILOG = """\
examples:
  fer-edge notice                                          # as text, with the defaults
  fer-edge notice --config /etc/fer-edge.toml --language de --language en \\
      --operator "Blumen Meier, Hauptstr. 1, Bonn" --contact datenschutz@example.org --out notice.html
  fer-edge notice --operator "Blumen Meier" --pdf notice.pdf -- --camera 0 --store shop.db --keep 30

The notice is made from the run's configuration: a file (--config), the environment, and what follows --,
options of `fer-edge run`. What is not given is a line to fill in by hand. Open the HTML in a browser and
print it on A4, a page for each language; --pdf lets Chromium do that. docs/privacy.md explains what it is
for. It is not legal advice.
Exit code: 0 done, 1 printing failed, 2 bad input or no browser, 78 a bad configuration file."""

_ALL = "all"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from ..notice.languages import FALLBACK, languages

    parser.add_argument(
        "--config",
        type=nonempty,
        metavar="FILE",
        help="read the run's options from this configuration file",
    )
    parser.add_argument(
        "--language",
        action="append",
        choices=(*languages(), _ALL),
        help=f"write the notice in this language; may be given more than once (default: {FALLBACK})",
    )
    for name, text in (
        ("operator", "who runs the camera"),
        ("contact", "where the operator can be reached about it"),
        ("purpose", "what it is for"),
        ("more", "where the full privacy information is, as a URL"),
    ):
        parser.add_argument(f"--{name}", type=_told, metavar="TEXT", help=f"{text}; \\n begins a new line")
    parser.add_argument(
        "--out", type=nonempty, metavar="FILE", help="write the notice as HTML to print; - is stdout"
    )
    parser.add_argument("--pdf", type=nonempty, metavar="FILE", help="write it as PDF, with Chromium")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION", help="after --: options of fer-edge run, and its source"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print or write the notice."""
    from ..chromium import write_pdf
    from ..files import check_target, write_text
    from ..notice.facts import facts_of
    from ..notice.languages import FALLBACK, languages
    from ..notice.sheet import Details, as_html, as_text

    asked = arguments.language or [FALLBACK]
    chosen = languages() if _ALL in asked else tuple(dict.fromkeys(asked))
    files = [one for one in (arguments.out, arguments.pdf) if one and one != "-"]
    for file in files:
        check_target(file, [arguments.config] if arguments.config else [], force=arguments.force)
    if len({Path(file).absolute() for file in files}) < len(files):
        raise DataError(f"--out and --pdf are both {arguments.pdf}; give two names")
    facts = facts_of(_config(arguments))
    details = Details(date.today(), arguments.operator, arguments.contact, arguments.purpose, arguments.more)
    if not (arguments.out or arguments.pdf):
        print(as_text(facts, details, chosen), end="")
        return 0
    page = as_html(facts, details, chosen)
    if arguments.out == "-":
        print(page, end="")
    elif arguments.out:
        write_text(arguments.out, page)
        print(f"{printable(arguments.out)}: written")
    if arguments.pdf:
        write_pdf(page, arguments.pdf)
        print(f"{printable(arguments.pdf)}: printed", file=sys.stderr if arguments.out == "-" else sys.stdout)
    return 0


def _told(text: str) -> str:
    """An argparse type: a text of one or more lines."""
    lines = [line.strip() for line in nonempty(text).replace("\\n", "\n").splitlines()]
    if not any(lines) or not all(character.isprintable() for line in lines for character in line):
        raise argparse.ArgumentTypeError(f"{text!r} is no text that can be printed")
    return "\n".join(lines)


def _config(arguments: argparse.Namespace) -> Config:
    """The configuration, as ``run`` reads it."""
    from ..config import load
    from . import set_up
    from .run import given

    parser = argparse.ArgumentParser("fer-edge run", formatter_class=argparse.RawDescriptionHelpFormatter)
    set_up(parser, "run")
    parsed = parser.parse_args(arguments.options)
    file = arguments.config or parsed.config or os.environ.get("FER_EDGE_CONFIG")
    return load(given(parsed), os.environ, file).config
