"""The notice for the door: a page of HTML to print on A4, and the same as text."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from ..option import FileLimit
from .facts import DAY, Facts
from .languages import Words, words_of

_HOUR = 3600.0
_BLANK = "_" * 40

_LARGEST, _SMALLEST = 13.0, 9.4
_FITS, _SHRINK = 1050, 250.0
"""Letters that fit on a sheet in the largest font, and by how many more it has to be a point smaller."""


@dataclass(frozen=True)
class Details:
    """What only the operator knows; ``None`` leaves a line to fill in by hand."""

    day: date
    operator: str | None = None
    contact: str | None = None
    purpose: str | None = None
    more: str | None = None
    """Where the full privacy information is. Without it, there is no such line."""

    def rows(self, words: Words) -> list[tuple[str, str | None]]:
        """Each with its heading."""
        rows = [(words.heading[name], getattr(self, name)) for name in ("operator", "contact", "purpose")]
        return [*rows, (words.heading["more"], self.more)] if self.more else rows


def as_html(facts: Facts, details: Details, chosen: Sequence[str]) -> str:
    """Return a page of HTML that loads nothing, with a sheet of A4 for each of the languages."""
    sheets = [_sheet(facts, details, language, words_of(language)) for language in chosen]
    title = html.escape(words_of(chosen[0]).title)
    return (
        f'<!DOCTYPE html>\n<html lang="{chosen[0]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sheets)
        + "\n</body>\n</html>\n"
    )


def as_text(facts: Facts, details: Details, chosen: Sequence[str]) -> str:
    """Return the same as text, in lines of 78 characters at most where words are not longer."""
    return "\n\n\n".join(_text(facts, details, words_of(language)) for language in chosen) + "\n"


def sections(facts: Facts, words: Words) -> list[tuple[str, list[str]]]:
    """Return what the notice tells: headings, and sentences below each."""
    what = [words.what[name] for name in ("estimate", "count", "errors", "identity")]
    if facts.masked:
        what.append(words.what["masked"])
    return [
        (words.heading["what"], what),
        (words.heading["kept"], [*_kept(facts, words)]),
        (words.heading["sent"], [*_sent(facts, words)]),
        (words.heading["rights"], [words.rights["text"]]),
    ]


def _kept(facts: Facts, words: Words) -> Iterator[str]:
    for kept in facts.kept:
        limits = [_limit(limit, words) for limit in kept.limits] or [words.limit["none"]]
        yield " ".join([words.kept[kept.what], *limits])
    if not facts.kept:
        yield words.kept["nothing"]
    elif not any(kept.shows_people for kept in facts.kept):
        yield words.kept["no_pictures"]


def _limit(limit: FileLimit, words: Words) -> str:
    if limit.seconds is not None:
        # Rounded up: what is promised is kept.
        if limit.seconds >= 2 * DAY:
            return words.limit["days"].format(number=math.ceil(limit.seconds / DAY))
        return words.limit["hours"].format(number=max(2, math.ceil(limit.seconds / _HOUR)))
    megabytes = (limit.size or 0) / 1e6
    if megabytes >= 1000:
        return words.limit["size"].format(
            number=f"{round(megabytes / 1000, 1):g}", unit=words.limit["gigabytes"]
        )
    return words.limit["size"].format(number=f"{round(megabytes):g}", unit=words.limit["megabytes"])


def _sent(facts: Facts, words: Words) -> Iterator[str]:
    # A page for this device alone is nothing that leaves it; where lines go through a pipe nobody knows.
    sent = [one for one in facts.sent if not one.local or one.how == "program"]
    for one in sent:
        text = words.sent[one.how].format(where=one.where)
        yield f"{text} {words.sent[f'picture_{one.picture}']}"
    if not sent:
        yield words.sent["nothing"]


def _foot(details: Details, words: Words) -> str:
    return f"{words.foot['basis']} · {words.foot['date'].format(date=details.day.isoformat())}"


def _size(facts: Facts, details: Details, words: Words) -> float:
    """Points of a font with which all of it fits on a sheet, where that can still be read."""
    told = sum(len(one) for _, points in sections(facts, words) for one in points)
    told += sum(len(value or "") for _, value in details.rows(words))
    return max(_SMALLEST, min(_LARGEST, _LARGEST - (told - _FITS) / _SHRINK))


def _sheet(facts: Facts, details: Details, language: str, words: Words) -> str:
    rows = "\n".join(
        f"<dt>{html.escape(heading)}</dt><dd>{_value(value)}</dd>" for heading, value in details.rows(words)
    )
    told = "\n".join(
        f"<section>\n<h2>{html.escape(heading)}</h2>\n<ul>\n"
        + "\n".join(f"<li>{html.escape(one)}</li>" for one in points)
        + "\n</ul>\n</section>"
        for heading, points in sections(facts, words)
    )
    size, title, lead = _size(facts, details, words), html.escape(words.title), html.escape(words.lead)
    return (
        f'<article lang="{language}" style="font-size: {size:.1f}pt">\n'
        f"<header>{_PICTOGRAM}<div><h1>{title}</h1>\n<p>{lead}</p></div></header>\n"
        f"<dl>\n{rows}\n</dl>\n<main>\n{told}\n</main>\n"
        f"<footer>{html.escape(_foot(details, words))}</footer>\n</article>"
    )


def _value(value: str | None) -> str:
    if value is None:
        return '<span class="blank"></span>'
    return "<br>".join(html.escape(line) for line in value.splitlines())


def _text(facts: Facts, details: Details, words: Words) -> str:
    blocks = [f"{words.title}\n{'=' * len(words.title)}", textwrap.fill(words.lead, 78)]
    blocks.append(
        "\n".join(
            f"{heading}: {_BLANK if value is None else ', '.join(value.splitlines())}"
            for heading, value in details.rows(words)
        )
    )
    for heading, points in sections(facts, words):
        listed = [textwrap.fill(one, 78, initial_indent="- ", subsequent_indent="  ") for one in points]
        blocks.append("\n".join([heading, "-" * len(heading), *listed]))
    blocks.append(textwrap.fill(_foot(details, words), 78))
    return "\n\n".join(blocks)


_PICTOGRAM = (
    '<svg viewBox="0 0 120 120" aria-hidden="true"><rect x="3" y="3" width="114" height="114" rx="14" '
    'fill="#ffd400" stroke="#000" stroke-width="6"/>'
    '<path d="M22 46h12l6-10h24l6 10h12a5 5 0 0 1 5 5v38a5 5 0 0 1-5 5H22a5 5 0 0 1-5-5V51a5 5 0 0 1 5-5z" '
    'fill="#000" transform="translate(8 -4)"/>'
    '<circle cx="60" cy="65" r="20" fill="#ffd400"/><circle cx="53" cy="60" r="3"/>'
    '<circle cx="67" cy="60" r="3"/><path d="M50 70q10 9 20 0" fill="none" stroke="#000" stroke-width="3.5" '
    'stroke-linecap="round"/></svg>'
)
"""A camera whose lens is a face."""

_STYLE = """
@page { size: A4; margin: 0 }
* { box-sizing: border-box; margin: 0; padding: 0 }
body { background: #ccc; color: #000; line-height: 1.33;
  font-family: "Liberation Sans", Arial, Helvetica, "DejaVu Sans", sans-serif }
article { background: #fff; width: 210mm; min-height: 296mm; margin: 8mm auto; padding: 11mm 14mm 8mm;
  display: flex; flex-direction: column; break-after: page; overflow-wrap: break-word }
article:last-child { break-after: auto }
header { display: flex; gap: 7mm; align-items: center; border-bottom: 1.2mm solid #000; padding-bottom: 4mm }
svg { width: 31mm; flex: none }
h1 { font-size: 26pt; line-height: 1.1; margin-bottom: 2mm; hyphens: auto }
header p { font-size: 13pt; line-height: 1.28 }
dl { display: grid; grid-template-columns: fit-content(38%) 1fr; gap: 0.3em 1.2em; margin: 1em 0 0.2em;
  font-size: 1.1em }
dt { font-weight: bold }
dt, dd { break-inside: avoid }
.blank { display: block; border-bottom: 0.3mm solid #000; height: 6mm }
section { break-inside: avoid }
h2 { font-size: 1.15em; margin: 0.8em 0 0.25em }
ul { list-style: none }
li { padding-left: 1.2em; position: relative; margin-bottom: 0.25em }
li:only-child { padding-left: 0 }
li:not(:only-child)::before { content: ""; position: absolute; left: 0.2em; top: 0.48em;
  width: 0.42em; height: 0.42em; background: #000; print-color-adjust: exact }
svg { print-color-adjust: exact }
footer { margin-top: auto; padding-top: 3mm; font-size: 9pt }
@media print { body { background: none } article { margin: 0 } }
@media screen and (max-width: 215mm) { article { width: auto; min-height: 0; margin: 0; padding: 5mm }
  header { flex-wrap: wrap } dl { grid-template-columns: 1fr } footer { margin-top: 0 } }
"""
