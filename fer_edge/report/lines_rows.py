"""Records of JSON lines as columns, without what is damaged or cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..faces.quality import facing_of_many
from ..labels import EMOTIONS
from .material import SLACK
from .tally import Faces

_LATEST = 4_102_444_800_000
"""Milliseconds since 1970 of the year 2100, beyond which a time is damaged."""

_UPTIME = 10e9
"""Seconds of a clock that counts from the machine's start, or of a film, beyond which it is damaged."""


class Rows:
    """Records of a piece as columns (n,), and the persons in them.

    ``table``: what :func:`~fer_edge.report.lines_pieces.parsed` makes of the piece.
    """

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
        self.brightness = reals("brightness")
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
        pitch = faces.field("pitch").to_numpy(zero_copy_only=False)[person]
        self._facing = facing_of_many(points.reshape(-1, 5, 2)[person], self._size, pitch)
        self._brightness = faces.field("brightness").to_numpy(zero_copy_only=False)[person]
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
        for name in ("_frame", "_track", "_size", "_unsure", "_facing", "_shares", "_brightness"):
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
            "brightness",
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
            self._brightness[mine],
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
