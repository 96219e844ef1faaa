"""The command ``fer-edge train``: what it writes, says and refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import draw_face, read_metrics

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.fer2013.reader import read_fer2013
from fer_edge.fer2013.votes import read_votes
from fer_edge.labels import EMOTIONS
from fer_edge.train import checkpoint, loop, recipe
from fer_edge.train.divergence import DivergedError
from fer_edge.train.loop import fit
from fer_edge.train.options import FINE_TUNING, NUMBERS, POOR_CAMERA, TrainOptions
from fer_edge.train.pretrained import exported_net


def test_training_goes_on_from_a_bundled_model_and_says_so(cli, drawn_csv, tmp_path):
    run = tmp_path / "run"
    options = ("--epochs", "1", "--learning-rate", "1e-9", "--weight-decay", "0", "--poor-camera")
    code, _, err = cli(
        "train", "--data", drawn_csv, "--out", run, "--model", "nano", "--initial-weights", "nano", *options
    )
    assert code == 0, err
    state = checkpoint.load(run / "best.pt")
    assert state["origin"][-1]["stage"] == "initial weights: bundled nano"
    assert state["options"]["augmentation"] == vars(POOR_CAMERA)
    torch.testing.assert_close(state["ema"]["classifier.weight"], exported_net("nano").classifier.weight)


def test_a_resumed_run_keeps_what_it_began_with(cli, drawn_csv, tmp_path):
    out = tmp_path / "run"
    arguments = (
        *("train", "--data", drawn_csv, "--out", out, "--model", "nano"),
        *("--epochs", 1, "--batch", 70, "--threads", 1),
    )
    code, _, err = cli(*arguments, "--initial-weights", "nano")
    assert code == 0, err
    begun = checkpoint.load(out / "last.pt")["origin"]
    assert begun[-1]["stage"] == "initial weights: bundled nano"
    assert begun.count(begun[0]) == 1
    for weights in ((), ("--initial-weights", "nano")):
        code, _, err = cli(*arguments, *weights, "--resume")
        assert code == 0, err
        assert checkpoint.load(out / "last.pt")["origin"] == begun
    code, _, err = cli(*arguments, "--initial-weights", "edge", "--resume")
    assert code == 2
    assert "--initial-weights edge: the run in" in err


@pytest.mark.parametrize("given", [(), ("--warmup", 3)])
def test_a_run_whose_warm_up_is_longer_than_itself_is_resumed(cli, drawn, drawn_csv, tmp_path, given):
    """As versions began it that had one default for runs of any length."""
    options = TrainOptions(model="tiny", epochs=2, batch=70)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    fit(drawn, options, whole)

    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(drawn, options, parts, on_epoch=stop)
    run = ("train", "--data", drawn_csv, "--model", "tiny", "--epochs", 2, "--batch", 70, "--resume")
    code, _, err = cli(*run, "--out", parts, *given)
    assert code == 0, err
    one, two = (checkpoint.load(folder / "last.pt") for folder in (whole, parts))
    assert two["options"]["warmup"] == 3
    assert all(torch.equal(one["ema"][key], two["ema"][key]) for key in one["ema"])
    code, _, err = cli(*run, "--out", parts, "--warmup", 0.4)
    assert code == 2
    assert "warmup was 3.0, now 0.4" in err


WRITTEN = ["last.pt", "best.pt", "metrics.csv", "learning_curve.png"]
"""By a run, after its first epoch, in this order."""


@pytest.mark.parametrize("kind", ["run", "recipe"])
@pytest.mark.parametrize("saved", [1, 2, 3])
def test_a_run_of_one_epoch_that_was_cut_off_while_it_saved_is_completed(
    cli, drawn_csv, tmp_path, monkeypatch, kind, saved
):
    out = tmp_path / "run"
    if kind == "run":
        options, folder = ("--model", "tiny", "--epochs", 1, "--batch", 70), out
    else:
        brief = TrainOptions(model="tiny", epochs=1, batch=70)
        monkeypatch.setitem(recipe.RECIPES, "nano", recipe.Recipe((brief,), brief))
        options, folder = ("--recipe", "nano", "--no-export"), out / "teacher-1"
    run = ("train", "--data", drawn_csv, "--out", out, *options)
    code, _, err = cli(*run)
    assert code == 0, err
    assert {path.name for path in folder.iterdir()} == set(WRITTEN)
    metrics = (folder / "metrics.csv").read_text()
    for name in WRITTEN[saved:]:
        (folder / name).unlink()
    code, _, err = cli(*run, "--resume")
    assert code == 0, err
    assert {path.name for path in folder.iterdir()} == set(WRITTEN)
    assert (folder / "metrics.csv").read_text() == metrics


@pytest.mark.parametrize("name", ["best.pt", "metrics.csv", "recipe.json", "model/manifest.json"])
def test_a_new_run_overwrites_no_results(cli, drawn_csv, tmp_path, name):
    out = tmp_path / "run"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("precious")
    code, _, err = cli("train", "--data", drawn_csv, "--out", out)
    assert code == 2
    assert f"{out / name}: is there already" in err
    assert (out / name).read_text() == "precious"


def test_help_tells_the_defaults_that_are_in_use(cli):
    code, text, _ = cli("train", "--help")
    assert code == 0
    text = " ".join(text.split())
    assert len(NUMBERS) == 18
    for name in NUMBERS:
        usual, tuned = (f"{getattr(options, name):g}" for options in (TrainOptions(), FINE_TUNING))
        told = f"(default: {usual}" + ("" if tuned == usual else f"; {tuned} with --faces") + ")"
        flag = f"--{name.replace('_', '-')} {name.upper()} "
        assert told in re.split(r" (?=--[a-z-]+ [A-Z])", text[text.index(flag) :])[0], name


def test_a_run_that_diverges_at_once_says_that_nothing_was_saved(cli, drawn_csv, tmp_path):
    out = tmp_path / "run"
    code, _, err = cli(
        *("train", "--data", drawn_csv, "--out", out, "--model", "tiny", "--threads", 1, "--batch", 15),
        *("--warmup", 0, "--learning-rate", 100, "--weight-decay", 1),
    )
    assert code == 1
    assert "in epoch 1; nothing was saved: try a lower --learning-rate" in err
    assert list(out.iterdir()) == []


@pytest.fixture
def diverging(monkeypatch):
    """Let every run diverge in its second epoch."""
    train = loop.train_epoch

    def diverge(learner, data, options, epoch, *others):
        if epoch == 1:
            raise DivergedError("loss became nan")
        return train(learner, data, options, epoch, *others)

    monkeypatch.setattr(loop, "train_epoch", diverge)


def test_a_plain_run_that_diverges_may_take_a_lower_rate_or_go_on_from_what_it_kept(
    cli, drawn_csv, tmp_path, diverging
):
    out = tmp_path / "run"
    code, _, err = cli("train", "--data", drawn_csv, "--out", out, "--model", "tiny", "--batch", 70)
    assert code == 1
    assert (
        f"{out / 'last.pt'} keeps epoch 1: start anew with a lower --learning-rate and another --out, "
        "or train that further with --initial-weights\n"
    ) in err


def test_a_recipe_that_diverges_is_told_of_no_option_that_it_refuses(
    cli, drawn_csv, tmp_path, monkeypatch, diverging
):
    brief = TrainOptions(model="tiny", epochs=2, batch=35, warmup=0.2)
    own = recipe.Recipe((replace(brief, epochs=1),), brief)
    monkeypatch.setitem(recipe.RECIPES, "nano", own)
    out = tmp_path / "run"
    code, _, err = cli("train", "--recipe", "nano", "--no-export", "--data", drawn_csv, "--out", out)
    assert code == 1
    last = out / "student" / "last.pt"
    assert f"{last} keeps epoch 1 of this stage: start anew with another --seed and another --out\n" in err


def test_fine_tuning_that_diverges_is_told_of_no_option_that_it_refuses(cli, tmp_path, diverging):
    folder, out = tmp_path / "mine", tmp_path / "run"
    rng = np.random.default_rng(3)
    for emotion in ("angry", "happy"):
        (folder / emotion).mkdir(parents=True)
        for index in range(6):
            face = draw_face(EMOTIONS.index(emotion), rng)
            cv2.imwrite(str(folder / emotion / f"{index}.png"), face)
    code, _, err = cli("train", "--faces", folder, "--out", out, "--model", "nano")
    assert code == 1
    assert (
        f"{out / 'last.pt'} keeps epoch 1: start anew with a lower --learning-rate and another --out\n" in err
    )


@pytest.mark.parametrize("at", ["last.pt", "best.pt"])
def test_ctrl_c_names_resume_where_there_is_something_to_resume(cli, drawn_csv, tmp_path, monkeypatch, at):
    saved = checkpoint.save

    def stop(path, state):
        if path.name == at:
            raise KeyboardInterrupt
        saved(path, state)

    monkeypatch.setattr(checkpoint, "save", stop)
    run = ["train", "--data", drawn_csv, "--model", "tiny", "--epochs", "1", "--out", tmp_path / "run"]
    code, _, err = cli(*run)
    assert code == 130
    assert err.splitlines()[-1].startswith("stopped")
    assert ("--resume continues" in err) == (at == "best.pt")


def test_train_command_writes_metrics_curve_and_checkpoints(cli, drawn_csv, tmp_path):
    out = tmp_path / "runs" / "x"
    arguments = (
        "train",
        "--data",
        drawn_csv,
        "--out",
        out,
        "--model",
        "tiny",
        "--epochs",
        2,
        "--batch",
        70,
        "--threads",
        1,
    )
    code, stdout, err = cli(*arguments)
    assert code == 0, err
    assert "124 rows to train on, 35 to validate on, 16 held out" in stdout
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
        (("--epochs", "3", "--minutes", "1"), "--minutes and --epochs both say how long to train"),
        (("--label-smoothing", "2"), "--label-smoothing must be from 0 to 0.9"),
        (("--learning-rate", "nan"), "--learning-rate must be"),
        (("--device", "abacus"), "--device 'abacus'"),
        (("--threads", "0"), "--threads"),
        (("--resume",), "nothing to resume"),
        (("--model", "nano", "--initial-weights", "edge"), "not of the architecture 'nano'"),
        (("--initial-weights", "none.pt"), "no such checkpoint"),
        (("--live-teachers",), "--live-teachers does nothing without --teacher FILE"),
        (("--vote-weight", "0.3"), "--vote-weight does nothing without --votes CSV"),
        (("--rare-weight", "0.5"), "--rare-weight does nothing without --votes CSV"),
        (("--distill-weight", "0.3"), "--distill-weight does nothing without --teacher FILE"),
        (("--device", "mps"), "use cpu, cuda or cuda:N"),
        (("--device", "cpu:3"), "use cpu, cuda or cuda:N"),
        (("--threads", "100000000"), "--threads must be at most 1024"),
        (("--faces", ""), "argument --faces: must not be empty"),
        (("--out", ""), "argument --out: must not be empty"),
        (("--mixup", "-1"), "--mixup must be from 0 to 10"),
        (("--seed", "-1"), "--seed must be from 0 to"),
        (("--epochs", "3", "--warmup", "3"), "--warmup must be below the 3 epochs of the run, or the"),
        (("--model", "face-teacher", "--batch", "1"), "--batch must be at least 2 with --model face-teacher"),
        (("--minutes", "1", "--warmup", "80"), "below 80 epochs, the scale of --minutes, or the"),
        (("--teacher", "none.pt"), "no such checkpoint"),
    ],
)
def test_train_command_refuses_bad_options(cli, drawn_csv, tmp_path, arguments, message):
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--vote-weight", "--rare-weight"])
def test_weights_of_votes_hold_for_a_users_labels_too(cli, tmp_path, option):
    """They get as far as the folder, which is not there."""
    folder = tmp_path / "mine"
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run", option, "0.5")
    assert code == 2
    assert f"{folder}: " in err
    assert option not in err


@pytest.mark.parametrize("named", ["by --data", "by the environment"])
@pytest.mark.parametrize(
    ("option", "others"),
    [("--vote-weight", ()), ("--rare-weight", ()), ("--people-distill-weight", ("--teacher", "edge"))],
)
def test_weights_of_votes_need_votes_in_an_npz_file(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch, option, others, named
):
    dataset = read_fer2013(drawn_csv)
    packed = tmp_path / "data.npz"
    arrays = {"pixels": dataset.pixels, "labels": dataset.labels.astype(np.uint8), "usage": dataset.usage}
    np.savez(packed, **arrays)
    if named == "by the environment":
        monkeypatch.setenv("FER2013_CSV", str(packed))
    files = ("--data", packed) if named == "by --data" else ()
    command = ("train", *files, *others, "--model", "tiny", "--epochs", "1", "--out", tmp_path / "run")
    code, _, err = cli(*command, option, "0.5")
    assert code == 2
    assert f"{option} does nothing without votes, and {packed} has none; give --votes CSV" in err
    assert not (tmp_path / "run").exists()
    np.savez(packed, **arrays, votes=read_votes(drawn_votes))
    code, _, err = cli(*command, option, "0.5")
    assert code == 0, err


def test_votes_of_the_environment_belong_to_its_data_alone(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    monkeypatch.setenv("FER2013_CSV", "fer2013.csv")
    monkeypatch.setenv("FERPLUS_CSV", str(drawn_votes))
    brief = ("--model", "tiny", "--epochs", 1, "--batch", 70, "--threads", 1)
    code, text, err = cli("train", "--data", drawn_csv, "--out", tmp_path / "without", *brief)
    assert code == 0, err
    assert "no votes: the model will answer with the labels of 2013 only\n" in text
    assert "people.weight" not in checkpoint.load(tmp_path / "without" / "last.pt")["net"]
    monkeypatch.setenv("FER2013_CSV", str(drawn_csv))
    code, text, err = cli("train", "--out", tmp_path / "with", *brief, "--vote-weight", "0.5")
    assert code == 0, err
    assert "no votes" not in text
    assert "people.weight" in checkpoint.load(tmp_path / "with" / "last.pt")["net"]


@pytest.mark.parametrize(
    ("votes", "best"),
    [
        (False, "best validation accuracy 90.00% after epoch 1: "),
        (True, "best agreement with people 70.00%, validation accuracy 80.00%, after epoch 2: "),
    ],
)
def test_the_best_epoch_is_told_by_what_chose_it(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch, votes, best
):
    accuracies, agreements = iter([0.9, 0.8]), iter([0.6, 0.7])

    def validate(*_):
        people = {"val_people": next(agreements)} if votes else {}
        return {"val_loss": 1.0, "val_accuracy": next(accuracies), **people}

    monkeypatch.setattr(loop, "validate", validate)
    given = ("--votes", drawn_votes) if votes else ()
    code, text, err = cli(
        *("train", "--data", drawn_csv, *given, "--out", tmp_path / "run", "--model", "tiny"),
        *("--epochs", 2, "--batch", 70, "--threads", 1),
    )
    assert code == 0, err
    assert f"\n{best}{tmp_path / 'run' / 'best.pt'}\n" in text


def test_votes_of_the_environment_are_not_those_of_own_faces(cli, tmp_path, monkeypatch):
    """They get as far as the folder, which is not there."""
    monkeypatch.setenv("FER2013_CSV", "fer2013.csv")
    monkeypatch.setenv("FERPLUS_CSV", "votes.csv")
    folder = tmp_path / "mine"
    code, _, err = cli("train", "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert f"{folder}: " in err
    assert "goes without" not in err


@pytest.mark.parametrize("option", ["--rare-weight", "--people-distill-weight"])
def test_what_is_about_votes_needs_the_loss_on_votes(cli, drawn_csv, drawn_votes, tmp_path, option):
    files = ("--data", drawn_csv, "--votes", drawn_votes, "--teacher", "edge", "--out", tmp_path / "run")
    code, _, err = cli("train", *files, option, "0.5", "--vote-weight", "0")
    assert code == 2
    assert f"{option} does nothing with --vote-weight 0" in err
    assert not (tmp_path / "run").exists()
    code, _, err = cli("train", *files, option, "-1", "--vote-weight", "0")
    assert code == 2
    assert f"{option} must be from 0 to 1" in err


def test_train_command_without_labels_says_so(cli, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("pixels\n" + " ".join(["0"] * 2304) + "\n")
    code, _, err = cli("train", "--data", path, "--out", tmp_path / "run")
    assert code == 2
    assert "emotion" in err
