"""Faces out of the detector's outputs: by the definition, and the same from C and NumPy to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge.kernels import fallback
from fer_edge.kernels.fallback.decode import FACES_LIMIT, _exponential

NOTHING = -20.0


def silent(height, width):
    """Outputs without a face."""
    return [np.full((height // s * (width // s), 16), NOTHING, np.float32) for s in (8, 16, 32)]


def with_boxes(height, width, boxes):
    """Outputs of stride 8 that hold a face (x, y, width, height, logits) in each of its first cells."""
    outputs = silent(height, width)
    for cell, (x, y, w, h, logit) in enumerate(boxes):
        column, row = cell % (width // 8), cell // (width // 8)
        centre = (x + w / 2) / 8 - column, (y + h / 2) / 8 - row
        outputs[0][cell] = [logit, logit, *centre, np.log(w / 8), np.log(h / 8), *[0] * 10]
    return outputs


def decoded(kernels, outputs, height, width, min_score=0.7, min_logit=-np.inf):
    faces = np.full((500, 15), np.nan, np.float32)
    count = kernels.decode_faces(tuple(outputs), height, width, min_logit, min_score, faces)
    assert np.isnan(faces[count:]).all()
    return faces[:count]


def test_numbers_are_those_of_the_definition(kernels):
    rng = np.random.default_rng(0)
    for height, width in ((64, 96), (32, 32)):
        outputs = silent(height, width)
        for stride, output in zip((8, 16, 32), outputs, strict=True):
            cell = len(output) - 1
            output[cell] = [*rng.normal(3, 1, 2), *rng.normal(0, 1, 14)]
            one = silent(height, width)
            one[(8, 16, 32).index(stride)][cell] = output[cell]
            (face,) = decoded(kernels, one, height, width, 0.1)
            values = output[cell].astype(float)
            corner = np.array([width - stride, height - stride])
            size = np.exp(values[4:6]) * stride
            probabilities = 1 / (1 + np.exp(-values[:2]))
            expected = np.concatenate(
                [
                    corner + values[2:4] * stride - size / 2,
                    size,
                    (values[6:].reshape(5, 2) * stride + corner).ravel(),
                    [np.sqrt(probabilities.prod())],
                ]
            )
            np.testing.assert_allclose(face, expected, rtol=1e-6, atol=1e-5)


def test_of_overlapping_faces_the_best_is_left(kernels):
    """Boxes of 100x100 that are 50 pixels apart share 5000 of 15000 pixels, 54 apart 4600 of 15400."""
    boxes = [(50.5, 0.5, 100.5, 100.5, 2), (0.5, 0.5, 100.5, 100.5, 3), (54.9, 0.5, 100.5, 100.5, 1.5)]
    faces = decoded(kernels, with_boxes(128, 192, boxes), 128, 192)
    np.testing.assert_allclose(faces[:, :4], [boxes[1][:4], boxes[2][:4]], rtol=1e-5)
    assert faces[0, 14] > faces[1, 14]


def test_equal_scores_keep_the_order_of_cells(kernels):
    boxes = [(20 * cell, 100, 10, 10, 5) for cell in range(8)]
    faces = decoded(kernels, with_boxes(128, 256, boxes), 128, 256)
    np.testing.assert_allclose(faces[:, 0], [box[0] for box in boxes], atol=1e-4)


def test_no_more_than_the_limit_are_looked_at(kernels):
    outputs = silent(320, 320)
    # Cells' own boxes, a pixel wide, none of which overlap; the later, the better.
    outputs[0][:, 0] = outputs[0][:, 1] = np.linspace(2, 4, 1600)
    outputs[0][:, 2:] = 0
    outputs[0][:, 4:6] = np.log(1 / 8)
    faces = decoded(kernels, outputs, 320, 320)
    assert len(faces) == FACES_LIMIT == 500
    assert tuple(faces[0, :2]) == (8 * 39 - 0.5, 8 * 39 - 0.5)
    assert (np.diff(faces[:, 14]) <= 0).all()


def test_scores_and_logits_below_the_least_are_left_out(kernels):
    outputs = with_boxes(64, 64, [(0, 0, 8, 8, 1.0), (32, 32, 8, 8, 0.5)])
    score = 1 / (1 + np.exp(-1.0))
    assert len(decoded(kernels, outputs, 64, 64, score - 1e-6)) == 1
    assert len(decoded(kernels, outputs, 64, 64, score + 1e-6)) == 0
    assert len(decoded(kernels, outputs, 64, 64, 0.0)) > 1
    assert len(decoded(kernels, outputs, 64, 64, 0.0, min_logit=0.5)) == 2
    assert (
        len(decoded(kernels, outputs, 64, 64, 0.0, min_logit=np.nextafter(np.float32(0.5), np.float32(1))))
        == 1
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 100.0])
@pytest.mark.parametrize("channel", [2, 4, 5, 15])
def test_faces_without_finite_numbers_are_left_out(kernels, wrong, channel):
    outputs = with_boxes(64, 64, [(0, 0, 8, 8, 3), (32, 32, 8, 8, 2)])
    outputs[0][0, channel] = wrong
    faces = decoded(kernels, outputs, 64, 64)
    assert len(faces) == (2 if wrong == 100 and channel not in (4, 5) else 1)


def test_logits_that_are_no_numbers_are_no_faces(kernels):
    outputs = with_boxes(64, 64, [(0, 0, 8, 8, np.nan), (32, 32, 8, 8, np.inf)])
    outputs[0][2, :2] = -np.inf
    (face,) = decoded(kernels, outputs, 64, 64)
    assert face[14] == 1


@needs_extension
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_c_and_numpy_give_the_same_faces(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    height, width = 32 * data.draw(st.integers(0, 4)), 32 * data.draw(st.integers(0, 4))
    spread = data.draw(st.sampled_from([0.1, 1.0, 3.0, 40.0, 1e30]))
    outputs = [rng.normal(0, spread, one.shape).astype(np.float32) for one in silent(height, width)]
    for output in outputs:
        if output.size and data.draw(st.booleans()):
            output.flat[rng.integers(output.size, size=3)] = [np.nan, np.inf, -np.inf]
        if output.size and data.draw(st.booleans()):
            output[:, :2] = np.round(output[:, :2])  # equal scores
    if data.draw(st.booleans()):
        outputs = [np.asfortranarray(output) for output in outputs]
    options = data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])), data.draw(st.sampled_from([-np.inf, -1.0]))
    ours, theirs = (decoded(module, outputs, height, width, *options) for module in (c_kernels, fallback))
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


def test_exponentials_are_correct_to_the_last_bits():
    logits = np.concatenate([np.linspace(-87, 87, 20_001), np.linspace(-1, 1, 2_001)]).astype(np.float32)
    expected = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(_exponential(logits), expected, rtol=1e-15)


@needs_extension
def test_extension_checks_by_itself():
    outputs, out = tuple(silent(64, 64)), np.zeros((500, 15), np.float32)
    for wrong, words in (
        ((outputs[:2], 64, 64, 0.0, 0.0, out), "three outputs"),
        ((outputs, 48, 64, 0.0, 0.0, out), "multiples of 32"),
        ((outputs, 64, 96, 0.0, 0.0, out), "as many cells"),
        (((outputs[0][:, :15], *outputs[1:]), 64, 64, 0.0, 0.0, out), r"\(cells,16\)"),
        (((outputs[0].astype(np.float64), *outputs[1:]), 64, 64, 0.0, 0.0, out), r"\(cells,16\)"),
        ((outputs, 64, 64, 0.0, 0.0, out[:499]), r"\(500,15\)"),
    ):
        with pytest.raises(ValueError, match=words):
            c_kernels.decode_faces(*wrong)
