"""Groups of people: who belongs to them, and the intervals."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.checks.groups import group_figures, proportion

NO_FACE = {"sex": np.array([], np.str_), "age": np.array([], np.str_)}


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_wilson(right, rows, low, high):
    one = proportion(right, rows)
    assert (one.low, one.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    other = proportion(rows - right, rows)
    assert (other.low, other.high) == (pytest.approx(1 - one.high), pytest.approx(1 - one.low))


def test_no_rows_have_no_interval():
    with pytest.raises(ValueError, match="at least 1"):
        proportion(0, 0)


def test_columns_count_alone_and_together():
    labels = np.array([3, 3, 6, 6, 6])
    answers = {"people": np.array([3, 6, 6, 6, 3]), "fer2013": labels}
    columns = {"sex": np.array(["f", "m", "f", "m", "m"]), "age": np.array(["", "", "", "old", "old"])}
    groups = group_figures(answers, labels, columns, NO_FACE)
    assert list(groups) == ["sex", "age", "sex, age"]
    assert {value: both.heads["people"].right.right for value, both in groups["sex"].items()} == {
        "f": 2,
        "m": 1,
    }
    assert {value: both.heads["people"].right.rows for value, both in groups["age"].items()} == {
        "": 3,
        "old": 2,
    }
    assert list(groups["sex, age"]) == ["f, ", "m, ", "m, old"]
    old = groups["sex, age"]["m, old"].heads["people"]
    assert (old.right.right, old.right.rows) == (1, 2)
    assert set(old.recall) == {"neutral"}
    assert groups["sex"]["m"].heads["fer2013"].right.share == 1


def test_one_column_is_not_joined_with_itself():
    columns = {"sex": np.array(["f"])}
    assert list(group_figures({}, np.array([3]), columns, {"sex": np.array([], np.str_)})) == ["sex"]
    assert group_figures({}, np.array([3]), {}, {}) == {}


def test_pictures_without_a_face_are_counted_by_group():
    """Also those of a group in which no face was found at all."""
    columns = {"sex": np.array(["f", "m"]), "age": np.array(["20", "20"])}
    skipped = {"sex": np.array(["m", "m", "x"]), "age": np.array(["20", "30", "20"])}
    labels = np.array([3, 3])
    groups = group_figures({"people": labels}, labels, columns, skipped)
    assert {value: group.skipped for value, group in groups["sex"].items()} == {"f": 0, "m": 2, "x": 1}
    assert {value: group.skipped for value, group in groups["sex, age"].items()} == {
        "f, 20": 0,
        "m, 20": 1,
        "m, 30": 1,
        "x, 20": 1,
    }
    assert groups["sex"]["x"].heads == {}
    assert groups["sex"]["m"].heads["people"].right.rows == 1
