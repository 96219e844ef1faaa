"""Recipes: every stage, resuming between and within stages, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

import fer_edge
from fer_edge.errors import DataError
from fer_edge.export import pipeline
from fer_edge.export.parity import CalibrationError, ExportReport, Parity
from fer_edge.fer2013.reader import read_fer2013
from fer_edge.fer2013.votes import read_votes
from fer_edge.train import bank, checkpoint, dlib_weights, epoch, loop, recipe
from fer_edge.train.distributed import World
from fer_edge.train.divergence import TrainingError
from fer_edge.train.finetune import frozen_net
from fer_edge.train.logits_file import Answers, load_answers, save_answers
from fer_edge.train.loop import fit
from fer_edge.train.options import Augmentation, TrainOptions, make_options
from fer_edge.train.pretrained import exported_net
from fer_edge.train.recipe_record import RecipeRecord
from fer_edge.train.validation import predict_heads

BRIEF = TrainOptions(model="tiny", epochs=2, batch=35, warmup=0.2, ema=0.8)
RECIPE = recipe.Recipe(
    teachers=(replace(BRIEF, model="tiny-teacher", epochs=1),),
    student=BRIEF,
)
NANO = replace(RECIPE, student=replace(RECIPE.student, model="nano"))
"""For what the bundled model is to begin."""


def test_a_recipe_does_its_stages_and_records_them(drawn, tmp_path):
    results = recipe.follow(RECIPE, drawn, tmp_path, seed=4)
    assert [result.stage for result in results] == ["teacher-1", "student"]
    assert load_answers(tmp_path / "teacher_logits.npz", drawn.faces).fer2013.shape == (124, 7)
    record = json.loads((tmp_path / "recipe.json").read_text())
    assert record["seed"] == 4
    assert record["rows"] == {"training": 124, "validation": 35}
    assert record["versions"]["torch"] == torch.__version__
    assert [stage["options"]["epochs"] for stage in record["stages"]] == [1, 2]
    assert {stage["options"]["seed"] for stage in record["stages"]} == {4}
    final = checkpoint.load(tmp_path / "student" / "last.pt")
    assert [stage["stage"] for stage in final["origin"]] == ["teacher-1"]


def test_an_interrupted_recipe_goes_on_to_the_same_result(drawn, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    two_teachers = replace(RECIPE, teachers=2 * RECIPE.teachers)
    recipe.follow(two_teachers, drawn, whole)

    stops = {("teacher-1", 1), ("teacher-2", 1), ("student", 1)}

    def stop_once(stage, history):
        if (stage, len(history)) in stops:
            stops.remove((stage, len(history)))
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            recipe.follow(two_teachers, drawn, parts, report=stop_once)
    recipe.follow(two_teachers, drawn, parts, report=stop_once)
    one, two = (checkpoint.load(run / "student" / "last.pt")["ema"] for run in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert json.loads((whole / "recipe.json").read_text()) == json.loads((parts / "recipe.json").read_text())


def test_what_a_recipe_recorded_survives_a_refusal_and_a_further_interruption(drawn, tmp_path):
    recipe.follow(RECIPE, drawn, tmp_path, seed=4)
    record = tmp_path / "recipe.json"
    before = record.read_text()
    others = TrainOptions(model="nano", epochs=1, batch=35)
    for changed, given, message in (
        (RECIPE, {"seed": 5}, "was begun with --seed 4"),
        (replace(RECIPE, student=others), {"seed": 4}, "was begun with --recipe tiny"),
    ):
        with pytest.raises(fer_edge.DataError, match=message):
            recipe.follow(changed, drawn, tmp_path, **given)
        assert record.read_text() == before
    with pytest.raises(checkpoint.CheckpointError, match="images differ"):
        recipe.follow(RECIPE, replace(drawn, faces=255 - drawn.faces), tmp_path, seed=4)
    assert record.read_text() == before
    longer = replace(RECIPE, student=replace(RECIPE.student, epochs=3))
    with pytest.raises(checkpoint.CheckpointError, match="epochs was 2, now 3"):
        recipe.follow(longer, drawn, tmp_path, seed=4)
    assert record.read_text() == before


@pytest.mark.parametrize("stage", ["beginning", "pretraining", "settling"])
def test_a_recipe_of_an_earlier_version_with_other_stages_is_refused(drawn, tmp_path, stage):
    recipe.follow(RECIPE, drawn, tmp_path)
    (tmp_path / "student").rename(tmp_path / stage)
    message = f"begun by an earlier version of fer-edge, whose recipe had a stage '{stage}'"
    with pytest.raises(fer_edge.DataError, match=message):
        recipe.follow(RECIPE, drawn, tmp_path)


def test_a_recipes_damaged_record_is_named(drawn, tmp_path):
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(fer_edge.DataError, match=r"recipe\.json: not the record of a recipe"):
        recipe.follow(RECIPE, drawn, tmp_path)


@pytest.mark.parametrize(("key", "kind"), [("given", "object"), ("stages", "array")])
def test_a_part_of_a_recipes_record_that_is_damaged_is_named(drawn, tmp_path, key, kind):
    recipe.follow(RECIPE, drawn, tmp_path)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: None}))
    with pytest.raises(fer_edge.DataError, match=rf"recipe\.json: damaged; '{key}' is not a JSON {kind}"):
        recipe.follow(RECIPE, drawn, tmp_path)


def test_a_recipe_tells_of_a_missing_teachers_package_before_it_begins(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(dlib_weights, "_PACKAGE", "no_such_package_of_faces")
    faces = replace(RECIPE, teachers=(replace(BRIEF, model="face-teacher"),))
    with pytest.raises(fer_edge.MissingExtraError, match=r"fer-edge\[teacher\]"):
        recipe.follow(faces, drawn, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recipe_hands_on_the_last_epoch_of_each_stage(drawn, tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(loop, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(accuracies)})
    results = recipe.follow(RECIPE, drawn, tmp_path)
    assert [(result.epoch, result.val_accuracy) for result in results] == [(1, 0.9), (2, 0.7)]
    final = checkpoint.load(tmp_path / "student" / "last.pt")
    assert [stage["val_accuracy"] for stage in final["origin"]] == [0.9]


BANKED = replace(
    RECIPE,
    student=replace(BRIEF, epochs=8, bank=2),
    shares={"teacher-1": 0.25, "student": 0.75},
)


def test_a_recipe_with_votes_a_bank_and_a_budget_hands_weights_on_in_pieces(drawn, clock, tmp_path):
    clock.takes(epoch, "learning_rate", 0.1)
    clock.takes(bank, "mean_answers", 0.2)
    votes = 10 * np.eye(9, dtype=np.float32)
    data = replace(drawn, votes=votes[drawn.labels], val_votes=votes[drawn.val_labels])
    results = recipe.follow(BANKED, data, tmp_path, minutes=10 / 60, piece_bytes=15_000)
    assert clock.passed <= 10
    assert all(0 <= result.val_people <= 1 for result in results)
    spent = {
        stage: sum(row["seconds"] for row in checkpoint.load(tmp_path / stage / "last.pt")["history"])
        for stage in ("teacher-1", "student")
    }
    assert 2 < spent["teacher-1"] <= 0.25 * 9.2
    assert 6 < spent["student"] <= 0.75 * 9.2
    student, state = checkpoint.load_net(tmp_path / "carry" / "student.pt")
    assert state["held_out"]["seen_by"] == []
    whole, _ = checkpoint.load_net(tmp_path / "student" / "last.pt")
    torch.testing.assert_close(student.people.weight, whole.people.weight, rtol=1e-3, atol=1e-4)
    assert len(list((tmp_path / "carry").glob("teacher-1.pt.*of*"))) > 1
    record = json.loads((tmp_path / "recipe.json").read_text())
    assert record["stages"][1]["options"]["minutes"] == pytest.approx(0.75 * 0.92 * 10 / 60)
    with pytest.raises(fer_edge.DataError, match=r"was begun with --minutes 0\.1"):
        recipe.follow(BANKED, data, tmp_path)
    # What is finished is not repeated.
    again = recipe.follow(BANKED, data, tmp_path, minutes=10 / 60)
    assert [result.epoch for result in again] == [result.epoch for result in results]


def test_a_bank_for_which_there_was_little_time_is_told_and_recorded(drawn, clock, tmp_path, capsys):
    """A view takes two batches, 0.4 s; a quarter of the student's time, 1.7 s, is enough for four."""
    clock.takes(epoch, "learning_rate", 0.1)
    clock.takes(bank, "mean_answers", 0.2)
    wanted = replace(BANKED, student=replace(BANKED.student, bank=16))
    recipe.follow(wanted, drawn, tmp_path, minutes=10 / 60)
    assert "bank: 4 of 16 views" in capsys.readouterr().err
    teacher, student = json.loads((tmp_path / "recipe.json").read_text())["stages"]
    assert (student["options"]["bank"], student["bank_views"]) == (16, 4)
    assert "bank_views" not in teacher
    assert checkpoint.load(tmp_path / "student" / "last.pt")["bank_views"] == 4


def test_an_interrupted_student_of_a_bank_goes_on_to_the_same_result(drawn, tmp_path):
    short = replace(BANKED, student=replace(BANKED.student, epochs=2))
    recipe.follow(short, drawn, tmp_path / "whole")

    def stop(stage, history):
        if stage == "student" and len(history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.follow(short, drawn, tmp_path / "parts", report=stop)
    recipe.follow(short, drawn, tmp_path / "parts")
    one, two = (checkpoint.load(tmp_path / run / "student" / "last.pt")["ema"] for run in ("whole", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", ["edge", "nano"])
def test_the_recipes_of_the_bundled_models_begin_with_nothing_of_them(name):
    shipped = recipe.RECIPES[name]
    models = [options.model for options in shipped.teachers]
    assert models == ["vgg", "resnet18", "efficientnet", "face-teacher"]
    assert shipped.student.model == name
    assert sum(shipped.shares.values()) == pytest.approx(1)
    stages = [f"teacher-{number}" for number in range(1, 5)] + ["student"]
    assert sum(shipped.minutes(10.0, stages).values()) == pytest.approx(9.2)
    assert shipped.minutes(10.0, ["student"]) == {"student": pytest.approx(9.2)}
    small = shipped.on("cpu").student
    assert (small.batch, shipped.student.batch) == (128, 512)
    assert small.learning_rate < shipped.student.learning_rate
    for options in (*shipped.teachers, shipped.student, small):
        make_options({key: value for key, value in vars(options).items() if key != "augmentation"})


SMALL = replace(RECIPE, student=replace(BRIEF, ema=0.7), student_on_cpu={"batch": 31})


def _batches(run):
    return [
        checkpoint.load(run / stage / "last.pt")["options"]["batch"] for stage in ("teacher-1", "student")
    ]


def test_a_student_has_other_options_where_there_is_no_gpu(drawn, tmp_path):
    recipe.follow(SMALL, drawn, tmp_path)
    assert _batches(tmp_path) == [35, 31]
    assert json.loads((tmp_path / "recipe.json").read_text())["device"] == "cpu"


@pytest.mark.parametrize("begun_by", ["a GPU", "a version that knew one set of options"])
def test_a_folder_that_was_begun_on_a_gpu_keeps_its_options_on_a_cpu(drawn, tmp_path, begun_by):
    def stop(stage, history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.follow(SMALL, drawn, tmp_path, report=stop)
    path = tmp_path / "recipe.json"
    record = json.loads(path.read_text())
    del record["device"]
    path.write_text(json.dumps({**record, **({"device": "cuda"} if begun_by == "a GPU" else {})}))
    for _ in range(2):  # the second time there is nothing left to do
        recipe.follow(SMALL, drawn, tmp_path)
        assert _batches(tmp_path) == [35, 35]
        assert json.loads(path.read_text())["device"] == "cuda"


def test_a_recipe_can_do_without_some_of_its_teachers():
    less = recipe.RECIPES["edge"].without(["vgg", "face-teacher"])
    assert [options.model for options in less.teachers] == ["resnet18", "efficientnet"]
    assert less.shares == {"teacher-1": 0.24, "teacher-2": 0.12, "student": 0.4}
    assert recipe.RECIPES["edge"].without([]) == recipe.RECIPES["edge"]
    with pytest.raises(fer_edge.DataError, match="'teacher' is no teacher of this recipe; it has vgg"):
        recipe.RECIPES["edge"].without(["teacher"])
    with pytest.raises(fer_edge.DataError, match="no teacher is left"):
        RECIPE.without(["tiny-teacher"])


def test_given_teachers_replace_the_recipes_own(drawn, tmp_path):
    recipe.follow(RECIPE, drawn, tmp_path / "first")
    stored = str(tmp_path / "first" / "teacher_logits.npz")
    results = recipe.follow(RECIPE, drawn, tmp_path / "second", teachers=(stored,))
    told = json.loads((tmp_path / "second" / "recipe.json").read_text())["stages"]
    assert [stage["stage"] for stage in told] == ["given teacher", "student"]
    assert [result.stage for result in results] == ["student"]
    first, second = (
        checkpoint.load(tmp_path / run / "student" / "last.pt")["ema"] for run in ("first", "second")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    teacher = str(tmp_path / "first" / "teacher-1" / "best.pt")
    recipe.follow(RECIPE, drawn, tmp_path / "third", teachers=(teacher, teacher))
    stages = json.loads((tmp_path / "third" / "recipe.json").read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["given teacher", "student"]
    assert stages[0]["options"]["epochs"] == 1


STILL = replace(BRIEF, epochs=1, learning_rate=1e-9, weight_decay=0.0, ema=0.0)
"""With a learning rate of almost nothing a student stays where it starts."""


def test_a_student_begins_as_the_bundled_model_where_told(drawn, tmp_path):
    still = replace(NANO, student=replace(STILL, model="nano"))
    results = recipe.follow(still, drawn, tmp_path, teachers=("edge",), initial_weights="nano")
    assert [result.stage for result in results] == ["student"]
    student, _ = checkpoint.load_net(tmp_path / "student" / "last.pt")
    bundled = exported_net("nano")
    torch.testing.assert_close(student.classifier.weight, bundled.classifier.weight)
    stages = json.loads((tmp_path / "recipe.json").read_text())["stages"]
    names = [stage["stage"] for stage in stages]
    assert "given teacher: bundled edge" in names
    assert names[-2:] == ["initial weights: bundled nano", "student"]


def test_a_student_begins_as_one_that_was_fine_tuned(drawn, tmp_path):
    """Its batch norms are folded, and live batches have other statistics than none."""
    (tmp_path / "first").mkdir()
    tuning = TrainOptions(model="nano", epochs=1, batch=70, learning_rate=0.001)
    fit(drawn, tuning, tmp_path / "first", start=frozen_net("nano"))
    tuned = tmp_path / "first" / "last.pt"
    still = replace(NANO, student=replace(STILL, model="nano"))
    recipe.follow(still, drawn, tmp_path / "second", initial_weights=str(tuned))
    faces = torch.from_numpy(drawn.val_faces)
    before, after = (
        predict_heads(checkpoint.load_net(path)[0], faces).fer2013
        for path in (tuned, tmp_path / "second" / "student" / "last.pt")
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
        recipe.follow(NANO, drawn, tmp_path / "run", initial_weights=name)
    assert not (tmp_path / "run").exists()


def test_a_recipe_takes_its_folder_only_when_its_teachers_can_teach(drawn, tmp_path):
    answers = Answers(np.zeros((3, 7), np.float32))
    save_answers(tmp_path / "others.npz", answers, drawn.faces[:3], [])
    (tmp_path / "first").mkdir()
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path / "first")
    good = tmp_path / "first" / "last.pt"
    state = checkpoint.load(good)
    del state["format"], state["ema"]["classifier.bias"]
    checkpoint.save(tmp_path / "damaged.pt", state)
    for name, message in (("others.npz", "3 other training images"), ("damaged.pt", "damaged")):
        with pytest.raises(fer_edge.FerEdgeError, match=message):
            recipe.follow(RECIPE, drawn, tmp_path / "run", teachers=(str(good), str(tmp_path / name)))
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("processes", "minutes", "message"),
    [(2, 1.0, "--minutes goes with one process only"), (36, 0.0, "a batch of 35 cannot be shared by 36")],
)
def test_a_recipe_takes_its_folder_only_when_the_processes_can_share_its_work(
    drawn, tmp_path, monkeypatch, processes, minutes, message
):
    monkeypatch.setattr(recipe, "join_world", lambda device: World(0, processes))
    monkeypatch.setattr(World, "barrier", lambda self: None)
    with pytest.raises(TrainingError, match=message):
        recipe.follow(RECIPE, drawn, tmp_path / "run", minutes=minutes)
    assert not (tmp_path / "run").exists()


def test_a_recipe_goes_on_only_with_what_it_was_begun_with(drawn, tmp_path):
    def stop(stage, history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe.follow(NANO, drawn, tmp_path, initial_weights="nano", report=stop)
    for given, message in (
        ({}, "was begun with --initial-weights nano"),
        ({"initial_weights": "nano", "teachers": ("edge",)}, "was begun without --teacher"),
    ):
        with pytest.raises(fer_edge.DataError, match=message):
            recipe.follow(NANO, drawn, tmp_path, **given)
    results = recipe.follow(NANO, drawn, tmp_path, initial_weights="nano")
    assert [result.stage for result in results] == ["teacher-1", "student"]


def test_train_command_follows_a_recipe_exports_and_resumes(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    student = replace(BRIEF, epochs=3, batch=5, augmentation=Augmentation().scaled(0.2))
    monkeypatch.setitem(recipe.RECIPES, "nano", replace(RECIPE, student=student))
    out = tmp_path / "nano"
    arguments = ("train", "--recipe", "nano", "--data", drawn_csv, "--votes", drawn_votes, "--out", out)
    arguments += ("--threads", 1)
    code, text, err = cli(*arguments)
    assert code == 0, err
    assert "student  epoch 3/3" in text
    assert "student: validation accuracy" in text
    log = (out / "model" / "tiny-training.csv").read_text().splitlines()
    assert log[0].startswith("stage,epoch,learning_rate,")
    assert [line.split(",")[:2] for line in log[1:3]] == [["teacher-1", "1"], ["student", "1"]]
    manifest = json.loads((out / "model" / "manifest.json").read_text())
    assert manifest["models"]["tiny"]["balance_from"] == "rows of the check"
    origin = manifest["models"]["tiny"]["origin"]
    assert [stage["stage"] for stage in origin] == ["teacher-1"]
    assert fer_edge.load_classifier(out / "model").heads == ("people", "fer2013")
    code, _, err = cli(*arguments)
    assert code == 2
    assert "already holds a run" in err
    shorter = ("--no-export", "--minutes", "0.1", "--split-size", "1", "--out", tmp_path / "short")
    code, text, err = cli(*arguments[:-4], "--threads", 1, *shorter)
    assert code == 0, err
    assert f"fer-edge export-int8 {tmp_path / 'short' / 'student' / 'last.pt'}" in text
    assert (tmp_path / "short" / "carry" / "student.pt").exists()
    assert not (tmp_path / "short" / "model").exists()
    again = []
    report = ExportReport(
        "tiny", 70, {}, {}, None, {"tiny-int8.onnx": {"fer2013": Parity(0, 0, 1, 0)}}, {}, 0, {}
    )
    monkeypatch.setattr(
        pipeline, "export", lambda *given, **options: again.append((given, options)) or report
    )
    code, text, err = cli(*arguments, "--resume")
    assert code == 0, err
    assert "epoch 1/" not in text
    (trained, _, folder), options = again[0]
    assert (trained, folder, options["force"]) == (out / "student" / "last.pt", out / "model", True)
    assert options["votes"].shape == (210, 10)


def test_votes_of_an_npz_file_reach_the_export_of_a_recipe(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    dataset, votes = read_fer2013(drawn_csv), read_votes(drawn_votes)
    packed = tmp_path / "data.npz"
    labels = dataset.labels.astype(np.uint8)
    np.savez(packed, pixels=dataset.pixels, labels=labels, usage=dataset.usage, votes=votes)
    exported = []
    report = ExportReport(
        "edge", 70, {}, {}, None, {"edge-int8.onnx": {"fer2013": Parity(0, 0, 1, 0)}}, {}, 0, {}
    )
    monkeypatch.setattr(pipeline, "export", lambda *_, **options: exported.append(options) or report)
    done = [recipe.StageResult("student", 1, 0.5)]
    monkeypatch.setattr(recipe, "follow", lambda *arguments, **options: done)
    code, _, err = cli("train", "--recipe", "edge", "--data", packed, "--out", tmp_path / "run")
    assert code == 0, err
    np.testing.assert_array_equal(exported[0]["votes"], votes)
    code, text, _ = cli(
        *("train", "--recipe", "edge", "--data", packed, "--no-export", "--out", tmp_path / "run2")
    )
    last = tmp_path / "run2" / "student" / "last.pt"
    assert f"to export: fer-edge export-int8 {last} --calibration CSV --votes VOTES --out DIR" in text


def test_a_recipe_without_votes_names_the_command_that_runs_its_model(cli, drawn_csv, tmp_path, monkeypatch):
    report = ExportReport(
        "edge", 70, {}, {}, None, {"edge-int8.onnx": {"fer2013": Parity(0, 0, 1, 0)}}, {}, 0, {}
    )
    monkeypatch.setattr(pipeline, "export", lambda *_, **__: report)
    monkeypatch.setattr(recipe, "follow", lambda *_, **__: [recipe.StageResult("student", 1, 0.5)])
    code, text, err = cli("train", "--recipe", "edge", "--data", drawn_csv, "--out", tmp_path / "run")
    assert code == 0, err
    assert "no votes: the model will answer with the labels of 2013 only\n" in text
    assert text.endswith(f"; fer-edge run --model {tmp_path / 'run' / 'model'} --labels fer2013\n")


def test_a_recipe_whose_export_fails_the_check_is_told_of_other_rows(
    cli, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise CalibrationError("nothing was written: three steps apart")

    monkeypatch.setattr(pipeline, "export", fail)
    monkeypatch.setattr(recipe, "follow", lambda *_, **__: [recipe.StageResult("student", 1, 0.5)])
    out = tmp_path / "run"
    given = ("--data", drawn_csv, "--votes", drawn_votes, "--out", out)
    code, _, err = cli("train", "--recipe", "edge", *given)
    assert code == 1
    assert (
        f"seeds 1 to 4. Try others: fer-edge export-int8 {out / 'student' / 'last.pt'} --calibration CSV "
        f"--votes {drawn_votes} --out DIR --seed N\n"
    ) in err


def test_a_recipe_refuses_before_it_begins_data_that_its_export_would_refuse(cli, drawn_csv, tmp_path):
    lines = [line.rpartition(",")[0] for line in drawn_csv.read_text().splitlines()]
    data = tmp_path / "no_usage.csv"
    data.write_text("\n".join(lines) + "\n")
    code, _, err = cli("train", "--recipe", "edge", "--data", data, "--out", tmp_path / "run")
    assert code == 2
    assert "the recipe's export needs data with a Usage" in err
    assert not (tmp_path / "run").exists()


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
        (("--recipe", "nano", "--initial-weights", "edge"), "not of the architecture 'nano'"),
        (("--recipe", "nano", "--initial-weights", "none.pt"), "no such checkpoint"),
        (("--recipe", "edge", "--seed", "-1"), "--seed must be from 0"),
        (("--recipe", "edge", "--without", "mega"), "'mega' is no teacher of this recipe"),
        (("--recipe", "edge", "--without", "vgg", "--teacher", "edge"), "which --teacher replaces"),
    ],
)
def test_recipe_options_that_do_not_go_together_are_refused(cli, drawn_csv, tmp_path, arguments, message):
    code, _, err = cli("train", "--data", drawn_csv, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_recipe_with_what_only_another_version_takes_is_refused(drawn, tmp_path):
    given = {"teachers": None, "initial_weights": None, "minutes": None}
    RecipeRecord(tmp_path, "edge", given, drawn, seed=0, processes=1, device="cpu").write([])
    RecipeRecord(tmp_path, "edge", given, drawn, seed=0, processes=1, device="cpu")
    path = tmp_path / "recipe.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "given": {"beginning": "first.pt"}}))
    with pytest.raises(DataError, match=r"another version of fer-edge, with beginning first\.pt"):
        RecipeRecord(tmp_path, "edge", given, drawn, seed=0, processes=1, device="cpu")
