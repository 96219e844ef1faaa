"""Names of earlier versions: still accepted, and each noted once on stderr with its current name."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.train import checkpoint
from fer_edge.train.loop import fit
from fer_edge.train.options import TrainOptions
from fer_edge.train.provenance import describe
from fer_edge.train.renamed import RenamedWarning

FORMER = {
    "label_smoothing": "smoothing",
    "augmentation_decay_start": "calm",
    "augmentation_floor": "calm_strength",
}
BRIEF = TrainOptions(model="tiny", epochs=2, batch=70, label_smoothing=0.2, augmentation_floor=0.3)


def with_former_names(options):
    return {FORMER.get(name, name): value for name, value in options.items()}


def write_former(path):
    """Make a checkpoint what version 0.1 would have written."""
    state = checkpoint.load(path)
    del state["format"]
    state["options"] = with_former_names(state["options"])
    stages = {"pretraining": "beginning"}
    state["stage"] = stages.get(state["stage"], state["stage"])
    for stage in state["origin"]:
        stage["options"] = with_former_names(stage["options"])
        stage["stage"] = stages.get(stage["stage"], stage["stage"]).replace(
            "initial weights", "given beginning"
        )
    checkpoint.save(path, state)
    assert {"smoothing", "calm", "calm_strength"} <= torch.load(path, weights_only=True)["options"].keys()


@pytest.fixture
def former_run(drawn, tmp_path):
    """A run of two epochs that version 0.1 wrote."""
    out = tmp_path / "former"
    out.mkdir()
    fit(drawn, BRIEF, out)
    for name in ("last.pt", "best.pt"):
        write_former(out / name)
    return out


def test_a_former_checkpoint_has_current_names_once_read(former_run):
    with pytest.warns(RenamedWarning, match=r"last\.pt: .*smoothing is now called label_smoothing"):
        options = checkpoint.load(former_run / "last.pt")["options"]
    assert TrainOptions(**{**options, "augmentation": BRIEF.augmentation}) == BRIEF


def test_a_current_checkpoint_is_read_without_a_note(drawn, tmp_path):
    fit(drawn, BRIEF, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RenamedWarning)
        checkpoint.load(tmp_path / "last.pt")


def test_a_run_with_an_option_that_is_gone_is_resumed_where_it_changed_nothing(drawn, tmp_path):
    fit(drawn, replace(BRIEF, epochs=1), tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    state["options"]["vote_share"] = 0.35
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(checkpoint.CheckpointError, match=r"vote_share was 0\.35, an option that"):
        fit(drawn, replace(BRIEF, epochs=1), tmp_path, resume=True)
    state["options"]["vote_share"] = 0.0
    torch.save(state, tmp_path / "last.pt")
    assert len(fit(drawn, replace(BRIEF, epochs=1), tmp_path, resume=True)) == 1


def test_a_former_run_is_resumed_and_says_so_once(cli, drawn, drawn_csv, tmp_path):
    out = tmp_path / "run"
    arguments = (
        *("train", "--data", drawn_csv, "--out", out, "--model", "nano", "--epochs", 1, "--batch", 70),
        *("--initial-weights", "nano", "--label-smoothing", 0.2, "--augmentation-floor", 0.3),
    )
    code, _, err = cli(*arguments)
    assert code == 0, err
    assert "is now called" not in err
    origin = checkpoint.load(out / "last.pt")["origin"]
    write_former(out / "last.pt")
    code, _, err = cli(*arguments, "--resume")
    assert code == 0, err
    assert err.count("smoothing is now called label_smoothing") == 1
    assert "fer-edge: " in err
    with pytest.warns(RenamedWarning):
        assert checkpoint.load(out / "last.pt")["origin"] == origin


def test_former_checkpoints_teach_and_are_begun_with(cli, drawn_csv, former_run, tmp_path):
    out = tmp_path / "run"
    arguments = ("train", "--data", drawn_csv, "--out", out, "--model", "tiny", "--epochs", 1, "--batch", 70)
    last, best = former_run / "last.pt", former_run / "best.pt"
    code, _, err = cli(*arguments, "--teacher", last, "--initial-weights", best)
    assert code == 0, err
    assert err.count("is now called label_smoothing") == 2  # one of each file
    for stage in checkpoint.load(out / "last.pt")["origin"]:
        assert stage["options"]["label_smoothing"] == 0.2
        assert not set(FORMER.values()) & stage["options"].keys()


def test_stored_logits_of_former_teachers_are_taken_for_theirs(drawn, former_run, tmp_path):
    from fer_edge.train.distill import prepare_teachers, teacher_answers
    from fer_edge.train.logits_file import LOGITS_NAME, Answers, save_answers

    teacher = str(former_run / "last.pt")
    with pytest.warns(RenamedWarning):
        told = describe([teacher])
        logits = teacher_answers([teacher], drawn.faces)
    for stage in told:
        stage["options"] = with_former_names(stage["options"])
    save_answers(tmp_path / LOGITS_NAME, Answers(logits.fer2013 + 1), drawn.faces, told)
    with pytest.warns(RenamedWarning):
        answers = prepare_teachers(tmp_path, [teacher], drawn.faces)
    assert (answers.fer2013 == logits.fer2013 + 1).all()


def test_the_bundled_models_are_told_under_current_names_and_without_a_note():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RenamedWarning)
        stages = describe(["edge", "nano"])
    assert len(stages) > 2
    for stage in stages:
        assert "label_smoothing" in stage["options"] or "people_only" in stage["options"]
        assert not set(FORMER.values()) & stage["options"].keys()
        assert "beginning" not in stage["stage"]


@pytest.mark.parametrize(
    ("former", "value", "current", "name"),
    [
        ("--smoothing", 0.25, "--label-smoothing", "label_smoothing"),
        ("--calm", 0.5, "--augmentation-decay-start", "augmentation_decay_start"),
        ("--calm-strength", 0.7, "--augmentation-floor", "augmentation_floor"),
    ],
)
def test_a_former_option_works_and_says_what_it_is_called(
    cli, drawn_csv, tmp_path, former, value, current, name
):
    arguments = ("train", "--data", drawn_csv, "--out", tmp_path, "--model", "tiny", "--epochs", 1)
    code, _, err = cli(*arguments, former, value)
    assert code == 0, err
    assert err.count(f"{former} is now called {current}") == 1
    assert checkpoint.load(tmp_path / "last.pt")["options"][name] == value


def test_beginning_is_initial_weights(cli, drawn_csv, tmp_path):
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path, "--beginning", "none.pt")
    assert code == 2
    assert "--beginning is now called --initial-weights" in err
    assert "none.pt: no such checkpoint" in err
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path, "--beginning", "")
    assert code == 2
    assert "must not be empty" in err


def test_help_tells_current_options_only(cli):
    _, text, _ = cli("train", "--help")
    assert "--initial-weights" in text
    for former in ("--beginning", "--calm", "--calm-strength", "--smoothing"):
        assert f"{former} " not in text
