"""``fer-edge session``: mark sessions and events in a run that goes on."""

from __future__ import annotations

import argparse
import json

from ..errors import printable
from ..option import nonempty
from ._running import answer_text, ask_run, configure_run

HELP = "Mark a session and its events while a run goes on, which then stores every second of it."
EPILOG = """\
examples:
  fer-edge run --camera 0 --store shop.db &
  fer-edge session start "Tuesday preview"
  fer-edge session mark "Trailer A" --group trailers
  fer-edge session mark "Trailer B" --group trailers
  fer-edge session stop
  fer-edge session status

What was marked lasts until the next event or the end of the session. A session ends with its run at the
latest. docs/control.md describes other ways: keys, a button, a page, a broker, a file of events."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    start = actions.add_parser("start", help="start a session")
    start.add_argument("title", type=nonempty, metavar="NAME", help="what it is called")
    mark = actions.add_parser("mark", help="mark the start of something: a scene, an advertisement")
    mark.add_argument("title", type=nonempty, metavar="NAME", help="what it is called")
    mark.add_argument(
        "--group", type=nonempty, metavar="NAME", help="the group it belongs to, for comparisons"
    )
    stop = actions.add_parser("stop", help="stop the session")
    status = actions.add_parser("status", help="show what the run is doing")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    for action in (start, mark, stop, status):
        configure_run(action)


def execute(args: argparse.Namespace) -> int:
    """Ask the run, and print its state."""
    request = {"action": args.action}
    if args.action in ("start", "mark"):
        request["name"] = args.title
    if getattr(args, "group", None):
        request["group"] = args.group
    answer = ask_run(args, request)
    if args.action == "status":
        print(json.dumps(answer) if args.json else answer_text(answer))
    elif args.action == "start":
        print(printable(f"session {answer['session']!r} has started"))
    elif args.action == "mark":
        print(printable(f"marked {args.title!r} in session {answer['session']!r}"))
    else:
        print("the session has stopped")
    return 0
