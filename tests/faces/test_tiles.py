"""Large pictures, searched in tiles: each face of any size is found, and once."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.faces.faces import Faces
from fer_edge.faces.tiles import OVERLAP, TILE, Tile, tiles, without_doubles

SHAPES = ((6000, 4000), (641, 300), (1120, 1121), (20_000, 500), (700, 9000))


def boxes_of(*boxes):
    """Faces of these boxes, best score first."""
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.8, count, dtype=np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_every_face_is_whole_in_a_tile_that_keeps_it(width, height):
    """Faces anywhere, of every size below 80 pixels in the picture's 640, in tiles that show them large."""
    rng = np.random.default_rng(5)
    grid = list(tiles(width, height))
    for _ in range(300):
        side = rng.uniform(15, min(width, height, OVERLAP * max(width, height) / TILE / 2))
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        kept = []
        for tile in grid:
            left, top, right, bottom = tile.edges
            if left <= x and top <= y and x + side <= right and y + side <= bottom:
                kept += [tile] * len(tile.own(boxes_of((x - left, y - top, side, side))))
        assert kept
        edges = [tile.edges for tile in kept]
        shrunk = min(max(right - left, bottom - top) for left, top, right, bottom in edges) / TILE
        assert shrunk <= max(1, 2 * side / OVERLAP)


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_tiles_lie_in_the_picture_and_cover_it(width, height):
    covered = np.zeros((height, width), np.bool_)
    for tile in tiles(width, height):
        left, top, right, bottom = tile.edges
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] |= max(right - left, bottom - top) == TILE
    assert covered.all()


def test_pictures_of_one_tile_have_none():
    assert list(tiles(640, 640)) == []
    assert len(list(tiles(641, 640))) == 2


def test_a_face_cut_by_an_inner_edge_is_left_to_the_neighbour():
    first, second = tiles(641, 640)
    assert (first.edges, second.edges) == ((0, 0, 640, 640), (1, 0, 641, 640))
    at_the_edge = boxes_of((600, 100, 40, 40))
    assert len(first.own(at_the_edge)) == 0
    moved = second.own(boxes_of((599, 100, 40, 40)))
    np.testing.assert_array_equal(moved.boxes, [[600, 100, 40, 40]])


def test_the_pictures_own_edge_may_cut_a_face():
    tile = next(iter(tiles(2000, 2000)))
    assert len(tile.own(boxes_of((-5, -5, 40, 40)))) == 1


def test_landmarks_move_with_their_boxes():
    everywhere = (-np.inf, -np.inf, np.inf, np.inf)
    tile = Tile((100, 200, 740, 840), everywhere, everywhere)
    faces = Faces(
        np.array([[1, 2, 30, 40]], np.float32), np.ones(1, np.float32), np.full((1, 5, 2), 7, np.float32)
    )
    moved = tile.own(faces)
    np.testing.assert_array_equal(moved.boxes, [[101, 202, 30, 40]])
    np.testing.assert_array_equal(moved.landmarks, [[[107, 207]] * 5])


def test_of_boxes_that_cover_each_other_the_best_is_kept():
    """A box within another, one moved by a fifth, and one beside them that overlaps by a third."""
    found = [
        boxes_of((100, 100, 60, 60)),
        boxes_of((110, 110, 30, 30), (112, 100, 60, 60), (140, 100, 60, 60)),
    ]
    kept = without_doubles(found)
    np.testing.assert_array_equal(kept.boxes, [[100, 100, 60, 60], [140, 100, 60, 60]])
    assert kept.scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(without_doubles([boxes_of(), boxes_of()])) == 0


HEAD = (110, 0, 340, 230)
FACE = (178.0, 63.0, 90.0, 113.0)
"""Of the astronaut: left, top, right and bottom of her head, and the box of her face."""


def crowd(photo, width, height, sizes, seed=3):
    """A grey picture with a head for each of the ``sizes``, the height of its face; and the faces' boxes."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 90, np.uint8)
    left, top, right, bottom = HEAD
    taken, faces = [], []
    for size in sorted(sizes, reverse=True):
        scale = size / FACE[3]
        side = round((right - left) * scale)
        while True:
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            if all(x + side <= a or a + b <= x or y + side <= c or c + b <= y for a, c, b in taken):
                break
        taken.append((x, y, side))
        shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture[y : y + side, x : x + side] = cv2.resize(
            photo[top:bottom, left:right], (side, side), interpolation=shrinks
        )
        box = np.array([FACE[0] - left, FACE[1] - top, *FACE[2:]]) * side / (right - left)
        faces.append([box[0] + x, box[1] + y, box[2], box[3]])
    return picture, np.array(faces)


def check_found(found, faces):
    """Each of ``faces`` was found once, with a box right within 4 pixels or a twentieth, and nothing else."""
    assert len(found) == len(faces)
    order = [int(np.abs(found.boxes[:, :2] - face[:2]).sum(axis=1).argmin()) for face in faces]
    assert sorted(order) == list(range(len(faces)))
    off = np.abs(found.boxes[order] - faces)
    assert (off <= np.maximum(4, 0.05 * faces[:, 3:])).all(), off.round(1)


def test_small_and_large_faces_of_one_picture_are_all_found(astronaut):
    from fer_edge.faces.detector import FaceDetector

    picture, faces = crowd(astronaut, 1700, 1300, [20, 22, 25, 32, 40, 50, 70, 100, 160, 250])
    detector = FaceDetector()
    assert len(detector.detect_in_picture(picture)) < len(faces) - 3
    check_found(detector.detect_full(picture), faces)
    mirrored = picture[:, ::-1, 1]
    moved = faces * [-1, 1, 1, 1] + np.outer(1700 - faces[:, 2], [1, 0, 0, 0])
    check_found(detector.detect_full(mirrored), moved[moved[:, 3] > 35])


def test_tiles_of_a_yuv_picture_are_searched_in_colour(astronaut):
    cv2 = pytest.importorskip("cv2")
    from fer_edge.faces.detector import FaceDetector
    from fer_edge.kernels.planes import split_planes

    picture, faces = crowd(astronaut, 1000, 800, [32, 50, 100])
    grey, chroma = split_planes(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), "yuv420")
    detector = FaceDetector()
    expected, coloured, colourless = (
        detector.detect_full(*frame) for frame in ((picture,), (grey, chroma), (grey,))
    )
    check_found(coloured, faces)
    assert np.abs(coloured.scores - expected.scores).max() < 0.02
    assert np.abs(colourless.scores - expected.scores).max() > 0.04


@pytest.mark.heavy
def test_forty_small_faces_of_a_large_group_are_found(astronaut):
    from fer_edge.pipeline.recognizer import Recognizer

    picture, faces = crowd(astronaut, 6000, 4000, np.geomspace(20, 120, 40))
    found = Recognizer(detect_size="full").recognize_all(picture)
    check_found(found, faces)
    assert len(Recognizer(detect_size=640).recognize_all(picture)) < 20
    assert found.probabilities.shape == (40, 7)
