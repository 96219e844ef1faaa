"""The network, its augmentation and the loop: learning, exact resume, clean stops, two processes."""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_csv, write_votes

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train import checkpoint, loop
from fer_edge.train.augment import POOR_CAMERA, Augmentation, augment
from fer_edge.train.beginning import exported_net
from fer_edge.train.crowd import label_logits
from fer_edge.train.data import load_training_data
from fer_edge.train.descent import Descent
from fer_edge.train.distill import load_logits, save_logits, teacher_logits, teaching
from fer_edge.train.loop import (
    TrainingData,
    TrainingError,
    TrainOptions,
    _batches,
    _moving_average,
    augmentation_strength,
    fit,
    learning_rate,
    mix,
    predict_logits,
    smooth_targets,
    soft_cross_entropy,
)
from fer_edge.train.model import (
    ARCHITECTURES,
    EmotionNet,
    StridedDepthwise,
    TwoHeadedNet,
    normalize,
)
from fer_edge.train.processes import Processes

import fer_edge

QUICK = TrainOptions(epochs=3, batch=35, warmup=0.5, ema=0.9, seed=3)


def read_metrics(run):
    with (run / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def drawn(drawn_csv):
    return load_training_data(drawn_csv)[0]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("model", "macs", "parameters"), [("edge", 25e6, 600_000), ("nano", 5e6, 110_000)])
def test_bundled_architectures_stay_within_their_budget(model, macs, parameters):
    from torch.utils.flop_counter import FlopCounterMode

    net = EmotionNet(ARCHITECTURES[model]).eval()
    with FlopCounterMode(display=False) as counter:
        logits = net(torch.zeros(1, 1, 48, 48))
    assert logits.shape == (1, 7)
    assert counter.get_total_flops() / 2 <= macs
    assert sum(parameter.numel() for parameter in net.parameters()) <= parameters


def test_every_parameter_gets_a_gradient():
    net = TwoHeadedNet(EmotionNet(ARCHITECTURES["edge"]))
    emotions, votes = net(torch.randn(4, 1, 48, 48))
    (emotions.square().sum() + votes.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_normalization_makes_grey_minus_128_of_steps_of_a_64th():
    grey = torch.arange(256, dtype=torch.uint8).repeat(9).reshape(1, 48, 48)
    assert torch.equal(normalize(grey)[0, 0] * 64, grey[0].float() - 128)


def test_augmentation_without_strength_only_mirrors():
    faces = torch.randint(0, 256, (64, 48, 48), dtype=torch.uint8)
    varied = augment(faces, Augmentation().scaled(0), torch.Generator().manual_seed(1))
    straight = (varied - faces.float()).abs().amax((1, 2)) < 1e-2
    mirrored = (varied - faces.flip(2).float()).abs().amax((1, 2)) < 1e-2
    assert (straight ^ mirrored).all()
    assert 10 < straight.sum() < 54


def test_augmentation_stays_in_range_and_repeats_with_its_generator():
    faces = torch.randint(0, 256, (32, 48, 48), dtype=torch.uint8)
    first, again = (augment(faces, Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 255
    assert (first - faces.float()).abs().mean() > 5


def test_augmentation_shifts_by_at_most_its_limit():
    faces = torch.zeros(200, 48, 48, dtype=torch.uint8)
    faces[:, 24, 24] = 255
    only_shift = replace(Augmentation().scaled(0), shift=0.1)
    varied = augment(faces, only_shift, torch.Generator().manual_seed(2))
    weights = varied / varied.sum((1, 2), keepdim=True)
    rows = (weights.sum(2) * torch.arange(48)).sum(1)
    assert (rows - 24).abs().max() <= 0.1 * 48 + 1e-3
    assert (rows - 24).abs().max() > 3


def _only(**changes):
    return replace(Augmentation().scaled(0), **changes)


def _unmirrored(varied, faces):
    """The varied faces, each turned back if that brings it closer to its original."""
    turned = varied.flip(2)
    closer = (turned - faces).abs().mean((1, 2)) < (varied - faces).abs().mean((1, 2))
    return torch.where(closer.view(-1, 1, 1), turned, varied)


def test_jpeg_augmentation_is_what_a_jpeg_encoder_does(drawn):
    """The error lies between those of OpenCV's encoder at the two ends of the range of qualities."""
    import cv2

    faces = torch.from_numpy(drawn.faces[:60]).float()
    varied = augment(faces.byte(), _only(jpeg=1.0), torch.Generator().manual_seed(0))
    error = (_unmirrored(varied, faces) - faces).square().mean().item()

    def encoded(quality):
        pictures = [
            cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
            for face in drawn.faces[:60]
        ]
        return (torch.from_numpy(np.stack(pictures)).float() - faces).square().mean().item()

    assert encoded(70) < error < encoded(20)


def test_coarse_augmentation_removes_detail_and_keeps_means():
    faces = torch.randint(0, 256, (40, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    varied = augment(faces, _only(coarse=1.0), torch.Generator().manual_seed(0))
    assert varied.std((1, 2)).max() < 0.7 * faces.float().std((1, 2)).min()
    assert (varied.mean((1, 2)) - faces.float().mean((1, 2))).abs().max() < 4


def test_gamma_augmentation_keeps_black_and_white_and_moves_the_middle():
    faces = torch.full((50, 48, 48), 64, dtype=torch.uint8)
    faces[:, :16], faces[:, 32:] = 0, 255
    varied = augment(faces, _only(gamma=0.5), torch.Generator().manual_seed(0))
    assert varied[:, :15].abs().max() < 1e-3
    assert (varied[:, 33:] - 255).abs().max() < 1e-2
    middle = varied[:, 24, 24]
    assert middle.min() < 45
    assert middle.max() > 90


def test_learning_rate_ramps_then_falls_to_zero():
    options = TrainOptions(epochs=10, warmup=2, learning_rate=0.4)
    assert learning_rate(options, 1) == pytest.approx(0.2)
    assert learning_rate(options, 2) == pytest.approx(0.4)
    assert learning_rate(options, 6) == pytest.approx(0.2)
    assert learning_rate(options, 10) == pytest.approx(0.0)


def test_augmentation_calms_down_at_the_end():
    options = TrainOptions(epochs=101, calm=0.5, calm_strength=0.2)
    assert augmentation_strength(options, 50) == 1
    assert augmentation_strength(options, 100) == pytest.approx(0.2)
    assert 0.2 < augmentation_strength(options, 75) < 1


def test_smoothed_targets_give_the_loss_of_the_library():
    logits, labels = torch.randn(9, 7), torch.arange(9) % 7
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(soft_cross_entropy(logits, smooth_targets(labels, 0.1)), expected)


def test_mixing_blends_images_targets_and_votes_alike():
    inputs = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 48, 48)
    targets, votes = torch.eye(8)[:, :7], torch.eye(8)
    goals = {"labels": targets, "votes": votes}
    mixed, blended = mix(inputs, goals, 0.5, torch.Generator().manual_seed(4))
    soft, ballots = blended["labels"], blended["votes"]
    torch.testing.assert_close(mixed[:, 0, 0, 0], ballots @ torch.arange(8.0))
    torch.testing.assert_close(soft, ballots[:, :7])
    torch.testing.assert_close(ballots.sum(1), torch.ones(8))
    assert not torch.equal(ballots, votes)


def test_a_student_follows_its_teacher_rather_than_the_labels(drawn, tmp_path):
    """The teacher calls every face happy; with its share at 1 the labels do not count."""
    happy = np.full((len(drawn.faces), 7), -4, np.float32)
    happy[:, 3] = 4
    options = TrainOptions(epochs=4, batch=20, warmup=0, ema=0.5, distill_weight=1.0)
    fit(replace(drawn, teacher=happy), options, tmp_path)
    net, _ = checkpoint.load_net(tmp_path / "last.pt")
    answers = predict_logits(net, torch.from_numpy(drawn.val_faces)).argmax(1)
    assert (answers == 3).float().mean() > 0.9


def test_a_student_follows_live_teachers_and_resumes(drawn, tmp_path):
    """Teachers that call every face sad, whatever is done to it; the labels do not count."""
    teacher = EmotionNet(ARCHITECTURES["nano"])
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.tensor([-4.0, -4, -4, -4, 4, -4, -4]))
    taught = replace(drawn, teacher=(teacher, teacher))
    options = TrainOptions(
        epochs=3, batch=20, warmup=0, ema=0.5, distill_weight=1.0, live_teachers=True, mixup=0.2
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    fit(taught, options, whole)
    net, _ = checkpoint.load_net(whole / "last.pt")
    answers = predict_logits(net, torch.from_numpy(drawn.val_faces)).argmax(1)
    assert (answers == 4).float().mean() > 0.9
    with pytest.raises(KeyboardInterrupt):
        fit(taught, options, parts, on_epoch=_interrupt)
    with pytest.raises(checkpoint.CheckpointError, match="the teachers differ"):
        fit(replace(drawn, teacher=(teacher,)), options, parts, resume=True)
    fit(taught, options, parts, resume=True)
    one, two = (checkpoint.load(run / "last.pt")["ema"] for run in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)


def _interrupt(history):
    raise KeyboardInterrupt


def test_training_goes_on_from_a_bundled_model_and_says_so(cli, drawn_csv, tmp_path):
    run = tmp_path / "run"
    options = ("--epochs", "1", "--learning-rate", "1e-9", "--weight-decay", "0", "--poor-camera")
    code, _, err = cli(
        "train", "--data", drawn_csv, "--out", run, "--model", "nano", "--beginning", "nano", *options
    )
    assert code == 0, err
    state = checkpoint.load(run / "best.pt")
    assert state["origin"][-1]["stage"] == "given beginning: bundled nano"
    assert state["options"]["augmentation"] == vars(POOR_CAMERA)
    torch.testing.assert_close(state["ema"]["classifier.weight"], exported_net("nano").classifier.weight)


@pytest.mark.parametrize("live", [False, True])
def test_votes_correct_a_teacher_that_errs(drawn, tmp_path, live):
    """A teacher that calls every face happy; votes that go by what a face is, under names of their own."""
    votes = np.roll(np.eye(9, dtype=np.float32), 2, 1)[drawn.labels] * 10
    if live:
        teacher = EmotionNet(ARCHITECTURES["nano"])
        with torch.no_grad():
            teacher.classifier.weight.zero_()
            teacher.classifier.bias.copy_(torch.tensor([-2.0, -2, -2, 2, -2, -2, -2]))
        taught = replace(drawn, votes=votes, teacher=(teacher,))
    else:
        happy = np.tile(np.array([-2, -2, -2, 2, -2, -2, -2], np.float32), (len(drawn.faces), 1))
        taught = replace(drawn, votes=votes, teacher=happy)
    options = TrainOptions(
        epochs=8, batch=20, warmup=0, ema=0.5, distill_weight=1.0, live_teachers=live, vote_weight=0
    )
    accuracies = {}
    for share in (0.0, 0.9):
        folder = tmp_path / str(share)
        folder.mkdir()
        history = fit(taught, replace(options, vote_share=share), folder)
        accuracies[share] = history[-1]["val_accuracy"]
    assert accuracies[0.0] < 0.2
    assert accuracies[0.9] > 0.6


def test_targets_are_the_geometric_mean_of_teachers_and_crowd():
    answers, crowd = torch.randn(5, 7).double(), torch.randn(5, 7).double()
    options = TrainOptions(vote_share=0.25, distill_temperature=2.0)
    expected = answers.softmax(1) ** (0.75 / 2) * crowd.softmax(1) ** (0.25 / 2)
    targets = loop._teaching(answers, crowd, options)
    torch.testing.assert_close(targets, expected / expected.sum(1, keepdim=True))


def test_votes_tell_how_often_each_label_goes_with_them():
    """Of those who were voted for by column 4, 3 in 4 are labelled 2, the others 5; two have no votes."""
    labels = np.array([2, 2, 2, 5] * 500 + [0, 0], np.int64)
    votes = np.zeros((len(labels), 9), np.float32)
    votes[:-2, 4] = 10
    likely = np.exp(label_logits(votes, labels))
    np.testing.assert_allclose(likely.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(likely[0, [2, 5]], [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(
        likely[-1], [3 / 2009, *[1 / 2009] * 1, 1501 / 2009, *[1 / 2009] * 2, 501 / 2009, 1 / 2009], rtol=1e-4
    )


def test_live_teachers_see_what_the_student_sees(drawn, tmp_path):
    """The varied and mixed images, on which they answer otherwise than on the plain ones."""
    seen = []

    class Watching(EmotionNet):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    options = TrainOptions(model="nano", epochs=1, batch=70, warmup=0, mixup=0.4, live_teachers=True)
    own = []
    student = EmotionNet(ARCHITECTURES["nano"])
    student.register_forward_pre_hook(lambda module, inputs: own.append(inputs[0]))
    fit(replace(drawn, teacher=(Watching(ARCHITECTURES["nano"]),)), options, tmp_path, start=student)
    assert len(seen) == 2
    for given, learned in zip(seen, own[:2], strict=True):
        assert torch.equal(given, learned)
    assert not torch.isin(normalize(torch.from_numpy(drawn.faces[:1])).mean(), seen[0].mean((1, 2, 3)))


def test_teachers_answer_the_same_for_a_face_and_its_mirror_image(drawn, tmp_path):
    fit(drawn, TrainOptions(epochs=1, batch=70), tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    state["ema"]["classifier.weight"] *= 300
    teacher = tmp_path / "strong.pt"
    checkpoint.save(teacher, {key: value for key, value in state.items() if key != "format"})
    faces = drawn.faces[:5]
    logits = teacher_logits([teacher, teacher], faces)
    mirrored = teacher_logits([teacher], np.ascontiguousarray(faces[:, :, ::-1]))
    np.testing.assert_allclose(logits, mirrored, atol=1e-4)
    net, _ = checkpoint.load_net(teacher)
    assert np.abs(logits - predict_logits(net, torch.from_numpy(faces)).numpy()).max() > 1e-3


def test_stored_logits_belong_to_their_faces(drawn, tmp_path):
    logits = np.arange(35, dtype=np.float32).reshape(5, 7)
    path = tmp_path / "logits.npz"
    save_logits(path, logits, drawn.faces[:5], [])
    np.testing.assert_array_equal(load_logits(path, drawn.faces[:5]), logits)
    with pytest.raises(fer_edge.DataError, match="other training images"):
        load_logits(path, drawn.faces[1:6])
    path.write_bytes(b"no zip")
    with pytest.raises(fer_edge.DataError, match=r"logits\.npz"):
        load_logits(path, drawn.faces[:5])


LOGITS_CODE = """
import sys, numpy as np
from fer_edge.train import processes
from fer_edge.train.distill import teacher_logits
faces = np.random.default_rng(2).integers(0, 256, (9, 48, 48), np.uint8)
logits = teacher_logits([sys.argv[1]], faces)
print(repr(logits.round(4).tolist()))
"""


def test_processes_share_the_work_of_teachers_and_all_get_the_whole(drawn, tmp_path):
    fit(drawn, TrainOptions(model="nano", epochs=1, batch=70), tmp_path)
    texts = [
        [
            process.communicate(timeout=240)[0]
            for process in [
                subprocess.Popen(
                    [sys.executable, "-c", LOGITS_CODE, str(tmp_path / "best.pt")],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                )
                for environment in environments
            ]
        ]
        for environments in ([{}], _ranks(2))
    ]
    (alone,), shared = texts
    assert shared[0] == shared[1]
    np.testing.assert_allclose(json.loads(alone), json.loads(shared[0]), atol=2e-4)
    assert np.shape(json.loads(alone)) == (9, 7)


def test_train_command_distils_and_stores_the_logits(cli, drawn, drawn_csv, tmp_path):
    (tmp_path / "teacher").mkdir()
    fit(drawn, TrainOptions(epochs=1, batch=70), tmp_path / "teacher")
    arguments = ("train", "--data", drawn_csv, "--epochs", 1, "--batch", 70, "--threads", 1)
    teacher = tmp_path / "teacher" / "best.pt"
    code, _, err = cli(*arguments, "--teacher", teacher, "--out", tmp_path / "student")
    assert code == 0, err
    stored = tmp_path / "student" / "teacher_logits.npz"
    np.testing.assert_allclose(load_logits(stored, drawn.faces), teacher_logits([teacher], drawn.faces))
    code, _, err = cli(*arguments, "--teacher", stored, "--out", tmp_path / "second")
    assert code == 0, err
    losses = [read_metrics(tmp_path / name)[0]["train_loss"] for name in ("student", "second")]
    assert losses[0] == losses[1]


def test_stored_answers_of_other_teachers_are_not_taken_for_these(cli, drawn, drawn_csv, tmp_path):
    """A run that ended in its first epoch leaves its teachers' answers, but no checkpoint."""
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        fit(drawn, TrainOptions(model="nano", epochs=1, batch=70, seed=seed), tmp_path / name)
    out = tmp_path / "run"
    out.mkdir()
    arguments = (
        *("train", "--data", drawn_csv, "--out", out, "--model", "nano"),
        *("--epochs", 1, "--batch", 70, "--threads", 1, "--teacher"),
    )
    teaching(out, [str(tmp_path / "one" / "last.pt")], drawn.faces)
    stored = (out / "teacher_logits.npz").read_bytes()
    code, _, err = cli(*arguments, tmp_path / "two" / "last.pt")
    assert code == 2
    assert "teacher_logits.npz: answers of other teachers" in err
    assert (out / "teacher_logits.npz").read_bytes() == stored
    code, _, err = cli(*arguments, tmp_path / "one" / "last.pt")
    assert code == 0, err


def test_a_resumed_run_keeps_what_it_began_with(cli, drawn_csv, tmp_path):
    out = tmp_path / "run"
    arguments = (
        *("train", "--data", drawn_csv, "--out", out, "--model", "nano"),
        *("--epochs", 1, "--batch", 70, "--threads", 1),
    )
    code, _, err = cli(*arguments, "--beginning", "nano")
    assert code == 0, err
    begun = checkpoint.load(out / "last.pt")["origin"]
    assert begun[-1]["stage"] == "given beginning: bundled nano"
    assert begun.count(begun[0]) == 1
    for beginning in ((), ("--beginning", "nano")):
        code, _, err = cli(*arguments, *beginning, "--resume")
        assert code == 0, err
        assert checkpoint.load(out / "last.pt")["origin"] == begun
    code, _, err = cli(*arguments, "--beginning", "edge", "--resume")
    assert code == 2
    assert "--beginning edge: the run in" in err


@pytest.mark.parametrize("name", ["best.pt", "metrics.csv", "recipe.json", "model/manifest.json"])
def test_a_new_run_overwrites_no_results(cli, drawn_csv, tmp_path, name):
    out = tmp_path / "run"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("precious")
    code, _, err = cli("train", "--data", drawn_csv, "--out", out)
    assert code == 2
    assert f"{out / name}: is there already" in err
    assert (out / name).read_text() == "precious"


def test_help_tells_the_defaults_that_are_in_use():
    from fer_edge.train.finetune import FINE_TUNING

    from fer_edge.commands.train import _OPTIONS

    for name, (*_, text) in _OPTIONS.items():
        usual, tuned = (f"{getattr(options, name):g}" for options in (TrainOptions(), FINE_TUNING))
        told = f"(default: {usual}" + ("" if tuned == usual else f"; {tuned} with --faces")
        assert told in text, name


@pytest.mark.parametrize("model", ["teacher", "edge"])
def test_bfloat16_trains_and_checkpoints_float32(drawn, tmp_path, model):
    few = TrainingData(drawn.faces[:14], drawn.labels[:14], None, drawn.val_faces[:7], drawn.val_labels[:7])
    history = fit(few, TrainOptions(model=model, epochs=1, batch=14, bfloat16=True, mixup=0.2), tmp_path)
    assert math.isfinite(history[0]["train_loss"])
    net, _ = checkpoint.load_net(tmp_path / "last.pt")
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_strided_depthwise_layers_compute_in_float32_beside_bfloat16():
    layer = StridedDepthwise(8, 8, 3, 2, 1, groups=8, bias=False)
    inputs = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(inputs)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, layer(inputs.float()))
    kinds = [type(module) for module in EmotionNet(ARCHITECTURES["edge"]).modules()]
    assert kinds.count(StridedDepthwise) == 1


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
    assert (data.votes.sum(1) == 10).all()


def test_votes_of_another_length_are_refused(cli, tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [0, 1, 2])
    code, _, err = cli("train", "--data", path, "--votes", votes, "--out", tmp_path / "run")
    assert code == 2
    assert "21" in err
    assert "3" in err


def test_training_learns_drawn_faces(drawn, tmp_path):
    mild = Augmentation().scaled(0.2)
    history = fit(drawn, TrainOptions(epochs=14, batch=20, warmup=1, ema=0.9, augmentation=mild), tmp_path)
    assert history[-1]["val_accuracy"] > 0.7
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def _descents(kind, *, seed=1):
    """A small network with gradients, and what moves it."""
    torch.manual_seed(seed)
    net = EmotionNet(ARCHITECTURES["nano"]).to(memory_format=torch.channels_last)
    descent = Descent(net, kind, learning_rate=0.1, weight_decay=1e-3)
    net(torch.randn(8, 1, 48, 48)).square().sum().backward()
    return net, descent


def test_sgd_is_that_of_torch_and_spares_norms_and_biases():
    net, descent = _descents("sgd")
    twin, _ = _descents("sgd")
    groups = [
        {"params": [p for p in twin.parameters() if p.ndim > 1], "weight_decay": 1e-3},
        {"params": [p for p in twin.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(2):
        descent.step()
        sgd.step()
    for one, two in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


def test_muon_moves_what_mixes_channels_by_orthogonal_matrices_and_the_rest_by_sgd():
    net, descent = _descents("muon")
    twin, sgd = _descents("sgd")
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    descent.learning_rate = sgd.learning_rate = 0.04
    descent.step()
    sgd.step()
    mixing = []
    for (name, parameter), other in zip(net.named_parameters(), twin.parameters(), strict=True):
        if parameter.ndim < 4 or parameter.shape[1] == 1:
            assert torch.equal(parameter, other), name
            continue
        mixing.append(name)
        # A rate of 0.25 * 0.04, a decay of 50 * 0.001; five steps of Newton and Schulz reach 1 but roughly.
        rate = 0.01 * max(1, len(parameter) / parameter[0].numel()) ** 0.5
        moved = (before[name] * (1 - 0.01 * 0.05) - parameter.detach()) / rate
        values = torch.linalg.svdvals(moved.flatten(1))
        assert 0.5 < float(values.median()) < 1.3, name
        assert float(values.max()) < 1.4, name
        assert (moved * parameter.grad).sum() > 0, name
    assert len(mixing) == 15


def test_a_descent_goes_on_from_its_state():
    net, descent = _descents("muon")
    other, resumed = _descents("muon", seed=2)
    descent.step()
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(descent.state_dict()))
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        two.grad = one.grad.clone()
    for part in (descent, resumed):
        part.step()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_resume_gives_the_same_result_to_the_bit(drawn, tmp_path, optimizer):
    quick = replace(QUICK, optimizer=optimizer)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    fit(drawn, quick, whole)

    def stop_after_first(history):
        if len(history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(drawn, quick, parts, on_epoch=stop_after_first)
    history = fit(drawn, quick, parts, resume=True)
    one, two = checkpoint.load(whole / "last.pt"), checkpoint.load(parts / "last.pt")
    assert [row["val_loss"] for row in one["history"]] == [row["val_loss"] for row in history]
    assert all(torch.equal(one["ema"][key], two["ema"][key]) for key in one["ema"])
    assert all(torch.equal(one["net"][key], two["net"][key]) for key in one["net"])


def test_a_run_of_a_version_that_lacked_an_option_is_resumed(drawn, tmp_path):
    options = TrainOptions(epochs=1, batch=70, optimizer="sgd")
    fit(drawn, options, tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    del state["options"]["mixup"], state["options"]["optimizer"]
    state["optimizer"] = state["optimizer"]["sgd"]
    checkpoint.save(tmp_path / "last.pt", {key: value for key, value in state.items() if key != "format"})
    assert len(fit(drawn, options, tmp_path, resume=True)) == 1
    with pytest.raises(checkpoint.CheckpointError, match=r"mixup was 0\.0, now 0\.2"):
        fit(drawn, replace(options, mixup=0.2), tmp_path, resume=True)


def test_resume_with_other_options_is_refused(drawn, tmp_path):
    fit(drawn, TrainOptions(epochs=1, batch=70), tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="seed was 1, now 2"):
        fit(drawn, TrainOptions(epochs=1, batch=70, seed=2), tmp_path, resume=True)


def test_votes_train_a_second_head_that_is_not_kept(drawn, tmp_path):
    votes = np.zeros((len(drawn.faces), 9), np.float32)
    votes[:, 0] = 10
    data = TrainingData(drawn.faces, drawn.labels, votes, drawn.val_faces, drawn.val_labels)
    history = fit(data, TrainOptions(epochs=1, batch=70), tmp_path)
    assert math.isfinite(history[0]["train_loss"])
    net, _ = checkpoint.load_net(tmp_path / "best.pt")
    assert net(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(drawn, tmp_path):
    options = TrainOptions(epochs=1, batch=70)
    fit(drawn, options, tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    state["options"]["epochs"] = 2
    state["net"]["classifier.weight"].fill_(math.nan)
    checkpoint.save(tmp_path / "last.pt", state)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match=r"nan in step 1 in epoch 2; .*last\.pt keeps epoch 1"):
        fit(drawn, replace(options, epochs=2), tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("spoilt", ["net", "averaged", "validation"])
def test_weights_that_the_last_step_of_an_epoch_spoilt_are_not_saved(drawn, tmp_path, monkeypatch, spoilt):
    """Their loss would be seen in the next epoch only."""
    options = TrainOptions(epochs=2, batch=70)
    (tmp_path / "run").mkdir()
    train = loop._train_epoch

    def spoil(net, wrapped, averaged, descent, tensors, options, epoch, *others):
        row = train(net, wrapped, averaged, descent, tensors, options, epoch, *others)
        if epoch == 1 and spoilt != "validation":
            with torch.no_grad():
                {"net": net, "averaged": averaged.module}[spoilt].classifier.bias[3] = math.inf
        return row

    def validate(*_):
        bad = spoilt == "validation" and (tmp_path / "run" / "last.pt").exists()
        return {"val_loss": math.nan if bad else 1.0, "val_accuracy": 0.5}

    monkeypatch.setattr(loop, "_train_epoch", spoil)
    monkeypatch.setattr(loop, "validate", validate)
    with pytest.raises(TrainingError, match=r"became .* in epoch 2; .*last\.pt keeps epoch 1"):
        fit(drawn, options, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "last.pt")["epoch"] == 1
    checkpoint.load_net(tmp_path / "run" / "last.pt")


def test_a_run_that_diverges_at_once_says_that_nothing_was_saved(cli, drawn_csv, tmp_path):
    out = tmp_path / "run"
    code, _, err = cli(
        *("train", "--data", drawn_csv, "--out", out, "--model", "nano", "--threads", 1, "--batch", 20),
        *("--warmup", 0, "--learning-rate", 100, "--weight-decay", 1),
    )
    assert code == 1
    assert "in epoch 1; nothing was saved: try a lower --learning-rate" in err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_gets_a_clear_error(tmp_path, content):
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=r"bad\.pt"):
        checkpoint.load(path)


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(checkpoint.CheckpointError, match="not a fer-edge checkpoint"):
        checkpoint.load(tmp_path / "other.pt")


def test_train_command_writes_metrics_curve_and_checkpoints(cli, drawn_csv, tmp_path):
    out = tmp_path / "runs" / "x"
    arguments = ("train", "--data", drawn_csv, "--out", out, "--epochs", 2, "--batch", 70, "--threads", 1)
    code, stdout, err = cli(*arguments)
    assert code == 0, err
    assert "140 rows to train on, 35 to validate on" in stdout
    assert {path.name for path in out.iterdir()} == {
        "last.pt",
        "best.pt",
        "metrics.csv",
        "learning_curve.png",
    }
    rows = read_metrics(out)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in rows)
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")

    code, _, err = cli(*arguments)
    assert code == 2
    assert "--resume" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "resnet"), "known are edge, nano"),
        (("--optimizer", "adam"), "known are muon, sgd"),
        (("--epochs", "0"), "--epochs must be from 1"),
        (("--smoothing", "2"), "--smoothing must be from 0 to 0.9"),
        (("--learning-rate", "nan"), "--learning-rate must be"),
        (("--device", "abacus"), "--device 'abacus'"),
        (("--threads", "0"), "--threads"),
        (("--resume",), "nothing to resume"),
        (("--model", "nano", "--beginning", "edge"), "not of the architecture 'nano'"),
        (("--beginning", "none.pt"), "no such checkpoint"),
        (("--live-teachers",), "--live-teachers does nothing without --teacher FILE"),
        (("--vote-share", "0.3"), "--vote-share does nothing without --votes CSV and --teacher FILE"),
        (("--vote-weight", "0.3"), "--vote-weight does nothing without --votes CSV"),
        (("--distill-weight", "0.3"), "--distill-weight does nothing without --teacher FILE"),
        (("--device", "mps"), "use cpu, cuda or cuda:N"),
        (("--device", "cpu:3"), "use cpu, cuda or cuda:N"),
        (("--threads", "100000000"), "--threads must be at most 1024"),
        (("--faces", ""), "argument --faces: must not be empty"),
        (("--out", ""), "argument --out: must not be empty"),
        (("--mixup", "-1"), "--mixup must be from 0 to 10"),
    ],
)
def test_train_command_refuses_bad_options(cli, drawn_csv, tmp_path, arguments, message):
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err


def test_train_command_without_labels_says_so(cli, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("pixels\n" + " ".join(["0"] * 2304) + "\n")
    code, _, err = cli("train", "--data", path, "--out", tmp_path / "run")
    assert code == 2
    assert "emotion" in err


def _start(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "fer_edge.train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def _ranks(count):
    """The environments that torchrun gives its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(count)]


def test_ctrl_c_stops_cleanly_and_the_run_resumes(drawn_csv, tmp_path):
    out = tmp_path / "run"
    arguments = ["--data", drawn_csv, "--out", out, "--epochs", 30, "--batch", 35]
    process = _start(arguments)
    deadline = time.monotonic() + 120
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert 1 <= checkpoint.load(out / "last.pt")["epoch"] < 30


@pytest.fixture(scope="module")
def drawn_votes(drawn_csv, tmp_path_factory):
    labels = fer_edge.read_fer2013(drawn_csv).labels.tolist()
    return write_votes(tmp_path_factory.mktemp("votes") / "votes.csv", labels)


def test_the_same_command_gives_the_same_weights_also_with_votes(drawn_csv, drawn_votes, tmp_path):
    arguments = ["--data", drawn_csv, "--votes", drawn_votes, "--epochs", 1, "--batch", 70]
    states = []
    for name in ("one", "two"):
        process = _start([*arguments, "--out", tmp_path / name])
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        states.append(checkpoint.load(tmp_path / name / "last.pt"))
    assert all(torch.equal(states[0]["net"][key], states[1]["net"][key]) for key in states[0]["net"])
    assert any(key.startswith("votes.") for key in states[0]["net"])


def test_processes_share_each_batch_without_overlap():
    options = TrainOptions(batch=12, seed=5)
    alone = list(_batches(40, options, 2, Processes(0, 1)))
    shares = [list(_batches(40, options, 2, Processes(rank, 3))) for rank in range(3)]
    assert [len(batch) for batch in alone] == [12, 12, 12]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [4, 4, 4]
        assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_averaging_follows_fast_at_first_and_slowly_later():
    average = _moving_average(0.99)
    for steps, decay in ((1, 2 / 11), (90, 91 / 100), (10_000, 0.99)):
        values = [torch.zeros(3)]
        average(values, [torch.ones(3)], torch.tensor(steps))
        torch.testing.assert_close(values[0], torch.full((3,), 1 - decay))


def test_rotation_is_in_degrees():
    faces = torch.zeros(300, 48, 48, dtype=torch.uint8)
    faces[:, 23:25, 40:42] = 255
    varied = augment(
        faces, replace(Augmentation().scaled(0), rotation=20.0), torch.Generator().manual_seed(2)
    )
    weights = varied / varied.sum((1, 2), keepdim=True)
    y = (weights.sum(2) * torch.arange(48)).sum(1) - 23.5
    x = (weights.sum(1) * torch.arange(48)).sum(1) - 23.5
    angles = torch.rad2deg(torch.atan2(y, x.abs()))
    assert 17 < angles.abs().max() <= 20.5


def test_a_csv_without_usage_is_split_by_image(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 12})
    lines = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines + lines[1:]) + "\n")
    data, dataset = load_training_data(path)
    training = {face.tobytes() for face in data.faces}
    validation = {face.tobytes() for face in data.val_faces}
    assert training.isdisjoint(validation)
    assert len(data.faces) + len(data.val_faces) == len(dataset) == 168
    assert 0 < len(data.val_faces) < 60


def test_only_a_majority_for_no_face_drops_a_row(tmp_path):
    path = write_csv(tmp_path / "data.csv", {"Training": 2, "PublicTest": 1})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(21)])
    lines = votes.read_text().splitlines()
    lines[1:4] = ["5,0,0,0,0,0,0,0,0,5", "4,0,0,0,0,0,0,0,0,6", "0,0,0,0,0,0,0,0,0,200"]
    votes.write_text("\n".join(lines) + "\n")
    data, _ = load_training_data(path, votes)
    assert len(data.faces) == 12


def test_best_is_the_first_of_equals_but_for_a_lower_loss_and_survives_an_interruption(
    drawn, tmp_path, monkeypatch
):
    accuracies = iter([0.5, 0.9, 0.9])
    losses = iter([1.0, 1.0, 1.0, 1.0, 0.9])
    monkeypatch.setattr(
        loop, "validate", lambda *_: {"val_loss": next(losses), "val_accuracy": next(accuracies)}
    )
    saved = checkpoint.save

    def stop_before_last_of_second_epoch(path, state):
        if path.name == "last.pt" and state["epoch"] == 2:
            raise KeyboardInterrupt
        saved(path, state)

    monkeypatch.setattr(checkpoint, "save", stop_before_last_of_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn, QUICK, tmp_path)
    assert checkpoint.load(tmp_path / "best.pt")["epoch"] == 2
    monkeypatch.setattr(checkpoint, "save", saved)
    accuracies = iter([0.9, 0.9, 0.9])
    longer = replace(QUICK, epochs=4)
    state = checkpoint.load(tmp_path / "last.pt")
    state["options"]["epochs"] = 4
    checkpoint.save(tmp_path / "last.pt", {key: value for key, value in state.items() if key != "format"})
    epochs = []
    fit(
        *(drawn, longer, tmp_path),
        resume=True,
        on_epoch=lambda history: epochs.append(checkpoint.load(tmp_path / "best.pt")["epoch"]),
    )
    assert epochs == [2, 2, 4]
    assert len(read_metrics(tmp_path)) == 4


def test_resume_with_other_images_or_from_best_is_refused(drawn, tmp_path):
    options = TrainOptions(epochs=1, batch=70)
    fit(drawn, options, tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="training images differ"):
        fit(replace(drawn, faces=255 - drawn.faces), options, tmp_path, resume=True)
    (tmp_path / "last.pt").write_bytes((tmp_path / "best.pt").read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match=r"only last\.pt"):
        fit(drawn, options, tmp_path, resume=True)


def test_two_processes_learn_like_one(drawn_csv, tmp_path):
    arguments = ["--data", drawn_csv, "--epochs", 2, "--batch", 70, "--ema", 0.9]
    processes = [_start([*arguments, "--out", tmp_path / "two"], **environment) for environment in _ranks(2)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[1][0] == ""
    alone = _start([*arguments, "--out", tmp_path / "one"])
    _, err = alone.communicate(timeout=240)
    assert alone.returncode == 0, err
    losses = [[float(row["train_loss"]) for row in read_metrics(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=0.25)


RANK_CODE = """
import sys, numpy as np, torch
from pathlib import Path
from fer_edge.train import loop
torch.set_num_threads(1)
nets = []
class Net(loop.TwoHeadedNet):
    def __init__(self, net):
        super().__init__(net)
        nets.append(self)
loop.TwoHeadedNet = Net
rng = np.random.default_rng(0)
faces, labels = rng.integers(0, 256, (16, 48, 48), np.uint8), rng.integers(0, 7, 16)
votes = np.ones((16, 9), np.float32)
data = loop.TrainingData(faces, labels, votes, faces, labels)
loop.fit(data, loop.TrainOptions(epochs=1, batch=8, warmup=0), Path(sys.argv[1]))
print(repr([float(value.double().sum()) for value in nets[0].parameters()]))
"""


def test_processes_exchange_gradients_so_that_their_weights_stay_equal(tmp_path):
    outputs = [
        process.communicate(timeout=240)
        for process in [
            subprocess.Popen(
                [sys.executable, "-c", RANK_CODE, str(tmp_path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            )
            for environment in _ranks(2)
        ]
    ]
    assert outputs[0][0].startswith("["), outputs
    assert outputs[0][0] == outputs[1][0]
