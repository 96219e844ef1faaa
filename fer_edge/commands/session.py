"""``fer-edge session``: mark sessions and events in a run that goes on."""

from __future__ import annotations

import argparse
import json

from ..errors import printable
from ..option import nonempty
from ._running import ask_run, configure_run, told

HELP = "Mark a session and its events in a run that goes on, which keeps its seconds in the store."
EPILOG = """\
examples:
  fer-edge run --camera 0 --store shop.db &
  fer-edge session start "Tuesday preview"
  fer-edge session mark "Trailer A" --group trailers
  fer-edge session mark "Trailer B" --group trailers
  fer-edge session stop
  fer-edge session status

From now on, or until the next event, viewers' seconds belong to what was marked. A session ends with its run
at the latest. docs/control.md tells of other ways: keys, a button, a page, a broker, a file of events."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    start = actions.add_parser("start", help="begin a session")
    start.add_argument("title", type=nonempty, metavar="NAME", help="what it is called")
    mark = actions.add_parser("mark", help="mark that something begins: a scene, an advertisement")
    mark.add_argument("title", type=nonempty, metavar="NAME", help="what it is called")
    mark.add_argument("--group", type=nonempty, metavar="NAME", help="what it belongs to, for comparisons")
    stop = actions.add_parser("stop", help="end the session")
    status = actions.add_parser("status", help="tell what the run does")
    status.add_argument("--json", action="store_true", help="as JSON")
    for action in (start, mark, stop, status):
        configure_run(action)


def execute(args: argparse.Namespace) -> int:
    """Ask, and tell what holds."""
    request = {"action": args.action}
    if args.action in ("start", "mark"):
        request["name"] = args.title
    if getattr(args, "group", None):
        request["group"] = args.group
    answer = ask_run(args, request)
    if args.action == "status":
        print(json.dumps(answer) if args.json else told(answer))
    elif args.action == "start":
        print(printable(f"session {answer['session']!r} has begun"))
    elif args.action == "mark":
        print(printable(f"marked {args.title!r} in session {answer['session']!r}"))
    else:
        print("the session has ended")
    return 0
