"""The charts of the page. Each is drawn for a given width: once for a desk and paper, once for a phone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from ..store.clock import DAY, HOUR
from .content_types import STACK, WEEKDAYS, Content, Curve, Piece, Table
from .measures import Measure
from .svg import Drawing, spread, text_width, ticks
from .wording import gaps_counted, percent, position, signed_points, spoken

WIDE, NARROW = 920, 358
"""Pixels of the two sizes."""

MOST_CAMERAS = 50
"""Of which the page draws when they gave frames."""

Floats = NDArray[np.float64]

_MONTH = 2_629_746
"""Seconds of a mean month."""

_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
          172_800, 345_600, 604_800, 1_209_600,
          *(months * _MONTH for months in (1, 2, 3, 6, 12, 24, 60, 120)))  # fmt: skip


class _Frame:
    """Where time and values lie in a drawing."""

    def __init__(
        self,
        left: float,
        right: float,
        top: float,
        bottom: float,
        span: tuple[float, float],
        high: float,
        low: float = 0.0,
    ) -> None:
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.span, self.high, self.low = span, high, low

    @property
    def data(self) -> str:
        """What the page's script needs to know of it, as an attribute."""
        return f' data-plot="{self.left:g},{self.right:g},{self.top:g},{self.bottom:g}"'

    def x(self, at: float) -> float:
        return self.left + (at - self.span[0]) / (self.span[1] - self.span[0]) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)


def _over_time(content: Content, width: int, top: float, height: float, high: float) -> _Frame:
    """The frame of a chart over the whole time, with room for names on its right."""
    return _Frame(36, width - (126 if width == WIDE else 92), top, height - 26, content.span, high)


def emotions(content: Content, width: int) -> Drawing:
    """Stacked shares of the emotions over time, with events above and names beside."""
    wide = width == WIDE
    curve = content.curve
    height = 380 if wide else 300
    drawing = Drawing(
        width,
        height,
        "Emotions over time",
        "Stacked areas: the shares of onlookers who would call the faces in sight "
        + ", ".join(STACK)
        + ". "
        + "; ".join(
            f"{peak.emotion} is highest at {content.time(peak.at, True)} with {percent(peak.share)}"
            for peak in content.peaks
        ),
        "emotions",
    )
    top = 42.0 if content.events else 14.0
    frame = _over_time(content, width, top, height, 1.0)
    drawing.more = frame.data
    _time_axis(drawing, frame, content)
    for value in (0, 0.25, 0.5, 0.75, 1):
        drawing.text(frame.left - 6, frame.y(value) + 4, f"{100 * value:.0f}", "tick", "end")
    drawing.text(frame.left - 6, frame.top - 8, "%", "tick", "end")
    _stack(drawing, frame, curve)
    for value in (0.25, 0.5, 0.75):
        drawing.line(frame.left, frame.y(value), frame.right, frame.y(value), "grid over")
    _gaps(drawing, frame, content)
    if content.events:
        _events(drawing, frame, content)
    _mark_peaks(drawing, frame, content, wide)
    _stack_labels(drawing, frame, content, wide)
    return drawing


def _stack(drawing: Drawing, frame: _Frame, curve: Curve) -> None:
    """Areas of the shares, broken where nobody was seen."""
    shares = curve.shares[:, [EMOTIONS.index(name) for name in STACK]]
    known = ~np.isnan(shares[:, 0])
    edges = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)], axis=1)
    edges[:, -1] = np.where(known, 1.0, np.nan)
    for first, until in _runs(known):
        times = curve.middle[first:until].astype(np.float64)
        values = edges[first:until]
        # To the very ends of the steps, so that one step alone is seen, too.
        times = np.concatenate([[times[0] - curve.step / 2], times, [times[-1] + curve.step / 2]])
        times = np.clip(times, *frame.span)
        values = np.concatenate([values[:1], values, values[-1:]])
        across = [frame.x(time) for time in times.tolist()]
        for index, name in enumerate(STACK):
            low = [frame.y(value) for value in values[:, index].tolist()]
            up = [frame.y(value) for value in values[:, index + 1].tolist()]
            outline = [*zip(across, up, strict=True), *reversed([*zip(across, low, strict=True)])]
            drawing.path(outline, f"area {name}", f' data-e="{name}"', closed=True)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _stack_labels(drawing: Drawing, frame: _Frame, content: Content, wide: bool) -> None:
    known = np.flatnonzero(~np.isnan(content.curve.shares[:, 0]))
    if not len(known):
        return
    last = known[-max(1, len(known) // 40) :]
    end = content.curve.shares[last].mean(axis=0)
    level, wanted = 0.0, []
    for name in STACK:
        share = float(end[EMOTIONS.index(name)])
        wanted.append(frame.y(level + share / 2))
        level += share
    places = spread(wanted[::-1], 17 if wide else 16, frame.top + 4, frame.bottom - 4)[::-1]
    if wide:
        drawing.text(frame.right + 12, frame.top - 8, "on average", "tick")
    for name, place, at in zip(STACK, places, wanted, strict=True):
        value = content.averages[name].value
        drawing.path([(frame.right + 1, at), (frame.right + 7, place), (frame.right + 10, place)], "leader")
        drawing.rect(frame.right + 12, place - 5, 10, 10, f"swatch {name}")
        label = f"{name} {percent(value)}" if not np.isnan(value) else name
        drawing.text(frame.right + 26, place + 4, label if wide else name, "label", more=f' data-e="{name}"')


def _mark_peaks(drawing: Drawing, frame: _Frame, content: Content, wide: bool) -> None:
    curve = content.curve
    placed: list[tuple[float, float]] = []
    for peak in content.peaks[: 3 if wide else 1]:
        index = int(np.searchsorted(curve.began, peak.at, side="right")) - 1
        level = 0.0
        for name in STACK[: STACK.index(peak.emotion) + 1]:
            level += float(curve.shares[index, EMOTIONS.index(name)])
        x, y = frame.x(peak.at), frame.y(level)
        text = f"{peak.emotion} {percent(peak.share)}"
        half = text_width(text, 14) / 2
        at = min(max(x, frame.left + half + 3), frame.right - half - 3)
        # Above all that moves, where neutral leaves room for text.
        moving = 1 - float(curve.shares[index, EMOTIONS.index("neutral")])
        above = max(frame.y(moving) - 10, frame.top + 14)
        if any(abs(at - other) < 2 * half + 8 and abs(above - line) < 16 for other, line in placed):
            continue
        placed.append((at, above))
        if above + 4 < y - 3:
            drawing.line(x, above + 4, x, y - 3, "rule")
        drawing.dot(x, y, 3.2, "peak")
        drawing.text(at, above, text, "label halo", "middle")


def _events(drawing: Drawing, frame: _Frame, content: Content) -> None:
    """Names of what was shown above the chart, and where it began."""
    y = frame.top - 30
    numbers = {piece.name: index + 1 for index, piece in enumerate(content.pieces)}
    shown = [e for e in content.events if e.ended > content.span[0] and e.began < content.span[1]][:60]
    for index, event in enumerate(shown):
        left = frame.x(max(event.began, content.span[0]))
        right = frame.x(min(max(event.ended, event.began), content.span[1]))
        drawing.rect(
            left, y, max(right - left - 1, 2), 20, "event", f"{event.name}, {content.time(event.began, True)}"
        )
        drawing.line(left, y, left, frame.bottom, "event-line")
        if right < frame.right - 1 and (
            index + 1 == len(shown) or shown[index + 1].began - event.ended > 1000
        ):
            drawing.line(right, y + 20, right, frame.bottom, "event-line")
        for label in (event.name, str(numbers.get(event.name, ""))):
            if label and text_width(label, 12) < right - left - 8:
                drawing.text(left + 5, y + 14.5, label, "event-name")
                break


def _gaps(drawing: Drawing, frame: _Frame, content: Content) -> None:
    for first, until in _runs(np.isnan(content.curve.people)):
        left = frame.x(max(int(content.curve.began[first]), content.span[0]))
        right = frame.x(min(int(content.curve.began[until - 1]) + content.curve.step, content.span[1]))
        drawing.rect(left, frame.top, right - left, frame.bottom - frame.top, "hole", "no frames")
        if right - left > 70:
            drawing.text((left + right) / 2, (frame.top + frame.bottom) / 2, "no frames", "tick", "middle")


def _time_axis(drawing: Drawing, frame: _Frame, content: Content, labels: bool = True) -> None:
    drawing.line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    if not labels:
        return
    marks = time_marks(content, frame.span, int((frame.right - frame.left) // 76))
    days = frame.span[1] - frame.span[0] > DAY
    free = -math.inf
    for at, text in marks:
        x = frame.x(at)
        drawing.line(x, frame.bottom, x, frame.bottom + 4, "axis")
        half = text_width(text, 12) / 2
        inside = days or (frame.left - 12 <= x - half and x + half <= frame.right + 12)
        if inside and x - half >= free:
            drawing.text(x, frame.bottom + 17, text, "tick", "middle")
            free = x + half + 6


def time_marks(content: Content, span: tuple[float, float], about: int) -> list[tuple[float, str]]:
    """Round times within ``span`` with what an axis calls them: some ``about`` of them, but two at least."""
    length = (span[1] - span[0]) / 1000
    close = sum(length / step > max(about, 2) for step in _TICKS)
    marks: list[tuple[float, str]] = []
    for step in reversed(_TICKS[: close + 1]):
        marks = _marks(content, span, step)
        if len(marks) > 1:
            break
    return marks


def _marks(content: Content, span: tuple[float, float], step: int) -> list[tuple[float, str]]:
    if content.film:
        length = (span[1] - span[0]) / 1000
        count = math.floor(length / step)
        return [(span[0] + 1000 * step * i, position(1000 * step * i)) for i in range(count + 1)]
    first = content.moment(int(span[0]))
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    marks: list[tuple[float, str]] = []
    for index in itertools.count():
        # By the clock on the wall, which summer time moves.
        wall = _round(midnight, step, index)
        at = wall.replace(tzinfo=content.zone).timestamp() * 1000
        there = content.moment(round(at)).replace(tzinfo=None)
        # It skips times as summer time begins; a day whose midnight it skips begins an hour later.
        if there != wall and not (_is_day(wall, step) and there.date() == wall.date()):
            continue
        if at > span[1]:
            break
        # At the hour with which such a day begins, its date is told already.
        if at >= span[0] and (not marks or at > marks[-1][0]):
            marks.append((at, _clock(wall, step)))
    return marks


def _round(midnight: datetime, step: int, index: int) -> datetime:
    """The time ``index`` steps after a midnight; of months, after the beginning of the step that has it."""
    if step < _MONTH:
        return midnight + timedelta(seconds=step * index)
    months = step // _MONTH
    number = ((12 * midnight.year + midnight.month - 1) // months + index) * months
    return datetime(number // 12, number % 12 + 1, 1)


def _clock(wall: datetime, step: int) -> str:
    if step >= _MONTH:
        return f"{wall:%b}" if wall.month > 1 else str(wall.year)
    if step >= 86_400:
        return f"{wall:%a} {wall.day} {wall:%b}" if step == 86_400 else f"{wall.day} {wall:%b}"
    if _is_day(wall, step):
        return f"{wall.day} {wall:%b}"
    return f"{wall:%H:%M:%S}" if step < 60 else f"{wall:%H:%M}"


def _is_day(wall: datetime, step: int) -> bool:
    """Whether a mark at this time is called by its date."""
    return step >= 3600 and wall.hour == wall.minute == 0


def presence(content: Content, width: int) -> Drawing:
    """People at a time per camera, over the same time as the emotions."""
    wide = width == WIDE
    curve = content.curve
    height = 150 if wide else 130
    most = float(np.nanmax(curve.people)) if (~np.isnan(curve.people)).any() else 0.0
    marks = ticks(0, max(most, 1), 3)
    drawing = Drawing(
        width,
        height,
        "People over time",
        f"People in sight at a time{content.per_camera}, at most {most:.1f}.",
        "presence",
    )
    frame = _over_time(content, width, 12, height, max(most, marks[-1]) * 1.05)
    drawing.more = frame.data
    _time_axis(drawing, frame, content)
    for mark in marks:
        drawing.text(frame.left - 6, frame.y(mark) + 4, f"{mark:g}", "tick", "end")
        if mark:
            drawing.line(frame.left, frame.y(mark), frame.right, frame.y(mark), "grid")
    edges = np.append(curve.began, curve.began[-1] + curve.step)
    for first, until in _runs(~np.isnan(curve.people)):
        outline: list[tuple[float, float]] = []
        for index in range(first, until):
            y = frame.y(float(curve.people[index]))
            left, right = (frame.x(float(np.clip(edges[i], *content.span))) for i in (index, index + 1))
            outline += [(left, y), (right, y)]
        base = frame.bottom
        drawing.path([(outline[0][0], base), *outline, (outline[-1][0], base)], "people-area", closed=True)
        drawing.path(outline, "people-line")
    _gaps(drawing, frame, content)
    if content.events:
        for event in content.events[:60]:
            if content.span[0] <= event.began <= content.span[1]:
                drawing.line(
                    frame.x(event.began), frame.top, frame.x(event.began), frame.bottom, "event-line"
                )
    mean = float(np.nanmean(curve.people)) if (~np.isnan(curve.people)).any() else 0.0
    drawing.text(frame.right + 12, frame.y(mean) + 4, f"mean {mean:.1f}", "tick")
    drawing.line(frame.right + 2, frame.y(mean), frame.right + 9, frame.y(mean), "people-line")
    return drawing


def piece(one: Piece, longest: int) -> Drawing:
    """A small stack of one part, on the same scales as those beside it."""
    width, height = 280, 150
    told = ", ".join(f"{name} {percent(one.averages[name].value)}" for name in STACK)
    drawing = Drawing(width, height, f"Emotions in {one.name}", f"On average {told}.", "piece")
    frame = _Frame(28, width - 6, 8, height - 22, (0, longest), 1.0)
    for value in (0, 0.5, 1):
        drawing.text(frame.left - 5, frame.y(value) + 4, f"{100 * value:.0f}", "tick", "end")
    # The part's own end, so that no area lies beyond it.
    own = _Frame(
        frame.left,
        frame.x(min(longest, len(one.curve.began) * one.curve.step)),
        frame.top,
        frame.bottom,
        (0, len(one.curve.began) * one.curve.step),
        1.0,
    )
    _stack(drawing, own, one.curve)
    drawing.line(frame.left, frame.y(0.5), own.right, frame.y(0.5), "grid over")
    drawing.line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    for mark in (0, longest / 2, longest):
        anchor = "start" if mark == 0 else "end" if mark == longest else "middle"
        # From two hours on with units, since 2:40 may be hours or minutes.
        text = position(mark) if longest < 2 * HOUR else spoken(mark / 1000) if mark else "0"
        drawing.text(frame.x(mark), frame.bottom + 16, text, "tick", anchor)
    return drawing


def heat(content: Content, what: str, width: int) -> Drawing:
    """Weekday by hour: the darker, the more."""
    assert content.heat is not None
    wide = width == WIDE
    cells = content.heat.happy if what == "happy" else content.heat.people
    visits = f"Visits an hour by weekday and hour{content.per_camera}"
    title = "Share of happy by weekday and hour" if what == "happy" else visits
    show: Callable[[float], str] = (lambda v: f"{100 * v:.0f}") if what == "happy" else (lambda v: f"{v:.0f}")
    left, top = (88.0 if wide else 30.0), 22.0
    size = (width - left - 4) / 24
    tall = 26.0 if wide else 20.0
    most = float(np.nanmax(cells)) if (~np.isnan(cells)).any() else 0.0
    best = np.unravel_index(int(np.nanargmax(cells)), cells.shape) if most else (0, 0)
    told = f"Most on {WEEKDAYS[int(best[0])]} from {best[1]}:00: {show(most)}." if most else ""
    drawing = Drawing(width, top + 7 * tall + 4, title, told, "heat")
    for hour in range(0, 24, 3 if wide else 6):
        drawing.text(left + (hour + 0.5) * size, 14, f"{hour}:00" if wide else str(hour), "tick", "middle")
    for day in range(7):
        y = top + day * tall
        name = WEEKDAYS[day] if wide else WEEKDAYS[day][:2]
        drawing.text(left - 6, y + tall / 2 + 4, name, "tick", "end")
        for hour in range(24):
            value = float(cells[day, hour])
            x = left + hour * size
            if np.isnan(value):
                drawing.rect(x, y, size - 1, tall - 1, "cell none", f"{name} {hour}:00: no frames")
                continue
            part = value / most if most else 0.0
            drawing.rect(
                x, y, size - 1, tall - 1, "cell", f"{name} {hour}:00: {show(value)}",
                f' style="fill-opacity:{0.06 + 0.94 * part:.2f}"',
            )  # fmt: skip
            if wide:
                style = "cell-number high" if part > 0.55 else "cell-number"
                drawing.text(x + size / 2 - 0.5, y + tall / 2 + 4, show(value), style, "middle")
    return drawing


def trend(days: Table, name: str, width: int) -> Drawing:
    """A figure of each day as dots on a line, or as bars where it is a count; other days are holes."""
    columns = [column.name for column in days.columns]
    column = days.columns[columns.index(name)]
    first_day = date.fromisoformat(days.rows[0][0])
    places = [(date.fromisoformat(row[0]) - first_day).days for row in days.rows]
    values = np.full(places[-1] + 1, np.nan)
    values[places] = [row[columns.index(name)] for row in days.rows]
    shown: Callable[[float], str] = {
        "share": percent,
        "points": signed_points,
        "seconds": spoken,
    }.get(column.kind, lambda v: f"{v:.4g}")
    height = 130
    known = values[~np.isnan(values)]
    least, most = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    drawing = Drawing(
        width, height, f"{column.label} by day",
        ", ".join(f"{row[0]} {shown(float(values[at]))}" for row, at in zip(days.rows, places, strict=True)),
        "trend",
    )  # fmt: skip
    high = most * 1.15 if most > least else 1.0
    frame = _Frame(52, width - 12, 16, height - 24, (-0.5, len(values) - 0.5), high, least * 1.15)
    drawing.line(frame.left, frame.y(0), frame.right, frame.y(0), "axis")
    for mark in _told_apart(least, most, 4 if least < 0 else 2, shown):
        drawing.text(frame.left - 6, frame.y(mark) + 4, shown(mark) if mark else "0", "tick", "end")
        if mark:
            drawing.line(frame.left, frame.y(mark), frame.right, frame.y(mark), "grid")
    for first, until in _runs(~np.isin(np.arange(len(values)), places)):
        left, right = frame.x(first - 0.5), frame.x(until - 0.5)
        drawing.rect(left, frame.top, right - left, frame.bottom - frame.top, "hole", "nothing recorded")
    each = [first_day + timedelta(days=index) for index in range(len(values))]
    if column.kind == "count":
        wide = max((frame.right - frame.left) / len(values) * 0.72, 1)
        for index, value in enumerate(values.tolist()):
            if not np.isnan(value):
                top = frame.y(value)
                drawing.rect(
                    frame.x(index) - wide / 2, top, wide, frame.bottom - top, "bar",
                    f"{each[index]}: {shown(value)}",
                )  # fmt: skip
    else:
        for first, until in _runs(~np.isnan(values)):
            points = [(frame.x(i), frame.y(float(values[i]))) for i in range(first, until)]
            drawing.path(points, "trend-line")
            for index, (x, y) in zip(range(first, until), points, strict=True):
                drawing.dot(x, y, 3, "trend-dot", f"{each[index]}: {shown(float(values[index]))}")
    every = max(1, math.ceil(len(values) * 58 / (frame.right - frame.left)))
    for index, day in enumerate(each):
        if index % every == 0:
            drawing.text(frame.x(index), frame.bottom + 17, f"{day.day} {day:%b}", "tick", "middle")
    return drawing


def _told_apart(low: float, high: float, about: int, shown: Callable[[float], str]) -> list[float]:
    """Round numbers as of :func:`ticks`, but so few that each is ``shown`` differently: 0 at least."""
    for fewer in range(about, 0, -1):
        marks = ticks(low, high, fewer)
        if len({shown(mark) for mark in marks}) == len(marks):
            return marks
    return [0.0]


def observed(content: Content, width: int) -> Drawing:
    """When each camera gave frames, and where it has gaps."""
    material = content.material
    names = material.cameras[:MOST_CAMERAS]
    height = 24.0 * len(names) + 26
    several = len({device for device, _ in names}) > 1
    gaps, minutes = material.gaps, material.minutes
    drawing = Drawing(
        width, height, "When cameras gave frames",
        f"In all, {gaps_counted(content.quality.gaps, spoken(content.quality.gap_seconds))}.", "observed",
    )  # fmt: skip
    labels = [f"{device} / {camera}" if several else camera for device, camera in names]
    left = min(max((text_width(label) for label in labels), default=0) + 14, width * 0.4)
    frame = _Frame(left, width - 12, 4, height - 24, content.span, 1.0)
    for index, ((device, camera), label) in enumerate(zip(names, labels, strict=True)):
        mine = material.sources_where(device=device, camera=camera)
        y = frame.top + 24 * index + 4
        room = int(left / 7)
        drawing.text(0, y + 12, label if len(label) <= room else label[: room - 1] + "…", "tick strong")
        drawing.rect(frame.left, y, frame.right - frame.left, 15, "hole")
        rows = minutes.take(mine[minutes.source])
        for began, ended in _joined(rows.began, rows.ended):
            drawing.rect(frame.x(began), y, max(frame.x(ended) - frame.x(began), 0.5), 15, "ok")
        holes = gaps.take(mine[gaps.source])
        for began, ended, reason in zip(
            holes.began.tolist()[:400], holes.ended.tolist(), holes.reason.tolist(), strict=False
        ):
            told = (
                f"{spoken((ended - began) / 1000)} without frames from {content.time(began, True)}: {reason}"
            )
            drawing.rect(frame.x(began), y, max(frame.x(ended) - frame.x(began), 1), 15, "gap", told)
    _time_axis(drawing, frame, content)
    return drawing


def _joined(began: NDArray[np.int64], ended: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of time that touch each other within a second, as one."""
    order = np.argsort(began, kind="stable")
    found: list[tuple[int, int]] = []
    for first, last in zip(began[order].tolist(), ended[order].tolist(), strict=True):
        if found and first - found[-1][1] <= 1000:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def sizes(draw: Callable[[int], Drawing]) -> str:
    """A chart in both sizes, of which the page shows one."""
    return draw(WIDE).markup("wide") + draw(NARROW).markup("narrow")


def numbered_names(pieces: Sequence[Piece]) -> str:
    """The names behind the numbers of events that a phone has no room for."""
    return " · ".join(f"{index + 1} {one.name}" for index, one in enumerate(pieces))


def compared(content: Content, measure: Measure, width: int) -> Drawing:
    """A measure of each part, and the differences between parts, as dots with intervals."""
    wide = width == WIDE
    found = content.comparisons
    assert found is not None
    estimates = [one for one in found.estimates if one.measure.name == measure.name]
    differences = [one for one in found.differences if one.measure.name == measure.name]
    row, head = 23.0, 22.0
    rows = (max(len(estimates), len(differences)),) if wide else (len(estimates), len(differences))
    height = sum(head + count * row + 26 for count in rows)
    told = "; ".join(one.sentence for one in differences)
    drawing = Drawing(width, height, f"{measure.label}: each part, and differences", told, "compared")
    middle = width * 0.46 if wide else float(width)
    own = [(one.part, one.value, one.low, one.high, True) for one in estimates]
    between = [(f"{one.b} − {one.a}", one.difference, one.low, one.high, one.clear) for one in differences]
    _dots(drawing, own, measure, (0.0, middle - (30 if wide else 12)), 0.0, "each", row)
    if wide:
        _dots(drawing, between, measure, (middle, float(width) - 12), 0.0, "difference", row)
    else:
        _dots(drawing, between, measure, (0.0, width - 12.0), head + len(own) * row + 26, "difference", row)
    return drawing


def _dots(
    drawing: Drawing,
    rows: Sequence[tuple[str, float, float, float, bool]],
    measure: Measure,
    across: tuple[float, float],
    top: float,
    what: str,
    row: float,
) -> None:
    left, right = across
    factor = 100.0 if measure.unit == "share" else 1.0
    numbers = [number * factor for _, *values, _ in rows for number in values if not math.isnan(number)]
    if not numbers:
        drawing.text(left, top + 14, "too few people for an interval", "tick")
        return
    in_percent = what == "each" and not measure.points
    unit = {"share": "%" if in_percent else "percentage points", "s": "s"}.get(measure.unit, "")
    low, high = min([*numbers, 0.0]), max([*numbers, 0.0])
    margin = (high - low or 1) * 0.06
    low, high = (low - margin if low < 0 else 0.0), high + margin
    room = min(max(text_width(label) for label, *_ in rows) + 14, (right - left) * 0.5)
    start, bottom = left + room, top + 22 + len(rows) * row

    def x(value: float) -> float:
        return start + (value - low) / (high - low) * (right - start)

    heading = {"each": "Each", "difference": "Difference"}[what] + (f", {unit}" if unit else "")
    drawing.text(start, top + 12, heading, "tick")
    for mark in ticks(low, high, 6):
        drawing.line(x(mark), top + 20, x(mark), bottom, "zero" if mark == 0 else "grid")
        sign = "+" if what == "difference" and mark > 0 else ""
        drawing.text(x(mark), bottom + 16, f"{sign}{mark:g}".replace("-", "−"), "tick", "middle")
    for index, (label, value, first, last, sure) in enumerate(rows):
        y = top + 22 + (index + 0.5) * row
        letters = max(4, int(room / 6.8))
        drawing.text(
            start - 10, y + 4, label if len(label) <= letters else label[: letters - 1] + "…", "", "end"
        )
        if math.isnan(value):
            continue
        told = f"{label}: {value * factor:.3g}"
        if not math.isnan(first):
            drawing.line(x(first * factor), y, x(last * factor), y, "whisker" if sure else "whisker faint")
            told += f", interval {first * factor:.3g} to {last * factor:.3g}"
        drawing.dot(x(value * factor), y, 4.5, "estimate" if sure else "estimate hollow", told)
