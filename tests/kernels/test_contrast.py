"""Exposure and contrast of faces: what is computed, that C and NumPy agree, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import c_kernels, draw_face, needs_extension
from kernels.levels import as_inputs

from fer_edge.kernels import fallback
from fer_edge.kernels.contrast import normalize_contrast

Y, X = np.mgrid[0:48, 0:48] + 0.5
MIDDLE = ((X - 24) / 13) ** 2 + ((Y - 27) / 16) ** 2 <= 1
MEAN, DEVIATION, MOST_GAIN = 128, 48, 16


def sample_faces() -> np.ndarray:
    """Uint8 (n,48,48): drawn faces, noise of any exposure and contrast, gradients, two levels, extremes."""
    rng = np.random.default_rng(3)
    drawn = np.array([draw_face(code, rng) for code in range(7)], np.float64)
    noise = rng.random((400, 1, 1)) * rng.integers(0, 256, (400, 48, 48)) + rng.random((400, 1, 1)) * 80
    gradients = [X * 5.3, Y * 5.3, 255 - X * 5.3, X / 48, 254 + Y / 48, np.hypot(X - 24, Y - 27) * 7]
    mixed = (rng.random((100, 48, 48)) < rng.random((100, 1, 1))) * rng.integers(0, 256, (100, 1, 1))
    uniform = np.arange(256)[:, None, None] * np.ones((48, 48))
    single = np.repeat(uniform[::5].copy(), 2, axis=0)
    single[::2, 27, 24], single[1::2, 0, 0] = 255, 0
    outside = np.where(MIDDLE, uniform[::17], 255 - uniform[::17])
    parts = [drawn, drawn * 0.08, drawn / 4 + 190, noise, gradients, mixed, uniform, single, outside]
    return np.concatenate(parts).round().clip(0, 255).astype(np.uint8)


FACES = sample_faces()


def defined(faces):
    """Float levels, by the definition."""
    middle = faces[:, MIDDLE].astype(np.float64)
    mean, deviation = middle.mean(1)[:, None, None], middle.std(1)[:, None, None]
    gain = np.minimum(DEVIATION / np.maximum(deviation, 1e-9), MOST_GAIN)
    return ((faces - mean) * gain + MEAN).clip(0, 255)


def test_levels_are_those_of_the_definition(kernels):
    assert np.abs(normalize_contrast(FACES.copy()) - defined(FACES)).max() < 1


def test_mean_and_deviation_of_the_middle_become_the_fixed_ones(kernels):
    middle = normalize_contrast(FACES[:7].copy())[:, MIDDLE].astype(np.float64)
    assert np.abs(middle.mean(1) - MEAN).max() < 6  # a little is cut off
    assert np.abs(middle.std(1) - DEVIATION).max() < 6


def test_two_levels_move_apart(kernels):
    face = np.where(X < 24, 100, 140).astype(np.uint8)[None]  # mean 120, deviation 20
    np.testing.assert_array_equal(normalize_contrast(face)[0], np.where(X < 24, 80, 176))


def test_the_gain_is_limited(kernels):
    face = np.where(X < 24, 100, 101).astype(np.uint8)[None]  # deviation a half
    np.testing.assert_array_equal(normalize_contrast(face)[0], np.where(X < 24, 120, 136))


@pytest.mark.parametrize("level", [0, 1, 77, 128, 254, 255])
def test_a_uniform_face_becomes_middle_grey(kernels, level):
    assert (normalize_contrast(np.full((3, 48, 48), level, np.uint8)) == MEAN).all()


def test_only_the_middle_is_measured(kernels):
    face = FACES[:1].copy()
    changed = np.where(MIDDLE, face, 255 - face)
    np.testing.assert_array_equal(normalize_contrast(face)[:, MIDDLE], normalize_contrast(changed)[:, MIDDLE])


def test_a_darker_face_of_less_contrast_becomes_the_same(kernels):
    face = FACES[:7] // 2 * 2  # even levels, so that halving them loses nothing
    bright, dark = normalize_contrast(face.copy()), normalize_contrast(face // 2 + np.uint8(9))
    assert np.abs(bright.astype(int) - dark).max() <= 1


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_every_kind_gets_the_same_levels(kernels, dtype):
    faces = as_inputs(FACES, dtype)
    assert normalize_contrast(faces) is faces
    np.testing.assert_array_equal(faces, as_inputs(normalize_contrast(FACES.copy()), dtype))


def test_no_faces_are_left_alone(kernels):
    assert normalize_contrast(np.empty((0, 48, 48), np.int8)).shape == (0, 48, 48)


@needs_extension
@pytest.mark.parametrize("kind", range(3))
def test_c_and_numpy_give_the_same_bytes(kind):
    ours, theirs = (as_inputs(FACES, ("uint8", "int8", "float32")[kind]) for _ in range(2))
    c_kernels.normalize_contrast(ours, kind)
    fallback.normalize_contrast(theirs, kind)
    assert ours.tobytes() == theirs.tobytes()


@needs_extension
def test_c_and_numpy_agree_on_floats_that_are_no_levels():
    rng = np.random.default_rng(1)
    ours = (rng.standard_normal((50, 48, 48)) * np.geomspace(1e-9, 1e9, 50)[:, None, None]).astype(np.float32)
    ours[::7, 1, 2], ours[1::7, 3, 4], ours[2::7, 5, 6] = np.nan, np.inf, -np.inf
    theirs = ours.copy()
    c_kernels.normalize_contrast(ours, 2)
    fallback.normalize_contrast(theirs, 2)
    assert ours.tobytes() == theirs.tobytes()
    levels = ours * 64 + 128
    assert ((levels >= 0) & (levels <= 255) & (levels == levels.round())).all()


def read_only():
    faces = np.zeros((2, 48, 48), np.uint8)
    faces.flags.writeable = False
    return faces


@pytest.mark.parametrize(
    ("faces", "error", "words"),
    [
        ([[1, 2]], TypeError, "faces is a list; want a NumPy array of uint8, int8 or float32"),
        (np.zeros((2, 48, 48)), TypeError, "array of float64"),
        (np.zeros((48, 48), np.uint8), ValueError, r"faces has shape \(48, 48\); want \(n, 48, 48\)"),
        (np.zeros((2, 48, 47), np.uint8), ValueError, r"\(2, 48, 47\)"),
        (np.zeros((), np.uint8), ValueError, r"shape \(\)"),
        (read_only(), ValueError, "read-only"),
        (np.zeros((4, 48, 48), np.int8)[::2], ValueError, "not C-contiguous"),
        (np.zeros(48 * 48 * 4 + 1, np.int8)[1:].view(np.float32).reshape(1, 48, 48), ValueError, "aligned"),
    ],
)
def test_what_does_not_fit_is_refused(kernels, faces, error, words):
    with pytest.raises(error, match=words):
        normalize_contrast(faces)


@needs_extension
@pytest.mark.parametrize(
    ("faces", "kind"),
    [
        (np.zeros(2303, np.uint8), 0),
        (np.zeros(2304, np.uint8), 1),
        (np.zeros(2304, np.int8), 3),
        (np.zeros(2304, np.int8), -1),
        (np.zeros(2304, np.int8), 2),
        (np.zeros(4608, np.uint8)[::2], 0),
        (read_only(), 0),
        (bytes(2304), 0),
    ],
)
def test_extension_checks_by_itself(faces, kind):
    with pytest.raises((ValueError, BufferError)):
        c_kernels.normalize_contrast(faces, kind)
