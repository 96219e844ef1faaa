"""From results to rows: visits, minutes, gaps and seconds of one camera.

A frame stands for the time since the one before it, and so do the faces in it. All times are whole
milliseconds of one clock: the machine's monotonic clock, or the position in a film. ``origin`` is what has to
be added for milliseconds since 1970; seconds and minutes are cut where that sum is a whole one.

What is kept is bounded: a person who left is added to the minute and forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..faces.light import BRIGHT, DARK
from ..faces.quality import Facing, directions, facing, sizes
from ..labels import EMOTIONS
from ..pipeline.result import FrameResult
from .clock import MINUTE, SECOND
from .rows import GapRow, MinuteRow, Row, SecondRow, Shares, VisitRow
from .schema import SHARE, TENTH

LONGEST_STEP = 2 * SECOND
"""Milliseconds between two frames beyond which nothing is known of the time between them."""

PAUSES = 3
"""Of the pauses that a source means to leave, after which there is a gap."""

NO_FRAMES = "no frames"
"""Reason of a gap in which the source gave nothing."""

NOT_STORED = "not stored"
"""Reason of a gap in which the store could not be written."""

SMILE = 0.5
"""Share of people who would say happy, from which on a second counts as the first smile."""

MOST_PEOPLE = 500
"""People who are followed at a time; of more, those longest out of sight are taken to have left."""

SMILE_SEEN = 500
"""Milliseconds of a second in which a face must be seen for its smile to be judged."""

_HAPPY = EMOTIONS.index("happy")


def longest_step(pause: float) -> int:
    """Return the milliseconds for :class:`CameraTally` where frames come ``pause`` seconds apart, at most."""
    return max(LONGEST_STEP, round(PAUSES * 1000 * pause))


class _Sum:
    """What was seen of a person over some time: milliseconds, and values times milliseconds."""

    __slots__ = ("attention", "clear", "pitch", "seen", "shares", "size", "unclear", "unsure", "yaw")

    def __init__(self) -> None:
        self.seen = self.unsure = self.attention = self.unclear = self.clear = 0
        self.shares = [0.0] * len(EMOTIONS)
        self.size = self.yaw = self.pitch = 0.0

    def add(self, other: _Sum) -> None:
        for name in ("seen", "unsure", "attention", "unclear", "clear", "size", "yaw", "pitch"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.shares = [a + b for a, b in zip(self.shares, other.shares, strict=True)]

    def add_face(self, face: _Face, step: int) -> None:
        self.seen += step
        self.size += face.size * step
        if face.unsure:
            self.unsure += step
        if face.facing == Facing.UNCLEAR:
            self.unclear += step
        else:
            self.clear += step
            self.yaw += face.yaw * step
            self.pitch += face.pitch * step
            if face.facing == Facing.CAMERA:
                self.attention += step
        shares = self.shares
        for code, share in enumerate(face.shares):
            shares[code] += share * step

    @property
    def mean_shares(self) -> Shares:
        return tuple(round(SHARE * share / self.seen) for share in self.shares) if self.seen else None

    @property
    def mean_size(self) -> int | None:
        return round(TENTH * self.size / self.seen) if self.seen else None

    @property
    def mean_yaw(self) -> int | None:
        return round(TENTH * self.yaw / self.clear) if self.clear else None

    @property
    def mean_pitch(self) -> int | None:
        return round(TENTH * self.pitch / self.clear) if self.clear else None


@dataclass(frozen=True)
class _Face:
    track: int
    shares: list[float]
    unsure: bool
    facing: int
    size: float
    yaw: float
    pitch: float
    brightness: float
    """NaN where it is not known."""


class _Person:
    """A visit that goes on."""

    __slots__ = ("began", "first_smile", "last", "minute", "second", "smile", "track", "visit")

    def __init__(self, track: int, began: int) -> None:
        self.track, self.began, self.last = track, began, began
        self.visit, self.minute, self.second = _Sum(), _Sum(), _Sum()
        self.smile: float | None = None
        self.first_smile: int | None = None

    def row(self, cut: int = 0) -> VisitRow:
        """The visit so far, with what is known of the second that goes on."""
        whole = _Sum()
        whole.add(self.visit)
        whole.add(self.second)
        smile = self.smile
        if smile is None and whole.seen:
            smile = whole.shares[_HAPPY] / whole.seen
        return VisitRow(
            track=self.track,
            began=self.began,
            length=self.last - self.began,
            seen=whole.seen,
            unsure=whole.unsure,
            attention=whole.attention,
            unclear=whole.unclear,
            shares=whole.mean_shares,
            smile=None if smile is None else round(SHARE * smile),
            first_smile=self.first_smile,
            size=whole.mean_size,
            yaw=whole.mean_yaw,
            pitch=whole.mean_pitch,
            cut=cut,
        )


class _Minute:
    """A minute that goes on; ``shares`` is a sum over people of their means."""

    def __init__(self, began: int, until: int) -> None:
        self.began, self.until = began, until
        self.observed = self.gap = self.frames = self.dropped = self.lost = 0
        self.people = self.people_max = self.visits_begun = self.visits_ended = self.dwell = 0
        self.seen = self.unsure = self.attention = self.unclear = 0
        self.shares = [0.0] * len(EMOTIONS)
        # Milliseconds for which light is known, of the picture and of faces, and light times milliseconds.
        self.lit = self.faces_lit = self.dark = self.bright = 0
        self.light = self.faces_light = 0.0

    def pass_time(self, step: int, brightness: float | None, faces: list[_Face]) -> None:
        """Let ``step`` milliseconds pass, with the light of the picture and of the faces in it."""
        self.observed += step
        if brightness is not None:
            self.lit += step
            self.light += brightness * step
        for face in faces:
            level = face.brightness
            # NaN is not equal to itself.
            if level == level:
                self.faces_lit += step
                self.faces_light += level * step
                if level < DARK:
                    self.dark += step
                elif level > BRIGHT:
                    self.bright += step

    def add(self, part: _Sum) -> None:
        """Count a person with what was seen of them in this minute."""
        if not part.seen:
            return
        self.people += 1
        self.seen += part.seen
        self.unsure += part.unsure
        self.attention += part.attention
        self.unclear += part.unclear
        self.shares = [a + b / part.seen for a, b in zip(self.shares, part.shares, strict=True)]

    def row(self, ended: int, cut: int = 0) -> MinuteRow:
        people, known = self.people, self.lit or self.faces_lit
        return MinuteRow(
            began=self.began,
            length=ended - self.began,
            observed=self.observed,
            gap=self.gap,
            frames=self.frames,
            dropped=self.dropped,
            lost=self.lost,
            people=people,
            people_max=self.people_max,
            visits_begun=self.visits_begun,
            visits_ended=self.visits_ended,
            dwell=self.dwell,
            seen=self.seen,
            unsure=self.unsure,
            attention=self.attention,
            unclear=self.unclear,
            shares=tuple(round(SHARE * share / people) for share in self.shares) if people else None,
            cut=cut,
            brightness=round(TENTH * self.light / self.lit) if self.lit else None,
            face_brightness=round(TENTH * self.faces_light / self.faces_lit) if self.faces_lit else None,
            dark=self.dark if known else None,
            bright=self.bright if known else None,
        )


class CameraTally:
    """What goes on in front of one camera.

    ``longest_step``: milliseconds, see :data:`LONGEST_STEP`. Finished rows are in ``rows``, from which the
    caller takes them.
    """

    def __init__(self, origin: int, longest_step: int = LONGEST_STEP) -> None:
        self.rows: list[Row] = []
        self._detail = False
        self._origin, self._longest_step = origin, longest_step
        self._last: int | None = None
        self._people: dict[int, _Person] = {}
        self._minute: _Minute | None = None
        self._dropped = 0
        self._lost = 0

    def take(self, result: FrameResult, at: int) -> None:
        """Take a result whose frame was read ``at``, in milliseconds; such times never go back."""
        faces = _faces_of(result)
        before = self._last
        # The tracker may have frames that are read in the same millisecond.
        at = at if before is None else max(at, before)
        gap = result.gap
        if before is not None and (gap is not None or at - before > self._longest_step):
            self._miss(before, at, gap.reason if gap is not None else NOT_STORED if self._lost else NO_FRAMES)
        elif before is not None:
            self._pass(before, at, faces, result.brightness)
        minute = self._minute = self._minute or self._new_minute(at)
        self._last = at
        minute.frames += 1
        minute.lost += self._lost
        self._lost = 0
        # A source that was opened again counts from 0.
        minute.dropped += (
            result.dropped - self._dropped if result.dropped >= self._dropped else result.dropped
        )
        self._dropped = result.dropped
        minute.people_max = max(minute.people_max, len(faces))
        for face in faces:
            person = self._people.get(face.track)
            if person is None:
                self._meet(face.track, at)
            else:
                person.last = at

    def lose(self, results: int) -> None:
        """Count results that could not be taken."""
        self._lost += results

    def wait(self, now: int) -> None:
        """Finish what can be finished where no frame has come until ``now``."""
        if self._last is None or now - self._last <= self._longest_step:
            return
        self._leave(self._last)
        minute = self._minute
        if minute is not None and now >= minute.until:
            minute.gap += minute.until - max(self._last, minute.began)
            self._end_minute(minute.until)

    def set_detail(self, on: bool) -> None:
        """Make rows of seconds from now on, or no more."""
        if self._last is not None:
            self._fold(self._last)
        self._detail = on

    def set_origin(self, origin: int) -> None:
        """Cut seconds and minutes by another ``origin`` from now on, and end the minute that goes on."""
        if self._minute is not None and self._last is not None:
            self._fold(self._last)
            self._end_minute(self._last)
        self._origin = origin

    def end(self, cut: int = 0) -> None:
        """Finish everything, as at the end of a run."""
        if self._last is None:
            return
        self._leave(self._last, cut)
        if self._minute is not None:
            self._end_minute(self._last, cut)
        self._last = None

    def open_rows(self) -> Iterable[VisitRow | MinuteRow]:
        """What goes on, as it would be written if it were over now."""
        for person in self._people.values():
            yield person.row(cut=1)
        if self._minute is not None and self._last is not None:
            minute = _Minute(self._minute.began, self._minute.until)
            vars(minute).update(vars(self._minute))
            for person in self._people.values():
                part = _Sum()
                part.add(person.minute)
                part.add(person.second)
                minute.add(part)
            yield minute.row(max(self._last, minute.began), cut=1)

    def _pass(self, before: int, at: int, faces: list[_Face], brightness: float | None) -> None:
        """Let the time from ``before`` to ``at`` pass, which ``faces`` and ``brightness`` stand for."""
        while before < at:
            until = min(at, self._next(before, SECOND))
            minute = self._minute = self._minute or self._new_minute(before)
            step = until - before
            minute.pass_time(step, brightness, faces)
            for face in faces:
                person = self._people.get(face.track)
                if person is not None and before - person.last > self._longest_step:
                    self._fold_person(person, self._second(person.last))
                    self._close(person)
                    person = None
                person = person or self._meet(face.track, before)
                person.second.add_face(face, step)
                person.last = until
            before = until
            if (before + self._origin) % SECOND == 0:
                self._fold(before)
                if before >= minute.until:
                    self._end_minute(before)

    def _miss(self, before: int, at: int, reason: str) -> None:
        """Record that nothing is known of the time from ``before`` to ``at``."""
        self._leave(before)
        minute = self._minute
        if minute is not None:
            minute.gap += min(at, minute.until) - max(before, minute.began)
            if at >= minute.until:
                self._end_minute(minute.until)
        if self._minute is None:
            self._minute = self._new_minute(at)
            began = max(before, self._next(at, MINUTE) - MINUTE)
            self._minute.began, self._minute.gap = began, at - began
        self.rows.append(GapRow(before, at - before, reason))

    def _meet(self, track: int, at: int) -> _Person:
        if len(self._people) >= MOST_PEOPLE:
            gone = min(self._people.values(), key=lambda person: person.last)
            self._fold_person(gone, self._second(gone.last))
            self._close(gone)
        person = self._people[track] = _Person(track, at)
        if self._minute is not None:
            self._minute.visits_begun += 1
        return person

    def _fold(self, now: int) -> None:
        """End a second: add it to visits and minute, and let those leave who are out of sight."""
        second = self._second(now)
        for person in list(self._people.values()):
            self._fold_person(person, second)
            if now - person.last > self._longest_step:
                self._close(person)

    def _fold_person(self, person: _Person, second: int) -> None:
        part = person.second
        if not part.seen:
            return
        if part.seen >= SMILE_SEEN:
            smile = part.shares[_HAPPY] / part.seen
            person.smile = max(smile, person.smile or 0.0)
            if smile >= SMILE and person.first_smile is None:
                person.first_smile = max(second - person.began, 0)
        if self._detail:
            self.rows.append(
                SecondRow(
                    began=second,
                    track=person.track,
                    seen=part.seen,
                    unsure=part.unsure,
                    attention=part.attention,
                    unclear=part.unclear,
                    shares=part.mean_shares,
                    size=part.mean_size,
                    yaw=part.mean_yaw,
                    pitch=part.mean_pitch,
                )
            )
        person.visit.add(part)
        person.minute.add(part)
        person.second = _Sum()

    def _close(self, person: _Person, cut: int = 0) -> None:
        """End a visit."""
        del self._people[person.track]
        row = person.row(cut)
        minute = self._minute
        if minute is not None:
            minute.add(person.minute)
            minute.visits_ended += 1
            minute.dwell += row.length
        self.rows.append(row)

    def _leave(self, now: int, cut: int = 0) -> None:
        """Let everybody leave."""
        self._fold(now)
        for person in list(self._people.values()):
            self._close(person, cut)

    def _new_minute(self, at: int) -> _Minute:
        return _Minute(at, self._next(at, MINUTE))

    def _end_minute(self, ended: int, cut: int = 0) -> None:
        minute = self._minute
        assert minute is not None
        for person in self._people.values():
            minute.add(person.minute)
            person.minute = _Sum()
        if minute.frames or minute.observed:
            self.rows.append(minute.row(ended, cut))
        self._minute = None

    def _second(self, end: int) -> int:
        """The begin of the second that ends, or goes on, at ``end``."""
        return self._next(end - 1, SECOND) - SECOND

    def _next(self, at: int, unit: int) -> int:
        """The next end of a second or minute after ``at``."""
        return ((at + self._origin) // unit + 1) * unit - self._origin


def _faces_of(result: FrameResult) -> list[_Face]:
    """The persons among the faces of a result."""
    faces = result.faces
    if faces.ids is None or not faces.ids.any():
        return []
    if faces.probabilities is None or faces.unsure is None:
        raise ValueError("these faces were not classified")
    angles = directions(faces.landmarks, faces.pitch)
    pixels = sizes(faces.boxes)
    return [
        _Face(track, shares, unsure, turned, size, yaw, pitch, light)
        for track, shares, unsure, turned, size, (yaw, pitch), light in zip(
            faces.ids.tolist(),
            faces.probabilities.tolist(),
            faces.unsure.tolist(),
            facing(angles, pixels).tolist(),
            pixels.tolist(),
            angles.tolist(),
            [math.nan] * len(faces) if faces.brightness is None else faces.brightness.tolist(),
            strict=True,
        )
        if track
    ]
