"""What was counted of a camera, as material of a report."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store.schema import TENTH
from .material import Gaps, Material, Minutes, People, Seconds, Source
from .tally import ATTENTION, LIGHT, SEEN, SHARES, SIZE, UNCLEAR, UNSURE, Counted


def as_material(where: Source, done: Counted) -> Material:
    """What was counted of one camera in one run, whose source is ``where``."""
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
        sources=(where,),
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
            **_light(counts[:, LIGHT]),
        ),
        gaps=Gaps(
            source=np.zeros(len(done.gaps), np.int32),
            began=np.array([began for began, _, _ in done.gaps], np.int64) + origin,
            ended=np.array([ended for _, ended, _ in done.gaps], np.int64) + origin,
            reason=np.array([reason for _, _, reason in done.gaps], np.str_),
        ),
    )


def _light(counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Columns of light, NaN where it is not known."""
    lit, light, faces_lit, faces_light, dark, bright = counts.astype(np.float64).T
    known = (lit > 0) | (faces_lit > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "brightness": light / lit / TENTH,
            "face_brightness": faces_light / faces_lit / TENTH,
            "dark": np.where(known, dark / 1000, np.nan),
            "bright": np.where(known, bright / 1000, np.nan),
        }


def _narrow(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32, copy=False)
