"""The parity check: what a file may lose, and how far files have to agree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

from fer_edge.export import parity as parity_module
from fer_edge.export.calibration import Rows
from fer_edge.export.parity import (
    CalibrationError,
    ExportReport,
    Parity,
    ParityError,
    check_files,
    check_int8_input,
    refuse_bad,
)
from fer_edge.models.manifest import TensorSpec


@pytest.mark.parametrize("head", ["fer2013", "people"])
@pytest.mark.parametrize(
    ("rows", "drop", "agreement", "good"),
    [
        (3310, 1.0, 0.998, True),
        (3310, 1.1, 0.998, False),
        (3310, 1.0, 0.9975, False),
        # Four of 150 held-out images turned one way: chance, where three of a hundred are ties. Ten are not.
        (150, 100 * 4 / 150, 148 / 150, True),
        (150, 100 * 10 / 150, 1.0, False),
        (150, 0.0, 140 / 150, False),
        (9, 100 / 9, 8 / 9, True),
        (9, 200 / 9, 1.0, False),
    ],
)
def test_the_check_allows_for_chance_where_rows_are_few(rows, drop, agreement, good, head):
    good_parity = Parity(accuracy=60.0, drop=0.0, agreement=1.0, largest_difference=0.1)
    parity = Parity(accuracy=60.0, drop=drop, agreement=1.0, largest_difference=0.1)
    report = ExportReport(
        "mine",
        rows,
        {"fer2013": 60.0, "people": 80.0},
        {"fer2013": 1.0, "people": 1.0},
        None,
        {"mine-int8.onnx": {"fer2013": good_parity, head: parity}},
        {"int8": {"fer2013": 1.0, head: agreement}},
        2,
        {"mine-int8.onnx": 1},
    )
    if good:
        refuse_bad(report)
    else:
        with pytest.raises(CalibrationError, match="nothing was written"):
            refuse_bad(report)


def test_the_check_refuses_logits_that_lie_steps_apart():
    report = ExportReport("mine", 3310, {"fer2013": 60.0}, {"fer2013": 1.0}, None, {}, {}, 3, {})
    with pytest.raises(CalibrationError, match=r"^nothing was written: .* differ by 3 steps \(at most 2\)$"):
        refuse_bad(report)


@pytest.mark.parametrize(
    "source",
    [TensorSpec("int8", 1 / 255, -128), TensorSpec("int8", 1 / 64, 1), TensorSpec("uint8", 1 / 64, 0)],
)
def test_an_int8_input_other_than_grey_minus_128_is_refused(source):
    check_int8_input("onnx", TensorSpec("int8", 1 / 64, 0))
    with pytest.raises(ParityError, match=r"the onnx int8 input is .* has to be grey - 128"):
        check_int8_input("onnx", source)


@pytest.mark.parametrize(
    ("votes", "people"),
    [
        (None, 75.0),  # of the labels
        (np.zeros((4, 9), np.float32), 75.0),
        (10 * np.eye(9, dtype=np.float32)[[0, 1, 3, 5]], 50.0),
    ],
)
def test_where_nobody_voted_the_labels_are_the_truth_of_both_heads(monkeypatch, tmp_path, votes, people):
    """On a user's own pictures, of which the head people would else be told to be right always."""
    logits = {
        "fer2013": np.eye(7, dtype=np.float32)[[0, 1, 2, 3]],
        "people": np.eye(9, dtype=np.float32)[[0, 1, 2, 4]],
    }
    spec = TensorSpec("int8", 1.0, 0)
    file = SimpleNamespace(outputs={"fer2013": spec, "people": spec})
    loaded = SimpleNamespace(logits=lambda faces: logits, file=file)
    monkeypatch.setattr(parity_module, "load_classifier", lambda *_, **__: loaded)
    for name in ("mine-int8.tflite", "mine-int8.onnx", "mine-fp32.tflite", "mine-fp32.onnx"):
        (tmp_path / name).touch()
    rows = Rows(np.zeros((4, 48, 48), np.uint8), np.arange(4), votes)
    report = check_files(tmp_path, "mine", {"fer2013": 1.0, "people": 1.0}, None, logits, rows)
    assert report.accuracy == {"fer2013": 100.0, "people": people}
    assert {outputs["people"].accuracy for outputs in report.parity.values()} == {people}
