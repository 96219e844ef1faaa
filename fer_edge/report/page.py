"""The page: one HTML file that needs nothing else, for a desk, a phone, paper and a dark room."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from typing import Any

from ..errors import counted
from ..faces.quality import ATTENTION_PITCH, ATTENTION_YAW
from ..kernels.constants import FACE_SIZE
from ..labels import EMOTIONS
from ..store.clock import MINUTE
from . import charts
from .caveats import GAPS, POOR_LIGHT, UNSURE
from .content import FEW, absence, glimpsed, passages
from .content_types import STACK, Column, Content, Piece, Quality, Table
from .measures import Measure
from .settings import by_settings, labels_of, options_of, versions_of
from .wording import (
    UNKNOWN,
    gaps_counted,
    number,
    people_counted,
    percent,
    position,
    signed,
    signed_points,
    spoken,
)

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_PERCENT = re.compile(r"(\d) %")

_MOST_ROWS = 400
"""Of a table on the page; ``--tables`` writes all."""

_SMALL = 0.3
"""Share of visits with small faces from which on it is warned of."""

_KIND_NAMES = {
    "event": "Scene by scene",
    "group": "Group by group",
    "day": "Day by day",
    "run": "Run by run",
    "film": "Film by film",
    "session": "Session by session",
    "device": "Device by device",
    "camera": "Camera by camera",
}


def html(content: Content, version: str, made_at: str) -> str:
    """Return the page. ``made_at``: when, as the footer says it."""
    folder = files(__package__) / "files"
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    sections = [
        _over_time(content),
        _stills(content),
        _side_by_side(content),
        _comparison(content),
        _by_time_of_week(content),
        _people(content),
        _quality(content),
        _method(content),
        _settings(content, version),
    ]
    name = escape(content.title)
    main = _PERCENT.sub(
        "\\1\N{NO-BREAK SPACE}%", _header(content) + "\n<main>\n" + "".join(sections) + "</main>\n"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="fer-edge {escape(version)}">\n'
        f"<title>What faces showed: {name}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{main}"
        f"<footer>Made with fer-edge {escape(version)} on {escape(made_at)}. "
        "No pictures of people are in this page, and nothing in it is loaded from elsewhere.</footer>\n"
        f'<script type="application/json" id="data">{_data(content)}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _header(content: Content) -> str:
    first, last = content.moment(content.span[0]), content.moment(content.span[1])
    if content.film:
        when = f"film, {position(content.span[1] - content.span[0])} long"
    elif first.date() == last.date():
        when = f"{first:%A}, {first.day} {first:%B %Y}, {first:%H:%M} to {last:%H:%M} ({first:%Z})"
    else:
        when = f"{first.day} {first:%B %Y %H:%M} to {last.day} {last:%B %Y %H:%M} ({first:%Z})"
    cameras = [f"{device} / {camera}" for device, camera in content.material.cameras]
    where = ", ".join(cameras) if len(cameras) < 4 else content.material.cameras_counted
    notice = (
        '<p class="simulated"><strong>Simulated data.</strong> None of these people exist, and no film was '
        "shown.</p>"
        if content.simulated
        else ""
    )
    scope = f'<p class="scope">{escape(content.scope)}</p>\n' if content.scope else ""
    nobody = absence(content)
    lead = f'<p class="warn">{escape(nobody)}</p>' if nobody else (
        f'<p class="lead">{escape(" ".join(passages(content)))}</p>'
    )  # fmt: skip
    return (
        f"<header>\n<h1>What faces showed: {escape(content.title)}</h1>\n"
        f'<p class="where">{escape(when)} · {escape(where)}</p>\n{scope}{notice}'
        f"{lead}\n{'' if nobody else _headlines(content)}</header>"
    )


def _headlines(content: Content) -> str:
    figure = {name: one.value for name, one in content.figures.items()}
    visits = UNKNOWN if glimpsed(content) else f"{figure['visits']:,.0f}"
    shown = [
        (f"{content.people:,}" if content.people else visits,
         "people, as far as tracking tells" if content.people else "visits"),
        (spoken(figure["dwell"]), "mean dwell time"),
        (percent(figure["attention_share"]), "of the time in sight facing the camera"),
        (percent(figure["smile"]), "would be seen to smile"),
        (signed(figure["valence"]), f"change in valence from {content.baseline}" if content.baseline
         else "valence, from −1 to +1"),
        (percent(figure["unsure"]), "of the time unsure"),
    ]  # fmt: skip
    cells = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for value, label in shown
        if value != UNKNOWN
    )
    return f'<dl class="figures">{cells}</dl>\n' if cells else ""


def _over_time(content: Content) -> str:
    if absence(content):
        return ""
    step = content.curve.step / 1000
    steps = f"{step:g} s" if step < 60 else spoken(step)
    names = (
        f'<p class="note narrow-only">{escape(charts.numbered_names(content.pieces))}</p>'
        if content.kind == "event" and len(content.pieces) > 1
        else ""
    )
    return _section(
        "time",
        "Moment by moment",
        "How many of 100 onlookers would call the faces in sight happy, sad and so on, averaged over the "
        f"people in sight in steps of {steps}. This is how faces look, not what people feel.",
        '<figure class="chart" data-over-time>'
        + charts.sizes(lambda width: charts.emotions(content, width))
        + "</figure>"
        + names
        + '<figure class="chart" data-over-time><figcaption>People in sight at a time'
        + f"{content.per_camera}</figcaption>"
        + charts.sizes(lambda width: charts.presence(content, width))
        + "</figure>"
        + _details("Figures of this chart", _table_named(content, "timeline"), content),
    )


def _stills(content: Content) -> str:
    shown = [peak for peak in content.peaks if peak.picture]
    if not shown:
        return ""
    items = "".join(
        f'<figure><img src="{peak.picture}" alt="What was shown at {escape(content.time(peak.at, True))}">'
        f"<figcaption><strong>{peak.emotion} {percent(peak.share)}</strong> at "
        f"{escape(content.time(peak.at, True))}"
        f"{escape(', ' + peak.where if peak.where else '')}</figcaption></figure>"
        for peak in shown
    )
    return _section(
        "film",
        "What was shown at the peaks",
        "Pictures of the film that was shown, never of the audience.",
        f'<div class="stills">{items}</div>',
    )


def _side_by_side(content: Content) -> str:
    if not content.pieces or absence(content):
        return ""
    longest = max(len(one.curve.began) * one.curve.step for one in content.pieces)
    many = " many" if len(content.pieces) > 6 else ""
    items = "".join(_piece(one, longest) for one in content.pieces)
    told = list(dict.fromkeys(text for one in content.pieces for text in one.told))
    if content.more:
        told.insert(0, f"{content.more} more are not shown; choose a shorter time with --from and --to.")
    if content.baseline:
        told.insert(
            0,
            f"Figures of emotions are changes from {content.baseline}, those of shares in percentage points. "
            "The charts show shares as they are.",
        )
    few = [one.name for one in content.pieces if 0 < one.people < FEW]
    if few:
        told.insert(
            0,
            f"Fewer than {FEW} people each: {', '.join(few)}. "
            "Figures may reveal something about each person.",
        )
    return _section(
        "parts",
        _KIND_NAMES[content.kind],
        "The same scales throughout: share of onlookers in percent, and time since the start.",
        f'<div class="pieces{many}">{items}</div>'
        + _table(_without(_table_named(content, "parts"), "first_smile"), content, "sortable")
        + _list(told, "note"),
    )


def _piece(one: Piece, longest: int) -> str:
    value = {name: figure.value for name, figure in one.figures.items()}
    facts = [
        ("Seen to smile", percent(value["smile"])),
        ("Facing the camera", percent(value["attention_share"])),
        (one.figures["valence"].measure.label, signed(value["valence"])),
        ("Unsure", percent(value["unsure"])),
    ]
    rows = "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in facts if text != UNKNOWN)
    people = people_counted(one.people) if one.people else "from minutes only"
    return (
        f"<figure><h3>{escape(one.name)} <small>{escape(people)}</small></h3>"
        f"{charts.piece(one, longest).markup()}<dl>{rows}</dl></figure>"
    )


def _comparison(content: Content) -> str:
    found = content.comparisons
    if found is None:
        return ""
    differences = found.differences
    level = differences[0].level
    clear = sum(one.clear for one in differences)
    total = len(content.pieces) + content.more
    compared = len({one.part for one in found.estimates})
    each = ", each with the first" if len(differences) == len(found.measures) * (compared - 1) > 0 else ""
    note = f"{compared} of {counted(total, content.kind)} are compared{each}."
    warnings = dict.fromkeys(text for one in differences for text in one.warnings)
    return _section(
        "compare",
        "What differs",
        f"Lines are {100 * level:g} % intervals of each figure by itself, made by resampling people "
        "(bootstrap). A difference is clear if it remains significant after Holm’s correction for "
        f"{counted(len(differences), 'comparison')}: if nothing truly differed, any would be called clear in "
        f"about {100 * (1 - level):.3g} % of sessions at most.",
        f"<p>Clear differences (filled dots): {clear} of {len(differences)}."
        f"{' The others may be chance.' if clear < len(differences) else ''}</p>"
        + (f'<p class="note">{escape(note)}</p>' if compared < total else "")
        + _list(warnings, "warnings")
        + "".join(_compared(content, measure) for measure in found.measures)
        + "<details><summary>All comparisons in words</summary>"
        + _list(one.sentence for one in differences)
        + "</details>"
        + _details("All comparisons in figures", _table_named(content, "comparisons"), content),
    )


def _compared(content: Content, measure: Measure) -> str:
    assert content.comparisons is not None
    drawn = charts.sizes(lambda width: charts.compared(content, measure, width))
    clear = [
        one.sentence
        for one in content.comparisons.differences
        if one.measure.name == measure.name and one.clear
    ]
    words = _list(clear, "verdicts") if clear else '<p class="note">No clear difference.</p>'
    return f"<figure><h3>{escape(measure.label)}</h3>{drawn}{words}</figure>"


def _by_time_of_week(content: Content) -> str:
    if absence(content) or not (content.heat or content.days):
        return ""
    body = ""
    if content.heat:
        for what, caption in (
            ("people", f"Visits per observed hour{content.per_camera}"),
            ("happy", "Share of onlookers who would say happy, in percent"),
        ):
            drawn = charts.sizes(lambda width, what=what: charts.heat(content, what, width))  # type: ignore[misc]
            body += f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"
        body += _details("Figures of these maps", _table_named(content, "hours"), content)
    if content.days:
        days = content.days
        in_points = f", in percentage points above {content.baseline}" if content.baseline else ""
        for name, caption in (
            ("people", "People by day"),
            ("dwell", "Mean dwell time by day"),
            ("happy", f"Share of happy by day{in_points}"),
        ):
            drawn = charts.sizes(lambda width, name=name: charts.trend(days, name, width))  # type: ignore[misc]
            body += f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"
        body += _details("Figures of each day", days, content)
    return _section("week", "By hour and by day", f"Times are local times in {content.zone}.", body)


def _people(content: Content) -> str:
    table = _table_named(content, "people")
    if table is None:
        return ""
    return _section(
        "people",
        "Each visit",
        "Shown because of --people. Rows about single people are personal data if anyone can tell who came "
        "when.",
        _table(table, content, "sortable"),
    )


def _quality(content: Content) -> str:
    quality = content.quality
    whole = quality.observed + quality.gap_seconds
    facts = [
        ("Observed", f"{spoken(quality.observed)}{content.material.over_cameras}, {quality.frames:,} frames"
         + (f" ({quality.frames / quality.observed:.1f} a second)" if quality.observed else "")),
        ("Gaps", f"{gaps_counted(quality.gaps, spoken(quality.gap_seconds))}, "
         f"{percent(quality.gap_seconds / whole)} of the time" if quality.gaps != 0 and whole else "none"),
        ("Lost", f"{quality.dropped:,} frames dropped while recognition was busy, {quality.lost:,} "
         "results not stored"),
        ("Unsure", f"{percent(quality.unsure)} of the time in sight: onlookers would disagree"),
        ("Direction unclear", f"{percent(quality.unclear)} of the time in sight: turned too far, too small"),
        ("Small faces", f"{percent(quality.small)} of the visits have faces below {FACE_SIZE} pixels"
         if not math.isnan(quality.small) else "not known"),
        ("Lighting", _lighting(quality)),
    ]  # fmt: skip
    if quality.cut:
        facts.append(("Visits cut off", f"{quality.cut}: they go on, or a run broke off"))
    warnings = []
    if quality.unsure > UNSURE:
        warnings.append(
            f"More than {percent(UNSURE)} of the time in sight is unsure: differences between emotions are "
            "blurred."
        )
    if quality.few:
        warnings.append(f"Fewer than {FEW} people: every figure may reveal something about each of them.")
    if whole and quality.gap_seconds > GAPS * whole:
        warnings.append(f"More than {percent(GAPS)} of the time is missing: totals are too low.")
    if quality.small > _SMALL:
        warnings.append("Many faces are small: move the camera closer, or choose a larger picture.")
    if quality.dark > POOR_LIGHT:
        warnings.append(
            f"Faces were too dark for {percent(quality.dark)} of the time in sight, and emotions are "
            "recognized less well there: put more light on the faces, and no window behind them."
        )
    if quality.bright > POOR_LIGHT:
        warnings.append(
            f"Faces were too bright for {percent(quality.bright)} of the time in sight, and emotions are "
            "recognized less well there: keep direct light off the faces, or shorten the exposure."
        )
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    gaps = _table_named(content, "gaps")
    drawn = charts.sizes(lambda width: charts.observed(content, width))
    hidden = (
        f'<p class="note">Of {content.material.cameras_counted} the first {charts.MOST_CAMERAS} are '
        "shown; choose others with --camera or --device.</p>"
        if len(content.material.cameras) > charts.MOST_CAMERAS
        else ""
    )
    return _section(
        "quality",
        "How good the data are",
        "",
        "".join(f'<p class="warn">{escape(text)}</p>' for text in warnings)
        + f'<dl class="facts">{rows}</dl><figure>{drawn}</figure>{hidden}'
        + _list(content.material.told)
        + (_details("Each gap", gaps, content) if gaps and gaps.rows else ""),
    )


def _lighting(quality: Quality) -> str:
    if math.isnan(quality.brightness):
        return "not recorded; poor light shows as many unsure answers and short visits"
    told = f"the picture has a mean brightness of {quality.brightness:.0f} (0 black to 255 white)"
    if not math.isnan(quality.face_brightness):
        told = (
            f"faces have a mean brightness of {quality.face_brightness:.0f} (0 black to 255 white); too dark "
            f"for {percent(quality.dark)} and too bright for {percent(quality.bright)} of the time in sight; "
            f"the picture has {quality.brightness:.0f}"
        )
    return told if quality.lit > 0.995 else f"{told}; known of {percent(quality.lit)} of the time"


def _method(content: Content) -> str:
    baseline = content.options.baseline
    averaged = (
        "Emotions are averaged over the time in sight: longer stays count more."
        if content.options.weight == "time"
        else "Each person’s emotions are averaged over their time in sight, then over people: longer stays "
        "do not count more."
    )
    of_2013 = [where for where, labels in by_settings(content, labels_of) if labels == "fer2013"]
    how = [
        "Pictures were analysed on the device; this report contains none of them. Faces were found and "
        "tracked from frame to frame; nobody was identified.",
        "For each face, a small neural network estimates how many of ten people would call it angry, "
        "disgust, fear, happy, sad, surprise or neutral.",
        averaged,
        f"Facing the camera: the head is turned by at most {ATTENTION_YAW:g}° sideways, as estimated from "
        f"five points of the face, and {ATTENTION_PITCH:g}° up or down, as estimated from its picture.",
        "Valence: the share of happy minus those of angry, disgust, fear and sad.",
        "Seen to smile: each person’s largest share of happy over any second, averaged over people.",
    ]
    if of_2013:
        how.insert(
            2,
            f"Not on {', '.join(of_2013)}: the model there estimates which label FER-2013 would give, so its "
            "shares are probabilities, not shares of onlookers.",
        )
    if baseline:
        how.insert(
            -3,
            f"Each person’s first {baseline:g} s are their baseline: figures of emotions are changes "
            "from it. The charts over time show shares as they are.",
        )
    limits = [
        "Not what people feel: it is what onlookers would say of their faces. Politeness smiles, and "
        "concentration can look sad or angry.",
        "Not how many different people came: anyone who leaves and comes back is counted again, and two "
        "people who cross may be taken for one.",
        "Not where eyes look: a head may face the camera while its eyes do not.",
        "Not every look down: of heads bent by 30° about nine in ten count as turned away, but a glance down "
        "may pass. Recordings of earlier versions hardly noticed bent heads; do not compare their attention "
        "with that of newer ones.",
        "Not why something differs: light, hour and audience may differ as well.",
        "Faint smiles are often missed. Faces differ by age, beard, glasses and culture, and so do the "
        "model’s errors; compare groups with care.",
        "Faces turned away by more than about 75° are not found at all, so attention is too high where many "
        "pass by sideways.",
    ]
    return _section(
        "method",
        "How it was measured, and what it does not say",
        "",
        f'<div class="two"><div><h3>How</h3>{_list(how)}</div>'
        f"<div><h3>What it does not say</h3>{_list(limits)}</div></div>"
        '<p class="note">Formulas, units and sources of every measure: docs/measures.md of fer-edge.</p>',
    )


def _settings(content: Content, version: str) -> str:
    facts: list[tuple[str, str]] = [("Made with", f"fer-edge {version}")]
    facts += by_settings(content, versions_of)
    options = content.options
    facts += [
        ("Averaged over", "time in sight" if options.weight == "time" else "people"),
        ("Baseline", f"{options.baseline:g} s" if options.baseline else "none"),
        ("Least time in sight", f"{options.min_seconds:g} s"),
        ("Time zone", str(content.zone)),
    ]
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    chosen = "".join(
        f"<dt>{escape(f'{where}: {name}')}</dt><dd>{escape(value)}</dd>"
        for where, options_there in by_settings(content, options_of)
        for name, value in options_there
    )
    more = (
        f'<details><summary>Options of the run</summary><dl class="facts">{chosen}</dl></details>'
        if chosen
        else ""
    )
    return _section(
        "settings",
        "Versions and settings",
        "",
        f'<dl class="facts">{rows}</dl>{more}'
        + _details("All measures", _table_named(content, "measures"), content),
    )


def _section(name: str, heading: str, sub: str, body: str) -> str:
    told = f'<p class="sub">{escape(sub)}</p>' if sub else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-h">\n<h2 id="{name}-h">{escape(heading)}</h2>{told}\n'
        f"{body}\n</section>\n"
    )


def _details(summary: str, table: Table | None, content: Content) -> str:
    if table is None or not table.rows:
        return ""
    return f"<details><summary>{escape(summary)}</summary>{_table(table, content)}</details>"


def _table_named(content: Content, name: str) -> Table | None:
    return next((table for table in content.tables if table.name == name), None)


def _without(table: Table | None, name: str) -> Table | None:
    """A table without a column that the page has no room for."""
    if table is None:
        return None
    kept = [index for index, column in enumerate(table.columns) if column.name != name]
    return replace(
        table,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def _table(table: Table | None, content: Content, style: str = "") -> str:
    if table is None:
        return ""
    head = "".join(f'<th scope="col"{_align(column)}>{escape(column.label)}</th>' for column in table.columns)
    body = "".join(_row(table.columns, row, content) for row in table.rows[:_MOST_ROWS])
    cut = (
        f" (the first {_MOST_ROWS} of {len(table.rows):,} rows; --tables writes all)"
        if len(table.rows) > _MOST_ROWS
        else ""
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f'<table class="{style}"><caption class="unseen">{escape(table.title + cut)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(columns: Sequence[Column], row: Sequence[Any], content: Content) -> str:
    cells = (
        _cell(column, value, content, index == 0)
        for index, (column, value) in enumerate(zip(columns, row, strict=True))
    )
    return f"<tr>{''.join(cells)}</tr>"


def _align(column: Column) -> str:
    return ' class="text"' if column.kind in ("text", "date") else ""


def _cell(column: Column, value: Any, content: Content, first: bool) -> str:
    shown = shown_value(column, value, content)
    key = ""
    if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        key = f' data-v="{value:.6g}"' if isinstance(value, float) else f' data-v="{value}"'
    if first:
        return f'<th scope="row"{_align(column)}{key}>{escape(shown)}</th>'
    style = ' class="text long"' if column.kind == "text" and len(shown) > 40 else _align(column)
    return f"<td{style}{key}>{escape(shown)}</td>"


def shown_value(column: Column, value: Any, content: Content) -> str:
    """A value of a table as the page writes it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNKNOWN
    if column.kind == "share":
        return percent(float(value))
    if column.kind == "points":
        return signed_points(float(value))
    if column.kind == "seconds":
        return spoken(float(value))
    if column.kind == "time":
        return content.time(int(value), True)
    if column.kind == "count":
        return f"{value:,.0f}"
    if column.kind in ("number", "signed"):
        return (number if column.kind == "number" else signed)(float(value))
    return str(value)


def _list(items: Iterable[str], style: str = "") -> str:
    rows = "".join(f"<li>{escape(text)}</li>" for text in items)
    return f'<ul class="{style}">{rows}</ul>' if rows else ""


def _data(content: Content) -> str:
    """What the charts over time tell beside the pointer, as JSON that cannot end its element."""
    curve = content.curve

    def rounded(values: Sequence[float]) -> list[float] | None:
        return None if math.isnan(values[0]) else [round(value, 3) for value in values]

    told = {
        "names": EMOTIONS,
        "order": STACK[::-1],
        "span": content.span,
        "first": int(curve.began[0]),
        "step": curve.step,
        "times": [content.time(at, curve.step < MINUTE) for at in curve.began.tolist()],
        "people": [None if math.isnan(value) else round(value, 1) for value in curve.people.tolist()],
        "per_camera": content.per_camera,
        "shares": [rounded(row) for row in curve.shares.tolist()],
    }
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
