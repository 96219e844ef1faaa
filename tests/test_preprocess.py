"""Faces out of frames: what is computed, that C and NumPy agree to the byte, and what is refused."""

import os
import platform
import subprocess
import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge import _pure, preprocess
from fer_edge.preprocess import FACE_SIZE, crop_faces

pytestmark = pytest.mark.usefixtures("kernels")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def opencv_chain(frame, x, y, side):
    face = cv2.cvtColor(frame[y : y + side, x : x + side], cv2.COLOR_BGR2GRAY)
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)


def exact_area(grey, x, y, side):
    """The mean over each output pixel's area in rational numbers, the edge pixels repeated."""

    def coverage(origin, size):
        origin, step = Fraction(origin), Fraction(side) / FACE_SIZE
        weights = np.zeros((FACE_SIZE, size), dtype=object)
        for i in range(FACE_SIZE):
            start, stop = origin + i * step, origin + (i + 1) * step
            for pixel in range(int(start // 1), int(-(-stop // 1))):
                part = min(stop, Fraction(pixel + 1)) - max(start, Fraction(pixel))
                weights[i, min(max(pixel, 0), size - 1)] += part / step
        return weights

    exact = coverage(y, grey.shape[0]) @ grey.astype(object) @ coverage(x, grey.shape[1]).T
    return exact.astype(np.float64)


# ---------------------------------------------------------------- values


def test_an_unscaled_grey_square_is_copied():
    frame = noise(60, 70)
    assert np.array_equal(crop_faces(frame, [[5, 7, 48]])[0], frame[7:55, 5:53])


def test_unscaled_colour_is_exactly_cvtcolor():
    frame = noise(200, 200, 3)
    squares = [[x, y, 48] for x in (0, 48, 96, 144) for y in (0, 48, 96, 144)]
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    expected = np.stack([grey[y : y + 48, x : x + 48] for x, y, _ in squares])
    assert np.array_equal(crop_faces(frame, squares), expected)


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("square", [[3, 4, 20.3], [3.7, 4.1, 77.7], [-30, 60, 333.3], [-900, 0, 5000]])
def test_a_level_frame_keeps_its_level(level, square):
    assert np.all(crop_faces(np.full((80, 90, 3), level, np.uint8), [square]) == level)


def test_shrinking_by_two_averages_four_pixels():
    frame = np.zeros((96, 96), np.uint8)
    frame[0:2, 0:2] = [[10, 20], [30, 40]]
    assert crop_faces(frame, [[0, 0, 96]])[0, 0, 0] == 25


def test_shrinking_weighs_a_pixel_by_the_part_that_is_covered():
    frame = np.zeros((72, 72), np.uint8)  # 1.5 pixels each way
    frame[0, 1] = 180
    face = crop_faces(frame, [[0, 0, 72]])[0]
    # Pixel (0,1) lies half in each of the first two output pixels: 180 * (0.5 * 1) / 1.5**2.
    assert face[0, :3].tolist() == [40, 40, 0]


def test_a_stripe_pattern_does_not_alias_at_ten_to_one():
    frame = np.zeros((480, 480), np.uint8)
    frame[:, ::2] = 254
    assert np.all(crop_faces(frame, [[0, 0, 480]]) == 127)


def test_enlarging_interpolates_between_pixel_centres():
    frame = np.array([[0, 240], [0, 240]], np.uint8)
    face = crop_faces(frame, [[0, 0, 2]])[0]
    centres = (np.arange(48) + 0.5) * 2 / 48 - 0.5
    expected = 240 * np.clip(centres, 0, 1)
    assert np.abs(face - expected).max() <= 0.51


@pytest.mark.parametrize("side", [49, 64, 96, 97, 100, 133, 240, 479, 480])
def test_shrinking_is_close_to_the_opencv_chain(side):
    frame = noise(480, 500, 3)
    difference = np.abs(crop_faces(frame, [[11, 0, side]])[0].astype(int) - opencv_chain(frame, 11, 0, side))
    assert difference.max() <= 2
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("side", [5, 17, 31, 47])
def test_enlarging_is_close_to_opencv_bilinear(side):
    frame = noise(100, 100)
    expected = cv2.resize(frame[9 : 9 + side, 8 : 8 + side], (48, 48), interpolation=cv2.INTER_LINEAR)
    # OpenCV repeats the crop's edge where this reads on in the frame.
    inner = slice(48 // side + 1, -(48 // side) - 1)
    face = crop_faces(frame, [[8, 9, side]])[0].astype(int)
    # OpenCV rounds more coarsely on ARM.
    tolerance = 1 if platform.machine() == "x86_64" else 3
    assert np.abs(face - expected)[inner, inner].max() <= tolerance


@pytest.mark.parametrize(
    "square", [(3.25, 7.75, 61.5), (-10.5, 20.25, 90), (70, -33.3, 150.7), (-300, -200, 700), (200, 0, 60)]
)
def test_fractional_squares_and_edges_are_within_one_level_of_exact_arithmetic(square):
    frame = noise(60, 70)
    assert np.abs(crop_faces(frame, [square])[0] - exact_area(frame, *square)).max() <= 0.6


def test_outside_the_frame_the_edge_is_repeated():
    frame = noise(60, 64, 3)
    padded = np.pad(frame, ((40, 40), (40, 40), (0, 0)), mode="edge")
    squares = np.array([[-17.3, 30.1, 66.6], [40, -39.5, 70.2], [50.5, 40.5, 30.5], [-39, 58, 20]])
    shifted = squares + np.array([40, 40, 0])
    difference = crop_faces(frame, squares).astype(int) - crop_faces(padded, shifted)
    assert np.abs(difference).max() <= 1


def test_a_square_far_outside_is_the_nearest_pixel():
    frame = noise(20, 30)
    faces = crop_faces(frame, [[1e9, -1e9, 50], [-1e300, 1e300, 1e299], [-1e308, -1e308, 3.0]])
    assert np.all(faces[0] == frame[0, -1])
    assert np.all(faces[1] == frame[-1, 0])
    assert np.all(faces[2] == frame[0, 0])


def test_the_three_kinds_of_output_are_the_same_grey():
    frame = noise(90, 90, 3)
    squares = [[1.5, 2.5, 70], [0, 0, 30]]
    grey = crop_faces(frame, squares)
    signed = crop_faces(frame, squares, np.empty((2, 48, 48), np.int8))
    floats = crop_faces(frame, squares, np.empty((2, 48, 48), np.float32))
    assert grey.dtype == np.uint8
    assert np.array_equal(signed.astype(int), grey.astype(int) - 128)
    assert np.array_equal(floats, (grey.astype(np.float32) - 128) / 64)


def test_out_is_filled_and_returned():
    out = np.zeros((1, 48, 48), np.int8)
    assert crop_faces(noise(50, 50), [[0, 0, 50]], out) is out
    assert out.any()


def test_no_squares_give_no_faces():
    assert crop_faces(noise(5, 5, 3), []).shape == (0, 48, 48)
    assert crop_faces(noise(5, 5, 3), np.empty((0, 3))).shape == (0, 48, 48)


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize(
    "view",
    [
        lambda wide: wide[10:90, 20:120],
        lambda wide: wide[::2],
        lambda wide: wide[::-1],
        lambda wide: wide[:, ::-1],
        lambda wide: wide[:, ::2],
        lambda wide: np.asfortranarray(wide),
        lambda wide: wide.swapaxes(0, 1),
        lambda wide: np.broadcast_to(wide[0], wide.shape),
    ],
)
@pytest.mark.parametrize("shape", [(140, 150, 3), (140, 150)])
def test_any_layout_gives_what_its_copy_gives(view, shape):
    frame = view(noise(*shape))
    squares = [[3.5, 2, 60], [-5, 10, 20]]
    assert np.array_equal(crop_faces(frame, squares), crop_faces(frame.copy(order="C"), squares))


def test_a_channel_flip_is_seen():
    frame = np.zeros((48, 48, 3), np.uint8)
    frame[..., 0] = 200  # blue: 0.114
    assert crop_faces(frame, [[0, 0, 48]])[0, 0, 0] == 23
    assert crop_faces(frame[..., ::-1], [[0, 0, 48]])[0, 0, 0] == 60  # red: 0.299


def test_a_read_only_frame_is_fine():
    frame = noise(50, 50)
    frame.setflags(write=False)
    assert np.array_equal(crop_faces(frame, [[0, 0, 48]])[0], frame[:48, :48])


def test_a_frame_of_one_pixel_is_enough():
    assert np.all(crop_faces(np.full((1, 1, 3), 77, np.uint8), [[0, 0, 1], [-3, 4, 400]]) == 77)


# ---------------------------------------------------------------- C == NumPy

coordinates = st.floats(-200, 200) | st.integers(-200, 200).map(float) | st.floats(-1e308, 1e308)
sides = st.floats(1e-3, 300) | st.integers(1, 300).map(float) | st.floats(5e-324, 1e308)


@needs_extension
@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    colour=st.booleans(),
    squares=st.lists(st.tuples(coordinates, coordinates, sides), min_size=1, max_size=3),
    kind=st.sampled_from([np.uint8, np.int8, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_c_and_numpy_give_the_same_bytes(shape, colour, squares, kind, seed):
    frame = noise(*shape, 3, seed=seed) if colour else noise(*shape, seed=seed)
    results = []
    for module in (c_kernels, _pure):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preprocess, "kernels", module)
            results.append(crop_faces(frame, squares, np.empty((len(squares), 48, 48), kind)))
    assert results[0].tobytes() == results[1].tobytes()


@needs_extension
@pytest.mark.parametrize("height", [6000, 6191, 6192, 6240, 6241, 6288, 13_000])
def test_c_and_numpy_agree_where_a_sum_of_rows_reaches_sixteen_bits(height):
    frame = np.full((height, 23), 255, np.uint8)
    frame[::7] = noise(*frame[::7].shape)
    out = [np.empty((1, 48, 48), np.uint8) for _ in range(2)]
    for module, face in zip((c_kernels, _pure), out, strict=True):
        module.crop_faces(frame[:, :, None], np.array([[0.0, 0.0, height]]), 0, face.reshape(-1))
    assert np.array_equal(*out)
    assert 220 <= out[0].min() <= out[0].max() <= 250


@needs_extension
@pytest.mark.parametrize("value", [0, 1, 254, 255])
@pytest.mark.parametrize("side", [47.5, 48, 48.0001, 60, 95.9, 96, 96.1, 150, 333.3])
def test_c_and_numpy_agree_on_edges_between_black_and_white(value, side):
    """The extremes of every difference and sum."""
    frame = np.where(noise(340, 341, 3, seed=value) < 128, 255 - value, value).astype(np.uint8)
    out = [np.empty((2, 48, 48), np.uint8) for _ in range(2)]
    for module, faces in zip((c_kernels, _pure), out, strict=True):
        module.crop_faces(frame, np.array([[0.3, 0.7, side], [3, 3, side]]), 0, faces.reshape(-1))
    assert np.array_equal(*out)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        ([[1, 2], [3, 4]], TypeError, "frame is a list; want a NumPy array of uint8"),
        (np.zeros((4, 4), np.float32), TypeError, "float32"),
        (np.zeros((4, 4), np.int8), TypeError, "int8"),
        (np.zeros(4, np.uint8), ValueError, r"shape \(4,\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "no pixels"),
        (np.zeros((4, 0), np.uint8), ValueError, "no pixels"),
    ],
)
def test_a_wrong_frame_is_refused(frame, error, words):
    with pytest.raises(error, match=words):
        crop_faces(frame, [[0, 0, 4]])


@pytest.mark.parametrize(
    ("squares", "error", "words"),
    [
        ([[0, 0]], ValueError, r"shape \(1, 2\)"),
        ([0, 0, 4], ValueError, r"shape \(3,\)"),
        ([[0, 0, 4], [0, float("nan"), 4]], ValueError, "square 1 is"),
        ([[float("inf"), 0, 4]], ValueError, "finite"),
        ([[0, 0, float("inf")]], ValueError, "finite"),
        ([[0, 0, 0]], ValueError, "above 0"),
        ([[0, 0, -1]], ValueError, "above 0"),
        ([["a", "b", "c"]], TypeError, "want numbers"),
        ([[0, 0, 4j]], TypeError, "want numbers"),
        (None, TypeError, "want numbers"),
    ],
)
def test_wrong_squares_are_refused(squares, error, words):
    with pytest.raises(error, match=words):
        crop_faces(noise(9, 9), squares)


def read_only():
    out = np.zeros((1, 48, 48), np.uint8)
    out.setflags(write=False)
    return out


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        (np.zeros((2, 48, 48), np.uint8), ValueError, r"shape \(2, 48, 48\); want \(1, 48, 48\)"),
        (np.zeros((1, 48, 48, 1), np.uint8), ValueError, "want"),
        (np.zeros((1, 48, 48), np.float64), TypeError, "float64"),
        (bytearray(2304), TypeError, "bytearray"),
        (read_only(), ValueError, "read-only"),
        (np.zeros((1, 48, 96), np.uint8)[:, :, ::2], ValueError, "not C-contiguous"),
        (np.zeros((1, 48, 48), ">f4"), TypeError, "want"),
    ],
)
def test_a_wrong_out_is_refused(out, error, words):
    with pytest.raises(error, match=words):
        crop_faces(noise(9, 9), [[0, 0, 9]], out)


# ---------------------------------------------------------------- the switch


@pytest.mark.parametrize(
    ("value", "expected"), [("1", "False"), pytest.param("", "True", marks=needs_extension)]
)
def test_the_environment_chooses_the_implementation(value, expected):
    code = "from fer_edge import preprocess; print(preprocess.EXTENSION)"
    environment = os.environ | {"FER_EDGE_PURE": value}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == expected


def test_a_missing_extension_falls_back_to_numpy(monkeypatch):
    monkeypatch.delenv("FER_EDGE_PURE", raising=False)
    monkeypatch.setitem(sys.modules, "fer_edge._preprocess", None)
    assert preprocess._load_kernels() is _pure
