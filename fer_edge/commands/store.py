"""``fer-edge store``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, counted, printable
from ..option import moment, nonempty
from ..store.schema import TABLES

if TYPE_CHECKING:
    from ..store.reader import StoreReader
    from ..store.summary import CameraFigures

HELP = "Read what run --store has written: in words, as CSV or as Parquet."
EPILOG = """\
examples:
  fer-edge store shop.db                                   # a summary
  fer-edge store shop.db --csv tables/                     # visits.csv, minutes.csv, gaps.csv …
  fer-edge store shop.db --csv visits.csv --since 2026-11-01
  fer-edge store shop.db --csv - --table minutes | head
  fer-edge store shop.db --parquet tables/                 # needs pip install 'fer-edge[parquet]'

The file may be written by run meanwhile. docs/store.md explains every column."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "store",
        type=nonempty,
        metavar="FILE",
        help="a file of run --store or fleet --store, or postgresql://… of a fleet",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--summary", action="store_true", help="print what each camera saw (the default)")
    what.add_argument(
        "--csv",
        type=nonempty,
        metavar="PATH",
        help="write all tables into this folder, or one into this .csv file; - is stdout",
    )
    what.add_argument(
        "--parquet",
        type=nonempty,
        metavar="PATH",
        help="write all tables into this folder, or one into this .parquet file (extra [parquet])",
    )
    parser.add_argument(
        "--table",
        choices=tuple(TABLES),
        help="the table that a single file gets (default: visits)",
    )
    parser.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="only what began then or later: 2026-11-26, 2026-11-26T12:30; UTC, unless it ends in a zone "
        "such as +01:00",
    )
    parser.add_argument("--until", type=_time, metavar="TIME", help="only what began before this; as --since")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def execute(args: argparse.Namespace) -> int:
    """Print or write what was asked for."""
    from ..store.export import write_tables
    from ..store.postgresql import open_store

    target = args.csv or args.parquet
    suffix = ".parquet" if args.parquet else ".csv"
    single = target is not None and (target == "-" or Path(target).suffix == suffix)
    if args.table and not single:
        raise DataError(f"--table is for a single file: give --csv {args.table}.csv or --csv -")
    if args.force and target in (None, "-"):
        raise DataError("--force is for the files of --csv and --parquet")
    if args.parquet == "-":
        raise DataError("--parquet -: a Parquet file cannot be a stream; name a file or folder")
    with open_store(args.store) as store:
        if target is None:
            _print_summary(store, args.since, args.until)
        elif single:
            _write_one(store, args.table or "visits", target, args)
        else:
            counts = write_tables(store, target, suffix, args.since, args.until, args.force)
            for table, count in counts.items():
                print(f"{printable(str(Path(target) / (table + suffix)))}: {counted(count, 'row')}")
    return 0


def _write_one(store: StoreReader, table: str, target: str, args: argparse.Namespace) -> None:
    from ..files import check_target
    from ..store.export import write_csv, write_file

    if target == "-":
        write_csv(store.rows(table, since=args.since, until=args.until), TABLES[table], sys.stdout)
        return
    check_target(target, [args.store], force=args.force)
    count = write_file(store, table, Path(target), args.since, args.until)
    print(f"{printable(target)}: {counted(count, 'row')}")


def _print_summary(store: StoreReader, since: datetime | None, until: datetime | None) -> None:
    from ..store.summary import figures

    with store.at_one_moment():
        over, going_on = (
            {(camera.device, camera.camera): camera for camera in figures(store, since, until, going_on=open)}
            for open in (False, True)
        )
        cameras = sorted({*over, *going_on})
        if not cameras:
            print(_nothing(store, since, until))
    for camera in cameras:
        print(printable(" / ".join(camera)))
        if camera in over:
            print("\n".join(_lines(over[camera])))
        if camera in going_on:
            print(_going_on(going_on[camera]))
    for jump in store.rows("jumps", since=since, until=until):
        print(f"clock put right by {jump['seconds']:+.1f} s at {_shown(jump['began'])}")


def _nothing(store: StoreReader, since: datetime | None, until: datetime | None) -> str:
    """Why there is nothing to tell of that time."""
    from ..store.summary import figures

    held = [camera for open in (False, True) for camera in figures(store, going_on=open)]
    began = min((camera.began for camera in held if camera.began), default=None)
    ended = max((camera.ended for camera in held if camera.ended), default=None)
    if began is None or ended is None:
        return "nothing was written yet"
    asked = " ".join(f"{word} {_shown(at)}" for word, at in (("from", since), ("until", until)) if at)
    return f"no camera was watching {asked}; the store holds {_shown(began)} to {_shown(ended)}"


def _lines(camera: CameraFigures) -> list[str]:
    from ..report.wording import gaps_counted

    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.0f} %"

    lines = []
    if camera.began is not None and camera.ended is not None:
        lines.append(f"  from {_shown(camera.began)} to {_shown(camera.ended)}")
    gaps = gaps_counted(camera.gaps, _duration(camera.gap_seconds))
    lines.append(f"  observed {_duration(camera.observed)}, {gaps}")
    if camera.visits and camera.dwell is not None:
        lines.append(
            f"  {counted(camera.visits, 'visit')} of {camera.dwell:.1f} s in the mean, at most "
            f"{camera.people_max} at a time"
        )
        lines.append(
            f"  turned to the camera {percent(camera.attention)} of the time in sight, unclear "
            f"{percent(camera.unclear)}"
        )
        lines.append(f"  {camera.smiles:.1f} of them would have been seen to smile")
    if camera.shares is not None:
        shares = sorted(camera.shares.items(), key=lambda item: -item[1])
        lines.append("  " + ", ".join(f"{name} {percent(share)}" for name, share in shares))
        lines.append(f"  unsure {percent(camera.unsure)} of the time in sight")
    return lines


def _going_on(camera: CameraFigures) -> str:
    """What minutes and visits that are not over have so far; they may be those of a run that was killed."""
    # Of a minute and a visit, only one may have begun in the time asked for.
    at = f" at {_shown(camera.ended)}" if camera.ended is not None else ""
    told = [f"observed {_duration(camera.observed)}"] if at else []
    if camera.dwell is not None:
        mean = " in the mean" if camera.visits > 1 else ""
        told.append(f"{counted(camera.visits, 'visit')} of {camera.dwell:.1f} s{mean} so far")
    return f"  not over{at}: {', '.join(told)}"


def _time(text: str) -> datetime:
    """An argparse type: a date or time by ISO 8601, UTC unless it says otherwise; in UTC."""
    given = moment(text)
    if given.tzinfo is None:
        return given.replace(tzinfo=UTC)
    try:
        return given.astimezone(UTC)
    except OverflowError:
        # Within hours of the ends of the calendar.
        return given


def _shown(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds_left} s" if minutes else f"{seconds_left} s"
