"""What each camera of a store saw, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..labels import EMOTIONS
from .clock import at
from .reader import StoreReader

_MINUTES = {
    "began": "min(began)",
    "ended": "max(ended)",
    "observed": "sum(observed)",
    "gap": "total(gap)",
    "people_max": "max(people_max)",
}
_VISITS = {
    "visits": "count(*)",
    "dwell": "avg(seconds)",
    "smiles": "total(smile)",
    "attention": "total(attention) / nullif(total(seen), 0)",
    "unclear": "total(unclear) / nullif(total(seen), 0)",
    "unsure": "total(unsure) / nullif(total(seen), 0)",
    **{name: f"avg({name})" for name in EMOTIONS},
}
_GAPS = {"gaps": "count(*)", "gap_seconds": "total(seconds)"}


@dataclass(frozen=True)
class CameraFigures:
    """What one camera saw; ``None`` where there is nothing to tell from."""

    device: str
    camera: str
    began: datetime | None
    """Of the first minute."""
    ended: datetime | None
    """Of the last minute."""
    observed: float
    """Seconds in which frames came."""
    people_max: int
    """Most people at a time."""
    visits: int
    dwell: float | None
    """Mean seconds of a visit."""
    smiles: float
    """How many of the visitors an onlooker would have seen smile: the sum of ``smile``."""
    attention: float | None
    """Share of the time in sight in which faces were turned to the camera, 0 to 1."""
    unclear: float | None
    """Share of the time in sight in which nobody can tell where faces were turned."""
    unsure: float | None
    """Share of the time in sight in which people would disagree on the emotion."""
    shares: dict[str, float] | None
    """Of the emotions: the mean of each visit over its time, averaged over visits: all count the same."""
    gaps: int | None
    """``None``: not listed, as in the store of a fleet."""
    gap_seconds: float
    """Of those that are listed, else as far as minutes tell: a whole minute without frames has no row."""


def figures(
    store: StoreReader,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    going_on: bool = False,
) -> list[CameraFigures]:
    """Return what each camera saw of what began in that time, in the order of names.

    ``going_on``: of visits and minutes that are not over instead of those that are, without gaps.
    """
    minutes, visits = (
        store.totals(table, sums, since=since, until=until, going_on=going_on)
        for table, sums in (("minutes", _MINUTES), ("visits", _VISITS))
    )
    gaps = {} if going_on else store.totals("gaps", _GAPS, since=since, until=until)
    return [
        _figures(*key, minutes.get(key, {}), visits.get(key, {}), gaps.get(key, {}))
        for key in sorted({*minutes, *visits, *gaps})
    ]


def _figures(
    device: str, camera: str, minutes: dict[str, Any], visits: dict[str, Any], gaps: dict[str, Any]
) -> CameraFigures:
    shares = {name: visits.get(name) for name in EMOTIONS}
    listed, missing = gaps.get("gaps", 0), minutes.get("gap", 0.0)
    return CameraFigures(
        device=device,
        camera=camera,
        began=at(minutes["began"]) if minutes else None,
        ended=at(minutes["ended"]) if minutes else None,
        observed=minutes.get("observed", 0.0),
        people_max=minutes.get("people_max", 0),
        visits=visits.get("visits", 0),
        dwell=visits.get("dwell"),
        smiles=visits.get("smiles", 0.0),
        attention=visits.get("attention"),
        unclear=visits.get("unclear"),
        unsure=visits.get("unsure"),
        shares={name: share for name, share in shares.items() if share is not None} or None,
        gaps=None if missing and not listed else listed,
        gap_seconds=gaps["gap_seconds"] if listed else missing,
    )
