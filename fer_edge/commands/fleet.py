"""``fer-edge fleet``: what many devices publish at a broker, in one store and on one page."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import OPTIONS
from ..errors import printable
from ..fleet.limits import HISTORY, MOST_ASKS
from ..option import nonempty, positive_int
from ._arguments import add_option

if TYPE_CHECKING:
    from ..control.broker import Broker
    from ..fleet.server import Fleet

HELP = "Collect in one store what many devices publish over MQTT, and show the devices on one page."
EPILOG = """\
examples:
  fer-edge fleet --mqtt mqtt://broker.lan --store fleet.db
  fer-edge fleet --mqtt mqtts://fleet@broker.lan --mqtt-password-file fleet.password --store fleet.db
  fer-edge fleet --mqtt mqtt://broker.lan --store postgresql://fleet@db.lan/fleet --page 0.0.0.0:8081
  fer-edge store fleet.db
  fer-edge report fleet.db --device shop -o shop.html

The devices run `fer-edge run --mqtt URL`. It needs pip install 'fer-edge[fleet]', for
PostgreSQL also [postgresql]. docs/fleet.md says what is kept and what happens when
something fails, and has a systemd unit.
Exit code: 0 ended by Ctrl-C or SIGTERM, 1 the database cannot be reached, 2 bad input."""

_BROKER = ("mqtt_password_file", "mqtt_ca", "mqtt_cert")
_PAGE = ("page", "page_tls", "page_host", "page_token_file", "state_folder")
_HELP = {
    "page": "serve a page with a table of all devices at this address; :PORT is for this machine only",
    "state_folder": "keep the page's token in this folder, as fleet.token (default: %(default)s)",
}
"""Of options that mean something else in a run."""

_TOKEN = "fleet.token"
"""Not that of a run's page with the same state folder: access to one must not open the other."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--mqtt",
        type=OPTIONS["mqtt"].kind.parse,
        metavar="URL",
        required=True,
        help="listen at this broker, to which the devices publish: mqtt[s]://[USER@]HOST[:PORT][/PREFIX]",
    )
    parser.add_argument(
        "--store",
        type=nonempty,
        metavar="FILE|URL",
        required=True,
        help="write rows here: a file (SQLite), or postgresql://[USER@]HOST/DATABASE",
    )
    parser.add_argument(
        "--keep",
        type=positive_int,
        metavar="DAYS",
        help="delete rows after so many days (default: keep everything)",
    )
    broker = parser.add_argument_group("broker")
    for name in _BROKER:
        add_option(broker, OPTIONS[name])
    page = parser.add_argument_group("page")
    for name in _PAGE:
        add_option(page, replace(OPTIONS[name], help=_HELP.get(name, OPTIONS[name].help)))
    asking = parser.add_argument_group("what is missing")
    asking.add_argument(
        "--asks",
        type=positive_int,
        default=MOST_ASKS,
        metavar="N",
        help="request missing rows from so many devices at a time (default: %(default)s)",
    )
    asking.add_argument(
        "--history",
        type=_count,
        default=HISTORY,
        metavar="ROWS",
        help="request so many earlier rows, of minutes and of visits each, from a new device (default: "
        "%(default)s)",
    )


def _count(text: str) -> int:
    """An argparse type: a whole number from 0 on."""
    return 0 if text == "0" else positive_int(text)


def execute(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from ..control.broker import broker_of, tls_context
    from ..outputs.mqtt.link import require_paho

    broker = broker_of(args.mqtt, args.mqtt_password_file, args.mqtt_ca, args.mqtt_cert)
    require_paho()
    if broker.tls:
        tls_context(broker)
    logging.getLogger("fer_edge").setLevel(logging.INFO)
    with contextlib.ExitStack() as stack:
        _serve(args, broker, stack)
    return 0


def _serve(args: argparse.Namespace, broker: Broker, stack: contextlib.ExitStack) -> None:
    from ..fleet.database import database_of
    from ..fleet.server import Fleet, Limits

    door = _door(args, stack)
    database = database_of(args.store)
    stack.callback(database.close)
    fleet = Fleet(broker, database, Limits(args.asks, args.history, args.keep))
    if door is not None:
        from ..fleet.page import FleetPage
        from ..outputs.page.page import greet

        page = FleetPage(door, fleet.board)
        stack.callback(page.close)
        page.start()
        greet(door)
    with _stopped_by_signals(fleet):
        fleet.run()
    counts = fleet.board.counts
    print(f"{printable(database.place)}: {counts['rows']:,} rows written, {counts['doubles']:,} came twice")


def _door(args: argparse.Namespace, stack: contextlib.ExitStack) -> Any:
    if args.page is None:
        return None
    from ..control.folder import state_folder
    from ..outputs.page.page import Door, PageOptions

    options = PageOptions(
        args.page, tls=args.page_tls, hosts=tuple(args.page_host), token_file=args.page_token_file
    )

    def folder() -> Path:
        return state_folder(args.state_folder)

    door = Door(options, folder, _TOKEN)
    stack.callback(door.close)
    return door


@contextlib.contextmanager
def _stopped_by_signals(fleet: Fleet) -> Iterator[None]:
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in ending}
    for number in ending:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda *_: fleet.stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
