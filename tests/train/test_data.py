"""What trains and what validates: splits, duplicates, votes."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
from conftest import draw_face, write_csv, write_votes

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

import fer_edge
from fer_edge.fer2013.votes import read_votes
from fer_edge.labels import EMOTIONS
from fer_edge.train.data import load_training_data


def test_validation_excludes_images_that_are_in_training(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    lines = path.read_text().splitlines()
    lines.append(lines[1].replace("Training", "PublicTest"))
    path.write_text("\n".join(lines) + "\n")
    data, dataset = load_training_data(path)
    assert (len(dataset), len(data.faces), len(data.val_faces)) == (22, 14, 7)


def test_votes_drop_rows_that_are_not_faces(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(21)])
    lines = votes.read_text().splitlines()
    lines[1] = "0,0,0,0,0,0,0,0,0,10"
    votes.write_text("\n".join(lines) + "\n")
    data, _ = load_training_data(path, votes)
    assert data.votes is not None
    assert data.votes.shape == (13, 9)
    # A single vote for something counts no more than none.
    assert (data.votes.sum(1) == 9).all()
    assert (data.votes.argmax(1) == data.labels).all()


@pytest.mark.parametrize("row", ["0,1,0,0,0,0,0,0,0,0", "1,0,0,2,0,0,0,0,1,6"])
def test_votes_of_which_none_counts_are_refused_with_the_reason(cli, tmp_path, row):
    """One annotator; or a crowd that sees no faces."""
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(21)])
    lines = votes.read_text().splitlines()
    votes.write_text("\n".join([lines[0], *[row] * 14, *lines[15:]]) + "\n")
    code, _, err = cli("train", "--data", path, "--votes", votes, "--out", tmp_path / "run")
    assert code == 2
    assert f"{votes}: no Training row has votes that count: a single vote for an answer is left out" in err
    assert not (tmp_path / "run").exists()


def test_votes_of_another_length_are_refused(cli, tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [0, 1, 2])
    code, _, err = cli("train", "--data", path, "--votes", votes, "--out", tmp_path / "run")
    assert code == 2
    assert "21" in err
    assert "3" in err


def test_a_csv_without_usage_is_split_by_image(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 12})
    lines = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines + lines[1:]) + "\n")
    data, dataset = load_training_data(path)
    training = {face.tobytes() for face in data.faces}
    validation = {face.tobytes() for face in data.val_faces}
    assert training.isdisjoint(validation)
    held_out = {face.tobytes() for face in data.calibration_faces}
    assert held_out.isdisjoint(training | validation)
    assert len(data.faces) + len(data.val_faces) + len(data.calibration_faces) == len(dataset) == 168
    assert 0 < len(data.val_faces) < 60


def test_a_tenth_of_the_images_in_training_is_held_out_by_content(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 20, "PublicTest": 4})
    lines = path.read_text().splitlines()
    # Copies, and another order.
    path.write_text("\n".join([lines[0], *lines[141:], *lines[100:141], *lines[1:141]]) + "\n")
    votes = write_votes(
        tmp_path / "votes.csv", [int(line[0]) for line in path.read_text().split()[1:] if "," in line[:2]]
    )
    data, dataset = load_training_data(path, votes)
    assert (len(dataset), len(data.val_faces)) == (209, 28)
    for face in data.faces:
        assert int(hashlib.sha256(face.tobytes()).hexdigest()[:8], 16) % 10 > 0
    assert len(data.faces) + len(data.calibration_faces) == 181
    assert len(data.calibration_faces) > 5
    for face in data.calibration_faces:
        assert int(hashlib.sha256(face.tobytes()).hexdigest()[:8], 16) % 10 == 0
    assert data.votes.argmax(1).tolist() == data.labels.tolist()
    assert data.val_votes.argmax(1).tolist() == data.val_labels.tolist()


def test_arrays_are_read_as_the_csv_and_votes_that_hold_the_same(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 6, "PublicTest": 2})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(56)])
    told, dataset = load_training_data(path, votes)
    arrays = {
        "pixels": dataset.pixels,
        "labels": dataset.labels.astype(np.uint8),
        "usage": dataset.usage,
        "votes": read_votes(votes),
    }
    packed = tmp_path / "data.npz"
    np.savez(packed, **arrays)
    for data, whole in (load_training_data(packed), load_training_data(packed, votes)):
        for name, value in vars(told).items():
            np.testing.assert_array_equal(getattr(data, name), value)
        np.testing.assert_array_equal(whole.votes, arrays["votes"])
    np.savez(packed, **{name: arrays[name] for name in ("pixels", "labels", "usage")})
    assert load_training_data(packed)[0].votes is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pixels": np.zeros((3, 24, 24), np.uint8)}, r"pixels is uint8 \(3, 24, 24\); want .*48, 48"),
        ({"labels": np.array([0, 1], np.uint8)}, r"labels is uint8 \(2,\)"),
        ({"labels": np.array([0, 1, 7], np.uint8)}, "labels from 0 to 6"),
        ({"usage": np.array([0, 1, 1], np.uint8)}, "usage is uint8 .*; want texts"),
        ({"votes": np.zeros((3, 9), np.uint8)}, r"votes is uint8 \(3, 9\)"),
        ({"votes": np.full((3, 10), 2**63, np.uint64)}, r"votes has 9223372036854775808; want .* to 255"),
        ({"pixels": np.uint8(3)}, r"pixels is uint8 \(\); want"),
        ({"usage": None}, "not a file of the arrays"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, changed, message):
    arrays = {
        "pixels": np.zeros((3, 48, 48), np.uint8),
        "labels": np.zeros(3, np.uint8),
        "usage": np.array(["Training", "Training", "PublicTest"]),
        **changed,
    }
    np.savez(tmp_path / "data.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(fer_edge.DataError, match=message):
        load_training_data(tmp_path / "data.npz")


def test_files_that_are_no_archive_of_arrays_are_refused(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(fer_edge.DataError, match="there is no such file"):
        load_training_data(path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros((3, 48, 48), np.uint8))
    for content in (path.read_bytes(), b"", b"emotion,pixels,Usage"):
        path.write_bytes(content)
        with pytest.raises(fer_edge.DataError, match=r"not a file of the arrays .*File is not a zip file"):
            load_training_data(path)


def test_an_unreadable_file_of_arrays_is_named_once(tmp_path):
    path = tmp_path / "data.npz"
    path.symlink_to(path)
    with pytest.raises(fer_edge.DataError) as caught:
        load_training_data(path)
    assert str(caught.value).count("data.npz") == 1
    assert "labels and usage (Too many levels of symbolic links)" in str(caught.value)


def test_only_a_majority_for_no_face_drops_a_row(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(21)])
    lines = votes.read_text().splitlines()
    lines[1:4] = ["5,0,0,0,0,0,0,0,0,5", "4,0,0,0,0,0,0,0,0,6", "0,0,0,0,0,0,0,0,0,200"]
    votes.write_text("\n".join(lines) + "\n")
    data, _ = load_training_data(path, votes)
    assert len(data.faces) == 12


def test_a_folder_of_pictures_is_read_like_a_csv(tmp_path):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for place, count in (("train", 3), ("test", 1)):
        for emotion in ("happy", "sad"):
            (tmp_path / place / emotion).mkdir(parents=True)
            for index in range(count):
                face = draw_face(EMOTIONS.index(emotion), rng)
                cv2.imwrite(str(tmp_path / place / emotion / f"{index}.png"), face)
    # A repetition of a training picture validates nothing.
    shutil.copy(tmp_path / "train" / "sad" / "0.png", tmp_path / "test" / "sad" / "again.png")
    data, dataset = load_training_data(tmp_path)
    assert (len(dataset), len(data.faces), len(data.val_faces)) == (9, 6, 2)
    assert data.labels.tolist() == [3, 3, 3, 4, 4, 4]
    assert data.val_labels.tolist() == [3, 4]


def test_one_emotion_alone_teaches_nothing_and_is_refused(cli, tmp_path):
    path = write_csv(tmp_path / "happy.csv", {"Training": 2, "PublicTest": 1})
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1] + [f"3{line[1:]}" for line in lines[1:]]) + "\n")
    code, out, err = cli("train", "--data", path, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert f"{path}: every row to train on is happy; want at least two emotions of angry, disgust" in err
    assert not (tmp_path / "run").exists()


def test_votes_do_not_go_with_a_folder(cli, tmp_path):
    votes = write_votes(tmp_path / "votes.csv", [0])
    code, _, err = cli("train", "--data", tmp_path, "--votes", votes, "--out", tmp_path / "run")
    assert code == 2
    assert f"{tmp_path}: is a folder; --votes needs a CSV" in err
