"""Write docs/fer-edge.1, the manual page, from the parsers of all commands; ``make man`` runs this.

The page is kept in the tree, since a wheel is built where the package cannot be imported; a test compares it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fer_edge.commands import COMMANDS, command_parsers

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fer-edge.1"

_HEAD = r""".\" Made by tools/man.py (make man); do not edit.
.TH FER\-EDGE 1 "" fer\-edge "User Commands"
.SH NAME
fer\-edge \- facial\-expression recognition that runs on a Raspberry Pi
.SH SYNOPSIS
.B fer\-edge
.I COMMAND
.RI [ OPTION \&.\|.\|.]
.SH DESCRIPTION
Finds faces on cameras, streams, videos and pictures and tells their emotions, on the device itself.
Nothing leaves it that was not asked for. What is written without being asked for is in the state folder of
.BR run :
pauses and drawn masks, the token of the page, and a store where
.B \-\-page
or
.B \-\-mqtt
is given and
.B \-\-store
is not.
"""

_TAIL = r""".SH EXIT STATUS
.TP
.B 0
Done, also where
.B run
was stopped with Ctrl\-C or SIGTERM.
.TP
.B 1
A camera or stream was lost, more than a tenth of a video is missing, an output lost something, or the
work failed.
.TP
.B 2
Usage, bad input, or a camera or stream that cannot be opened.
.TP
.B 78
A bad configuration file, or a bad environment variable that is an option of
.BR run .
.TP
.B 130
A command other than
.B run
was stopped with Ctrl\-C.
.SH ENVIRONMENT
.TP
.B FER_EDGE_DEBUG
If set, and not 0, errors come with the place in the program where they arose.
.TP
.B FER_EDGE_PURE
If set, and not 0, NumPy does the work of the C kernels: the same bytes, slower.
.TP
.B FER_EDGE_CONFIG
The file of
.BR \-\-config ,
where that is not given.
.TP
.BR FER_EDGE_ \fINAME\fR
The option
.BI \-\- NAME
of
.BR run ,
where that is not given:
.B FER_EDGE_SAVE_VIDEO
is
.BR \-\-save\-video .
"""


def page() -> str:
    """The manual page in troff's man macros."""
    parts = [_HEAD, ".SH COMMANDS\n"]
    for name, parser in command_parsers().items():
        parts.append(f".SS fer\\-edge {_escaped(name)}\n{_escaped(parser.description or COMMANDS[name])}\n")
        for group in parser._action_groups:
            shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
            if shown and group.title not in ("positional arguments", "options"):
                parts.append(f".PP\n.B {_escaped(str(group.title)).capitalize()}\n")
            for action in shown:
                parts += _described(parser, action)
        if parser.epilog:
            parts.append(f".PP\n.nf\n{_escaped(parser.epilog)}\n.fi\n")
    return "".join([*parts, _TAIL])


def _described(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    formatter = parser._get_formatter()
    yield ".TP\n"
    value = "" if action.nargs == 0 else formatter._format_args(action, _called(action))
    names = ", ".join(rf"\fB{_escaped(name)}\fR" for name in action.option_strings)
    yield f"{names} \\fI{_escaped(value)}\\fR".strip().removesuffix(r" \fI\fR") + "\n"
    yield _escaped(formatter._expand_help(action) if action.help else "") + "\n"


def _called(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return (action.option_strings or [action.dest])[-1].lstrip("-").upper()


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
    return re.sub(r"[^\0-\x7f]", lambda match: rf"\[u{ord(match[0]):04X}]", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
