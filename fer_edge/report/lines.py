"""JSON lines of ``run --jsonl`` as material: what the store would have counted, and every person's seconds.

Files are read in pieces of 16 MB, which pyarrow parses on all cores; what is left of a piece are sums over
seconds, so that memory does not grow with frames. Lines that are no records are left out and told.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingExtraError, counted, printable
from ..faces.quality import facing_of_many
from ..labels import EMOTIONS
from ..store.clock import JUMP, WallClock
from ..store.tally import longest_step
from .material import SLACK, Gaps, Material, Minutes, People, Seconds, Source, joined
from .naming import called
from .progress import Progress
from .tally import ATTENTION, SEEN, SHARES, SIZE, UNCLEAR, UNSURE, CameraTally, Counted, Faces, Frames

SCHEMA = 1
"""The newest version of records that is known; docs/jsonl.md."""

_PIECE = 16 << 20
_KEPT_SECONDS = 1_500_000
"""Rows of seconds that fit into memory, with room for the rest."""

_MIXED = 3
"""Changes between two clocks in one piece, from which on two devices write one file."""

_LATEST = 4_102_444_800_000
"""Milliseconds since 1970 of the year 2100, beyond which a time is damaged."""

_UPTIME = 10e9
"""Seconds of a clock that counts from the machine's start, or of a film, beyond which it is damaged."""

_ROTATED = re.compile(r"-\d{8}T\d{6}Z(-\d+)?$")


def read_lines(
    paths: Sequence[str | os.PathLike[str]], progress: Progress | None = None, keep_seconds: bool = True
) -> Material:
    """Return what files of JSON lines hold, several of one device in the order of time.

    A file and those that ``--keep-files`` put aside beside it are one device's, which is called by the file's
    name; others are other devices'. Raises :class:`~fer_edge.errors.DataError` where a file cannot be read or
    holds no records, :class:`~fer_edge.errors.MissingExtraError` without pyarrow.
    """
    progress = progress or Progress()
    begun: dict[tuple[Any, ...], Path] = {}
    return joined(
        _Device(name, progress, keep_seconds, begun).read(files) for name, files in devices_of(paths).items()
    )


def devices_of(paths: Sequence[str | os.PathLike[str]]) -> dict[str, list[Path]]:
    """Of each device its files, rotated ones first, in the order of their names."""
    files = [Path(path) for path in paths]
    bases = {path: path.parent.resolve() / _ROTATED.sub("", _stem(path)) for path in files}
    different = set(bases.values())
    found: dict[str, list[Path]] = {}
    for path, base in bases.items():
        found.setdefault(called(base, different), []).append(path)
    for same in found.values():
        same.sort(key=lambda path: (not _ROTATED.search(_stem(path)), _stem(path)))
    return found


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".ndjson")


@dataclass
class _Stream:
    """A camera in one run."""

    source: Source
    clock: WallClock
    tally: CameraTally | None = None
    options: dict[str, Any] = field(default_factory=dict)
    live: bool | None = None
    lost: int = 0
    reason: str | None = None


class _Device:
    """Reads the files of one device, or of several that write the same ones.

    ``begun``: the files of all devices in which runs have begun, by what names a run.
    """

    def __init__(
        self, name: str, progress: Progress, keep_seconds: bool, begun: dict[tuple[Any, ...], Path]
    ) -> None:
        self._name, self._progress, self._keep, self._begun = name, progress, keep_seconds, begun
        self._path = Path()
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._run = 0
        self._run_begun = -1e18
        self._clock: WallClock | None = None
        self._finished: list[tuple[_Stream, Counted]] = []
        self._settings: dict[str, Any] = {}
        self._bad = self._frames = self._other_schema = self._unknown = self._old = self._timeless = 0
        self._kept = self._odd = 0
        self._cut: set[int] = set()
        self._ended: set[int] = set()
        self._told: dict[str, None] = {}

    def read(self, files: Sequence[Path]) -> Material:
        for path in files:
            bad, frames, timeless = self._bad, self._frames, self._timeless
            self._read_file(path)
            if self._timeless > timeless:
                raise DataError(
                    f"{path}: holds pictures by themselves, which have no time; fer-edge run --jsonl "
                    "writes such lines"
                )
            if self._frames == frames and self._bad > bad:
                raise DataError(
                    f"{path}: no JSON lines of fer-edge run; expected records as in docs/jsonl.md"
                )
        try:
            for key in list(self._streams):
                self._finish(key)
            return self._material()
        except ValueError as error:
            raise DataError(
                f"{self._path}: its records contradict each other, as in files that were edited or mixed: "
                f"{error}"
            ) from error

    def _read_file(self, path: Path) -> None:
        try:
            self._progress.begin(str(path), path.stat().st_size)
            self._path = path
            bad, odd = self._bad, self._odd
            done = 0
            half = False
            with path.open("rb") as raw:
                stream: BinaryIO = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
                for piece, whole in _pieces(stream):
                    before = self._bad
                    self._take(piece)
                    half = not whole and self._bad > before
                    self._progress.step(raw.tell() - done)
                    done = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if not done:
                raise DataError(f"{path}: cannot be read: {error}") from error
            self._tell(f"{path}: the packed data break off or are damaged ({error}); the rest is left out.")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        if half:
            self._bad -= 1
            self._tell(f"{path}: the last line is half written; it is left out.")
        if self._bad > bad:
            self._tell(f"{path}: {counted(self._bad - bad, 'line')} damaged; left out.")
        if self._odd > odd:
            self._tell(f"{path}: {counted(self._odd - odd, 'face')} with impossible values; left out.")

    def _take(self, piece: bytes) -> None:
        table, bad = _parsed(piece)
        self._bad += bad
        if table is None or not table.num_rows:
            return
        rows = _Rows(table)
        late = rows.schema > SCHEMA
        if late.any():
            self._other_schema += int(late.sum())
            rows.keep(~late)
        self._old += int((rows.schema < SCHEMA).sum())
        timeless = (rows.type == "frame") & np.isnan(rows.monotonic) & (rows.wall == 0)
        if timeless.any():
            self._timeless += int(timeless.sum())
            rows.keep(~timeless)
        timely = (rows.type != "frame") | rows.timely()
        if not timely.all():
            self._bad += int((~timely).sum())
            rows.keep(timely)
        self._odd += rows.drop_odd_faces()
        # Whatever is no frame takes effect before the frames that follow it.
        marks = np.flatnonzero(rows.type != "frame")
        starts = iter(_starts(piece) if len(marks) else ())
        begin = 0
        for mark in marks.tolist():
            self._take_frames(rows, begin, mark)
            begin = mark + 1
            self._take_mark(rows, mark, starts)
        self._take_frames(rows, begin, len(rows.type))
        self._bound_seconds()

    def _bound_seconds(self) -> None:
        tallies = [stream.tally for stream in self._streams.values() if stream.tally is not None]
        if not self._keep or self._kept + sum(tally.kept for tally in tallies) <= _KEPT_SECONDS:
            return
        self._keep = False
        for tally in tallies:
            tally.keep_no_more()
        self._tell(
            f"{self._name}: more than {_KEPT_SECONDS:,} seconds of people; later ones count in visits and "
            "minutes "
            "only. Choose a shorter time for events."
        )

    def _take_mark(self, rows: _Rows, mark: int, starts: Iterator[dict[str, Any]]) -> None:
        kind = rows.type[mark]
        if kind == "start":
            start = next(starts, {})
            self._start(start, float(rows.monotonic[mark]))
        elif kind == "end":
            self._ended.add(self._run)
        elif kind == "gap":
            self._gap(rows, mark)
        else:
            self._unknown += 1

    def _start(self, start: dict[str, Any], monotonic: float) -> None:
        camera = str(start.get("camera") or start.get("source") or "")
        self._refuse_twice(camera, start.get("time"), monotonic)
        key = (self._name, camera)
        # Cameras of one run begin together, each with a record.
        if key in self._streams or not self._streams or self._run in self._ended:
            self._begin_run()
        self._settings = start
        stream = self._streams[key] = self._new_stream(self._name, camera)
        stream.options = start.get("options") or {}
        stream.live = start.get("live")
        if not stream.live:
            stream.source = Source(self._name, camera, str(self._run), str(start.get("source") or ""))
        model = start.get("model") or {}
        if "labels" not in model:
            self._tell("Records of an earlier version name no labels; they are those of 2013 (fer2013).")

    def _refuse_twice(self, camera: str, time: object, monotonic: float) -> None:
        run = (camera, str(time), monotonic)
        if time and run in self._begun:
            raise DataError(
                f"{self._path}: the run that began at {time} is in {self._begun[run]}, too; its people would "
                "count twice"
            )
        self._begun[run] = self._path

    def _begin_run(self) -> None:
        for key in list(self._streams):
            self._finish(key)
        self._run += 1

    def _new_stream(self, device: str, camera: str) -> _Stream:
        self._run = max(self._run, 1)
        return _Stream(Source(device, camera, str(self._run)), WallClock(0))

    def _gap(self, rows: _Rows, mark: int) -> None:
        camera = rows.camera[mark]
        for (_, name), stream in self._streams.items():
            if camera is None and not stream.lost:
                stream.lost += int(np.nan_to_num(rows.lost[mark]))
                break
            if name == camera:
                stream.reason = str(rows.reason[mark] or "no frames")

    def _take_frames(self, rows: _Rows, begin: int, end: int) -> None:
        if begin == end:
            return
        cameras = rows.camera[begin:end]
        names = list(dict.fromkeys(cameras.tolist()))
        for name in names:
            which = np.arange(begin, end) if len(names) == 1 else begin + np.flatnonzero(cameras == name)
            self._take_camera(rows, which, str(name or rows.source[which[0]] or ""))

    def _take_camera(self, rows: _Rows, which: NDArray[np.int64], camera: str) -> None:
        """Count frames of what is called ``camera``, in their order in the file."""
        at, wall = rows.at(which), rows.wall[which]
        key = (self._name, camera)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self._new_stream(self._name, camera)
        if stream.live is None:
            stream.live = rows.looks_live(which)
        if not stream.live:
            self._count(key, stream, rows, which, rows.position(which), wall)
            return
        order = np.sort(wall - at)
        parts = order[np.flatnonzero(np.diff(order, prepend=order[0] - 2 * JUMP) > JUMP)]
        if len(parts) > 1 or (stream.tally is not None and abs(int(order[0]) - stream.clock.origin) > JUMP):
            code = np.searchsorted(parts, wall - at, side="right") - 1
            if (
                int(np.count_nonzero(np.diff(code))) >= max(_MIXED, len(parts))
                or (key[0] + " (2)", camera) in self._streams
            ):
                self._take_mixed(rows, which, camera, parts, code)
                return
        # A clock that goes back is another boot, or files in another order.
        last = stream.tally.last if stream.tally is not None else None
        back = np.flatnonzero(np.diff(at, prepend=at[0] if last is None else last) < 0)
        bounds = [0, *back.tolist(), len(at)]
        for first, until in itertools.pairwise(bounds):
            if first in back:
                old = stream
                self._begin_run()
                self._tell(f"{self._name}: the machine's clock begins anew without a record of a start.")
                stream = self._streams[key] = self._new_stream(self._name, camera)
                stream.live, stream.options = old.live, old.options
            self._count(key, stream, rows, which[first:until], at[first:until], wall[first:until])

    def _take_mixed(
        self,
        rows: _Rows,
        which: NDArray[np.int64],
        camera: str,
        parts: NDArray[np.int64],
        code: NDArray[np.int64],
    ) -> None:
        """Count frames of two devices that write one file under one name, known by their clocks."""
        self._tell(
            f"{self._name}: lines of several devices are mixed under the name {camera}; they are told "
            "apart by "
            "their clocks."
        )
        for number, offset in enumerate(parts.tolist()):
            mine = which[code == number]
            same = [
                key
                for key, stream in self._streams.items()
                if key[1] == camera and stream.tally is not None and abs(stream.clock.origin - offset) <= JUMP
            ]
            if same:
                key = same[0]
            else:
                count = sum(
                    key[1] == camera and stream.tally is not None for key, stream in self._streams.items()
                )
                key = (self._name if not count else f"{self._name} ({count + 1})", camera)
                known = self._streams.get(key)
                if known is None or known.tally is not None:
                    self._streams[key] = self._new_stream(key[0], camera)
                self._streams[key].live = True
            self._count(key, self._streams[key], rows, mine, rows.at(mine), rows.wall[mine])

    def _count(
        self,
        key: tuple[str, str],
        stream: _Stream,
        rows: _Rows,
        which: NDArray[np.int64],
        at: NDArray[np.int64],
        wall: NDArray[np.int64],
    ) -> None:
        if not len(which):
            return
        if stream.tally is None:
            origin = int(wall[0] - at[0])
            known = self._clock
            if stream.live and known is not None and abs(known.origin - origin) <= JUMP:
                # The same boot: its clocks keep their difference.
                origin = known.origin
            stream.clock = WallClock(origin)
            if stream.live and key[0] == self._name:
                self._clock = stream.clock
            stream.tally = CameraTally(stream.clock, bool(stream.live), _longest_step(stream, at), self._keep)
        lost = np.zeros(len(which), np.int64)
        lost[0], stream.lost = stream.lost, 0
        reasons = {} if stream.reason is None else {0: stream.reason}
        stream.reason = None
        stream.tally.take(
            Frames(at, wall, np.nan_to_num(rows.dropped[which]).astype(np.int64), lost, reasons),
            rows.faces_of(which),
        )
        self._frames += len(which)

    def _finish(self, key: tuple[str, str]) -> None:
        stream = self._streams.pop(key)
        if stream.tally is None:
            return
        done = stream.tally.end()
        for at, jump in stream.tally.jumps:
            moment = np.datetime64(at + done.origin, "ms").astype(datetime)
            self._tell(
                f"The clock of {key[0]} was put right by {jump / 1000:+.1f} s at {moment:%Y-%m-%d %H:%M} "
                "UTC; "
                "times before that are corrected."
            )
        self._kept += len(done.seconds[0])
        if int(stream.source.run) not in self._ended:
            self._cut.add(int(stream.source.run))
        self._finished.append((stream, done))

    def _material(self) -> Material:
        parts = [_as_material(stream, done) for stream, done in self._finished]
        if self._other_schema:
            self._tell(
                f"{self._name}: {counted(self._other_schema, 'record')} of a later version than {SCHEMA} "
                "left "
                "out; update fer-edge."
            )
        if self._old:
            self._tell(
                f"{self._name}: {counted(self._old, 'record')} without a version, read as version {SCHEMA}."
            )
        if self._cut and self._frames:
            self._tell(
                f"{self._name}: {counted(len(self._cut), 'run')} without an end: it goes on, or was broken "
                "off."
            )
        self._finished.clear()
        settings = {self._name: self._settings} if self._settings else {}
        return joined([*parts, Material(settings=settings, told=tuple(self._told))])

    def _tell(self, text: str) -> None:
        self._told[printable(text)] = None


class _Rows:
    """Records of a piece as columns (n,), and the persons in them."""

    def __init__(self, table: Any) -> None:
        import pyarrow.compute as pc

        def reals(name: str) -> NDArray[np.float64]:
            found: NDArray[np.float64] = (
                table[name].combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
            )
            return found

        def texts(name: str) -> NDArray[Any]:
            # A piece has few different ones.
            coded = pc.dictionary_encode(table[name].combine_chunks(), "encode")
            words = np.array([*coded.dictionary.to_pylist(), None], object)
            found: NDArray[Any] = words[coded.indices.to_numpy(zero_copy_only=False)]
            return found

        self.type, self.camera, self.source = texts("type"), texts("camera"), texts("source")
        self.reason = texts("reason")
        self.camera = np.where(self.camera == None, self.source, self.camera)  # noqa: E711
        self.schema = np.nan_to_num(reals("schema"))
        self.monotonic, self.timestamp = reals("monotonic"), reals("timestamp")
        self.dropped, self.lost = reals("dropped"), reals("lost")
        time = table["time"].combine_chunks()
        self.wall = pc.fill_null(time, 0).cast("int64").to_numpy(zero_copy_only=False)
        self._read_faces(table["faces"].combine_chunks())

    def _read_faces(self, lists: Any) -> None:
        count = np.diff(lists.offsets.to_numpy())
        count[lists.is_null().to_numpy(zero_copy_only=False)] = 0
        faces = lists.flatten()
        frame = np.repeat(np.arange(len(count)), count)
        track = _plain(faces.field("track"), 0.0).astype(np.int64)
        person = np.flatnonzero(track > 0)
        landmarks = faces.field("landmarks")
        box = faces.field("box")
        corners = box.flatten().to_numpy(zero_copy_only=False)
        points = landmarks.flatten().flatten().to_numpy(zero_copy_only=False)
        if len(corners) != 4 * len(track) or len(points) != 10 * len(track):
            box_ok = np.diff(box.offsets.to_numpy()) == 4
            whole = np.diff(landmarks.offsets.to_numpy()) == 5
            corners = _spread(corners, np.diff(box.offsets.to_numpy()), 4, box_ok)
            points = _spread(points, 2 * np.diff(landmarks.offsets.to_numpy()), 10, whole)
        corners = corners.reshape(-1, 4)[person]
        self._frame, self._track = frame[person], track[person]
        with np.errstate(over="ignore"):
            self._size = np.sqrt(np.maximum(corners[:, 2] * corners[:, 3], 0))
        self._unsure = _plain(faces.field("unsure"), False)[person].astype(np.bool_)
        self._facing = facing_of_many(points.reshape(-1, 5, 2)[person], self._size)
        shares = faces.field("probabilities")
        self._shares = np.stack([_plain(shares.field(name), 0.0)[person] for name in EMOTIONS], axis=1)

    def timely(self) -> NDArray[np.bool_]:
        """(n,): which records have times that a clock can show."""
        found: NDArray[np.bool_] = (self.wall > 0) & (self.wall < _LATEST)
        for clock in (self.monotonic, self.timestamp):
            found &= np.isnan(clock) | ((clock >= 0) & (clock < _UPTIME))
        return found

    def drop_odd_faces(self) -> int:
        """Leave out faces with impossible values, and second ones of a track in a frame; return how many."""
        total = self._shares.sum(axis=1)
        sound = (np.abs(total - 1) <= SLACK) & (self._shares.min(axis=1) >= -SLACK) & ~np.isinf(self._size)
        # Frames are in order: what is equal in sorted pairs is twice in a frame.
        last = np.lexsort((self._track, self._frame)) if _has_twice(self._frame, self._track) else None
        if sound.all() and last is None:
            return 0
        alone = np.ones(len(sound), np.bool_)
        if last is not None:
            again = (np.diff(self._frame[last]) == 0) & (np.diff(self._track[last]) == 0)
            alone[last[1:][again]] = False
        self._keep_faces(sound & alone)
        return int((~(sound & alone)).sum())

    def _keep_faces(self, faces: NDArray[np.bool_]) -> None:
        for name in ("_frame", "_track", "_size", "_unsure", "_facing", "_shares"):
            setattr(self, name, getattr(self, name)[faces])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Leave the other records out."""
        number = np.cumsum(rows) - 1
        for name in (
            "type",
            "camera",
            "source",
            "reason",
            "schema",
            "monotonic",
            "timestamp",
            "dropped",
            "lost",
            "wall",
        ):
            setattr(self, name, getattr(self, name)[rows])
        self._keep_faces(rows[self._frame])
        self._frame = number[self._frame]

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Milliseconds of the machine's clock; of records without, by the other clock."""
        seconds = self.monotonic[rows]
        return np.where(np.isnan(seconds), self.wall[rows], np.rint(1000 * np.nan_to_num(seconds))).astype(
            np.int64
        )

    def position(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Milliseconds in the film."""
        return np.rint(1000 * np.nan_to_num(self.timestamp[rows])).astype(np.int64)

    def looks_live(self, rows: NDArray[np.int64]) -> bool:
        """Whether the source's time goes on with the machine's, as it does not in a film."""
        difference = self.timestamp[rows] - self.monotonic[rows]
        known = difference[~np.isnan(difference)]
        return not len(known) or bool(np.ptp(known) < 1.0)

    def faces_of(self, rows: NDArray[np.int64]) -> Faces:
        """The persons in these records, which are in order."""
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            first, last = np.searchsorted(self._frame, [rows[0], rows[-1] + 1])
            mine: Any = slice(int(first), int(last))
            frame = self._frame[mine] - rows[0]
        else:
            number = np.full(len(self.type), -1, np.int64)
            number[rows] = np.arange(len(rows))
            mine = np.flatnonzero(number[self._frame] >= 0)
            frame = number[self._frame[mine]]
        return Faces(
            frame,
            self._track[mine],
            self._unsure[mine],
            self._facing[mine],
            self._size[mine],
            self._shares[mine],
        )


def _has_twice(frame: NDArray[np.int64], track: NDArray[np.int64]) -> bool:
    """Whether a frame has a track twice; at times also where it has not, of numbers above 2 ** 32."""
    keys = np.sort((frame << 32) ^ track)
    return bool((keys[1:] == keys[:-1]).any())


def _plain(array: Any, missing: Any) -> NDArray[Any]:
    if array.null_count:
        array = array.fill_null(missing)
    found: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found


def _spread(
    values: NDArray[Any], counts: NDArray[Any], width: int, whole: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Values of lists of ``width``; of others NaN."""
    found = np.full((len(counts), width), np.nan)
    rows = np.repeat(whole, counts)
    if len(rows) == len(values):
        found[whole] = values[rows].reshape(-1, width)
    return found.ravel()


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """What is read, also what came before packed data break off."""
    parts: list[bytes] = []
    size = 0
    try:
        while part := stream.read1(_PIECE):  # type: ignore[attr-defined]
            parts.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(parts)
                parts, size = [], 0
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _pieces(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, some 16 MB at a time, and whether the last one ends in a newline."""
    rest = b""
    for block in _blocks(stream):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut], True
            rest = block[cut:]
        else:
            rest += block
    if rest.strip():
        yield rest, False


def _starts(piece: bytes) -> Iterator[dict[str, Any]]:
    for line in piece.split(b"\n"):
        if b'"start"' in line:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(record, dict)
                and record.get("type") == "start"
                and record.get("schema", 0) <= SCHEMA
            ):
                yield record


def _parsed(piece: bytes) -> tuple[Any, int]:
    """The records of ``piece``, None for none, and how many lines are none."""
    # pyarrow ends the process at a null that is not within an object.
    nulls = piece.count(b"null")
    if nulls and nulls != piece.count(b":null") + piece.count(b": null"):
        lines = piece.splitlines(keepends=True)
        objects = [line for line in lines if b"null" not in line or _is_object(line)]
        if len(objects) < len(lines):
            table, bad = _parsed(b"".join(objects)) if objects else (None, 0)
            return table, bad + len(lines) - len(objects)
    try:
        return _table(piece), 0
    except ValueError:
        lines = [line for line in piece.split(b"\n") if line.strip()]
        if len(lines) == 1:
            return None, 1
        middle = len(lines) // 2
        halves = [_parsed(b"\n".join(part) + b"\n") for part in (lines[:middle], lines[middle:])]
        tables = [table for table, _ in halves if table is not None]
        bad = sum(count for _, count in halves)
        return (_pyarrow().concat_tables(tables) if tables else None), bad


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table(piece: bytes) -> Any:
    pyarrow = _pyarrow()
    from pyarrow import json as lines

    return lines.read_json(
        pyarrow.BufferReader(piece),
        lines.ReadOptions(use_threads=True, block_size=4 << 20),
        lines.ParseOptions(explicit_schema=_schema(), unexpected_field_behavior="ignore"),
    )


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.json
    except ImportError as error:
        raise MissingExtraError("reading JSON lines", "pyarrow", "report") from error
    return pyarrow


def _schema() -> Any:
    import pyarrow as pa

    real, text = pa.float64(), pa.string()
    face = pa.struct(
        [
            ("track", pa.int64()),
            ("box", pa.list_(real)),
            ("landmarks", pa.list_(pa.list_(real))),
            ("unsure", pa.bool_()),
            ("probabilities", pa.struct([(name, real) for name in EMOTIONS])),
        ]
    )
    return pa.schema(
        [
            ("schema", pa.int64()),
            ("type", text),
            ("time", pa.timestamp("ms", "UTC")),
            ("monotonic", real),
            ("timestamp", real),
            ("source", text),
            ("camera", text),
            ("dropped", pa.int64()),
            ("lost", pa.int64()),
            ("reason", text),
            ("faces", pa.list_(face)),
        ]
    )


def _longest_step(stream: _Stream, at: NDArray[np.int64]) -> int:
    """Milliseconds between frames beyond which there is a gap, as the run's store would take it."""
    options = stream.options
    rates = [options.get(name) for name in ("fps", "max_fps", "idle_fps" if stream.live else "")]
    pauses = [1 / rate for rate in rates if isinstance(rate, int | float) and rate > 0]
    if len(at) > 2:
        # A source that gives a picture every ten seconds says so nowhere else.
        pauses.append(float(np.median(np.diff(at))) / 1000)
    return longest_step(max(pauses, default=0.0))


def _as_material(stream: _Stream, done: Counted) -> Material:
    people = len(done.track)
    source = np.zeros(people, np.int32)
    seen = done.sums[:, SEEN]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = done.sums[:, SHARES] / seen[:, None]
        size = done.sums[:, SIZE] / seen
    person, began, sums = done.seconds
    milliseconds = sums[:, SEEN] if len(sums) else np.ones(0, np.float32)
    counts, minute_sums = done.minute_counts, done.minute_sums
    with np.errstate(invalid="ignore", divide="ignore"):
        minute_shares = minute_sums[:, SHARES] / done.minute_people[:, None]
    origin = done.origin
    return Material(
        sources=(stream.source,),
        people=People(
            source=source,
            track=done.track,
            began=done.began + origin,
            ended=done.ended + origin,
            seen=seen / 1000,
            unsure=done.sums[:, UNSURE] / 1000,
            attention=done.sums[:, ATTENTION] / 1000,
            unclear=done.sums[:, UNCLEAR] / 1000,
            shares=_narrow(shares),
            smile=done.smile,
            first_smile=done.first_smile / 1000,
            size=size,
            cut=np.zeros(people, np.bool_),
        ),
        seconds=Seconds(
            person=person.astype(np.int32),
            began=began + origin,
            seen=_narrow(sums[:, SEEN] / 1000),
            unsure=_narrow(sums[:, UNSURE] / 1000),
            attention=_narrow(sums[:, ATTENTION] / 1000),
            unclear=_narrow(sums[:, UNCLEAR] / 1000),
            shares=sums[:, SHARES] / milliseconds[:, None],
        ),
        minutes=Minutes(
            source=np.zeros(len(counts), np.int32),
            began=done.minutes[:, 0] + origin,
            ended=done.minutes[:, 1] + origin,
            observed=counts[:, 0] / 1000,
            gap=counts[:, 1] / 1000,
            frames=counts[:, 2],
            dropped=counts[:, 3],
            lost=counts[:, 4],
            people=done.minute_people,
            people_max=counts[:, 5],
            visits_begun=counts[:, 6],
            visits_ended=counts[:, 7],
            dwell=counts[:, 8] / 1000,
            seen=minute_sums[:, SEEN] / 1000,
            unsure=minute_sums[:, UNSURE] / 1000,
            attention=minute_sums[:, ATTENTION] / 1000,
            unclear=minute_sums[:, UNCLEAR] / 1000,
            shares=_narrow(minute_shares),
        ),
        gaps=Gaps(
            source=np.zeros(len(done.gaps), np.int32),
            began=np.array([began for began, _, _ in done.gaps], np.int64) + origin,
            ended=np.array([ended for _, ended, _ in done.gaps], np.int64) + origin,
            reason=np.array([reason for _, _, reason in done.gaps], np.str_),
        ),
    )


def _narrow(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32, copy=False)
