"""The training loop: learning, exact resume, divergence, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import read_metrics

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.fer2013.duplicates import HELD_OUT_RULE
from fer_edge.train import checkpoint, loop
from fer_edge.train.architectures import ARCHITECTURES, Architecture, Stage
from fer_edge.train.data import TrainingData
from fer_edge.train.distributed import World
from fer_edge.train.divergence import TrainingError
from fer_edge.train.epoch import batches
from fer_edge.train.loop import fit
from fer_edge.train.metrics import best_row
from fer_edge.train.options import TrainOptions
from fer_edge.train.validation import people_agreement

QUICK = TrainOptions(model="tiny", epochs=3, batch=35, warmup=0.5, ema=0.9, seed=3)


@pytest.mark.parametrize("model", ["teacher", "edge"])
def test_bfloat16_trains_and_checkpoints_float32(drawn, tmp_path, model):
    few = TrainingData(drawn.faces[:14], drawn.labels[:14], None, drawn.val_faces[:7], drawn.val_labels[:7])
    history = fit(few, TrainOptions(model=model, epochs=1, batch=14, bfloat16=True, mixup=0.2), tmp_path)
    assert math.isfinite(history[0]["train_loss"])
    net, _ = checkpoint.load_net(tmp_path / "last.pt")
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_training_learns_drawn_faces(trained_edge):
    history = checkpoint.load(trained_edge)["history"]
    assert history[-1]["val_accuracy"] > 0.7
    assert history[-1]["train_loss"] < history[0]["train_loss"]


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
    options = TrainOptions(model="tiny", epochs=1, batch=70, optimizer="sgd")
    fit(drawn, options, tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    del state["options"]["mixup"], state["options"]["optimizer"]
    state["optimizer"] = state["optimizer"]["sgd"]
    checkpoint.save(tmp_path / "last.pt", {key: value for key, value in state.items() if key != "format"})
    assert len(fit(drawn, options, tmp_path, resume=True)) == 1
    with pytest.raises(checkpoint.CheckpointError, match=r"mixup was 0\.0, now 0\.2"):
        fit(drawn, replace(options, mixup=0.2), tmp_path, resume=True)


def test_resume_with_other_options_is_refused(drawn, tmp_path):
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="seed was 1, now 2"):
        fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70, seed=2), tmp_path, resume=True)


def test_votes_train_a_second_head(drawn, tmp_path):
    votes = np.zeros((len(drawn.faces), 9), np.float32)
    votes[:, 0] = 10
    data = TrainingData(drawn.faces, drawn.labels, votes, drawn.val_faces, drawn.val_labels)
    history = fit(data, TrainOptions(model="tiny", epochs=1, batch=35), tmp_path)
    assert math.isfinite(history[0]["train_loss"])
    net, _ = checkpoint.load_net(tmp_path / "best.pt")
    heads = net(torch.zeros(2, 1, 48, 48))
    assert heads.fer2013.shape == (2, 7)
    assert heads.people.shape == (2, 9)
    assert (heads.people.argmax(1) == 0).all()


def test_validation_tells_how_often_the_network_agrees_with_the_crowd():
    """Counted: rows with one top vote, for one of the seven; contempt and unknown cannot be chosen."""
    votes = torch.zeros(5, 9)
    votes[0, 3], votes[1, 4], votes[2, 8], votes[3, 0] = 10, 6, 10, 5
    votes[3, 1] = 5
    votes[1, 8], votes[4, 6] = 4, 10
    logits = torch.zeros(5, 9)
    logits[0, 3] = logits[1, 4] = logits[2, 8] = logits[4, 0] = 1
    logits[1, 8] = 5
    assert people_agreement(logits, votes) == pytest.approx(2 / 3)
    assert people_agreement(logits[2:4], votes[2:4]) is None


def test_with_votes_the_best_epoch_is_the_one_that_agrees_best_with_people(drawn, tmp_path, monkeypatch):
    rows = [(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)]
    told = iter([{"val_loss": 1.0, "val_accuracy": a, "val_people": p} for a, p in rows])
    monkeypatch.setattr(loop, "validate", lambda *_: next(told))
    history = fit(drawn, QUICK, tmp_path)
    assert best_row(history)["epoch"] == 2
    assert checkpoint.load(tmp_path / "best.pt")["epoch"] == 2
    assert [row["val_people"] for row in read_metrics(tmp_path)] == ["0.5", "0.7", "0.6"]


def test_without_votes_the_agreement_stays_blank(drawn, tmp_path):
    fit(drawn, replace(QUICK, epochs=1), tmp_path)
    assert read_metrics(tmp_path)[0]["val_people"] == ""


def test_a_run_with_votes_tells_what_was_held_out_and_resumes(drawn, tmp_path):
    votes = 10 * np.eye(9, dtype=np.float32)
    data = replace(drawn, votes=votes[drawn.labels], val_votes=votes[drawn.val_labels])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    history = fit(data, QUICK, whole)
    assert all(0 <= row["val_people"] <= 1 for row in history)

    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(data, QUICK, parts, on_epoch=stop)
    fit(data, QUICK, parts, resume=True)
    one, two = checkpoint.load(whole / "last.pt"), checkpoint.load(parts / "last.pt")
    assert all(torch.equal(one["ema"][key], two["ema"][key]) for key in one["ema"])
    assert "people.weight" in one["ema"]
    assert one["held_out"] == {"rule": HELD_OUT_RULE, "rows": 16, "seen_by": []}


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(drawn, tmp_path):
    options = TrainOptions(model="tiny", epochs=1, batch=70)
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
    options = TrainOptions(model="tiny", epochs=2, batch=70)
    (tmp_path / "run").mkdir()
    train = loop.train_epoch

    def spoil(learner, data, options, epoch, *others):
        row = train(learner, data, options, epoch, *others)
        if epoch == 1 and spoilt != "validation":
            with torch.no_grad():
                {"net": learner.net, "averaged": learner.averaged.module}[spoilt].classifier.bias[3] = (
                    math.inf
                )
        return row

    def validate(*_):
        bad = spoilt == "validation" and (tmp_path / "run" / "last.pt").exists()
        return {"val_loss": math.nan if bad else 1.0, "val_accuracy": 0.5}

    monkeypatch.setattr(loop, "train_epoch", spoil)
    monkeypatch.setattr(loop, "validate", validate)
    with pytest.raises(TrainingError, match=r"became .* in epoch 2; .*last\.pt keeps epoch 1"):
        fit(drawn, options, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "last.pt")["epoch"] == 1
    checkpoint.load_net(tmp_path / "run" / "last.pt")


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


def test_processes_share_each_batch_without_overlap():
    options = TrainOptions(batch=12, seed=5)
    alone = list(batches(40, options, 2, World(0, 1)))
    shares = [list(batches(40, options, 2, World(rank, 3))) for rank in range(3)]
    assert [len(batch) for batch in alone] == [12, 12, 12]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [4, 4, 4]
        assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_a_network_that_needs_two_images_gets_them_in_each_step_and_process(drawn, tmp_path, monkeypatch):
    """Its features have one pixel; 124 faces make three batches of 41, and one is left."""
    stages = (Stage("pooled", 1, 8, 1, 7), Stage("pooled", 1, 8, 1, 3))
    monkeypatch.setitem(ARCHITECTURES, "narrow", Architecture(stem=8, stages=stages, head=0))
    assert len(fit(drawn, replace(QUICK, model="narrow", epochs=1, batch=41), tmp_path)) == 1
    for batch, processes in ((1, 1), (3, 2)):
        monkeypatch.setattr(loop, "join_world", lambda device, size=processes: World(0, size))
        message = f"narrow needs at least 2 images .*; {batch} are too few for {processes}"
        with pytest.raises(TrainingError, match=message):
            fit(drawn, replace(QUICK, model="narrow", batch=batch), tmp_path)


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


def test_a_first_save_that_is_cut_off_can_be_gone_on_from(drawn, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    accuracies = iter([0.9, 0.5, 0.5] * 2)
    monkeypatch.setattr(loop, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(accuracies)})
    fit(drawn, QUICK, whole)
    saved = checkpoint.save

    def stop_at_best(path, state):
        if path.name == "best.pt":
            raise KeyboardInterrupt
        saved(path, state)

    monkeypatch.setattr(checkpoint, "save", stop_at_best)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn, QUICK, cut)
    assert [path.name for path in cut.iterdir()] == ["last.pt"]
    monkeypatch.setattr(checkpoint, "save", saved)
    fit(drawn, QUICK, cut, resume=True)
    one, two = checkpoint.load(whole / "best.pt"), checkpoint.load(cut / "best.pt")
    assert one.keys() == two.keys()
    assert one["epoch"] == two["epoch"] == 1
    assert all(torch.equal(one["ema"][key], two["ema"][key]) for key in one["ema"])


def test_resume_with_other_images_or_from_best_is_refused(drawn, tmp_path):
    options = TrainOptions(model="tiny", epochs=1, batch=70)
    fit(drawn, options, tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="training images differ"):
        fit(replace(drawn, faces=255 - drawn.faces), options, tmp_path, resume=True)
    (tmp_path / "last.pt").write_bytes((tmp_path / "best.pt").read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match=r"only last\.pt"):
        fit(drawn, options, tmp_path, resume=True)
