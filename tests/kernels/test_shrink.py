"""Frames made smaller: what is computed, that C and NumPy agree to the byte, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge.kernels import fallback
from fer_edge.kernels.planes import split_planes
from fer_edge.kernels.shrink import shrink

RNG = np.random.default_rng(5)
SIZES = [  # of frame and picture: width, height
    ((640, 480), (320, 240)),
    ((1280, 720), (320, 180)),
    ((300, 211), (224, 158)),
    ((77, 55), (33, 13)),
    ((160, 64), (10, 16)),
    ((40, 32), (40, 2)),
    ((96, 34), (3, 17)),
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
    signed = np.zeros((to[1] + 1, to[0], 3), np.int8)
    shrink(frame, signed[1:])
    np.testing.assert_array_equal(signed[1:], expected.astype(int) - 128)
    assert not signed[0].any()


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_grey_becomes_three_equal_channels(kernels, size, to):
    grey = noise(size, 1)
    expected = shrink(np.repeat(grey[:, :, np.newaxis], 3, axis=2), np.empty((to[1], to[0], 3), np.uint8))
    for planar in (False, True):
        np.testing.assert_array_equal(shrink(grey, bordered(to, planar)[1]), expected)


def nv12_of(planes):
    """The I420 frame (h * 3 / 2, w) as NV12."""
    height, width = planes.shape[0] // 3 * 2, planes.shape[1]
    u, v = planes[height:].reshape(2, -1, width // 2)
    return np.concatenate([planes[:height], np.stack([u, v], 2).reshape(-1, width)])


def colours(y, u, v):
    """BT.601 in video range by the definition, BGR."""
    light, u, v = 255 / 219 * (np.maximum(y.astype(float), 16) - 16), u - 128.0, v - 128.0
    blue = light + 255 / 112 * 0.886 * u
    green = light - 255 / 112 * (0.886 * 0.114 / 0.587 * u + 0.701 * 0.299 / 0.587 * v)
    return np.clip(np.stack([blue, green, light + 255 / 112 * 0.701 * v], 2), 0, 255)


YUV_SIZES = [  # of frame and picture: width, height
    ((640, 480), (320, 240)),
    ((128, 72), (32, 18)),
    ((72, 64), (30, 20)),
    ((72, 64), (72, 64)),
    ((72, 64), (71, 50)),
    ((2, 2), (1, 1)),
    ((2, 40), (2, 7)),
]


@pytest.mark.parametrize(("size", "to"), YUV_SIZES)
def test_planes_become_the_colours_of_their_means(kernels, size, to):
    planes = noise((size[0], size[1] // 2 * 3), 1)
    (grey, (u, v)), shape = split_planes(planes, "yuv420"), (to[1], to[0])
    assert grey.shape == (size[1], size[0])
    assert u.shape == v.shape == (size[1] // 2, size[0] // 2)
    means = [area_means(plane[:, :, np.newaxis], to)[:, :, 0] for plane in (grey, u, v)]
    expected = colours(*means)
    out = shrink(planes, np.empty((*shape, 3), np.uint8), layout="yuv420")
    # Y, U and V are rounded before: half a level each, of which U makes 2.02; weights have few bits.
    assert np.abs(out - expected).max() <= 0.5 * (1.16 + 2.02) + 1.2
    for planar in (False, True):
        picture = bordered(to, planar)[1]
        np.testing.assert_array_equal(shrink(planes, picture, layout="yuv420"), out)
        np.testing.assert_array_equal(shrink(nv12_of(planes), picture, layout="nv12"), out)
        np.testing.assert_array_equal(shrink(grey, picture, chroma=(u, v)), out)
        other = shrink(grey, picture, chroma=(v, u)).copy()
        swapped = nv12_of(np.concatenate([grey, np.concatenate([v, u]).reshape(-1, size[0])]))
        np.testing.assert_array_equal(shrink(swapped, picture, layout="nv12"), other)
        # NV21: the sample of V comes first.
        turned = split_planes(swapped, "nv12")[1][::-1]
        np.testing.assert_array_equal(shrink(grey, picture, chroma=turned), out)
    signed = shrink(planes, np.zeros((*shape, 3), np.int8), layout="yuv420")
    np.testing.assert_array_equal(signed, out.astype(int) - 128)


def test_colours_of_planes_are_those_of_opencv(kernels):
    cv2 = pytest.importorskip("cv2")
    planes = noise((96, 96), 1)
    for layout, code in (("yuv420", cv2.COLOR_YUV2BGR_I420), ("nv12", cv2.COLOR_YUV2BGR_NV12)):
        expected = cv2.cvtColor(planes, code)
        out = shrink(planes, np.empty((64, 96, 3), np.uint8), layout=layout)
        assert np.abs(out.astype(int) - expected).max() <= 1


def test_padding_of_planes_is_left_out(kernels):
    planes = noise((64, 72), 1)
    (grey, chroma), to = split_planes(planes, "yuv420"), (20, 30, 3)
    padded = np.zeros((72, 80), np.uint8)
    padded[:48, :64] = grey
    padded[48:].reshape(2, 24, 40)[:, :, :32] = chroma
    views = split_planes(padded, "yuv420", 64)
    assert all(np.shares_memory(view, padded) for view in (views[0], *views[1]))
    expected = shrink(planes, np.empty(to, np.uint8), layout="yuv420")
    np.testing.assert_array_equal(shrink(views[0], np.empty(to, np.uint8), chroma=views[1]), expected)


@pytest.mark.parametrize("layout", ["bgr", "grey", "yuv420", "nv12"])
def test_windows_of_frames_need_no_copy(kernels, layout, monkeypatch):
    window, half = (slice(8, 40), slice(12, 52)), (slice(4, 20), slice(6, 26))
    to = (16, 20, 3)
    monkeypatch.setattr(np, "ascontiguousarray", None)
    if layout in ("bgr", "grey"):
        frame = noise((64, 48), 3 if layout == "bgr" else 1)
        expected = shrink(frame[window].copy(), np.empty(to, np.uint8))
        np.testing.assert_array_equal(shrink(frame[window], np.empty(to, np.uint8)), expected)
        return
    grey, chroma = split_planes(noise((64, 72), 1), layout)
    copies = tuple(plane[half].copy() for plane in chroma)
    expected = shrink(grey[window].copy(), np.empty(to, np.uint8), chroma=copies)
    views = tuple(plane[half] for plane in chroma)
    np.testing.assert_array_equal(shrink(grey[window], np.empty(to, np.uint8), chroma=views), expected)


@needs_extension
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_c_and_numpy_give_the_same_colours(data):
    height, width = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    shape = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 120))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    luma = rng.integers(0, 256, (height, width, 1), dtype=np.uint8)
    pairs = rng.integers(0, 256, (*shape, 2), dtype=np.uint8)
    u, v = pairs.transpose(2, 0, 1) if data.draw(st.booleans()) else pairs.transpose(2, 0, 1).copy()
    ours, theirs = bordered((columns, rows), data.draw(st.booleans())), bordered((columns, rows))
    c_kernels.shrink_yuv(luma, u, v, ours[1])
    fallback.shrink_yuv(luma, u, v, theirs[1])
    np.testing.assert_array_equal(*(pair[1] for pair in (ours, theirs)))


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
        (np.zeros((8, 8), np.uint8), np.zeros((4, 4, 3), np.int16), TypeError, "array of int16"),
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


@pytest.mark.parametrize(
    ("frame", "chroma", "error", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), np.zeros((2, 4, 4), np.uint8), ValueError, "want a grey one"),
        (
            np.zeros((8, 8), np.uint8),
            np.zeros((2, 4, 4)),
            TypeError,
            "u of chroma is no NumPy array",
        ),
        (np.zeros((8, 8), np.uint8), [np.zeros((4, 4), np.uint8), None], TypeError, "v of chroma"),
        (np.zeros((8, 8), np.uint8), np.zeros((2, 0, 4), np.uint8), ValueError, r"shapes \(0, 4\)"),
        (
            np.zeros((8, 8), np.uint8),
            (np.zeros((4, 4), np.uint8), np.zeros((4, 3), np.uint8)),
            ValueError,
            r"\(4, 4\) and \(4, 3\)",
        ),
    ],
)
def test_chroma_that_does_not_fit_is_refused(kernels, frame, chroma, error, words):
    with pytest.raises(error, match=words):
        shrink(frame, np.zeros((4, 4, 3), np.uint8), chroma=tuple(chroma))


def test_scattered_chroma_is_copied(kernels):
    grey, chroma = noise((16, 16), 1), RNG.integers(0, 256, (2, 8, 24), dtype=np.uint8)
    expected = shrink(grey, np.empty((8, 8, 3), np.uint8), chroma=tuple(chroma[:, :, ::3].copy()))
    out = shrink(grey, np.empty((8, 8, 3), np.uint8), chroma=tuple(chroma[:, :, ::3]))
    np.testing.assert_array_equal(out, expected)


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
    grey, out = np.zeros((8, 8, 1), np.uint8), np.zeros((4, 4, 3), np.uint8)
    plane = np.zeros((4, 4), np.uint8)
    for u, v in ((plane, plane[:, :3]), (plane, plane[::-1]), (plane[:, ::2], plane[:, 1::2].copy())):
        with pytest.raises(ValueError, match="adjoin or alternate"):
            c_kernels.shrink_yuv(grey, u, v, out)
    with pytest.raises(ValueError, match="channels"):
        c_kernels.shrink_yuv(np.zeros((8, 8, 3), np.uint8), plane, plane, out)
