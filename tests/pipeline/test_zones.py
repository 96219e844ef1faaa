"""Regions and masks: where faces are looked for, and what of a picture is kept."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

import fer_edge
from fer_edge.faces.faces import Faces, no_faces
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.zones import Zones
from fer_edge.sources.base import Frame, Source

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
"""The left half of a picture."""


class Pictures(Source):
    """Gives ``count`` times the same picture, ten a second."""

    name = "pictures"

    def __init__(self, picture, count=5, related=True):
        self.picture, self.count, self.related = picture, count, related

    def __iter__(self):
        for index in range(self.count):
            yield Frame(self.picture, index / 10, self.name)


@pytest.fixture(scope="module")
def recognizer():
    return fer_edge.Recognizer()


@pytest.fixture(scope="module")
def pair(astronaut):
    """Two faces: 1024x512, the same photograph beside itself."""
    picture = np.concatenate([astronaut, astronaut], axis=1)
    picture.flags.writeable = False
    return picture


def results(picture, recognizer, related=True, **options):
    with fer_edge.watch(
        Pictures(picture, related=related), recognizer=recognizer, min_hits=1, **options
    ) as run:
        return list(run), run.summary


def faces_at(*centres):
    boxes = [[x - 10, y - 20, 20, 40] for x, y in centres]
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.6, count, dtype=np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


def test_a_view_is_the_region_and_faces_are_moved_back():
    image = np.arange(20 * 40, dtype=np.uint8).reshape(20, 40)
    zones = Zones((0.25, 0.1, 0.75, 1.0))
    view = zones.view(image)
    assert view.shape == (18, 20)
    assert np.shares_memory(view, image)
    assert view[0, 0] == image[2, 10]
    placed = zones.placed(faces_at((5, 6)), image.shape)
    assert placed.boxes.tolist() == [[5, -12, 20, 40]]
    assert (placed.landmarks == [10, 2]).all()
    assert Zones((0.999, 0.999, 1.0, 1.0)).view(image).shape == (2, 2)
    assert Zones((0.999, 0.999, 1.0, 1.0)).view(image[:19, :39]).shape == (1, 1)
    assert Zones().view(image).shape == image.shape


@pytest.mark.parametrize("region", [(0.3, 0.3, 0.8, 0.9), (0.33, 0.17, 1.0, 1.0), (0.0, 0.0, 0.55, 0.55)])
def test_the_colour_of_a_view_lies_where_its_grey_does(region):
    # Each pixel's brightness and colour tell its place: of 2x2 pixels one has the colour.
    rows, columns = np.mgrid[0:40, 0:60].astype(np.uint8)
    chroma = (rows[::2, ::2], columns[::2, ::2])
    zones = Zones(region)
    u, v = zones.colour(chroma, rows.shape)
    assert np.array_equal(u, zones.view(rows)[::2, ::2])
    assert np.array_equal(v, zones.view(columns)[::2, ::2])
    assert zones.colour(None, rows.shape) is None


def test_the_detector_gets_the_colour_of_the_region(recognizer, monkeypatch):
    shown = []
    detector = recognizer.detector
    monkeypatch.setattr(
        detector, "detect", lambda frame, size, chroma=None: shown.append((frame, chroma)) or no_faces()
    )
    rows, columns = np.mgrid[0:120, 0:160].astype(np.uint8)

    class Planar(Source):
        name = "planar"

        def __iter__(self):
            yield Frame(rows, 0.0, self.name, chroma=(rows[::2, ::2], columns[::2, ::2]))

    with fer_edge.watch(Planar(), recognizer=recognizer, region=(0.33, 0.2, 0.8, 0.77), mirror=True) as run:
        next(run)
    frame, (u, v) = shown[0]
    assert frame.shape == (68, 76)
    assert np.array_equal(u, frame[::2, ::2])
    assert np.array_equal(v[0], columns[0, ::2][::-1][26:64])


def test_a_mask_hides_faces_by_their_centre():
    zones = Zones(masks=(LEFT, ((0.9, 0.0), (1.0, 0.0), (1.0, 0.2))))
    shape = (100, 200, 3)
    seen = zones.seen(faces_at((99, 50), (102, 50), (195, 5), (185, 50), (-30, 50), (300, 300)), shape)
    assert (seen.boxes[:, 0] + 10).tolist() == [102, 185, 300]
    # The same in a view, whose faces are told in its own pixels.
    zones = Zones((0.25, 0.0, 1.0, 1.0), (LEFT,))
    assert (zones.seen(faces_at((49, 50), (52, 50)), shape).boxes[:, 0] + 10).tolist() == [52]


@pytest.mark.parametrize("shape", [(100, 200), (100, 200, 3)])
def test_covered_pictures_are_black_in_masks_and_copies(shape):
    image = np.full(shape, 200, np.uint8)
    covered = Zones(masks=(LEFT,)).covered(image)
    assert covered[:, :100].max() == 0 and covered[:, 102:].min() == 200
    assert image.min() == 200
    assert Zones((0, 0, 0.5, 1)).covered(image) is image


@pytest.mark.parametrize("related", [True, False])
def test_faces_outside_the_region_are_not_seen_and_boxes_are_of_the_whole_picture(pair, recognizer, related):
    whole, _ = results(pair, recognizer, related)
    assert [len(result.faces) for result in whole] == [2] * 5
    right = max(whole[-1].faces, key=lambda face: face.box[0])
    cut, summary = results(pair, recognizer, related, region=(0.5, 0.0, 1.0, 1.0))
    assert [len(result.faces) for result in cut] == [1] * 5
    assert cut[-1].image.shape == pair.shape
    # The detector sees the region larger than the whole picture, so boxes differ by a few pixels.
    np.testing.assert_allclose(cut[-1].faces[0].box, right.box, atol=12)
    np.testing.assert_allclose(cut[-1].faces[0].landmarks, right.landmarks, atol=12)
    assert cut[-1].faces[0].emotion == right.emotion
    assert summary.tracks == (1 if related else 0)


@pytest.mark.parametrize("related", [True, False])
def test_faces_in_a_mask_are_neither_classified_nor_counted_nor_kept(pair, recognizer, related, monkeypatch):
    classified = []
    real = recognizer.distributions
    monkeypatch.setattr(
        recognizer,
        "distributions",
        lambda frame, faces, *sharp: classified.append(len(faces)) or real(frame, faces, *sharp),
    )
    masked, summary = results(pair, recognizer, related, mask=[LEFT])
    assert classified == [1] * 5
    assert (summary.faces, summary.tracks) == (5, 1 if related else 0)
    assert all(result.faces[0].box[0] > 512 for result in masked)
    assert all(result.image[:, :512].max() == 0 for result in masked)
    np.testing.assert_array_equal(masked[0].image[:, 514:], pair[:, 514:])
    assert pair[:, :512].max() > 0


def test_zones_are_of_the_turned_picture(pair, recognizer):
    turned = np.ascontiguousarray(pair[::-1, ::-1])
    told, _ = results(turned, recognizer, rotate=180, mask=[LEFT])
    assert [len(result.faces) for result in told] == [1] * 5
    assert told[0].image[:, :512].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": (0, 0, 1)}, "region must be four numbers"),
        ({"region": (0.5, 0, 0.5, 1)}, "region must be left < right"),
        ({"region": (0, 0, 1, 1.1)}, "region must be left < right"),
        ({"region": (0, float("nan"), 1, 1)}, "region must be left < right"),
        ({"region": 3}, "region must be four numbers"),
        ({"mask": [[(0, 0), (1, 1)]]}, "three or more points"),
        ({"mask": [[(0, 0), (1, 1), (0, 2)]]}, "three or more points"),
        ({"mask": [(0, 0), (1, 1), (0, 1)]}, "mask must be a polygon of points"),
    ],
)
def test_zones_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WatchOptions(**options)
