"""Recipes: every stage, resuming between and within stages, rounding, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train import checkpoint, loop, recipe
from fer_edge.train.beginning import exported_net
from fer_edge.train.data import load_training_data
from fer_edge.train.distill import load_logits, teaching
from fer_edge.train.loop import TrainOptions, fit, predict_logits, validate
from fer_edge.train.model import ARCHITECTURES, EmotionNet
from fer_edge.train.rounding import Rounding, folded_tensors, rounded_net

import fer_edge

BRIEF = TrainOptions(model="nano", epochs=2, batch=35, warmup=0.2, ema=0.8)
RECIPE = recipe.Recipe(
    teachers=(replace(BRIEF, model="edge", epochs=1),),
    beginning=None,
    student=BRIEF,
    settling=replace(BRIEF, epochs=1, learning_rate=0.01),
    rounding=replace(BRIEF, epochs=1, learning_rate=0.002),
)


@pytest.fixture(scope="module")
def drawn(drawn_csv):
    return load_training_data(drawn_csv)[0]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trained(drawn, tmp_path):
    """A nano network with batch statistics of its own."""
    fit(drawn, replace(BRIEF, epochs=3), tmp_path)
    return checkpoint.load_net(tmp_path / "best.pt")[0]


def test_folded_network_answers_as_before(drawn, trained):
    faces = torch.from_numpy(drawn.val_faces)
    folded = EmotionNet.from_folded(trained.architecture, folded_tensors(trained)).eval()
    torch.testing.assert_close(
        predict_logits(folded, faces), predict_logits(trained, faces), atol=1e-4, rtol=1e-4
    )


def test_rounded_network_computes_in_few_steps(drawn, trained):
    rounded = rounded_net(trained, drawn.faces)
    faces = torch.from_numpy(drawn.val_faces)
    exact, coarse = predict_logits(trained, faces), predict_logits(rounded, faces)
    assert not torch.equal(exact, coarse)
    assert (exact - coarse).abs().max() < 0.2 * exact.abs().max()
    seen = []
    last = rounded.features[-1]
    last.register_forward_hook(lambda module, inputs, output: seen.append(output))
    predict_logits(rounded, faces)
    assert seen[0].unique().numel() <= 256
    assert not any(module.measuring for module in rounded.modules() if isinstance(module, Rounding))


def test_rounded_network_predicts_the_int8_file_better_than_the_exact_one(
    drawn, trained, drawn_csv, tmp_path
):
    """What is trained with has to be what is exported: logits of the file are closer to the rounded net's."""
    from fer_edge.export.pipeline import export

    run = tmp_path / "run"
    run.mkdir()
    fit(drawn, replace(BRIEF, epochs=1), run)
    net, _ = checkpoint.load_net(run / "best.pt")
    dataset = fer_edge.read_fer2013(drawn_csv)
    report = export(run / "best.pt", dataset, tmp_path / "model")
    held = dataset.pixels[dataset.usage == "PublicTest"]
    deployed = fer_edge.load_classifier(tmp_path / "model").predict_logits(held)
    exact = predict_logits(net, torch.from_numpy(held)).numpy() / report.temperature
    rounded = (
        predict_logits(rounded_net(net, drawn.faces), torch.from_numpy(held)).numpy() / report.temperature
    )
    assert np.abs(deployed - rounded).mean() < np.abs(deployed - exact).mean()


def test_training_a_rounded_network_keeps_an_ordinary_checkpoint(drawn, trained, tmp_path):
    out = tmp_path / "rounding"
    out.mkdir()
    start = rounded_net(trained, drawn.faces)
    before = start.features[1].block[0].conv.weight.detach().clone()
    fit(drawn, replace(BRIEF, learning_rate=0.002), out, start=start)
    assert not torch.equal(start.features[1].block[0].conv.weight, before)
    net, _ = checkpoint.load_net(out / "best.pt")
    assert set(net.state_dict()) == set(EmotionNet(ARCHITECTURES["nano"]).state_dict())
    faces, labels = torch.from_numpy(drawn.val_faces), torch.from_numpy(drawn.val_labels)
    assert validate(net, faces, labels)["val_loss"] < 5


def test_a_recipe_does_its_stages_and_records_them(drawn, tmp_path):
    results = recipe.follow(RECIPE, drawn, tmp_path, seed=4)
    assert [result.stage for result in results] == ["teacher-1", "student", "settling", "rounding"]
    assert load_logits(tmp_path / "teacher_logits.npz", drawn.faces).shape == (140, 7)
    record = json.loads((tmp_path / "recipe.json").read_text())
    assert record["seed"] == 4
    assert record["rows"] == {"training": 140, "validation": 35}
    assert record["versions"]["torch"] == torch.__version__
    assert [stage["options"]["epochs"] for stage in record["stages"]] == [1, 2, 1, 1]
    assert {stage["options"]["seed"] for stage in record["stages"]} == {4}
    final = checkpoint.load(tmp_path / "rounding" / "last.pt")
    assert [stage["stage"] for stage in final["origin"]] == ["teacher-1", "student", "settling"]


@pytest.mark.parametrize("missing", ["settling", "rounding"])
def test_a_recipe_may_do_without_its_last_stages(drawn, tmp_path, missing):
    results = recipe.follow(replace(RECIPE, **{missing: None}), drawn, tmp_path)
    stages = [stage for stage in ("teacher-1", "student", "settling", "rounding") if stage != missing]
    assert [result.stage for result in results] == stages
    assert not (tmp_path / missing).exists()


def test_an_interrupted_recipe_goes_on_to_the_same_result(drawn, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    longest = replace(RECIPE, beginning=BRIEF)
    recipe.follow(longest, drawn, whole)

    stops = {("teacher-1", 1), ("beginning", 1), ("student", 1), ("settling", 1), ("rounding", 1)}

    def stop_once(stage, history):
        if (stage, len(history)) in stops:
            stops.remove((stage, len(history)))
            raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            recipe.follow(longest, drawn, parts, report=stop_once)
    recipe.follow(longest, drawn, parts, report=stop_once)
    one, two = (checkpoint.load(run / "rounding" / "last.pt")["ema"] for run in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert json.loads((whole / "recipe.json").read_text()) == json.loads((parts / "recipe.json").read_text())


def test_what_a_recipe_recorded_survives_a_refusal_and_a_further_interruption(drawn, tmp_path):
    recipe.follow(RECIPE, drawn, tmp_path, seed=4)
    record = tmp_path / "recipe.json"
    before = record.read_text()
    others = TrainOptions(model="edge", epochs=1, batch=35)
    for changed, given, message in (
        (RECIPE, {"seed": 5}, "was begun with --seed 4"),
        (replace(RECIPE, student=others), {"seed": 4}, "was begun with --recipe nano"),
    ):
        with pytest.raises(fer_edge.DataError, match=message):
            recipe.follow(changed, drawn, tmp_path, **given)
        assert record.read_text() == before
    with pytest.raises(checkpoint.CheckpointError, match="images differ"):
        recipe.follow(RECIPE, replace(drawn, faces=255 - drawn.faces), tmp_path, seed=4)
    assert record.read_text() == before
    longer = replace(RECIPE, rounding=replace(BRIEF, epochs=2, learning_rate=0.002))
    with pytest.raises(checkpoint.CheckpointError, match="epochs was 1, now 2"):
        recipe.follow(longer, drawn, tmp_path, seed=4)
    assert record.read_text() == before


def test_a_recipes_damaged_record_is_named(drawn, tmp_path):
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(fer_edge.DataError, match=r"recipe\.json: not the record of a recipe"):
        recipe.follow(RECIPE, drawn, tmp_path)


def test_a_recipe_tells_of_a_missing_teachers_package_before_it_begins(drawn, tmp_path, monkeypatch):
    from fer_edge.train import beginning

    monkeypatch.setattr(beginning, "_PACKAGE", "no_such_package_of_faces")
    faces = replace(RECIPE, teachers=(replace(BRIEF, model="face-teacher"),))
    with pytest.raises(fer_edge.MissingExtraError, match=r"fer-edge\[teacher\]"):
        recipe.follow(faces, drawn, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recipe_hands_on_the_last_epoch_of_each_stage(drawn, tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.8, 0.7, 0.6, 0.5])
    monkeypatch.setattr(loop, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(accuracies)})
    results = recipe.follow(RECIPE, drawn, tmp_path)
    assert [(result.epoch, result.val_accuracy) for result in results] == [
        (1, 0.9),
        (2, 0.7),
        (1, 0.6),
        (1, 0.5),
    ]
    final = checkpoint.load(tmp_path / "rounding" / "last.pt")
    assert [stage["val_accuracy"] for stage in final["origin"]] == [0.9, 0.7, 0.6]


def test_given_teachers_replace_the_recipes_own(drawn, tmp_path):
    recipe.follow(RECIPE, drawn, tmp_path / "first")
    stored = str(tmp_path / "first" / "teacher_logits.npz")
    results = recipe.follow(RECIPE, drawn, tmp_path / "second", teachers=(stored,))
    told = json.loads((tmp_path / "second" / "recipe.json").read_text())["stages"]
    assert [stage["stage"] for stage in told] == ["given teacher", "student", "settling", "rounding"]
    assert [result.stage for result in results] == ["student", "settling", "rounding"]
    first, second = (
        checkpoint.load(tmp_path / run / "rounding" / "last.pt")["ema"] for run in ("first", "second")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    teacher = str(tmp_path / "first" / "teacher-1" / "best.pt")
    recipe.follow(RECIPE, drawn, tmp_path / "third", teachers=(teacher, teacher))
    stages = json.loads((tmp_path / "third" / "recipe.json").read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["given teacher", "student", "settling", "rounding"]
    assert stages[0]["options"]["epochs"] == 1


def test_teachers_answer_live_where_the_recipe_says_so(drawn, tmp_path):
    lively = replace(RECIPE, student=replace(RECIPE.student, live_teachers=True))
    recipe.follow(lively, drawn, tmp_path / "live")
    stages = json.loads((tmp_path / "live" / "recipe.json").read_text())["stages"]
    assert [stage["options"]["live_teachers"] for stage in stages] == [False, True, True, True]
    assert not (tmp_path / "live" / "teacher_logits.npz").exists()
    recipe.follow(RECIPE, drawn, tmp_path / "stored")
    teacher = str(tmp_path / "live" / "teacher-1" / "best.pt")
    live, stored = (
        checkpoint.load(tmp_path / run / "student" / "last.pt")["ema"] for run in ("live", "stored")
    )
    assert not torch.equal(live["classifier.weight"], stored["classifier.weight"])
    logits = str(tmp_path / "stored" / "teacher_logits.npz")
    recipe.follow(lively, drawn, tmp_path / "given", teachers=(logits,))
    given = checkpoint.load(tmp_path / "given" / "student" / "last.pt")["ema"]
    assert all(torch.equal(given[key], stored[key]) for key in given)
    with pytest.raises(fer_edge.DataError, match="answers to plain images"):
        teaching(tmp_path, (teacher, logits), drawn.faces, live=True)


STILL = replace(BRIEF, epochs=1, learning_rate=1e-9, weight_decay=0.0, ema=0.0)
"""With a learning rate of almost nothing a student stays where it starts."""


def test_a_student_goes_on_from_its_beginning(drawn, tmp_path):
    recipe.follow(replace(RECIPE, beginning=BRIEF, student=STILL), drawn, tmp_path / "same")
    beginning, student = (
        checkpoint.load_net(tmp_path / "same" / stage / "last.pt")[0] for stage in ("beginning", "student")
    )
    torch.testing.assert_close(student.classifier.weight, beginning.classifier.weight)
    stages = json.loads((tmp_path / "same" / "recipe.json").read_text())["stages"]
    assert [stage["stage"] for stage in stages[:3]] == ["teacher-1", "beginning", "student"]
    recipe.follow(replace(RECIPE, student=STILL), drawn, tmp_path / "other")
    scratch, _ = checkpoint.load_net(tmp_path / "other" / "student" / "last.pt")
    assert scratch.architecture == ARCHITECTURES["nano"]
    assert not torch.allclose(scratch.classifier.weight, beginning.classifier.weight)


def test_a_student_begins_as_the_bundled_model_where_told(drawn, tmp_path):
    lively = replace(RECIPE, beginning=BRIEF, student=replace(STILL, live_teachers=True))
    results = recipe.follow(lively, drawn, tmp_path, teachers=("edge",), student_begins="nano")
    assert [result.stage for result in results] == ["student", "settling", "rounding"]
    student, _ = checkpoint.load_net(tmp_path / "student" / "last.pt")
    bundled = exported_net("nano")
    torch.testing.assert_close(student.classifier.weight, bundled.classifier.weight)
    stages = json.loads((tmp_path / "recipe.json").read_text())["stages"]
    names = [stage["stage"] for stage in stages]
    assert "given teacher: bundled edge" in names
    assert names[-4:] == ["given beginning: bundled nano", "student", "settling", "rounding"]


def test_a_student_begins_as_one_that_was_trained_with_rounding(drawn, tmp_path):
    """Its batch norms are folded, and live batches have other statistics than none."""
    recipe.follow(RECIPE, drawn, tmp_path / "first")
    rounded = tmp_path / "first" / "rounding" / "last.pt"
    still = replace(RECIPE, student=STILL)
    logits = str(tmp_path / "first" / "teacher_logits.npz")
    recipe.follow(still, drawn, tmp_path / "second", teachers=(logits,), student_begins=str(rounded))
    faces = torch.from_numpy(drawn.val_faces)
    before, after = (
        predict_logits(checkpoint.load_net(path)[0], faces)
        for path in (rounded, tmp_path / "second" / "student" / "last.pt")
    )
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("edge", "not of the architecture 'nano'"),
        ("answers.npz", "want a checkpoint"),
        ("none.pt", "no such checkpoint"),
    ],
)
def test_what_a_student_cannot_begin_with_is_told_before_teachers_are_trained(drawn, tmp_path, name, message):
    with pytest.raises(fer_edge.FerEdgeError, match=message):
        recipe.follow(RECIPE, drawn, tmp_path / "run", student_begins=name)
    assert not (tmp_path / "run").exists()


def test_a_recipe_goes_on_only_with_what_it_was_begun_with(drawn, tmp_path):
    def stop(stage, history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.follow(RECIPE, drawn, tmp_path, student_begins="nano", report=stop)
    for given, message in (
        ({}, "was begun with --beginning nano"),
        ({"student_begins": "nano", "teachers": ("edge",)}, "was begun without --teacher"),
    ):
        with pytest.raises(fer_edge.DataError, match=message):
            recipe.follow(RECIPE, drawn, tmp_path, **given)
    results = recipe.follow(RECIPE, drawn, tmp_path, student_begins="nano")
    assert [result.stage for result in results] == ["teacher-1", "student", "settling", "rounding"]


def test_a_students_former_self_answers_live_where_the_recipe_says_so(drawn, tmp_path, monkeypatch):
    asked = []

    def watch(out, teachers, *arguments, **options):
        asked.append([Path(teacher).parent.name for teacher in teachers])
        return teaching(out, teachers, *arguments, **options)

    monkeypatch.setattr(recipe, "teaching", watch)
    lively = replace(RECIPE, beginning=BRIEF, student=replace(STILL, live_teachers=True))
    for answers in (True, False):
        recipe.follow(replace(lively, former_self_answers=answers), drawn, tmp_path / str(answers))
    assert asked == [["teacher-1", "beginning"], ["teacher-1"]]


def test_train_command_follows_a_recipe_exports_and_resumes(cli, drawn_csv, tmp_path, monkeypatch):
    monkeypatch.setitem(recipe.RECIPES, "nano", RECIPE)
    out = tmp_path / "nano"
    arguments = ("train", "--recipe", "nano", "--data", drawn_csv, "--out", out, "--threads", 1)
    code, text, err = cli(*arguments)
    # Three epochs on cartoons need not survive the export's check of accuracy.
    assert code == 0 or "points (at most" in err, err
    assert "student  epoch 2/2" in text
    assert "rounding: validation accuracy" in text
    if code == 0:
        log = (out / "model" / "nano-training.csv").read_text().splitlines()
        assert log[0].startswith("stage,epoch,learning_rate,")
        assert [line.split(",")[:2] for line in log[1:3]] == [["teacher-1", "1"], ["student", "1"]]
        manifest = json.loads((out / "model" / "manifest.json").read_text())
        origin = manifest["models"]["nano"]["origin"]
        assert [stage["stage"] for stage in origin] == ["teacher-1", "student", "settling"]
    code, _, err = cli(*arguments)
    assert code == 2
    assert "already holds a run" in err
    code, text, _ = cli(*arguments, "--resume")
    assert "epoch 1/" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "mega"), "known are edge, nano"),
        (("--recipe", "edge", "--epochs", "3"), "goes without --epochs"),
        (("--recipe", "edge", "--model", "nano"), "goes without --model"),
        (("--recipe", "edge", "--resume"), "no stage of a recipe"),
        (("--recipe", ""), "argument --recipe: must not be empty"),
        (("--recipe", "edge", "--detect"), "--detect does nothing without --faces DIR"),
        (("--recipe", "edge", "--poor-camera"), "goes without --poor-camera"),
        (("--recipe", "nano", "--beginning", "edge"), "not of the architecture 'nano'"),
        (("--recipe", "nano", "--beginning", "none.pt"), "no such checkpoint"),
    ],
)
def test_recipe_options_that_do_not_go_together_are_refused(cli, drawn_csv, tmp_path, arguments, message):
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
