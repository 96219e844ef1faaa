"""Arrays and votes that are read beside a data set, piece by piece."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_votes

from fer_edge.errors import DataError
from fer_edge.fer2013.arrays import iter_arrays, read_arrays
from fer_edge.fer2013.reader import FerDataset
from fer_edge.fer2013.votes import add_votes

PIXELS = np.random.default_rng(3).integers(0, 256, (11, 48, 48), dtype=np.uint8)
LABELS = (np.arange(11) % 7).astype(np.uint8)
USAGE = np.array(["Training"] * 6 + ["PublicTest"] * 5)
VOTES = np.random.default_rng(4).integers(0, 10, (11, 10), dtype=np.uint8)


def packed(path, save=np.savez, **changes):
    save(path, **({"pixels": PIXELS, "labels": LABELS, "usage": USAGE, "votes": VOTES} | changes))
    return path


@pytest.mark.parametrize("batch", [1, 4, 11, 50])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_in_pieces(tmp_path, save, batch, order):
    path = packed(tmp_path / "faces.npz", save, pixels=np.asarray(PIXELS, order=order))
    pieces = list(iter_arrays(path, batch))
    assert len(pieces) == -(-11 // batch)
    assert [row for piece in pieces for row in piece.rows.tolist()] == list(range(1, 12))
    for name, wanted in (("pixels", PIXELS), ("labels", LABELS), ("usage", USAGE), ("votes", VOTES)):
        found = np.concatenate([getattr(piece, name) for piece in pieces])
        assert np.array_equal(found, wanted)
        assert np.array_equal(getattr(read_arrays(path), name), wanted)
    assert read_arrays(path).pixels.flags.writeable


def test_arrays_without_rows_are_one_piece(tmp_path):
    path = packed(
        tmp_path / "none.npz", pixels=PIXELS[:0], labels=LABELS[:0], usage=USAGE[:0], votes=VOTES[:0]
    )
    assert list(map(len, iter_arrays(path))) == [0]


def test_arrays_of_another_shape_or_cut_off_are_refused(tmp_path):
    path = packed(tmp_path / "faces.npz", pixels=PIXELS[:, :24])
    with pytest.raises(
        DataError, match=r"pixels is uint8 \(11, 24, 48\); want unsigned integers \(11, 48, 48\)"
    ):
        next(iter_arrays(path))
    packed(path)
    cut = tmp_path / "cut.npz"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(cut, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, content[:-3000] if name == "pixels.npy" else content)
    pieces = iter_arrays(cut, 4)
    assert len(next(pieces)) == 4
    with pytest.raises(DataError, match="pixels is cut off"):
        list(pieces)
    with pytest.raises(ValueError, match="batch is 0"):
        iter_arrays(path, 0)


def halves() -> list[FerDataset]:
    whole = FerDataset(PIXELS, LABELS.astype(np.int8), USAGE)
    return [
        replace(whole, pixels=PIXELS[part], labels=whole.labels[part], usage=USAGE[part])
        for part in (slice(0, 6), slice(6, None))
    ]


def test_votes_go_with_their_rows(tmp_path):
    labels = [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    whole = write_votes(tmp_path / "votes.csv", labels)
    pieces = list(add_votes(halves(), whole))
    assert [len(piece.votes) for piece in pieces] == [6, 5]
    # happiness is the second column
    assert np.flatnonzero(np.concatenate([piece.votes for piece in pieces])[:, 1] == 9).tolist() == [3, 10]


@pytest.mark.parametrize("rows", [3, 8, 12])
def test_another_number_of_votes_is_told_in_full(tmp_path, rows):
    path = write_votes(tmp_path / "votes.csv", [0] * rows)
    with pytest.raises(DataError, match=rf"has {rows} rows of votes for 11 rows of images"):
        list(add_votes(halves(), path))
    # Also where the Usage differs before that.
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"Usage,{lines[0]}", *(f"PrivateTest,{line}" for line in lines[1:])]) + "\n")
    with pytest.raises(DataError, match=rf"has {rows} rows of votes for 11 rows of images"):
        list(add_votes(halves(), path))


def test_another_usage_is_refused_before_the_piece_with_it(tmp_path):
    path = write_votes(tmp_path / "votes.csv", [0] * 11)
    lines = path.read_text().splitlines()
    told = ["Usage", *USAGE.tolist()]
    told[9] = "PrivateTest"
    path.write_text("\n".join(f"{usage},{line}" for usage, line in zip(told, lines, strict=True)) + "\n")
    pieces = add_votes(halves(), path)
    assert len(next(pieces)) == 6
    with pytest.raises(DataError, match="row 9 is of 'PrivateTest', that of the images of 'PublicTest'"):
        next(pieces)
