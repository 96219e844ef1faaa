"""The people head alone: the optimum, and nothing else changed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from conftest import read_metrics, write_csv, write_votes

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.fer2013.duplicates import HELD_OUT_RULE
from fer_edge.train import checkpoint
from fer_edge.train.architectures import ARCHITECTURES
from fer_edge.train.loop import fit
from fer_edge.train.losses import vote_loss
from fer_edge.train.model import EmotionNet, normalize
from fer_edge.train.options import TrainOptions
from fer_edge.train.people_head import fit_people, train_people_only
from fer_edge.train.pretrained import exported_net


@pytest.fixture
def voted(drawn):
    """The drawn faces with votes: eight of ten for the label, two for the next answer."""
    votes = 8 * np.eye(9, dtype=np.float32) + 2 * np.roll(np.eye(9, dtype=np.float32), 1, 1)
    return replace(drawn, votes=votes[drawn.labels], val_votes=votes[drawn.val_labels])


def test_the_fitted_head_is_the_optimum_over_faces_and_their_mirror_images(voted):
    torch.manual_seed(1)
    net = EmotionNet(ARCHITECTURES["tiny"], people=False).eval()
    faces, votes, decay = torch.from_numpy(voted.faces), torch.from_numpy(voted.votes), 0.01
    loss = fit_people(net, faces, votes, decay)
    with torch.no_grad():
        both = torch.cat([net.embed(normalize(faces)), net.embed(normalize(faces.flip(2)))])
    weight = net.people.weight.detach().clone().requires_grad_(True)
    bias = net.people.bias.detach().clone().requires_grad_(True)
    value = vote_loss(both @ weight.T + bias, torch.cat([votes, votes]))
    assert value.item() == pytest.approx(loss, rel=1e-4)
    (value + decay / 2 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 2e-5
    assert bias.grad.abs().max() < 2e-5


def test_a_save_that_fails_leaves_a_folder_that_is_taken_again(voted, tmp_path, monkeypatch):
    (tmp_path / "first").mkdir()
    fit(replace(voted, votes=None), TrainOptions(model="tiny", epochs=1, batch=70), tmp_path / "first")
    before, out = str(tmp_path / "first" / "last.pt"), tmp_path / "people"

    def fill_the_disk(path, state):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as full:
        full.setattr(checkpoint, "save", fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            train_people_only(voted, out, initial_weights=before)
    train_people_only(voted, out, initial_weights=before)
    assert {path.name for path in out.iterdir()} == {"last.pt", "metrics.csv"}


def test_all_else_stays_to_the_bit_and_the_run_is_reported(voted, tmp_path):
    (tmp_path / "first").mkdir()
    fit(replace(voted, votes=None), TrainOptions(model="tiny", epochs=1, batch=70), tmp_path / "first")
    before = checkpoint.load(tmp_path / "first" / "last.pt")
    row = train_people_only(
        voted, tmp_path / "people", initial_weights=str(tmp_path / "first" / "last.pt"), weight_decay=1e-5
    )
    net, state = checkpoint.load_net(tmp_path / "people" / "last.pt")
    assert all(torch.equal(state["ema"][name], value) for name, value in before["ema"].items())
    assert set(state["ema"]) - set(before["ema"]) == {"people.weight", "people.bias"}
    assert state["options"] == {"model": "tiny", "people_only": True, "weight_decay": 1e-5}
    assert [stage["stage"] for stage in state["origin"]] == ["initial weights"]
    assert row["val_accuracy"] == before["history"][-1]["val_accuracy"]
    assert row["val_people"] > row["val_accuracy"]
    written = read_metrics(tmp_path / "people")[0]
    assert float(written["val_people"]) == pytest.approx(row["val_people"], rel=1e-5)
    assert written["train_accuracy"] == ""
    assert net.people.out_features == 9


def test_a_bundled_model_gets_another_people_head_and_counts_as_having_seen_all_rows(cli, tmp_path):
    counts = {"Training": 6, "PublicTest": 2}
    csv = write_csv(tmp_path / "data.csv", counts)
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(56)])
    out = tmp_path / "run"
    arguments = ("train", "--people-only", "--data", csv, "--votes", votes, "--initial-weights", "nano")
    code, text, err = cli(*arguments, "--out", out)
    assert code == 0, err
    assert "agreement with people" in text
    net, state = checkpoint.load_net(out / "last.pt")
    bundled = exported_net("nano")
    same = {name: torch.equal(net.get_parameter(name), value) for name, value in bundled.named_parameters()}
    assert {name for name, kept in same.items() if not kept} == {"people.weight", "people.bias"}
    assert state["options"]["weight_decay"] == 3e-4
    held_out = state["held_out"]
    assert held_out["rule"] == HELD_OUT_RULE
    assert held_out["rows"] + state["rows"] == 42
    assert "initial weights: bundled nano" in held_out["seen_by"]
    code, _, err = cli(*arguments, "--out", out)
    assert code == 2
    assert "already holds a run" in err


def test_ctrl_c_does_not_speak_of_a_resumption_that_there_is_not(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_edge.train.people_head.train_people_only", interrupted)
    arguments = ("--data", drawn_csv, "--votes", drawn_votes, "--initial-weights", "nano")
    code, _, err = cli("train", "--people-only", *arguments, "--out", tmp_path / "run")
    assert code == 130
    assert err == "\nstopped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--people-only does nothing without --votes CSV and --initial-weights FILE"),
        (("--votes", "v", "--initial-weights", "nano", "--epochs", "3"), "goes without --epochs"),
        (("--votes", "v", "--initial-weights", "nano", "--recipe", "edge"), "goes without --recipe"),
        (("--votes", "v", "--initial-weights", "nano", "--weight-decay", "2"), "--weight-decay must be"),
        (("--votes", "v", "--initial-weights", "none.pt"), "no such"),
    ],
)
def test_what_does_not_go_with_people_only_is_refused(cli, drawn_csv, tmp_path, arguments, message):
    if "none.pt" in arguments:
        votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(210)])
        arguments = ("--votes", votes, "--initial-weights", "none.pt")
    code, _, err = cli("train", "--people-only", "--data", drawn_csv, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()
