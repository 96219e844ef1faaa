"""From frames to visits, seconds and minutes, as the store counts them, for millions of faces at a time.

:mod:`fer_edge.store.tally` says what each figure is, frame by frame, while a run goes on. Here the same is
done with arrays over batches of frames of one camera; ``tests/report/test_lines.py`` holds the two together.
Sums of the second and minute that goes on are carried over to the next batch, so that memory does not grow
with frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..faces.light import BRIGHT, DARK
from ..faces.quality import Facing
from ..labels import EMOTIONS
from ..store.clock import JUMP, MINUTE, SECOND, WallClock
from ..store.schema import TENTH
from ..store.tally import NO_FRAMES, NOT_STORED, SMILE, SMILE_SEEN

Whole = NDArray[np.int64]
Real = NDArray[np.float64]

_HAPPY = EMOTIONS.index("happy")

SEEN, UNSURE, ATTENTION, UNCLEAR, SIZE, SHARES = 0, 1, 2, 3, 4, slice(5, 12)
"""Columns of sums over time: milliseconds, and values times milliseconds."""

_WIDTH = 12

_COUNTS = 15
"""Columns of :attr:`Counted.minute_counts`."""

LIGHT = slice(9, 15)
"""Of those the ones of light."""

_BITS = 31
"""Of a minute within its key."""

_TIME = 27
"""Bits of a second or minute, counted from two years before the first one, within the key of a person's."""

_STRETCH = 31
"""Stretches between jumps of the clock are told apart by so much of their number there."""

_KEY = 32


@dataclass(frozen=True)
class Frames:
    """Frames of a camera in the order of time; arrays (n,)."""

    at: Whole
    """Milliseconds of the machine's monotonic clock, or position in the film."""
    wall: Whole
    """Milliseconds since 1970 by the clock."""
    dropped: Whole
    lost: Whole
    """Results that are missing before the frame."""
    reasons: dict[int, str]
    """Of frames before which the source told of a gap, why."""
    brightness: Real
    """Of the picture, NaN where it is not known."""


@dataclass(frozen=True)
class Faces:
    """Persons in the frames, in their order; arrays (m,)."""

    frame: Whole
    """Index into the frames."""
    track: Whole
    unsure: NDArray[np.bool_]
    facing: NDArray[np.int8]
    size: Real
    shares: NDArray[Any]
    """(m, 7)."""
    brightness: Real
    """NaN where it is not known."""


@dataclass
class _Open:
    """A visit that goes on."""

    visit: int
    last: int
    group: int


@dataclass
class Counted:
    """What was counted of a camera. Times are milliseconds of its own clock: add ``origin`` for UTC."""

    origin: int
    track: Whole
    began: Whole
    ended: Whole
    sums: Real
    """(visits, 12)."""
    smile: Real
    first_smile: Real
    seconds: tuple[Whole, Whole, NDArray[np.float32]]
    """Number of the visit, begin, and sums (n, 12) of each second; empty where they were not to be kept."""
    minutes: Whole
    """(n, 2): begin and end of each minute."""
    minute_counts: Whole
    """(n, 15): observed, gap (ms), frames, dropped, lost, most people, visits begun and ended, dwell (ms),
    and of light: ms in which that of the picture is known, its tenths of grey levels times ms, the same of
    faces, and ms of faces that were too dark, and too bright."""
    minute_people: Whole
    minute_sums: Real
    """(n, 12): sums over people; of ``SHARES`` the sums of their means."""
    gaps: list[tuple[int, int, str]]


@dataclass
class _Rolling:
    """Sums by key, of which those of the time that goes on wait for more."""

    keys: Whole = field(default_factory=lambda: np.empty(0, np.int64))
    sums: Real = field(default_factory=lambda: np.empty((0, _WIDTH)))

    def add(self, keys: Whole, sums: Real, going_on: int | None, time: int) -> tuple[Whole, Real]:
        """Return the sums (n, 12) of each key whose time, its lowest bits, is not ``going_on``."""
        keys, sums = np.concatenate([self.keys, keys]), np.concatenate([self.sums, sums])
        order = np.argsort(keys, kind="stable")
        keys, sums = keys[order], sums[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1)) if len(keys) else np.empty(0, np.int64)
        if len(keys):
            keys, sums = keys[starts], np.add.reduceat(sums, starts, axis=0)
        wait = (
            (keys & ((1 << time) - 1)) == going_on if going_on is not None else np.zeros(len(keys), np.bool_)
        )
        self.keys, self.sums = keys[wait], sums[wait]
        return keys[~wait], sums[~wait]


class CameraTally:
    """What goes on in front of one camera in one run.

    ``clock``: of the machine's boot. ``live``: whether it is followed, or times are those of a film.
    ``longest_step``: milliseconds, as for the store's. ``keep_seconds``: whether :class:`Counted` has them.
    """

    def __init__(self, clock: WallClock, live: bool, longest_step: int, keep_seconds: bool = True) -> None:
        self._clock, self._live, self._longest_step, self._keep = clock, live, longest_step, keep_seconds
        self._last: int | None = None
        self._dropped = self._group = self._epoch = 0
        self._epochs: list[list[int]] = []
        """Of each stretch between jumps: origin, begin, end."""
        self._base = 0
        self._open: dict[int, _Open] = {}
        self._track: list[int] = []
        self._began: list[int] = []
        self._ended: list[int] = []
        self._sums = np.zeros((1024, _WIDTH))
        self._smile = np.full(1024, np.nan)
        self._first_smile = np.full(1024, np.nan)
        self._of_second, self._of_minute = _Rolling(), _Rolling()
        self._seconds: list[tuple[Whole, NDArray[np.float32]]] = []
        self._minutes: list[tuple[Whole, Whole]] = []
        self._minute_people: list[tuple[Whole, Real]] = []
        self.gaps: list[tuple[int, int, str]] = []
        self.jumps: list[tuple[int, int]] = []
        """When the clock jumped, and by how much; milliseconds."""

    @property
    def kept(self) -> int:
        """How many seconds of people are kept."""
        return sum(len(keys) for keys, _ in self._seconds)

    def keep_no_more(self) -> None:
        """Keep no further seconds."""
        self._keep = False

    @property
    def last(self) -> int | None:
        """When the last frame came."""
        return self._last

    def take(self, frames: Frames, faces: Faces) -> None:
        """Count frames that follow those before."""
        if not len(frames.at):
            return
        begun = self._last is not None
        at = np.maximum.accumulate(np.concatenate([[self._last if begun else frames.at[0]], frames.at]))
        before, at = at[:-1], at[1:]
        epoch, origin = self._follow_clock(frames, before, at)
        restart = at - before > self._longest_step
        restart[list(frames.reasons)] = True
        if not begun:
            restart[0] = False
        for index in np.flatnonzero(restart).tolist():
            reason = frames.reasons.get(index) or (NOT_STORED if frames.lost[index] else NO_FRAMES)
            self.gaps.append((int(before[index]), int(at[index]), reason))
            self._count(
                [
                    self._minute(before[index], origin[index], epoch[index]),
                    self._minute(at[index], origin[index], epoch[index]),
                ],
                1,
                self._gap_parts(int(before[index]), int(at[index]), int(origin[index])),
            )
        fresh = restart.copy()
        fresh[0] |= not begun
        self._count_frames(frames, faces, at, origin, epoch)
        start = np.where(fresh, at, before)
        self._count_faces(faces, start, at, fresh, before, origin, epoch, _light(frames.brightness, faces))
        self._last = int(at[-1])
        self._epochs[-1][2] = self._last

    def end(self) -> Counted:
        """Return what was counted, with what went on until now as over."""
        if self._last is not None:
            epoch, (origin, _, _) = self._epoch, self._epochs[-1]
            for one in self._open.values():
                self._close(one.visit, one.last, self._last, None, origin, epoch)
            self._open.clear()
        none = np.empty(0, np.int64)
        self._fold(none, np.empty((0, _WIDTH)), None)
        return self._counted()

    def _follow_clock(self, frames: Frames, before: Whole, at: Whole) -> tuple[Whole, Whole]:
        """Number of the stretch between jumps, and origin, of each frame."""
        if not self._epochs:
            self._epochs.append([self._clock.origin, int(at[0]), int(at[0])])
            self._base = int((at[0] + self._clock.origin) // SECOND)
        epoch = np.full(len(at), self._epoch, np.int64)
        origin = np.full(len(at), self._clock.origin, np.int64)
        if not self._live:
            return epoch, origin
        other = frames.wall - frames.at
        index = 0
        while True:
            off = np.flatnonzero(np.abs(other[index:] - self._clock.origin) > JUMP)
            if not len(off):
                self._clock.see(int(frames.at[-1]), int(frames.wall[-1]))
                return epoch, origin
            index += int(off[0])
            if off[0]:
                self._clock.see(int(frames.at[index - 1]), int(frames.wall[index - 1]))
            jump = self._clock.see(int(frames.at[index]), int(frames.wall[index]))
            if jump:
                self.jumps.append((int(at[index]), jump))
                self._begin_epoch(int(before[index]))
                epoch[index:] = self._epoch
                origin[index:] = self._clock.origin
            index += 1
            if index == len(other):
                return epoch, origin

    def _begin_epoch(self, began: int) -> None:
        self._epochs[-1][2] = began
        self._epochs.append([self._clock.origin, began, began])
        self._epoch += 1

    def _minute(self, at: Any, origin: Any, epoch: Any) -> Any:
        """The key of the minute that ``at`` is in."""
        return (epoch << _BITS) + (at + origin) // MINUTE

    def _count(self, minutes: Any, column: int, values: Any) -> None:
        """Add to a column of :attr:`Counted.minute_counts`."""
        counts = np.zeros((len(values), _COUNTS), np.int64)
        counts[:, column] = values
        self._add_counts(np.asarray(minutes, np.int64), counts)

    def _add_counts(self, minutes: Whole, counts: Whole) -> None:
        if not len(minutes):
            return
        order = np.argsort(minutes, kind="stable")
        keys = minutes[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
        counts = counts[order]
        most = np.maximum.reduceat(counts[:, 5], starts)
        summed = np.add.reduceat(counts, starts, axis=0)
        summed[:, 5] = most
        self._minutes.append((keys[starts], summed))

    @staticmethod
    def _gap_parts(before: int, at: int, origin: int) -> list[int]:
        """Milliseconds of a gap in the minute in which it begins, and in that in which it ends."""
        until = ((before + origin) // MINUTE + 1) * MINUTE - origin
        if at < until:
            return [at - before, 0]
        return [until - before, at - max(before, (at + origin) // MINUTE * MINUTE - origin)]

    def _count_frames(self, frames: Frames, faces: Faces, at: Whole, origin: Whole, epoch: Whole) -> None:
        counts = np.zeros((len(at), _COUNTS), np.int64)
        counts[:, 2] = 1
        change = np.diff(frames.dropped, prepend=self._dropped)
        counts[:, 3] = np.where(change >= 0, change, frames.dropped)
        self._dropped = int(frames.dropped[-1])
        counts[:, 4] = frames.lost
        counts[:, 5] = np.bincount(faces.frame, minlength=len(at))
        self._add_counts(self._minute(at, origin, epoch), counts)

    def _count_faces(
        self,
        faces: Faces,
        start: Whole,
        at: Whole,
        fresh: Any,
        before: Whole,
        origin: Whole,
        epoch: Whole,
        light: Whole,
    ) -> None:
        # The time that each frame stands for, cut where seconds end.
        low, high = (start + origin) // SECOND, (at + origin - 1) // SECOND
        parts = np.where(at > start, high - low + 1, 0)
        of = np.repeat(np.arange(len(at)), parts)
        offset = np.cumsum(parts) - parts
        second = low[of] + np.arange(len(of)) - offset[of]
        begin = np.maximum(second * SECOND - origin[of], start[of])
        length = np.minimum((second + 1) * SECOND - origin[of], at[of]) - begin
        observed = np.zeros((len(of), _COUNTS), np.int64)
        observed[:, 0] = length
        observed[:, LIGHT] = light[of] * length[:, None]
        self._add_counts((epoch[of] << _BITS) + second // 60, observed)

        visit = self._visits(faces, start, at, np.cumsum(fresh) + self._group, before, origin, epoch)
        self._group += int(fresh.sum())

        count = parts[faces.frame]
        face = np.repeat(np.arange(len(faces.frame)), count)
        piece = offset[faces.frame][face] + np.arange(len(face)) - (np.cumsum(count) - count)[face]
        took = length[piece].astype(np.float64)
        sums = np.empty((len(face), _WIDTH))
        sums[:, SEEN] = took
        sums[:, UNSURE] = took * faces.unsure[face]
        sums[:, ATTENTION] = took * (faces.facing[face] == Facing.CAMERA)
        sums[:, UNCLEAR] = took * (faces.facing[face] == Facing.UNCLEAR)
        sums[:, SIZE] = took * faces.size[face]
        sums[:, SHARES] = took[:, None] * faces.shares[face]
        when = self._time(second[piece], epoch[faces.frame[face]])
        last = int(at[-1])
        going_on = int(self._time(np.int64((last + self._clock.origin - 1) // SECOND), np.int64(self._epoch)))
        self._fold((visit[face] << _KEY) | when, sums, going_on)

    def _time(self, second: Any, epoch: Any) -> Any:
        """A second as the lower bits of a key; seconds of different stretches differ."""
        return ((second - self._base + (1 << (_TIME - 1))) & ((1 << _TIME) - 1)) | (
            (epoch & _STRETCH) << _TIME
        )

    def _visits(
        self, faces: Faces, start: Whole, at: Whole, group: Whole, before: Whole, origin: Whole, epoch: Whole
    ) -> Whole:
        """(m,): number of the visit of each face."""
        order = np.argsort(faces.track, kind="stable")
        track, frame = faces.track[order], faces.frame[order]
        visit = np.empty(len(order), np.int64)
        if not len(order):
            self._see_off(start, at, group, before, origin, epoch)
            return visit
        begins, ends, groups = start[frame], at[frame], group[frame]
        same = np.zeros(len(order), np.bool_)
        same[1:] = (track[1:] == track[:-1]) & (groups[1:] == groups[:-1])
        same[1:] &= begins[1:] - ends[:-1] <= self._longest_step
        firsts = np.flatnonzero(~same)
        lasts = np.append(firsts[1:], len(order)) - 1
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            who, began, ended = int(track[first]), int(begins[first]), int(ends[last])
            known = self._open.get(who)
            if known is not None and (
                known.group != groups[first] or began - known.last > self._longest_step
            ):
                self._close_before(known, int(frame[first]), start, at, group, before, origin, epoch)
                known = None
            if known is None:
                number = len(self._track)
                self._track.append(who)
                self._began.append(began)
                self._ended.append(ended)
                known = self._open[who] = _Open(number, ended, int(groups[last]))
                self._count(
                    [self._minute(began, int(origin[frame[first]]), int(epoch[frame[first]]))], 6, [1]
                )
            known.last, self._ended[known.visit] = ended, ended
            visit[order[first : last + 1]] = known.visit
        self._see_off(start, at, group, before, origin, epoch)
        self._grow()
        return visit

    def _see_off(
        self, start: Whole, at: Whole, group: Whole, before: Whole, origin: Whole, epoch: Whole
    ) -> None:
        """Close visits of people who have left by the end of the batch."""
        latest = int(at[-1])
        for who, one in list(self._open.items()):
            if one.group != group[-1] or self._leaves(one.last, int(origin[-1])) <= latest:
                self._close_before(one, len(at), start, at, group, before, origin, epoch)
                del self._open[who]

    def _leaves(self, last: int, origin: int) -> int:
        """When a person is taken to have left: at the end of a second."""
        return ((last + self._longest_step + origin) // SECOND + 1) * SECOND - origin

    def _close_before(
        self,
        one: _Open,
        index: int,
        start: Whole,
        at: Whole,
        group: Whole,
        before: Whole,
        origin: Whole,
        epoch: Whole,
    ) -> None:
        """Close a visit that is over when frame ``index`` of the batch comes."""
        later = int(np.searchsorted(group, one.group, side="right"))
        ended = int(before[later]) if later < len(group) else None
        again = int(start[index]) if index < len(group) else None
        # The clock may have jumped between that and the end of the batch.
        place = min(later, index, int(np.searchsorted(at, one.last + self._longest_step)), len(group) - 1)
        self._close(one.visit, one.last, ended, again, int(origin[place]), int(epoch[place]))

    def _close(
        self, visit: int, last: int, ended: int | None, again: int | None, origin: int, epoch: int
    ) -> None:
        """Count the end of a visit in the minute in which it was noticed.

        ``ended``: when the frames ended, ``again``: when the same track was seen again.
        """
        leaves = self._leaves(last, origin)
        noticed = leaves - 1
        if ended is not None and ended < leaves:
            noticed = ended
        if again is not None and again < min(leaves, noticed + 1):
            noticed = again
        minute = self._minute(noticed, origin, epoch)
        self._count([minute], 7, [1])
        self._count([minute], 8, [self._ended[visit] - self._began[visit]])

    def _grow(self) -> None:
        size = len(self._sums)
        while size < len(self._track):
            size *= 2
        if size > len(self._sums):
            more = size - len(self._sums)
            self._sums = np.concatenate([self._sums, np.zeros((more, _WIDTH))])
            self._smile = np.concatenate([self._smile, np.full(more, np.nan)])
            self._first_smile = np.concatenate([self._first_smile, np.full(more, np.nan)])

    def _fold(self, keys: Whole, sums: Real, going_on: int | None) -> None:
        """Add what is over to visits and minutes."""
        keys, sums = self._of_second.add(keys, sums, going_on, _KEY)
        if going_on is None or len(keys):
            visit, when = keys >> _KEY, keys & ((1 << _KEY) - 1)
            epoch = self._epoch_of(when)
            second = (when & ((1 << _TIME) - 1)) - (1 << (_TIME - 1)) + self._base
            began = second * SECOND - self._origins[epoch] if len(keys) else second
            np.add.at(self._sums, visit, sums)
            judged = sums[:, SEEN] >= SMILE_SEEN
            smile = np.where(judged, sums[:, 5 + _HAPPY] / np.maximum(sums[:, SEEN], 1), np.nan)
            np.fmax.at(self._smile, visit, smile)
            smiled = np.flatnonzero(smile >= SMILE)
            since = np.maximum(began[smiled] - np.array(self._began, np.int64)[visit[smiled]], 0)
            np.fmin.at(self._first_smile, visit[smiled], since.astype(np.float64))
            if self._keep:
                self._seconds.append((keys, sums.astype(np.float32)))
            minute = ((epoch & _STRETCH) << _TIME) | (
                (second // 60 - self._base // 60 + (1 << (_TIME - 1))) & ((1 << _TIME) - 1)
            )
            now = None
            if going_on is not None:
                now_second = (going_on & ((1 << _TIME) - 1)) - (1 << (_TIME - 1)) + self._base
                now = int(
                    ((self._epoch & _STRETCH) << _TIME)
                    | ((now_second // 60 - self._base // 60 + (1 << (_TIME - 1))) & ((1 << _TIME) - 1))
                )
            self._fold_minutes((visit << _KEY) | minute, sums, now)

    @property
    def _origins(self) -> Whole:
        return np.array([origin for origin, _, _ in self._epochs] or [0], np.int64)

    def _epoch_of(self, when: Whole) -> Whole:
        """The latest stretch whose number has these lowest bits."""
        low = when >> _TIME
        return self._epoch - ((self._epoch - low) & _STRETCH)

    def _fold_minutes(self, keys: Whole, sums: Real, going_on: int | None) -> None:
        keys, sums = self._of_minute.add(keys, sums, going_on, _KEY)
        if not len(keys):
            return
        minute = keys & ((1 << _KEY) - 1)
        people = sums.copy()
        people[:, SHARES] /= people[:, SEEN, None]
        # The size has its place for the count of people.
        people[:, SIZE] = 1
        values, codes = np.unique(minute, return_inverse=True)
        totals = np.zeros((len(values), _WIDTH))
        np.add.at(totals, codes, people)
        number = (values & ((1 << _TIME) - 1)) - (1 << (_TIME - 1)) + self._base // 60
        self._minute_people.append(((self._epoch_of(values) << _BITS) + number, totals))

    def _counted(self) -> Counted:
        count = len(self._track)
        keys, counts = _merged(self._minutes, _COUNTS, np.int64)
        people_keys, people = _merged(self._minute_people, _WIDTH, np.float64)
        sums = np.zeros((len(keys), _WIDTH))
        sums[np.searchsorted(keys, people_keys)] = people
        seen = (counts[:, 0] > 0) | (counts[:, 2] > 0)
        keys, counts, sums = keys[seen], counts[seen], sums[seen]
        epochs = np.array(self._epochs or [[0, 0, 0]], np.int64)[keys >> _BITS]
        began = (keys & ((1 << _BITS) - 1)) * MINUTE - epochs[:, 0]
        minutes = np.stack(
            [np.maximum(began, epochs[:, 1]), np.minimum(began + MINUTE, epochs[:, 2])], axis=1
        )
        visit_sums, smile = self._sums[:count], self._smile[:count].copy()
        unknown = np.isnan(smile) & (visit_sums[:, SEEN] > 0)
        smile[unknown] = visit_sums[unknown, 5 + _HAPPY] / visit_sums[unknown, SEEN]
        return Counted(
            origin=self._clock.origin,
            track=np.array(self._track, np.int64),
            began=np.array(self._began, np.int64),
            ended=np.array(self._ended, np.int64),
            sums=visit_sums,
            smile=smile,
            first_smile=self._first_smile[:count],
            seconds=self._kept_seconds(),
            minutes=minutes,
            minute_counts=counts,
            minute_people=np.rint(sums[:, SIZE]).astype(np.int64),
            minute_sums=sums,
            gaps=self.gaps,
        )

    def _kept_seconds(self) -> tuple[Whole, Whole, NDArray[np.float32]]:
        if not self._seconds:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, _WIDTH), np.float32)
        keys = np.concatenate([keys for keys, _ in self._seconds])
        sums = np.concatenate([sums for _, sums in self._seconds])
        self._seconds.clear()
        when = keys & ((1 << _KEY) - 1)
        second = (when & ((1 << _TIME) - 1)) - (1 << (_TIME - 1)) + self._base
        return keys >> _KEY, second * SECOND - self._origins[self._epoch_of(when)], sums


def _light(pictures: Real, faces: Faces) -> Whole:
    """(n, 6): what each frame adds to :data:`LIGHT` in a millisecond."""

    def per_frame(which: NDArray[np.bool_], weights: Real | None = None) -> NDArray[Any]:
        return np.bincount(faces.frame[which], weights, len(pictures))

    level = faces.brightness
    known = ~np.isnan(level)
    columns = (
        ~np.isnan(pictures),
        np.rint(TENTH * np.nan_to_num(pictures)),
        per_frame(known),
        np.rint(TENTH * per_frame(known, level[known])),
        per_frame(level < DARK),
        per_frame(level > BRIGHT),
    )
    return np.stack(columns, axis=1).astype(np.int64)


def _merged(parts: Sequence[tuple[Whole, Any]], width: int, dtype: Any) -> tuple[Whole, Any]:
    """Sums (n, width) of each different key; of column 5 of whole numbers the largest."""
    if not parts:
        return np.empty(0, np.int64), np.zeros((0, width), dtype)
    keys = np.concatenate([keys for keys, _ in parts])
    rows = np.concatenate([rows for _, rows in parts])
    values, codes = np.unique(keys, return_inverse=True)
    totals = np.zeros((len(values), width), dtype)
    np.add.at(totals, codes, rows)
    if dtype is np.int64:
        totals[:, 5] = 0
        np.maximum.at(totals[:, 5], codes, rows[:, 5])
    return values, totals
