"""Annotated images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from results import result

from fer_edge.errors import DataError, OutputError
from fer_edge.outputs.image import ImageOutput


def test_image_file_gets_the_last_frame(tmp_path):
    path = tmp_path / "last.png"
    output = ImageOutput(path)
    for level in (10, 200):
        output.write(result(image=np.full((480, 640, 3), level, np.uint8)))
        assert not path.exists()
    output.close()
    assert cv2.imread(str(path)).mean() == 200


def test_image_folder_gets_every_image_under_its_name(tmp_path):
    output = ImageOutput(tmp_path)
    output.write(result(source="photos/a.jpg"))
    output.write(result(source="photos/a.png"))
    output.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg.png", "a.png.png"]


def test_folder_that_ends_in_a_slash_is_made(tmp_path):
    output = ImageOutput(f"{tmp_path}/new/")
    output.write(result(source="photos/a.jpg"))
    output.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.jpg.png"]


def test_image_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(DataError, match=r"must end in \.png"):
        ImageOutput(tmp_path / "out.gif")
    with pytest.raises(DataError, match="does not exist"):
        ImageOutput(tmp_path / "missing" / "out.png")


def test_an_image_that_exists_is_kept_unless_forced(tmp_path):
    path = tmp_path / "last.png"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"last\.png: exists already; --force"):
        ImageOutput(path)
    assert path.read_bytes() == b"mine"
    output = ImageOutput(path, force=True)
    output.write(result())
    output.close()
    assert cv2.imread(str(path)) is not None


def test_an_image_in_the_folder_that_exists_is_kept_unless_forced(tmp_path):
    sources = [Path("photos/a.jpg"), Path("photos/b.jpg")]
    (tmp_path / "b.jpg.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"b\.jpg\.png: exists already; --force"):
        ImageOutput(tmp_path, sources)
    output = ImageOutput(tmp_path, sources, force=True)
    output.write(result(source="photos/b.jpg"))
    assert cv2.imread(str(tmp_path / "b.jpg.png")) is not None


def test_the_last_frame_is_pending_until_it_is_saved(tmp_path):
    output = ImageOutput(tmp_path / "last.png")
    assert output.pending == 0
    output.write(result())
    (tmp_path / "last.png").mkdir()
    with pytest.raises((OutputError, DataError)):
        output.close()
    assert output.pending == 1


def test_images_of_sub_folders_go_into_sub_folders(tmp_path):
    output = ImageOutput(tmp_path, root=Path("photos"))
    for source in ("photos/x.jpg", "photos/a/x.jpg", "photos/b/x.jpg"):
        output.write(result(source=source))
    output.close()
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert found == ["a/x.jpg.png", "b/x.jpg.png", "x.jpg.png"]


def test_an_image_in_a_sub_folder_that_exists_is_kept_unless_forced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg.png").write_bytes(b"mine")
    sources = [Path("photos/a/x.jpg"), Path("photos/b/x.jpg")]
    with pytest.raises(DataError, match=r"a/x\.jpg\.png: exists already; --force"):
        ImageOutput(tmp_path, sources, root=Path("photos"))
    assert not (tmp_path / "b").exists()
