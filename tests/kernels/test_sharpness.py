"""How sharp faces are: what is measured, that C and NumPy agree, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import c_kernels, draw_face, needs_extension
from kernels.levels import as_inputs

from fer_edge.kernels import fallback
from fer_edge.kernels.sharpness import sharpness

RNG = np.random.default_rng(5)
DRAWN = np.array([draw_face(code, RNG) for code in range(7)]).clip(0, 255).astype(np.uint8)
NOISE = RNG.integers(0, 256, (60, 48, 48)).astype(np.uint8)
FLAT = np.full((3, 48, 48), [[[0]], [[77]], [[255]]], np.uint8)
FACES = np.concatenate([DRAWN, NOISE, NOISE >> 6, FLAT])


def defined(face):
    """By the definition, pixel by pixel."""
    levels = face.astype(float).tolist()
    part = [(y, x) for y in range(11, 43) for x in range(11, 37)]
    across = [2 * levels[y][x] - levels[y][x - 1] - levels[y][x + 1] for y, x in part]
    down = [2 * levels[y][x] - levels[y - 1][x] - levels[y + 1][x] for y, x in part]
    contrast = np.var([levels[y][x] for y, x in part])
    return min(np.var(across), np.var(down)) / contrast if contrast else 0.0


def test_numbers_are_those_of_the_definition(kernels):
    np.testing.assert_allclose(sharpness(FACES), [defined(face) for face in FACES], rtol=1e-9)


def test_white_noise_has_six(kernels):
    """The variance of 2 c - a - b is (4 + 1 + 1) times that of independent levels."""
    faces = np.random.default_rng(1).integers(0, 256, (400, 48, 48)).astype(np.uint8)
    assert sharpness(faces).mean() == pytest.approx(6, rel=0.1)  # of two, the smaller one: a little less


def test_uniform_faces_have_none(kernels):
    assert sharpness(FLAT).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kernel", [(5, 1), (1, 5)], ids=["across", "down"])
def test_a_movement_to_either_side_blurs(kernels, kernel):
    moved = np.array([cv2.blur(face, kernel) for face in DRAWN])
    assert (sharpness(moved) < sharpness(DRAWN) / 2).all()


def test_more_blur_is_less_sharp(kernels):
    found = [
        sharpness(np.array([cv2.GaussianBlur(face, (0, 0), s) for face in DRAWN])) for s in (0.8, 1.5, 3)
    ]
    assert (found[0] > 2 * found[1]).all() and (found[1] > 2 * found[2]).all()


def test_brightness_and_contrast_have_no_influence(kernels):
    even = DRAWN // 2 * 2
    np.testing.assert_allclose(sharpness(even // 2 + np.uint8(100)), sharpness(even), rtol=1e-9)


def test_what_lies_around_the_face_has_none_either(kernels):
    around = DRAWN.copy()
    around[:, :10], around[:, 44:], around[:, :, :10], around[:, :, 38:] = 255, 0, 0, 255
    assert sharpness(around).tolist() == sharpness(DRAWN).tolist()


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_every_kind_gets_the_same_number(kernels, dtype):
    assert sharpness(as_inputs(FACES, dtype)).tolist() == sharpness(FACES).tolist()


def test_faces_are_left_as_they_are_and_none_have_none(kernels):
    faces = FACES.copy()
    sharpness(faces)
    np.testing.assert_array_equal(faces, FACES)
    assert sharpness(np.empty((0, 48, 48), np.int8)).shape == (0,)


@needs_extension
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_c_and_numpy_give_the_same_bytes(dtype):
    ours, theirs, faces = np.empty(len(FACES)), np.empty(len(FACES)), as_inputs(FACES, dtype)
    kind = ("uint8", "int8", "float32").index(dtype)
    c_kernels.measure_sharpness(faces, kind, ours)
    fallback.measure_sharpness(faces, kind, theirs)
    assert ours.tobytes() == theirs.tobytes()


@needs_extension
def test_c_and_numpy_agree_on_floats_that_are_no_levels():
    rng = np.random.default_rng(1)
    faces = (rng.standard_normal((50, 48, 48)) * np.geomspace(1e-9, 1e9, 50)[:, None, None]).astype(
        np.float32
    )
    faces[::7, 21, 22], faces[1::7, 23, 24], faces[2::7, 25, 26] = np.nan, np.inf, -np.inf
    ours, theirs = np.empty(50), np.empty(50)
    c_kernels.measure_sharpness(faces, 2, ours)
    fallback.measure_sharpness(faces, 2, theirs)
    assert ours.tobytes() == theirs.tobytes()
    assert (ours >= 0).all() and np.isfinite(ours).all()


@pytest.mark.parametrize(
    ("faces", "error", "words"),
    [
        ([[1, 2]], TypeError, "faces is a list; want a NumPy array of uint8, int8 or float32"),
        (np.zeros((2, 48, 48)), TypeError, "array of float64"),
        (np.zeros((2, 48, 47), np.uint8), ValueError, r"\(2, 48, 47\)"),
        (np.zeros((), np.uint8), ValueError, r"shape \(\)"),
        (np.zeros((4, 48, 48), np.int8)[::2], ValueError, "not C-contiguous"),
    ],
)
def test_what_does_not_fit_is_refused(kernels, faces, error, words):
    with pytest.raises(error, match=words):
        sharpness(faces)


@needs_extension
@pytest.mark.parametrize(
    ("faces", "kind", "out"),
    [
        (np.zeros(2304, np.int8), 0, np.empty(1)),
        (np.zeros(2304, np.uint8), 3, np.empty(1)),
        (np.zeros(2304, np.uint8), -1, np.empty(1)),
        (np.zeros(2304, np.uint8), 0, np.empty(2)),
        (np.zeros(2304, np.uint8), 0, np.empty(1, np.float32)),
        (np.zeros(2304, np.uint8), 0, np.empty((1, 1))),
        (np.zeros(4608, np.uint8), 0, np.empty(4)[::2]),
        (np.zeros(4608, np.uint8)[::2], 0, np.empty(1)),
    ],
)
def test_extension_checks_by_itself(faces, kind, out):
    with pytest.raises((ValueError, BufferError)):
        c_kernels.measure_sharpness(faces, kind, out)
