"""Fine-tuning on a folder of the user's own images."""

from __future__ import annotations

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import draw_face

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

import fer_edge
from fer_edge.export import pipeline
from fer_edge.export.calibration import choose_rows
from fer_edge.export.parity import CalibrationError
from fer_edge.faces.pictures import read_labelled
from fer_edge.labels import LABELS
from fer_edge.train.data import load_training_data
from fer_edge.train.finetune import frozen_net, read_faces, read_training_faces, training_data
from fer_edge.train.loop import fit
from fer_edge.train.options import TrainOptions
from fer_edge.train.pretrained import exported_net
from fer_edge.train.validation import predict_heads


@pytest.fixture
def folder(tmp_path):
    """Fifteen drawn faces of each of three emotions, 96x120 pixels."""
    rng = np.random.default_rng(3)
    for emotion in ("angry", "happy", "surprise"):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        for index in range(15):
            face = cv2.resize(draw_face(fer_edge.EMOTIONS.index(emotion), rng), (96, 96))
            wide = cv2.copyMakeBorder(face, 0, 0, 12, 12, cv2.BORDER_CONSTANT, value=0)
            cv2.imwrite(str(tmp_path / "mine" / emotion / f"{index:02}.png"), wide)
    return tmp_path / "mine"


def write_list(folder, usages):
    """A ``labels.csv`` with the first pictures of each emotion, of these Usages."""
    lines = ["file,emotion,Usage"]
    for emotion, parts in usages.items():
        lines += [f"{emotion}/{index:02}.png,{emotion},{part}" for index, part in enumerate(parts)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_a_folder_becomes_faces_with_labels_and_a_split(folder):
    dataset = read_faces(folder)
    assert dataset.pixels.shape == (45, 48, 48)
    assert dataset.labels.tolist() == [0] * 15 + [3] * 15 + [5] * 15
    assert (dataset.usage == "PublicTest").sum() == 9
    # The centred square leaves the black borders at both sides out.
    assert dataset.pixels[:, :, 0].mean() > 50


def test_a_users_label_counts_as_the_votes_of_ten(folder):
    data = training_data(read_faces(folder))
    assert data.votes.shape == (36, 9)
    assert data.votes.sum(1).tolist() == [10] * 36
    assert data.votes.argmax(1).tolist() == data.labels.tolist() == [0] * 12 + [3] * 12 + [5] * 12
    # So the head that answers by default chooses the best epoch.
    assert data.val_votes.sum(1).tolist() == [10] * 9
    assert data.val_votes.argmax(1).tolist() == data.val_labels.tolist() == [0] * 3 + [3] * 3 + [5] * 3


def test_train_and_test_folders_split_as_they_say(folder):
    for place, emotions in (("train", ("angry", "happy", "surprise")), ("test", ("angry", "happy"))):
        for emotion in emotions:
            (folder / place / emotion).mkdir(parents=True)
    for emotion in ("angry", "happy", "surprise"):
        for index, path in enumerate(sorted((folder / emotion).iterdir())):
            place = "test" if index < 4 and emotion != "surprise" else "train"
            path.rename(folder / place / emotion / path.name)
        (folder / emotion).rmdir()
    dataset = read_faces(folder)
    assert dataset.labels[dataset.usage == "PublicTest"].tolist() == [0] * 4 + [3] * 4
    assert len(dataset) == 45


def sort_into(folder, counts):
    """Move so many pictures of each emotion into sub-folders of these names, and delete the rest."""
    files = {name: sorted((folder / name).iterdir()) for name in ("angry", "happy", "surprise")}
    for place, count in counts.items():
        for emotion, paths in files.items():
            (folder / place / emotion).mkdir(parents=True)
            for path in paths[:count]:
                path.rename(folder / place / emotion / path.name)
            del paths[:count]
    for emotion in files:
        shutil.rmtree(folder / emotion)


@pytest.mark.parametrize("way", ["--faces", "--data", "--calibration"])
def test_pictures_of_a_test_folder_beside_one_to_validate_on_select_nothing(folder, way):
    sort_into(folder, {"train": 8, "val": 3, "test": 4})
    allowed = {face.tobytes() for place in ("train", "val") for face in _faces_in(folder / place)}
    validating = {face.tobytes() for face in _faces_in(folder / "val")}
    if way == "--calibration":
        choice = choose_rows(read_labelled(folder), None, 24, 1)
        selecting, seen = choice.check.faces, choice.calibration
    else:
        data = training_data(read_faces(folder)) if way == "--faces" else load_training_data(folder)[0]
        selecting, seen = data.val_faces, data.faces
    assert {face.tobytes() for face in selecting} == validating
    assert {face.tobytes() for face in seen} <= allowed


def _faces_in(folder):
    return read_labelled(folder).pixels


def test_a_list_of_pictures_does_as_well(folder):
    lines = ["file,emotion"]
    for emotion in ("angry", "happy"):
        lines += [f"{emotion}/{index:02}.png,{emotion}" for index in range(15)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    dataset = read_faces(folder)
    assert dataset.labels.tolist() == [0] * 15 + [3] * 15
    assert (dataset.usage == "PublicTest").sum() == 6


def test_rows_kept_for_the_end_neither_train_nor_validate(folder):
    parts = ["Training"] * 9 + ["PublicTest"] * 4 + ["PrivateTest"] * 2
    write_list(folder, {"angry": parts, "happy": parts})
    data = training_data(read_faces(folder))
    assert (len(data.faces), len(data.votes), len(data.val_faces), len(data.val_votes)) == (18, 18, 8, 8)
    assert data.val_labels.tolist() == [0] * 4 + [3] * 4


@pytest.mark.parametrize(
    ("parts", "trains", "validates"),
    [
        (["train"] * 9 + ["test"] * 4 + ["PrivateTest"] * 2, 9, 4),
        (["Training"] * 10 + ["PrivateTest"] * 5, 8, 2),
        (["training"] * 5 + ["Val"] * 4 + ["spare"] * 6, 5, 4),
        (["train"] * 8 + ["val"] * 4 + ["test"] * 3, 8, 4),
        ([""] * 15, 12, 3),
    ],
)
def test_the_words_of_a_list_say_what_trains(folder, parts, trains, validates):
    write_list(folder, {"angry": parts, "happy": parts})
    data = training_data(read_faces(folder))
    assert data.labels.tolist() == [0] * trains + [3] * trains
    assert data.val_labels.tolist() == [0] * validates + [3] * validates


def test_a_list_without_training_rows_is_refused(cli, folder, tmp_path):
    write_list(folder, {"angry": ["PublicTest"] * 15, "happy": ["PrivateTest"] * 15})
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert "no usable image has the Usage Training (train); there are PrivateTest, PublicTest" in err
    with pytest.raises(fer_edge.DataError, match="no usable image has the Usage Training"):
        read_training_faces(folder)


def test_an_emotion_that_only_validates_is_refused(cli, folder, tmp_path):
    write_list(folder, {"angry": ["PublicTest"] * 15, "happy": ["Training"] * 9 + ["PublicTest"] * 6})
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert "angry: no usable image of Usage Training; a class needs some, or leave angry out\n" in err
    write_list(folder, {"angry": ["train"] * 4 + ["test"] * 11, "happy": ["train"] * 9 + ["test"] * 6})
    for index in range(4):
        (folder / "angry" / f"{index:02}.png").write_bytes(b"no image")
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert f"leave angry out (4 skipped, the first: {folder / 'angry' / '00.png'}: " in err


def test_an_emotion_that_is_left_out_needs_no_pictures_to_train_on(cli, folder, tmp_path):
    parts = ["Training"] * 11 + ["PublicTest"] * 4
    write_list(folder, {"angry": parts, "happy": parts, "surprise": ["PrivateTest"] * 3})
    assert set(training_data(read_faces(folder)).labels.tolist()) == {0, 3}
    write_list(folder, {"angry": ["PrivateTest"] * 15, "happy": parts})
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert f"{folder}: want usable images of Usage Training of at least two emotions" in err


def test_one_emotion_alone_is_refused(cli, folder, tmp_path):
    shutil.rmtree(folder / "angry")
    shutil.rmtree(folder / "surprise")
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert "pictures of happy alone; want at least two emotions" in err


def test_the_exported_network_comes_back_from_its_onnx_file():
    faces = np.random.default_rng(0).integers(0, 256, (6, 48, 48), dtype=np.uint8)
    expected = fer_edge.load_classifier("edge", "onnx", "fp32").logits(faces)
    found = predict_heads(exported_net("edge"), torch.from_numpy(faces))
    assert expected.keys() == set(found._fields)
    for head, logits in expected.items():
        np.testing.assert_allclose(getattr(found, head).numpy(), logits, atol=1e-3)


def test_only_the_last_blocks_learn(folder, tmp_path):
    torch.set_num_threads(1)
    start = frozen_net("edge")
    before = {name: value.clone() for name, value in start.state_dict().items()}
    (tmp_path / "run").mkdir()
    fit(training_data(read_faces(folder)), TrainOptions(epochs=1, batch=12), tmp_path / "run", start=start)
    changed = {name for name, value in start.state_dict().items() if not torch.equal(value, before[name])}
    assert {"classifier.weight", "people.weight"} <= changed
    blocks = {int(name.split(".")[1]) for name in changed if name.startswith("features.")}
    assert blocks == {10, 11, 12}
    assert not [name for name in changed if "running" in name]


def test_a_tuned_model_is_exported_and_runs(cli, folder, tmp_path):
    out = tmp_path / "run"
    parts = ["train"] * 11 + ["test"] * 3 + ["PrivateTest"]
    write_list(folder, dict.fromkeys(("angry", "happy", "surprise"), parts))
    code, text, err = cli(
        *("train", "--faces", folder, "--out", out, "--model", "nano"),
        *("--epochs", 3, "--batch", 9, "--threads", 1),
    )
    assert code == 0, err
    assert "33 rows to train on, 9 to validate on, 3 of another Usage left out\n" in text
    assert re.search(
        r"\nbest accuracy of the head people [\d.]+%, validation accuracy [\d.]+%, after epoch \d: ", text
    )
    assert re.search(
        r"int8, right on 9 held-out images: fer2013 [\d.]+ %, people [\d.]+ %; fer-edge run", text
    )
    assert f"fer-edge run --model {out / 'model'}" in text
    dataset = read_faces(folder)
    for labels in LABELS:
        reached, untuned = (
            (classifier.answer(dataset.pixels).emotions == dataset.labels).mean()
            for classifier in (
                fer_edge.load_classifier(model, labels=labels) for model in (out / "model", "nano")
            )
        )
        assert reached > max(0.8, untuned)
    # Nobody voted on a user's pictures, so what votes mean stays as it was.
    assert fer_edge.load_classifier(out / "model").people == fer_edge.load_classifier("nano").people
    entry = json.loads((out / "model" / "manifest.json").read_text())["models"]["nano"]
    assert entry["origin"][-1]["stage"] == "initial weights: bundled nano"
    assert entry["balance_from"] == "the model it grew out of"
    assert entry["versions"]["fer-edge"] == fer_edge.__version__
    code, text, err = cli("run", "--camera", "demo", "--frames", 2, "--model", out / "model", "--jsonl", "-")
    assert code == 0, err
    assert len(json.loads(text.splitlines()[1])["faces"]) == 1


def test_a_tuned_model_that_no_seed_exports_is_told_what_is_left(cli, folder, tmp_path, monkeypatch):
    """Such pictures calibrate no export-int8, which wants a Usage."""
    seeds = []

    def fail(*_, seed, **__):
        seeds.append(seed)
        raise CalibrationError("nothing was written: three steps apart")

    monkeypatch.setattr(pipeline, "export", fail)
    code, _, err = cli(
        *("train", "--faces", folder, "--out", tmp_path / "run", "--model", "nano"),
        *("--epochs", 1, "--batch", 12, "--threads", 1),
    )
    assert code == 1
    assert seeds == [1, 2, 3, 4]
    assert (
        "three steps apart, with calibration seeds 1 to 4. Chance decides much where few faces calibrate: "
        "try more pictures or another --seed, with another --out\n"
    ) in err
    assert "export-int8" not in err


def test_a_folder_that_is_no_emotion_is_named(cli, folder, tmp_path):
    (folder / "joyful").mkdir()
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert "joyful is no emotion; use angry, disgust" in err
    assert not (tmp_path / "run").exists()


def test_an_empty_class_is_named(cli, folder, tmp_path):
    (folder / "sad").mkdir()
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert f"{folder / 'sad'}: 0 usable images" in err


def test_a_class_of_useless_images_is_told_why_by_its_own(cli, folder, tmp_path):
    """Photos of a telephone that OpenCV cannot read, beside a broken image of another class."""
    (folder / "happy" / "aa.png").write_bytes(b"no image")
    (folder / "sad").mkdir()
    for index in range(3):
        (folder / "sad" / f"IMG_{index}.HEIC").write_bytes(b"ftypheic")
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    first = folder / "sad" / "IMG_0.HEIC"
    assert f"leave its folder out (3 skipped, the first: {first}: not an image" in err


def test_corrupt_images_are_skipped_and_counted(folder):
    (folder / "happy" / "broken.png").write_bytes(b"no image")
    dataset = read_faces(folder)
    assert len(dataset) == 45
    assert len(dataset.skipped) == 1
    assert "broken.png" in dataset.skipped[0]


def test_what_is_no_face_is_skipped_and_counted(folder):
    happy = folder / "happy"
    first = cv2.imread(str(happy / "00.png"))
    cv2.imwrite(str(happy / "again.png"), first)
    cv2.imwrite(str(folder / "angry" / "mine.png"), first)
    cv2.imwrite(str(happy / "tiny.png"), first[:6, :6])
    cv2.imwrite(str(happy / "even.png"), np.full(first.shape, 700, np.uint16))
    shape = np.zeros((60, 60, 4), np.uint8)
    shape[20:40, 20:40, 3] = 255
    cv2.imwrite(str(happy / "alpha.png"), shape)
    (happy / "gone.png").symlink_to(happy / "nowhere.png")
    (happy / "notes.txt").write_text("Tuesday")
    (happy / ".DS_Store").write_bytes(b"x")
    (happy / "more").mkdir()
    os.mkfifo(happy / "pipe.png")
    dataset = read_faces(folder)
    assert len(dataset) == 45
    told = {message.partition(": ")[0].rpartition("/")[2]: message for message in dataset.skipped}
    for name, reason in (
        # Angry comes first, so happy's own picture repeats that one.
        ("00.png", f"the same face as {folder / 'angry' / 'mine.png'}"),
        ("again.png", "the same face as"),
        ("tiny.png", "6x6 pixels"),
        ("even.png", "one even grey"),
        ("alpha.png", "one even grey"),
        ("gone.png", "No such file"),
        ("notes.txt", "not an image"),
        ("more", "a folder"),
        ("pipe.png", "not a file"),
    ):
        assert reason in told.pop(name), name
    assert not told


def test_images_without_a_face_are_skipped_when_faces_are_looked_for(tmp_path):
    data = pytest.importorskip("skimage.data")
    astronaut = data.astronaut()[:, :, ::-1]
    for emotion in ("happy", "sad"):
        (tmp_path / emotion).mkdir()
        for index in range(5):
            picture = astronaut[: 300 + 4 * index]
            cv2.imwrite(
                str(tmp_path / emotion / f"{index}.png"), picture[:, :: 1 if emotion == "happy" else -1]
            )
    cv2.imwrite(str(tmp_path / "sad" / "sky.png"), np.full((100, 100, 3), 200, np.uint8))
    dataset = read_faces(tmp_path, detect=True)
    assert len(dataset) == 10
    assert dataset.detected and training_data(dataset).detected
    assert training_data(read_faces(tmp_path)).detected is False
    assert len(dataset.skipped) == 1
    assert "sky.png: shows no face" in dataset.skipped[0]
    assert fer_edge.load_classifier().answer(dataset.pixels).emotions.tolist() == [3] * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--faces", "no/such"), "no such folder"),
        (("--faces", ".", "--data", "x.csv"), "--faces goes without --data"),
        (
            ("--faces", ".", "--initial-weights", "edge"),
            "--faces goes without --data, --votes, --teacher, --initial-weights and --skip-bad",
        ),
        (("--data", "x.csv", "--detect"), "--detect does nothing without --faces DIR"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cli, tmp_path, arguments, message):
    code, _, err = cli("train", *arguments, "--out", tmp_path / "run")
    assert code == 2
    assert message in err
