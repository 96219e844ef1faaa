"""Labelled pictures become faces in FER-2013 form."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import draw_face

from fer_edge.errors import DataError, SourceError
from fer_edge.faces.pictures import iter_pictures, read_labelled, read_pictures
from fer_edge.fer2013.folders import list_pictures
from fer_edge.fer2013.reader import read_fer2013
from fer_edge.labels import EMOTIONS

cv2 = pytest.importorskip("cv2")

PLACES = {"Training": "train", "PublicTest": "test", "PrivateTest": "PrivateTest"}


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_a_folder_of_fer2013_is_the_csv_in_another_form(drawn_csv, tmp_path):
    table = read_fer2013(drawn_csv)
    for row, (pixels, code, usage) in enumerate(zip(table.pixels, table.labels, table.usage, strict=True)):
        write(tmp_path / PLACES[str(usage)] / EMOTIONS[code] / f"{row:03}.png", pixels)
    dataset = read_labelled(tmp_path)

    def rows(data):
        return sorted(zip((p.tobytes() for p in data.pixels), data.labels.tolist(), data.usage, strict=True))

    assert rows(dataset) == rows(table)
    assert dataset.skipped == ()
    assert dataset.detected is None, "its faces are cut out already"
    write(tmp_path / "train" / "happy" / "larger.png", np.full((96, 96), 7, np.uint8))
    assert read_labelled(tmp_path).detected is False


def test_the_centred_square_is_the_face(tmp_path):
    face = draw_face(3, np.random.default_rng(1))
    write(tmp_path / "happy" / "wide.png", cv2.copyMakeBorder(face, 0, 0, 30, 30, cv2.BORDER_CONSTANT))
    np.testing.assert_array_equal(read_labelled(tmp_path).pixels[0], face)


def test_what_shows_no_face_is_named_and_the_others_keep_their_labels(tmp_path):
    face = draw_face(3, np.random.default_rng(1))
    write(tmp_path / "angry" / "b.png", face)
    (tmp_path / "angry" / "a.jpg").write_bytes(b"no picture")
    write(tmp_path / "happy" / "a.png", face[:6, :6])
    write(tmp_path / "happy" / "b.png", face)
    (tmp_path / "happy" / "more").mkdir()
    dataset, read = read_pictures(list_pictures(tmp_path))
    assert read.tolist() == [False, True, False, True, False]
    assert dataset.labels.tolist() == [0, 3]
    assert [message.partition(":")[0].rpartition("/")[2] for message in dataset.skipped] == [
        "a.jpg",
        "a.png",
        "more",
    ]


def test_a_link_to_where_nobody_may_look_is_named_and_the_others_keep_their_labels(tmp_path, forbid):
    face = draw_face(3, np.random.default_rng(1))
    write(tmp_path / "hidden" / "a.png", face)
    write(tmp_path / "faces" / "happy" / "b.png", face)
    for name in ("happy/a.png", "link"):
        (tmp_path / "faces" / name).symlink_to(tmp_path / "hidden" / "a.png")
    forbid(tmp_path / "hidden")
    dataset, read = read_pictures(list_pictures(tmp_path / "faces"))
    assert read.tolist() == [False, True]
    assert dataset.skipped == (f"{tmp_path}/faces/happy/a.png: Permission denied",)


def test_the_caller_may_refuse_faces(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "happy" / f"{name}.png", draw_face(3, np.random.default_rng(1)))

    def check(path, face):
        assert face.shape == (48, 48)
        if path.name == "a.png":
            raise SourceError(f"{path}: not this one")

    dataset, read = read_pictures(list_pictures(tmp_path), check=check)
    assert read.tolist() == [False, True]
    assert "not this one" in dataset.skipped[0]


def test_faces_are_searched_for(tmp_path, astronaut):
    write(tmp_path / "happy" / "astronaut.png", astronaut)
    write(tmp_path / "neutral" / "sky.png", np.full((100, 100, 3), 200, np.uint8))
    dataset = read_labelled(tmp_path, detect=True)
    assert dataset.labels.tolist() == [3]
    assert "sky.png: shows no face" in dataset.skipped[0]
    # Her face lies above the middle, a tenth of the picture's area.
    whole = read_labelled(tmp_path).pixels[0].astype(int)
    assert np.abs(dataset.pixels[0].astype(int) - whole).mean() > 20


def test_a_folder_without_any_face_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="none of 0 pictures shows a face; its folders are empty"):
        read_labelled(tmp_path)
    (tmp_path / "happy" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"none of 1 pictures shows a face; the first: .*a\.jpg: not an image"
    ):
        read_labelled(tmp_path)


def test_options_of_the_other_form_are_refused(tmp_path, drawn_csv):
    with pytest.raises(DataError, match="--detect is for a folder"):
        read_labelled(drawn_csv, detect=True)
    with pytest.raises(DataError, match="--skip-bad is for a CSV"):
        read_labelled(tmp_path, skip_bad=True)


def test_a_folder_comes_in_pieces_that_number_its_pictures(tmp_path):
    for index in range(5):
        write(tmp_path / "happy" / f"{index}.png", draw_face(3, np.random.default_rng(index)))
    (tmp_path / "happy" / "3.png").write_bytes(b"no picture")
    pictures = list_pictures(tmp_path)
    pieces = list(iter_pictures(pictures, batch=2))
    assert [piece.rows.tolist() for piece in pieces] == [[1, 2], [3], [5]]
    assert [piece.bad_rows for piece in pieces] == [(), (4,), ()]
    whole, _ = read_pictures(pictures)
    np.testing.assert_array_equal(np.concatenate([piece.pixels for piece in pieces]), whole.pixels)
