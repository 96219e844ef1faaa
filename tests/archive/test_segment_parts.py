"""Parts of films on their way from where they were looked at."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.archive.part import Part, part_from_bytes, part_to_bytes
from fer_edge.errors import DataError
from fer_edge.faces.faces import Faces
from fer_edge.pipeline.look import Seen

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("pitch", [[-31.5, np.nan], None], ids=["measured", "not measured"])
def test_what_was_measured_of_faces_arrives(pitch):
    faces = Faces(
        np.array([[1, 2, 30, 40], [5, 6, 70, 80]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.arange(20, dtype=np.float32).reshape(2, 5, 2),
        brightness=np.array([120, np.nan], np.float32),
        pitch=None if pitch is None else np.array(pitch, np.float32),
    )
    distributions = np.eye(7, dtype=np.float32)[:2]
    part = Part([0.0, 0.04], [1], [Seen(faces, distributions, (480, 640), 99.5)], {})
    (seen,) = part_from_bytes(part_to_bytes(part), 7).seen
    for name in ("boxes", "scores", "landmarks", "brightness"):
        np.testing.assert_array_equal(getattr(seen.faces, name), getattr(faces, name))
    np.testing.assert_array_equal(seen.faces.pitch, [np.nan, np.nan] if pitch is None else faces.pitch)


def test_a_part_of_another_version_and_a_damaged_one_are_told(monkeypatch):
    content = part_to_bytes(Part([0.0], [], [], {}))
    assert part_from_bytes(content, 7).times == [0.0]
    with pytest.raises(DataError, match=r"^a damaged part: \S"):
        part_from_bytes(content[:-10], 7)
    monkeypatch.setattr("fer_edge.archive.part.FORMAT", 1)
    with pytest.raises(DataError, match=r"^a part of another version of fer-edge$"):
        part_from_bytes(content, 7)
