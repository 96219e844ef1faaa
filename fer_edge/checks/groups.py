"""Figures by group of people, with intervals that show how uncertain those of a small group are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS, Labels

_Z = 1.959963984540054
"""The normal distribution's quantile for intervals of 95 %."""


@dataclass(frozen=True)
class Proportion:
    """``right`` of ``rows``, their ``share``, and the bounds ``low`` and ``high`` of its 95 % interval."""

    right: int
    rows: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupFigures:
    """How many of a group's faces were answered right, all and of each emotion that occurs among them."""

    right: Proportion
    recall: dict[str, Proportion]


@dataclass(frozen=True)
class Group:
    """A group's figures by head, none where it has no faces, and how many pictures gave no face."""

    heads: dict[Labels, GroupFigures]
    skipped: int


Groups = dict[str, dict[str, Group]]
"""By column (``gender``; ``gender, group`` for all columns together) and value."""


def proportion(right: int, rows: int) -> Proportion:
    """``right`` of ``rows`` with the interval of Wilson 1927, which small samples need.

    Raises ValueError for ``rows`` below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    share = right / rows
    spread = _Z * _Z / rows
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return Proportion(right, rows, share, max(0.0, centre - half), min(1.0, centre + half))


def group_figures(
    answers: Mapping[Labels, NDArray[np.integer[Any]]],
    labels: NDArray[np.integer[Any]],
    columns: Mapping[str, NDArray[np.str_]],
    skipped: Mapping[str, NDArray[np.str_]],
) -> Groups:
    """Figures of each head's ``answers`` (n,) beside ``labels`` (n,), for each value of each column (n,).

    ``skipped``: the same columns of the pictures without a face, (m,). Several columns also count
    together, as far as their combinations occur.
    """
    values, missing = _with_all_together(columns), _with_all_together(skipped)
    return {
        name: {
            str(value): Group(
                {head: _figures(given[rows], labels[rows]) for head, given in answers.items() if rows.any()},
                int((missing[name] == value).sum()),
            )
            for value in np.unique(np.concatenate([values[name], missing[name]]))
            for rows in [values[name] == value]
        }
        for name in values
    }


def _with_all_together(columns: Mapping[str, NDArray[np.str_]]) -> dict[str, NDArray[np.str_]]:
    if len(columns) < 2:
        return dict(columns)
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    together = np.array([", ".join(row) for row in rows], np.str_)
    return {**columns, ", ".join(columns): together}


def _figures(answers: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> GroupFigures:
    hits = answers == labels
    return GroupFigures(
        proportion(int(hits.sum()), len(labels)),
        {
            emotion: proportion(int(hits[own].sum()), int(own.sum()))
            for code, emotion in enumerate(EMOTIONS)
            for own in [labels == code]
            if own.any()
        },
    )
