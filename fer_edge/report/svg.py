"""SVG drawings whose marks have classes, so that the page's style colours them for screen, dark and paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from html import escape

_numbers = itertools.count(1)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


class Drawing:
    """Marks on ``width`` by ``height`` pixels, y down; screen readers read ``title`` and ``desc``."""

    def __init__(self, width: float, height: float, title: str, desc: str = "", kind: str = "") -> None:
        self.width, self.height = width, height
        self._title, self._desc, self._kind = title, desc, kind
        self._marks: list[str] = []
        self.more = ""
        """Further attributes of the element."""

    def rect(
        self, x: float, y: float, width: float, height: float, style: str, told: str = "", more: str = ""
    ) -> None:
        """A rectangle; ``told`` is shown beside the pointer."""
        if width <= 0 or height <= 0:
            return
        shape = (
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
            f'class="{style}"{more}'
        )
        self._marks.append(f"{shape}><title>{escape(told)}</title></rect>" if told else f"{shape}/>")

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line."""
        self._marks.append(
            f'<path d="M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}" class="{style}"/>'
        )

    def path(
        self, points: Iterable[Sequence[float]], style: str, more: str = "", closed: bool = False
    ) -> None:
        """A line through ``points`` (x, y), or what it encloses."""
        text = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        if text:
            self._marks.append(f'<path d="M{text}{"Z" if closed else ""}" class="{style}"{more}/>')

    def dot(self, x: float, y: float, radius: float, style: str, told: str = "") -> None:
        """A circle."""
        shape = f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{style}"'
        self._marks.append(f"{shape}><title>{escape(told)}</title></circle>" if told else f"{shape}/>")

    def text(
        self, x: float, y: float, text: str, style: str = "", anchor: str = "start", more: str = ""
    ) -> None:
        """Text with its baseline at ``y``."""
        where = f' text-anchor="{anchor}"' if anchor != "start" else ""
        looks = f' class="{style}"' if style else ""
        self._marks.append(f'<text x="{number(x)}" y="{number(y)}"{where}{looks}{more}>{escape(text)}</text>')

    def markup(self, style: str = "") -> str:
        """The drawing for a page."""
        name = f"t{next(_numbers)}"
        desc = f'<desc id="{name}d">{escape(self._desc)}</desc>' if self._desc else ""
        described = f"{name} {name}d" if desc else name
        classes = " ".join(part for part in (self._kind, style) if part)
        return (
            f'<svg viewBox="0 0 {number(self.width)} {number(self.height)}" role="img" class="{classes}" '
            f'aria-labelledby="{described}"{self.more}><title id="{name}">{escape(self._title)}</title>{desc}'
            f"{''.join(self._marks)}</svg>"
        )


def text_width(text: str, size: float = 12.5) -> float:
    """About how wide a text is, in pixels."""
    return sum(0.3 if char in "ijl.,:'|1 " else 0.9 if char in "mwMW%" else 0.6 for char in text) * size


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from ``low`` to ``high``, some ``about`` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(about, 1)
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * place, 10) for place in range(first, last + 1)]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places at least ``gap`` apart, as near as may be to the sorted ``wanted``, from ``low`` to ``high``."""
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    places = [max(place, low) for place in wanted]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    if places:
        places[-1] = min(places[-1], high)
    for index in range(len(places) - 2, -1, -1):
        places[index] = min(places[index], places[index + 1] - gap)
    return places
