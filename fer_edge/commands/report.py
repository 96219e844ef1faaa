"""``fer-edge report``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, counted, printable
from ..files import atomic_path, check_target
from ..option import moment, nonempty

if TYPE_CHECKING:
    from ..report.content_types import Content
    from ..report.material import Material
    from ..report.progress import Progress

HELP = "Make one HTML page of what faces showed, from stores, JSON lines or an archive."
EPILOG = """\
examples:
  fer-edge report --demo -o report.html                     # a simulated session
  fer-edge report session.db -o report.html
  fer-edge report day.jsonl -o report.html --events scenes.csv --baseline 10
  fer-edge report door.db till.db -o week.html --from 2026-11-16 --to 2026-11-23 --zone Europe/Berlin
  fer-edge report cinema.db -o report.html --stimulus trailer.mp4 --pdf report.pdf --tables tables/

The page has no faces, and rows of single people only with --people. docs/report.md explains it. JSON lines
and Parquet need pip install 'fer-edge[report]', --pdf needs Chromium; a store needs neither."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sources",
        type=nonempty,
        nargs="*",
        metavar="SOURCE",
        help="a file of run --store, run --jsonl or fleet --store, postgresql://… of a fleet, or a folder of "
        "an archive or of .jsonl files; several count together",
    )
    parser.add_argument(
        "-o", "--out", type=nonempty, required=True, metavar="FILE", help="the page to write, .html"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument(
        "--demo", action="store_true", help="show a simulated session of 60 people and three scenes"
    )
    parser.add_argument(
        "--title", type=nonempty, metavar="TEXT", help="heading (default: names of sessions or cameras)"
    )
    what = parser.add_argument_group("what is shown")
    what.add_argument(
        "--events",
        type=nonempty,
        metavar="CSV",
        help="what was shown when: a table with time or offset, name, group",
    )
    what.add_argument(
        "--from",
        dest="since",
        type=moment,
        metavar="TIME",
        help="use only what began then or later: 2026-11-26T12:30",
    )
    what.add_argument(
        "--to", dest="until", type=moment, metavar="TIME", help="use only what began before then"
    )
    for name in ("camera", "device"):
        what.add_argument(
            f"--{name}",
            dest=f"{name}s",
            type=nonempty,
            action="append",
            metavar="NAME",
            help=f"only this {name}; may be repeated",
        )
    what.add_argument(
        "--session",
        dest="sessions",
        type=nonempty,
        action="append",
        metavar="NAME",
        help="only this marked session; may be repeated; all: everything (default: all marked sessions, and "
        "everything where there are none, or with --from or --to)",
    )
    what.add_argument(
        "--zone",
        type=nonempty,
        metavar="NAME",
        help="time zone, such as Europe/Berlin or UTC (default: this machine's)",
    )
    what.add_argument(
        "--by",
        choices=("event", "group", "session", "day", "film", "camera", "device"),
        help="what to show side by side and compare (default: sessions if there are several, else "
        "events, else whatever there are several of)",
    )
    what.add_argument(
        "--people", action="store_true", help="show a row for each visit; this may be personal data"
    )
    how = parser.add_argument_group("how it is measured")
    how.add_argument(
        "--baseline",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="subtract each person's mean over these first seconds from their emotions; needs a marked "
        "session or JSON lines",
    )
    how.add_argument(
        "--weight",
        choices=("people", "time"),
        default="people",
        help="average emotions over people, or over the time in sight (default: %(default)s)",
    )
    more = parser.add_argument_group("more than a page")
    more.add_argument(
        "--pdf", type=nonempty, metavar="FILE", help="also print the page to a PDF, with Chromium"
    )
    more.add_argument(
        "--tables",
        type=nonempty,
        metavar="DIR",
        help="also write every table as CSV and Parquet into this folder",
    )
    more.add_argument(
        "--stimulus",
        type=nonempty,
        metavar="FILM",
        help="show what this film showed at the peaks of emotions",
    )
    more.add_argument(
        "--stimulus-begins",
        type=moment,
        metavar="TIME",
        help="when the film began (default: with the session, else the first event)",
    )


def execute(args: argparse.Namespace) -> int:
    """Write the page, and what else was asked for."""
    if bool(args.sources) == args.demo:
        raise DataError(
            "--demo shows a simulated session and takes no source"
            if args.demo
            else "nothing to report: name a file of run --store or run --jsonl, or give --demo"
        )
    if args.out == "-":
        raise DataError("--out -: the page is no text for a pipe; name a file")
    if args.demo and args.events:
        raise DataError("--demo has events of its own, and takes no --events")
    if args.demo and args.sessions:
        raise DataError("--demo is one session, and takes no --session")
    if args.sessions and "all" in args.sessions and len(set(args.sessions)) > 1:
        raise DataError("--session all includes everything; leave the other names out")
    if args.stimulus_begins and not args.stimulus:
        raise DataError("--stimulus-begins needs --stimulus, the film that was shown")
    check_target(args.out, args.sources, force=args.force)
    if args.pdf:
        from ..chromium import browser

        check_target(args.pdf, [*args.sources, args.out], force=args.force)
        if Path(args.pdf).resolve() == Path(args.out).resolve():
            raise DataError(f"--pdf {args.pdf}: is the same file as --out; choose another name")
        browser()

    from ..report.zone import zone_named

    zone: tzinfo = UTC if args.demo and not args.zone else zone_named(args.zone)
    content = _content(args, zone)
    _write(args, content)
    return 0


def _content(args: argparse.Namespace, zone: tzinfo) -> Content:
    from dataclasses import replace

    from ..report.content import content
    from ..report.measures import Options
    from ..report.stimulus import with_pictures

    since, until = _aware(args.since, zone), _aware(args.until, zone)
    if since is not None and until is not None and since >= until:
        raise DataError(f"--from {since:%Y-%m-%d %H:%M} is not before --to {until:%Y-%m-%d %H:%M}")
    material, scope = _material(args, since, until, zone)
    with _telling(scope):
        found = content(
            material,
            zone=zone,
            options=Options(weight=args.weight, baseline=args.baseline),
            title=args.title or ("A film in three scenes" if args.demo else None),
            simulated=args.demo,
            show_people=args.people,
            by=args.by,
            scope=scope,
        )
    if args.stimulus:
        began = _aware(args.stimulus_begins, zone)
        found = replace(
            found, peaks=with_pictures(found.peaks, args.stimulus, _began(material, found.span[0], began))
        )
    return found


def _material(
    args: argparse.Namespace, since: datetime | None, until: datetime | None, zone: tzinfo
) -> tuple[Material, str]:
    """What the report is about, and in words which part of everything that is."""
    from ..report.reading import read
    from ..report.sessions import in_sessions

    if args.demo:
        from ..report.simulated import simulated_session

        return simulated_session(), ""
    material = read(
        args.sources,
        since=since,
        until=until,
        devices=args.devices,
        cameras=args.cameras,
        progress=_progress(),
    )
    scope = ""
    if args.sessions != ["all"] and (args.sessions or (since is None and until is None)):
        in_time = "" if since is None and until is None else " in the time of --from and --to"
        limited = in_sessions(material, args.sessions, in_time)
        if limited is not None:
            material, scope = limited.material, limited.told
    if args.events:
        from ..report.listed import with_events

        with _telling(scope):
            material = with_events(material, args.events, zone)
    return material, scope


@contextlib.contextmanager
def _telling(scope: str) -> Iterator[None]:
    """Let errors say what the report is limited to: maybe that is why."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}. {scope}" if scope else str(error)) from error


def _began(material: Material, first: int, given: datetime | None) -> int:
    """When the film that was shown began, in milliseconds."""
    from ..store.clock import milliseconds

    if given is not None:
        return milliseconds(given)
    known: Sequence[int] = [one.began for one in material.sessions] or [one.began for one in material.events]
    return min(known, default=first)


def _write(args: argparse.Namespace, content: Content) -> None:
    from .. import __version__
    from ..report.content import absence
    from ..report.page import html
    from ..report.tables import check_tables, write_tables

    if args.tables:
        check_tables(content.tables, args.tables, args.force)
    now = datetime.now(content.zone)
    page = html(content, __version__, f"{now.day} {now:%B %Y}")
    with atomic_path(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"{printable(args.out)}: {_told(content)}")
    if args.tables:
        files = write_tables(content.tables, args.tables)
        print(f"{printable(args.tables)}: {counted(len(files), 'file')}")
    if args.pdf:
        from ..chromium import write_pdf

        write_pdf(page, args.pdf)
        print(f"{printable(args.pdf)}: printed")
    for text in (content.scope, absence(content), *content.material.told):
        if text:
            print(f"note: {printable(text)}", file=sys.stderr)


def _told(content: Content) -> str:
    from ..report.wording import people_counted, spoken

    observed = f"{spoken(content.quality.observed)} observed{content.material.over_cameras}"
    parts = [people_counted(content.people), observed]
    if content.pieces and content.kind not in ("camera", "film"):
        parts.append(counted(len(content.pieces) + content.more, content.kind))
    return ", ".join(parts)


def _aware(given: datetime | None, zone: tzinfo) -> datetime | None:
    return given.replace(tzinfo=zone) if given is not None and given.tzinfo is None else given


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return value


def _progress() -> Progress:
    from ..report.progress import Bar, Progress

    return Bar() if sys.stderr.isatty() else Progress()
