"""Faces out of frames: what is computed, that C and NumPy agree to the byte, and what is refused."""

import math
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

from fer_edge import kernels as kernels_package
from fer_edge.kernels import fallback
from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.kernels.crop import crop_faces

pytestmark = pytest.mark.usefixtures("kernels")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def frame_in(layout, height, width, seed=0):
    """Noise of about that size."""
    if layout in ("yuv420", "nv12"):
        return noise(-(-height // 2) * 3, -(-width // 2) * 2, seed=seed)
    return noise(height, width, seed=seed) if layout == "grey" else noise(height, width, 3, seed=seed)


def opencv_chain(frame, x, y, side):
    face = cv2.cvtColor(frame[y : y + side, x : x + side], cv2.COLOR_BGR2GRAY)
    return cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)


def exact_area(grey, x, y, side):
    """The mean over each output pixel's area in rational numbers, the edge pixels repeated."""
    x, y, step = Fraction(x), Fraction(y), Fraction(side) / FACE_SIZE
    # Over a common denominator all are integers, which are much faster than fractions to multiply.
    unit = math.lcm(x.denominator, y.denominator, step.denominator)
    step = int(step * unit)

    def coverage(origin, size):
        weights = np.zeros((FACE_SIZE, size), dtype=object)
        for i in range(FACE_SIZE):
            start, stop = int(origin * unit) + i * step, int(origin * unit) + (i + 1) * step
            for pixel in range(start // unit, -(-stop // unit)):
                part = min(stop, (pixel + 1) * unit) - max(start, pixel * unit)
                weights[i, min(max(pixel, 0), size - 1)] += part
        return weights

    exact = coverage(y, grey.shape[0]) @ grey.astype(object) @ coverage(x, grey.shape[1]).T
    return (exact / step**2).astype(np.float64)


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


GREY_BY_OPENCV = {
    "bgr": cv2.COLOR_BGR2GRAY,
    "rgb": cv2.COLOR_RGB2GRAY,
    "yuv420": cv2.COLOR_YUV2GRAY_I420,
    "nv12": cv2.COLOR_YUV2GRAY_NV12,
}


@pytest.mark.parametrize("side", [48, 61, 96, 240])
@pytest.mark.parametrize("layout", GREY_BY_OPENCV)
def test_every_layout_is_close_to_the_opencv_chain(layout, side):
    frame = frame_in(layout, 300, 320)
    grey = cv2.cvtColor(frame, GREY_BY_OPENCV[layout])
    assert grey.shape == (300, 320)
    expected = cv2.resize(grey[7 : 7 + side, 5 : 5 + side], (48, 48), interpolation=cv2.INTER_AREA)
    difference = np.abs(crop_faces(frame, [[5, 7, side]], layout=layout)[0].astype(int) - expected)
    assert difference.max() <= 2
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("layout", ["yuv420", "nv12"])
def test_of_planes_only_luma_without_padding_is_read(layout):
    padded = noise(90, 128)  # 60 rows of Y, 100 pixels wide
    squares = [[-20, -30, 80], [70, 30, 90.5], [10, 5, 20]]
    planes = padded[:, :100]
    expected = crop_faces(planes[:60].copy(), squares, layout="grey")
    assert np.array_equal(crop_faces(planes, squares, layout=layout), expected)
    assert np.array_equal(crop_faces(planes[:, ::-1][:, ::-1], squares, layout=layout), expected)
    padded[60:] = padded[:, 100:] = 0
    assert np.array_equal(crop_faces(planes, squares, layout=layout), expected)


def test_video_range_is_not_stretched():
    planes = np.full((72, 48), 128, np.uint8)
    planes[:48] = 16
    assert np.all(crop_faces(planes, [[0, 0, 48]], layout="yuv420") == 16)


def test_a_named_layout_is_the_default_where_it_is_named():
    colour, grey = noise(60, 60, 3), noise(60, 60)
    squares = [[1.5, 2, 50]]
    assert np.array_equal(crop_faces(colour, squares, layout="bgr"), crop_faces(colour, squares))
    assert np.array_equal(crop_faces(grey, squares, layout="grey"), crop_faces(grey, squares))
    assert np.array_equal(crop_faces(colour[..., ::-1], squares, layout="rgb"), crop_faces(colour, squares))


# ---------------------------------------------------------------- turned squares


def smooth(height, width, sigma):
    return cv2.normalize(
        cv2.GaussianBlur(noise(height, width), (0, 0), sigma), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U
    )


def turned_by_opencv(grey, x, y, side, angle, shrink):
    """``cv2.warpAffine`` on the image shrunk so many times by area."""
    small = cv2.resize(grey, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    step = side / FACE_SIZE / shrink
    along = step * np.array([np.cos(angle), np.sin(angle)])
    down = step * np.array([-np.sin(angle), np.cos(angle)])
    # OpenCV counts from the centre of the first pixel.
    middle = (np.array([x, y]) + side / 2) / shrink - 0.5
    matrix = np.column_stack([along, down, middle - (FACE_SIZE - 1) / 2 * (along + down)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(small, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)


SQUARES = [[5, 7, 48], [3.3, -4.2, 77.7], [-30, 60, 20.5], [10, 10, 300]]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_an_angle_of_zero_gives_the_bytes_of_an_upright_square(zero):
    frame = noise(120, 130, 3)
    assert np.array_equal(crop_faces(frame, SQUARES, angles=[zero] * 4), crop_faces(frame, SQUARES))


@pytest.mark.parametrize("side", [11, 30.5, 47.9, 48, 60.3, 95, 240])
def test_next_to_zero_little_changes(side):
    frame = noise(280, 290, 3)
    square = [[20.3, 11.1, side]]
    difference = crop_faces(frame, square, angles=[1e-6]).astype(int) - crop_faces(frame, square)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("side", [11, 30.5, 48, 60.3, 96, 240])
@pytest.mark.parametrize("quarters", [-1, 1, 2, 3])
def test_quarter_turns_turn_the_face(side, quarters):
    frame = noise(280, 290)
    square = [[20.3, 11.1, side]]
    expected = np.rot90(crop_faces(frame, square)[0], quarters)
    difference = crop_faces(frame, square, angles=[quarters * np.pi / 2])[0].astype(int) - expected
    assert np.abs(difference).max() <= 1


def test_a_positive_angle_follows_a_line_that_falls_to_the_right():
    frame = np.zeros((200, 200), np.uint8)
    cv2.line(frame, (40, 70), (160, 130), 255, 9)  # through the centre, falling by half
    face = crop_faces(frame, [[20, 20, 160]], angles=[np.arctan2(60, 120)])[0]
    assert face[23:25, 8:40].min() > 200
    assert face[:20].max() == face[28:].max() == 0


@pytest.mark.parametrize("angle", [-2.5, -0.3, 0.1, 0.7853, 1.2])
@pytest.mark.parametrize(("side", "shrink"), [(24, 1), (48, 1), (96, 2), (192, 4), (480, 6)])
def test_smooth_images_are_turned_as_by_opencv(side, shrink, angle):
    frame = smooth(720, 720, 2 * shrink)
    x, y = 121.5, 131.25
    expected = turned_by_opencv(frame, x, y, side, angle, shrink)
    difference = crop_faces(frame, [[x, y, side]], angles=[angle])[0].astype(int) - expected
    assert np.abs(difference).max() <= 6
    assert np.abs(difference).mean() <= 1


@pytest.mark.parametrize("angle", [0.2, 0.5, -1.1])
def test_a_turned_stripe_pattern_does_not_alias_at_ten_to_one(angle):
    frame = np.zeros((800, 800), np.uint8)
    frame[:, ::2] = 254
    face = crop_faces(frame, [[160, 160, 480]], angles=[angle])[0].astype(int)
    assert np.abs(face - 127).max() <= 8
    assert abs(face.mean() - 127) <= 1


@pytest.mark.parametrize("side", [49, 100, 333])
def test_a_turned_pixel_is_about_the_mean_of_its_area(side):
    """Beside the mean of 30 x 30 points of each output pixel, in noise that holds every frequency."""
    frame, angle, fine = noise(500, 500), 0.4, 30 * FACE_SIZE
    along = ((np.arange(fine) + 0.5) / fine - 0.5) * side
    u, v = np.meshgrid(along, along)
    x = (250 + np.cos(angle) * u - np.sin(angle) * v).astype(int)
    y = (250 + np.sin(angle) * u + np.cos(angle) * v).astype(int)
    expected = frame[y, x].reshape(48, 30, 48, 30).mean(axis=(1, 3))
    face = crop_faces(frame, [[250 - side / 2, 250 - side / 2, side]], angles=[angle])[0]
    spread = expected.std()
    # Linear samples of half-pixel means are a little softer than the mean of the pixel's own area.
    assert np.corrcoef(face.ravel(), expected.ravel())[0, 1] > 0.87
    assert 0.6 * spread < face.std() < 1.05 * spread
    assert face.mean() == pytest.approx(expected.mean(), abs=0.5)


@pytest.mark.parametrize("level", [0, 1, 127, 255])
@pytest.mark.parametrize("side", [1e-3, 20.3, 77.7, 5000, 1e305, 1.7e308])
def test_a_turned_level_frame_keeps_its_level(level, side):
    frame = np.full((80, 90, 3), level, np.uint8)
    assert np.all(crop_faces(frame, [[-9.5, 20, side]], angles=[0.3]) == level)


def test_turned_squares_repeat_the_edge():
    frame = noise(60, 64, 3)
    padded = np.pad(frame, ((200, 200), (200, 200), (0, 0)), mode="edge")
    squares = np.array([[-17.3, 30.1, 66.6], [40, -39.5, 70.2], [50.5, 40.5, 30.5], [-39, 58, 20]])
    angles = [0.3, -0.8, 2, 3]
    expected = crop_faces(padded, squares + np.array([200, 200, 0]), angles=angles)
    assert np.abs(crop_faces(frame, squares, angles=angles).astype(int) - expected).max() <= 1
    far = crop_faces(frame, [[1e300, -1e300, 20], [-1.7e308, 1.7e308, 1.7e308]], angles=[0.5, 0.5])
    assert np.all(far[0] == crop_faces(frame, [[1e9, -1e9, 20]]))


def test_every_square_has_its_angle_and_kind_and_layout():
    frame = noise(120, 130, 3)
    angles = [0.1, 0, -0.7, 3]
    together = crop_faces(frame, SQUARES, np.empty((4, 48, 48), np.int8), layout="rgb", angles=angles)
    for face, square, angle in zip(together, SQUARES, angles, strict=True):
        (alone,) = crop_faces(frame[..., ::-1], [square], angles=[angle])
        assert np.array_equal(face, alone.astype(int) - 128)


# ---------------------------------------------------------------- C == NumPy

coordinates = st.floats(-200, 200) | st.integers(-200, 200).map(float) | st.floats(-1e308, 1e308)
sides = st.floats(1e-3, 300) | st.integers(1, 300).map(float) | st.floats(5e-324, 1e308)


@needs_extension
@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    layout=st.sampled_from(["bgr", "rgb", "grey", "yuv420", "nv12"]),
    squares=st.lists(st.tuples(coordinates, coordinates, sides), min_size=1, max_size=3),
    angle=st.none() | st.floats(-4, 4) | st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from([np.uint8, np.int8, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_c_and_numpy_give_the_same_bytes(shape, layout, squares, angle, kind, seed):
    frame = frame_in(layout, *shape, seed=seed)
    results = []
    for module in (c_kernels, fallback):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels_package, "implementation", module)
            out = np.empty((len(squares), 48, 48), kind)
            angles = None if angle is None else [angle, 0, 1][: len(squares)]
            results.append(crop_faces(frame, squares, out, layout=layout, angles=angles))
    assert results[0].tobytes() == results[1].tobytes()


@needs_extension
@pytest.mark.parametrize("height", [6000, 6191, 6192, 6240, 6241, 6288, 13_000])
def test_c_and_numpy_agree_where_a_sum_of_rows_reaches_sixteen_bits(height):
    frame = np.full((height, 23), 255, np.uint8)
    frame[::7] = noise(*frame[::7].shape)
    out = [np.empty((1, 48, 48), np.uint8) for _ in range(2)]
    for module, face in zip((c_kernels, fallback), out, strict=True):
        module.crop_faces(frame[:, :, None], 0, np.array([[0.0, 0.0, height]]), None, 0, face.reshape(-1))
    assert np.array_equal(*out)
    assert 220 <= out[0].min() <= out[0].max() <= 250


@needs_extension
@pytest.mark.parametrize("value", [0, 1, 254, 255])
@pytest.mark.parametrize("side", [47.5, 48, 48.0001, 60, 95.9, 96, 96.1, 150, 333.3])
def test_c_and_numpy_agree_on_edges_between_black_and_white(value, side):
    """The extremes of every difference and sum."""
    frame = np.where(noise(340, 341, 3, seed=value) < 128, 255 - value, value).astype(np.uint8)
    out = [np.empty((2, 48, 48), np.uint8) for _ in range(2)]
    for module, faces in zip((c_kernels, fallback), out, strict=True):
        module.crop_faces(frame, 1, np.array([[0.3, 0.7, side], [3, 3, side]]), None, 0, faces.reshape(-1))
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
    ("shape", "layout", "words"),
    [
        ((9, 9), "yuyv", "layout is 'yuyv'; want one of bgr, rgb, grey, yuv420, nv12"),
        ((9, 9), 1, "layout is 1"),
        ((9, 9), [], r"layout is \[\]"),
        ((9, 9), "bgr", r"shape \(9, 9\); want \(height, width, 3\) for layout 'bgr'"),
        ((9, 9, 4), "rgb", r"shape \(9, 9, 4\); want"),
        ((9, 9, 3), "grey", r"want \(height, width\) for layout 'grey'"),
        ((9, 10, 3), "yuv420", r"want \(height \* 3 / 2, width\) for layout 'yuv420'"),
        ((10, 10), "yuv420", r"shape \(10, 10\).*even height.*multiple of 3"),
        ((9, 9), "nv12", r"shape \(9, 9\); layout 'nv12' has an even height and width"),
        ((0, 10), "nv12", "no pixels"),
        ((9, 0), "yuv420", "no pixels"),
    ],
)
def test_a_frame_that_does_not_fit_its_layout_is_refused(shape, layout, words):
    with pytest.raises(ValueError, match=words):
        crop_faces(np.zeros(shape, np.uint8), [[0, 0, 4]], layout=layout)


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


@pytest.mark.parametrize(
    ("angles", "error", "words"),
    [
        ([0.1, 0.2], ValueError, r"shape \(2,\); want \(1,\), one a square"),
        (0.1, ValueError, r"shape \(\)"),
        ([[0.1]], ValueError, r"shape \(1, 1\)"),
        ([float("nan")], ValueError, "angle 0 is nan; want finite numbers, in radians"),
        ([float("inf")], ValueError, "angle 0 is inf"),
        (["a"], TypeError, "want numbers"),
    ],
)
def test_wrong_angles_are_refused(angles, error, words):
    with pytest.raises(error, match=words):
        crop_faces(noise(9, 9), [[0, 0, 4]], angles=angles)


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
    code = "from fer_edge import kernels; print(kernels.EXTENSION)"
    environment = os.environ | {"FER_EDGE_PURE": value}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == expected


def test_a_missing_extension_falls_back_to_numpy(monkeypatch):
    monkeypatch.delenv("FER_EDGE_PURE", raising=False)
    monkeypatch.setitem(sys.modules, "fer_edge.kernels._native", None)
    assert kernels_package._load() is fallback
