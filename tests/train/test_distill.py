"""Distillation: students follow teachers, live or stored, and votes correct them."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from conftest import read_metrics

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

import fer_edge
from fer_edge.train import checkpoint
from fer_edge.train.architectures import ARCHITECTURES
from fer_edge.train.distill import prepare_teachers, teacher_answers
from fer_edge.train.logits_file import LOGITS_NAME, Answers, load_answers, save_answers
from fer_edge.train.loop import fit
from fer_edge.train.model import EmotionNet, normalize
from fer_edge.train.options import TrainOptions
from fer_edge.train.validation import predict_heads


def _interrupt(history):
    raise KeyboardInterrupt


def test_a_student_follows_its_teacher_rather_than_the_labels(drawn, tmp_path):
    """The teacher calls every face happy; with its share at 1 the labels do not count."""
    happy = np.full((len(drawn.faces), 7), -4, np.float32)
    happy[:, 3] = 4
    options = TrainOptions(model="tiny", epochs=4, batch=20, warmup=0, ema=0.5, distill_weight=1.0)
    fit(replace(drawn, teacher=Answers(happy)), options, tmp_path)
    net, _ = checkpoint.load_net(tmp_path / "last.pt")
    answers = predict_heads(net, torch.from_numpy(drawn.val_faces)).fer2013.argmax(1)
    assert (answers == 3).float().mean() > 0.9


def test_a_student_follows_live_teachers_and_resumes(drawn, tmp_path):
    """Teachers that call every face sad, whatever is done to it; the labels do not count."""
    teacher = EmotionNet(ARCHITECTURES["tiny"])
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.tensor([-4.0, -4, -4, -4, 4, -4, -4]))
    taught = replace(drawn, teacher=(teacher, teacher))
    options = TrainOptions(
        model="tiny", epochs=3, batch=20, warmup=0, ema=0.5, distill_weight=1.0, live_teachers=True, mixup=0.2
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    fit(taught, options, whole)
    net, _ = checkpoint.load_net(whole / "last.pt")
    answers = predict_heads(net, torch.from_numpy(drawn.val_faces)).fer2013.argmax(1)
    assert (answers == 4).float().mean() > 0.9
    with pytest.raises(KeyboardInterrupt):
        fit(taught, options, parts, on_epoch=_interrupt)
    with pytest.raises(checkpoint.CheckpointError, match="the teachers differ"):
        fit(replace(drawn, teacher=(teacher,)), options, parts, resume=True)
    fit(taught, options, parts, resume=True)
    one, two = (checkpoint.load(run / "last.pt")["ema"] for run in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_live_teachers_see_what_the_student_sees(drawn, tmp_path):
    """The varied and mixed images, on which they answer otherwise than on the plain ones."""
    seen = []

    class Watching(EmotionNet):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    options = TrainOptions(model="tiny", epochs=1, batch=62, warmup=0, mixup=0.4, live_teachers=True)
    own = []
    student = EmotionNet(ARCHITECTURES["tiny"])
    student.register_forward_pre_hook(lambda module, inputs: own.append(inputs[0]))
    fit(replace(drawn, teacher=(Watching(ARCHITECTURES["tiny"]),)), options, tmp_path, start=student)
    assert len(seen) == 2
    for given, learned in zip(seen, own[:2], strict=True):
        assert torch.equal(given, learned)
    assert not torch.isin(normalize(torch.from_numpy(drawn.faces[:1])).mean(), seen[0].mean((1, 2, 3)))


def test_teachers_answer_the_same_for_a_face_and_its_mirror_image(drawn, tmp_path):
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    state["ema"]["classifier.weight"] *= 300
    teacher = tmp_path / "strong.pt"
    checkpoint.save(teacher, {key: value for key, value in state.items() if key != "format"})
    faces = drawn.faces[:5]
    logits = teacher_answers([teacher, teacher], faces).fer2013
    mirrored = teacher_answers([teacher], np.ascontiguousarray(faces[:, :, ::-1])).fer2013
    np.testing.assert_allclose(logits, mirrored, atol=1e-4)
    net, _ = checkpoint.load_net(teacher)
    assert np.abs(logits - predict_heads(net, torch.from_numpy(faces)).fer2013.numpy()).max() > 1e-3


def test_stored_logits_belong_to_their_faces(drawn, tmp_path):
    logits = np.arange(35, dtype=np.float32).reshape(5, 7)
    people = np.arange(45, dtype=np.float32).reshape(5, 9)
    path = tmp_path / "logits.npz"
    save_answers(path, Answers(logits), drawn.faces[:5], [])
    assert load_answers(path, drawn.faces[:5]).people is None
    save_answers(path, Answers(logits, people), drawn.faces[:5], [])
    np.testing.assert_array_equal(load_answers(path, drawn.faces[:5]).fer2013, logits)
    np.testing.assert_array_equal(load_answers(path, drawn.faces[:5]).people, people)
    with pytest.raises(fer_edge.DataError, match="other training images"):
        load_answers(path, drawn.faces[1:6])
    path.write_bytes(b"no zip")
    with pytest.raises(fer_edge.DataError, match=r"logits\.npz"):
        load_answers(path, drawn.faces[:5])


def test_a_file_of_one_head_by_an_earlier_version_is_read(drawn, tmp_path):
    """Its checksum is that of the faces' bytes; it has no number of a format."""
    logits, path = np.ones((len(drawn.faces), 7), np.float32), tmp_path / LOGITS_NAME
    np.savez(path, logits=logits, faces=zlib.crc32(drawn.faces.tobytes()), origin="[]")
    answers = load_answers(path, drawn.faces)
    assert answers.people is None
    np.testing.assert_array_equal(answers.fer2013, logits)
    np.savez(path, format=3, logits=logits, faces=zlib.crc32(drawn.faces.tobytes()), origin="[]")
    with pytest.raises(fer_edge.DataError, match="of a later version"):
        load_answers(path, drawn.faces)


def _certain(code, answer):
    """A network that gives every face the label ``code``, and people the answer ``answer``."""
    net = EmotionNet(ARCHITECTURES["tiny"])
    with torch.no_grad():
        for head, chosen in ((net.classifier, code), (net.people, answer)):
            head.weight.zero_()
            head.bias.fill_(-3.0)
            head.bias[chosen] = 3.0
    return net.eval()


@pytest.mark.parametrize("way", ["stored", "live", "bank"])
def test_teachers_teach_both_heads(drawn, tmp_path, way):
    """Teachers that call every face sad, and people "unknown"; labels and votes do not count."""
    votes = np.zeros((len(drawn.faces), 9), np.float32)
    votes[:, 0] = 10
    count = len(drawn.faces)
    teacher = (_certain(4, 8), _certain(4, 8))
    if way == "stored":
        logits = [np.full((count, k), -3, np.float32) for k in (7, 9)]
        logits[0][:, 4] = logits[1][:, 8] = 3
        teacher = Answers(*logits)
    options = TrainOptions(
        model="tiny",
        epochs=4,
        batch=20,
        warmup=0,
        ema=0.5,
        distill_weight=1.0,
        vote_weight=1.0,
        mixup=0.2,
        live_teachers=way == "live",
        bank=3 if way == "bank" else 0,
    )
    faces = torch.from_numpy(drawn.val_faces)
    chosen = {}
    for share in (0.0, 1.0):
        folder = tmp_path / str(share)
        folder.mkdir()
        taught = replace(drawn, votes=votes, teacher=teacher)
        fit(taught, replace(options, people_distill_weight=share), folder)
        heads = predict_heads(checkpoint.load_net(folder / "last.pt")[0], faces)
        assert (heads.fer2013.argmax(1) == 4).float().mean() > 0.9
        chosen[share] = heads.people.argmax(1)
    assert (chosen[0.0] == 0).float().mean() > 0.9
    assert (chosen[1.0] == 8).float().mean() > 0.9


def test_train_command_distils_and_stores_the_logits(cli, drawn, drawn_csv, tmp_path):
    (tmp_path / "teacher").mkdir()
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path / "teacher")
    arguments = (
        "train",
        "--data",
        drawn_csv,
        "--model",
        "tiny",
        "--epochs",
        1,
        "--batch",
        70,
        "--threads",
        1,
    )
    teacher = tmp_path / "teacher" / "best.pt"
    code, _, err = cli(*arguments, "--teacher", teacher, "--out", tmp_path / "student")
    assert code == 0, err
    stored = tmp_path / "student" / "teacher_logits.npz"
    expected = teacher_answers([teacher], drawn.faces)
    np.testing.assert_allclose(load_answers(stored, drawn.faces).fer2013, expected.fer2013)
    code, _, err = cli(*arguments, "--teacher", stored, "--out", tmp_path / "second")
    assert code == 0, err
    losses = [read_metrics(tmp_path / name)[0]["train_loss"] for name in ("student", "second")]
    assert losses[0] == losses[1]


def test_stored_logits_are_averaged_with_the_answers_of_other_teachers(cli, drawn, drawn_csv, tmp_path):
    count = len(drawn.faces)
    files = [tmp_path / "one.npz", tmp_path / "two.npz"]
    rng = np.random.default_rng(1)
    one, two = (rng.normal(size=(count, 7)).astype(np.float32) for _ in files)
    people = rng.normal(size=(count, 9)).astype(np.float32)
    save_answers(files[0], Answers(one, people), drawn.faces, [])
    save_answers(files[1], Answers(two), drawn.faces, [])
    (tmp_path / "teacher").mkdir()
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path / "teacher")
    network = tmp_path / "teacher" / "last.pt"
    its = teacher_answers([network], drawn.faces).fer2013
    given = [argument for name in (files[0], network, files[1]) for argument in ("--teacher", name)]
    run = ("train", "--data", drawn_csv, "--model", "tiny", "--epochs", 1, "--batch", 70, "--threads", 1)
    code, _, err = cli(*run, *given, "--out", tmp_path / "student")
    assert code == 0, err
    answers = load_answers(tmp_path / "student" / LOGITS_NAME, drawn.faces)
    np.testing.assert_allclose(answers.fer2013, (one + two + its) / 3, atol=1e-5)
    np.testing.assert_allclose(answers.people, people, atol=1e-6)
    save_answers(files[1], Answers(two[1:]), drawn.faces[1:], [])
    code, _, err = cli(*run, *given, "--out", tmp_path / "second")
    assert code == 2
    assert f"{files[1]}: the logits are for {count - 1} other training images, not for these" in err


def test_stored_answers_of_other_teachers_are_not_taken_for_these(cli, drawn, drawn_csv, tmp_path):
    """A run that ended in its first epoch leaves its teachers' answers, but no checkpoint."""
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70, seed=seed), tmp_path / name)
    out = tmp_path / "run"
    out.mkdir()
    arguments = (
        *("train", "--data", drawn_csv, "--out", out, "--model", "tiny"),
        *("--epochs", 1, "--batch", 70, "--threads", 1, "--teacher"),
    )
    prepare_teachers(out, [str(tmp_path / "one" / "last.pt")], drawn.faces)
    stored = (out / "teacher_logits.npz").read_bytes()
    code, _, err = cli(*arguments, tmp_path / "two" / "last.pt")
    assert code == 2
    assert "teacher_logits.npz: answers of other teachers" in err
    assert (out / "teacher_logits.npz").read_bytes() == stored
    code, _, err = cli(*arguments, tmp_path / "one" / "last.pt")
    assert code == 0, err


@pytest.mark.parametrize("way", ["votes", "teacher"])
def test_rare_weight_reaches_the_loss_on_votes_and_on_teachers_answers(drawn, tmp_path, way):
    """1 of 20 says disgust to each face; an epoch of the same seed ends otherwise with the weights."""
    count = len(drawn.faces)
    votes = np.zeros((count, 9), np.float32)
    votes[:, 6], votes[:, 1] = 19, 1
    options = TrainOptions(model="tiny", epochs=1, batch=20, warmup=0, ema=0.5, vote_weight=1.0)
    taught = replace(drawn, votes=votes)
    if way == "teacher":
        logits = np.full((count, 9), -3, np.float32)
        logits[:, 6], logits[:, 1] = 3, 0
        taught = replace(taught, teacher=Answers(np.zeros((count, 7), np.float32), logits))
        options = replace(options, people_distill_weight=1.0)
    disgust = {}
    for power in (0.0, 0.5):
        folder = tmp_path / str(power)
        folder.mkdir()
        fit(taught, replace(options, rare_weight=power), folder)
        heads = predict_heads(checkpoint.load_net(folder / "last.pt")[0], torch.from_numpy(drawn.val_faces))
        disgust[power] = heads.people.log_softmax(1)[:, 1].mean().item()
        assert checkpoint.load(folder / "last.pt")["options"]["rare_weight"] == power
    assert abs(disgust[0.5] - disgust[0.0]) > 0.01
