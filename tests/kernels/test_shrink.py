"""Frames made smaller: what is computed, that C and NumPy agree to the byte, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge.kernels import fallback
from fer_edge.kernels.shrink import shrink

RNG = np.random.default_rng(5)
SIZES = [  # of frame and picture: width, height
    ((640, 480), (320, 240)),
    ((1280, 720), (320, 180)),
    ((300, 211), (224, 158)),
    ((77, 55), (33, 13)),
    ((40, 33), (1, 1)),
    ((6, 4), (3, 2)),
    ((10, 2), (5, 1)),
    ((2000, 3), (7, 2)),
    ((3, 900), (3, 4)),
    ((31, 9), (31, 9)),
]


def noise(size, channels=3):
    shape = (size[1], size[0], 3)[: 3 if channels == 3 else 2]
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def weights(size, to):
    """(to, size): the share of each sample in each mean, by the definition."""
    edges = np.arange(to + 1) * size / to
    starts, stops = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    samples = np.arange(size)
    return np.clip(np.minimum(stops, samples + 1) - np.maximum(starts, samples), 0, None) * to / size


def area_means(frame, size):
    across, down = weights(frame.shape[1], size[0]), weights(frame.shape[0], size[1])
    return np.einsum("yh,xw,hwc->yxc", down, across, frame.astype(np.float64), optimize=True)


def bordered(size, planar=False):
    """A float picture within a larger array, as a network's input with its border of zeros."""
    if planar:
        whole = np.zeros((3, size[1] + 2, size[0] + 3), np.float32)
        return whole, whole[:, 1:-1, 1:-2].transpose(1, 2, 0)
    whole = np.zeros((size[1] + 2, size[0] + 3, 3), np.float32)
    return whole, whole[1:-1, 1:-2]


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_samples_are_means_of_areas(kernels, size, to):
    frame = noise(size)
    out = shrink(frame, np.empty((to[1], to[0], 3), np.float32))
    # Weights have 15 bits, of which a sum over hundreds of samples loses some.
    bound = 0.51 + 2 * max(size[0] / to[0], size[1] / to[1]) / 100
    assert np.abs(out - area_means(frame, to)).max() <= bound


@pytest.mark.parametrize(("size", "to"), SIZES[:4])
def test_opencv_agrees_within_one_level(kernels, size, to):
    cv2 = pytest.importorskip("cv2")
    frame = noise(size)
    expected = cv2.resize(frame, to, interpolation=cv2.INTER_AREA)
    out = shrink(frame, np.empty((to[1], to[0], 3), np.uint8))
    assert np.abs(out.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_every_kind_of_output_holds_the_same(kernels, size, to):
    frame = noise(size)
    expected = shrink(frame, np.empty((to[1], to[0], 3), np.uint8))
    for planar in (False, True):
        whole, out = bordered(to, planar)
        shrink(frame, out)
        np.testing.assert_array_equal(out, expected)
        assert np.count_nonzero(whole) == np.count_nonzero(expected)
        np.testing.assert_array_equal(shrink(frame[:, :, ::-1], out, layout="rgb"), expected)
        np.testing.assert_array_equal(shrink(frame[:, :, ::-1].copy(), out, layout="rgb"), expected)
        backward = np.ascontiguousarray(frame[::-1])[::-1]
        np.testing.assert_array_equal(shrink(backward, out), expected)


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_grey_becomes_three_equal_channels(kernels, size, to):
    grey = noise(size, 1)
    expected = shrink(np.repeat(grey[:, :, np.newaxis], 3, axis=2), np.empty((to[1], to[0], 3), np.uint8))
    for planar in (False, True):
        np.testing.assert_array_equal(shrink(grey, bordered(to, planar)[1]), expected)


def test_planes_give_their_grey(kernels):
    planes = noise((64, 72), 1)
    expected = shrink(planes[:48], np.empty((20, 30, 3), np.uint8))
    for layout in ("yuv420", "nv12"):
        out = shrink(planes, np.empty((20, 30, 3), np.uint8), layout=layout)
        np.testing.assert_array_equal(out, expected)


@needs_extension
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_c_and_numpy_give_the_same_bytes(data):
    height, width = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    order = data.draw(st.integers(0, 2))
    seed = data.draw(st.integers(0, 1000))
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3 if order else 1), dtype=np.uint8)
    ours, theirs = bordered((columns, rows), data.draw(st.booleans())), bordered((columns, rows))
    c_kernels.shrink(frame, order, ours[1])
    fallback.shrink(frame, order, theirs[1])
    np.testing.assert_array_equal(*(pair[1] for pair in (ours, theirs)))


def read_only():
    out = np.zeros((4, 4, 3), np.uint8)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("frame", "out", "error", "words"),
    [
        ([[1, 2]], np.zeros((1, 1, 3), np.uint8), TypeError, "frame is a list"),
        (np.zeros((8, 8, 4), np.uint8), np.zeros((4, 4, 3), np.uint8), ValueError, r"\(8, 8, 4\)"),
        (np.zeros((8, 8), np.uint8), [[1]], TypeError, "out is a list"),
        (np.zeros((8, 8), np.uint8), np.zeros((4, 4, 3), np.int8), TypeError, "array of int8"),
        (np.zeros((8, 8), np.uint8), np.zeros((4, 4), np.uint8), ValueError, r"shape \(4, 4\)"),
        (
            np.zeros((8, 8), np.uint8),
            np.zeros((9, 4, 3), np.uint8),
            ValueError,
            r"no larger than .* \(8, 8\)",
        ),
        (
            np.zeros((8, 8), np.uint8),
            np.zeros((4, 9, 3), np.uint8),
            ValueError,
            r"no larger than .* \(8, 8\)",
        ),
        (np.zeros((8, 8), np.uint8), np.zeros((0, 4, 3), np.uint8), ValueError, r"\(0, 4, 3\)"),
        (np.zeros((8, 8), np.uint8), np.zeros((4, 8, 3), np.uint8)[:, ::2], ValueError, "adjoin"),
        (np.zeros((8, 8), np.uint8), read_only(), ValueError, "read-only"),
        (
            np.zeros((8, 8), np.uint8),
            np.zeros(4 * 4 * 3 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(4, 4, 3),
            ValueError,
            "not aligned",
        ),
    ],
)
def test_what_does_not_fit_is_refused(kernels, frame, out, error, words):
    with pytest.raises(error, match=words):
        shrink(frame, out)


@needs_extension
def test_extension_checks_by_itself():
    frame = np.zeros((8, 8, 3), np.uint8)
    for wrong in (
        np.zeros((9, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((4, 4, 2), np.uint8),
    ):
        with pytest.raises(ValueError, match="out is"):
            c_kernels.shrink(frame, 1, wrong)
    with pytest.raises(ValueError, match="adjoin"):
        c_kernels.shrink(frame, 1, np.zeros((4, 8, 3), np.uint8)[:, ::2])
    with pytest.raises(ValueError, match="channels"):
        c_kernels.shrink(frame, 0, np.zeros((4, 4, 3), np.uint8))
