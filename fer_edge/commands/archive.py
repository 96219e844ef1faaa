"""``fer-edge archive``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import OPTIONS
from ..errors import DataError, MissingExtraError, counted, printable
from ..option import BYTES, DURATION, nonempty, positive_int
from ._arguments import add_option, refuse_idle_balance

if TYPE_CHECKING:
    from ..archive.archive import Progress
    from ..archive.engines import Engine
    from ..archive.work import Settings

HELP = "Recognize emotions in many films, on all cores or on a Ray cluster, into Parquet tables."
EPILOG = """\
examples:
  fer-edge archive films/ --out scored/                        # all cores of this machine
  fer-edge archive 'shop/2026-*.mp4' @more.txt --out scored/ --fps 2
  fer-edge archive s3://shop/films/ --out scored/ --ray auto   # a Ray cluster
  duckdb -c "SELECT source, count(*) FROM 'scored/people.parquet/*/*/*.parquet' GROUP BY source"

After an interruption, the same command continues. docs/archive.md explains the tables and has queries.
Exit code: 0 all films are done; 1 some failed or are damaged (each is listed with its reason), or the
folder can no longer be written; 2 usage or bad input; 130 Ctrl-C, and what was done is kept."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those of recognition are those of run."""
    from ..archive.archive import RESULT_OPTIONS

    parser.add_argument(
        "paths",
        nargs="*",
        type=nonempty,
        metavar="PATH",
        help="a film, a folder, a pattern, a URL of one of these (s3://, sftp://, gs://), or @FILE: a list",
    )
    parser.add_argument(
        "--list",
        action="append",
        default=[],
        type=nonempty,
        metavar="FILE",
        help="read paths from this file, one per line; a line may add, after a tab, when the film began and, "
        "after another tab, its source",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=nonempty,
        metavar="DIR",
        help="write the tables into this folder; it is made if missing",
    )
    tables = parser.add_argument_group("tables")
    tables.add_argument("--faces", action="store_true", help="write a row for each face of each frame, too")
    tables.add_argument(
        "--seconds", action="store_true", help="write a row for each person and second, too, as for sessions"
    )
    tables.add_argument(
        "--device",
        type=nonempty,
        metavar="NAME",
        help="write this into the column device (default: this host's name)",
    )
    work = parser.add_argument_group("work")
    work.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="run so many processes (default: one for each core of this machine, or of the cluster)",
    )
    work.add_argument(
        "--ray",
        type=nonempty,
        metavar="auto|ADDRESS",
        help="work on a Ray cluster: HOST:PORT, or auto for the one that runs here (extra [ray])",
    )
    work.add_argument(
        "--segment",
        type=DURATION.parse,
        default=300.0,
        metavar="TIME",
        help="cut films at key frames into segments of about this length: 30s, 5m, 1h (default: 5m)",
    )
    work.add_argument(
        "--scratch",
        type=nonempty,
        metavar="DIR",
        help="download films from elsewhere into this folder (default: among the temporary files)",
    )
    work.add_argument(
        "--scratch-size",
        type=BYTES.parse,
        default=20_000_000_000,
        metavar="SIZE",
        help="keep at most so much of them on each machine (default: 20G)",
    )
    for title in ("source", "classifier", "faces"):
        group = parser.add_argument_group(title)
        for name in RESULT_OPTIONS:
            if OPTIONS[name].group == title:
                add_option(group, OPTIONS[name])


def execute(args: argparse.Namespace) -> int:
    """Work the films off; return the exit code of :data:`EPILOG`."""
    from ..archive.archive import Archive
    from ..archive.films import find_films
    from ..archive.part import pyarrow_parquet
    from ..archive.progress import Teller

    pyarrow_parquet()
    settings = _settings(args)
    films = find_films(args.paths, args.list)
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is no folder")
    teller = Teller(sys.stderr)
    archive = Archive(out, films, settings, teller.tell, teller.show)
    try:
        progress = archive.run(lambda: _engine(args, settings), _versions())
    except KeyboardInterrupt:
        teller.end()
        done = archive.progress
        print(
            f"{counted(done.done, 'film')} of {done.films} done; run the same command again to continue",
            file=sys.stderr,
        )
        raise
    finally:
        teller.end()
    return _told(progress)


def _settings(args: argparse.Namespace) -> Settings:
    import socket
    import tempfile

    from ..archive.archive import RESULT_OPTIONS
    from ..archive.work import Settings, scratch_name
    from ..pipeline.options import WatchOptions

    values: dict[str, Any] = {name: getattr(args, name) for name in RESULT_OPTIONS}
    values["mask"] = tuple(values["mask"])
    refuse_idle_balance(args.balance, args.labels)
    return Settings(
        WatchOptions(**values),
        args.segment,
        args.faces,
        args.seconds,
        args.device or socket.gethostname(),
        str(Path(args.scratch or tempfile.gettempdir()) / scratch_name(Path(args.out))),
        args.scratch_size,
    )


def _engine(args: argparse.Namespace, settings: Settings) -> Engine:
    from ..machine import usable_cores

    if args.ray is None:
        from ..archive.local import LocalEngine

        return LocalEngine(settings, args.workers or usable_cores())
    try:
        from ..archive.on_ray import RayEngine
    except ImportError as error:
        raise MissingExtraError("--ray", "ray", "ray") from error
    return RayEngine(settings, args.ray, args.workers)


def _versions() -> dict[str, str]:
    import cv2
    import numpy as np

    from .. import __version__

    return {"fer_edge": __version__, "numpy": np.__version__, "opencv": cv2.__version__}


def _told(progress: Progress) -> int:
    """Say how it ended; returns the exit code."""
    for path in progress.damaged:
        print(printable(f"damaged: {path}: more than a tenth of its frames are missing"), file=sys.stderr)
    parts = [f"{counted(progress.done, 'film')} of {progress.films} done"]
    if progress.kept:
        parts.append(f"{progress.kept} by earlier commands")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.lost:
        parts.append(f"{counted(progress.lost, 'worker')} lost")
    print(", ".join(parts))
    return 1 if progress.failed or progress.damaged else 0
