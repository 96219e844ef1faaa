"""evaluate, through the real command line; mostly on a classifier with answers that are known."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from conftest import write_votes
from two_heads import TwoHeads, face, sure_of_each

import fer_edge
from fer_edge.labels import EMOTIONS
from fer_edge.models import classifier as classifier_module

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def answers(monkeypatch):
    """Let the command find a classifier that is sure of :func:`two_heads.face`'s i-th emotion."""
    monkeypatch.setattr(classifier_module, "load_classifier", lambda *_, **__: sure_of_each())


def write_faces(path, rows):
    """A CSV of even faces; ``rows``: (what the classifier answers, label, Usage)."""
    lines = ["emotion,pixels,Usage"]
    lines += [f"{label},{' '.join(map(str, face(answer).ravel()))},{usage}" for answer, label, usage in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def faces_csv(tmp_path):
    """A Training row, and of PublicTest one answered right, one wrong, and one that repeats the first."""
    return write_faces(
        tmp_path / "faces.csv",
        [(0, 0, "Training"), (3, 3, "PublicTest"), (4, 6, "PublicTest"), (0, 0, "PublicTest")],
    )


def write_picture(path, answer):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), face(answer))


@pytest.fixture
def people(tmp_path):
    """A folder with a list: four women, one smile missed; two men, both smiles missed."""
    folder = tmp_path / "people"
    lines = ["file,emotion,sex,person"]
    for index, (sex, emotion, answer) in enumerate(
        [("f", 3, 3), ("f", 6, 6), ("f", 3, 6), ("f", 6, 6), ("m", 3, 6), ("m", 3, 4)]
    ):
        write_picture(folder / f"{index}.png", answer)
        lines.append(f"{index}.png,{EMOTIONS[emotion]},{sex},p{index}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.heavy
def test_the_figures_of_the_label_head_match_the_library(cli, drawn_csv):
    code, out, err = cli("evaluate", drawn_csv, "--usage", "PublicTest", "--json")
    assert code == 0, err
    dataset = fer_edge.read_fer2013(drawn_csv)
    chosen = dataset.usage == "PublicTest"
    predicted = (
        fer_edge.load_classifier(labels="fer2013").distributions(dataset.pixels[chosen])["fer2013"].argmax(1)
    )
    report = json.loads(out)
    assert report["all"]["fer2013"]["labels"]["accuracy"] == pytest.approx(
        (predicted == dataset.labels[chosen]).mean()
    )
    assert report["all"]["rows"] == report["not_in_training"]["rows"] == 35
    assert report["file"] == {"litert": "edge-int8.tflite", "onnx": "edge-int8.onnx"}[report["backend"]]


def test_each_head_has_its_figures_for_all_rows_and_those_not_in_training(cli, faces_csv, answers):
    code, out, err = cli("evaluate", faces_csv, "--usage", "PublicTest", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["heads"] == ["people", "fer2013"]
    for head in report["heads"]:
        assert report["all"][head]["labels"]["accuracy"] == pytest.approx(2 / 3)
        assert report["not_in_training"][head]["labels"]["accuracy"] == 1 / 2
    assert (report["all"]["rows"], report["not_in_training"]["rows"]) == (3, 2)
    assert report["all"]["people"]["balance"] == 0.5
    assert "one_top_vote" not in report["all"]["people"]
    assert report["all"]["fer2013"]["labels"]["recall"]["fear"] is None
    assert "groups" not in report


def test_repetitions_are_unknown_where_training_rows_are_missing(cli, tmp_path, answers):
    path = write_faces(tmp_path / "extract.csv", [(3, 3, "PublicTest"), (3, 3, "PrivateTest")])
    code, out, err = cli("evaluate", path, "--json")
    assert code == 0, err
    assert json.loads(out)["all"]["rows"] == 2
    assert "not_in_training" not in json.loads(out)


def test_votes_are_reported_by_both_rules(cli, faces_csv, tmp_path, answers):
    votes = write_votes(tmp_path / "votes.csv", [0, 3, 6, 0])
    code, out, err = cli("evaluate", faces_csv, "--votes", votes, "--json")
    assert code == 0, err
    report = json.loads(out)["all"]
    assert report["fer2013"]["one_top_vote"]["accuracy"] == 3 / 4
    people = report["people"]
    assert people["one_top_vote"]["accuracy"] == 3 / 4
    assert people["crowd"]["barsoum"] == {"agreement": 3 / 4, "rows": 4}
    # One vote for unknown is a slip, so the votes are unanimous; 0.9 was predicted, and 0.1 for unknown.
    assert people["crowd"]["share_difference"] == pytest.approx((3 * 0.2 + 2.0) / 36, abs=1e-6)
    assert people["unsure"] == 0
    assert [row["balance"] for row in people["crowd"]["balances"]] == [0, 0.25, 0.5, 0.75, 1]


def test_a_file_of_arrays_is_evaluated_as_the_csv_and_votes_that_hold_the_same(
    cli, faces_csv, tmp_path, answers
):
    votes = write_votes(tmp_path / "votes.csv", [0, 3, 6, 0])
    code, out, err = cli("evaluate", faces_csv, "--usage", "PublicTest", "--votes", votes, "--json")
    assert code == 0, err
    csv = fer_edge.read_fer2013(faces_csv)
    arrays = {"pixels": csv.pixels, "labels": csv.labels.astype(np.uint8), "usage": csv.usage}
    packed = tmp_path / "faces.npz"
    np.savez(packed, **arrays, votes=fer_edge.read_votes(votes))
    code, told, err = cli("evaluate", packed, "--usage", "PublicTest", "--json")
    assert code == 0, err
    assert json.loads(told) == json.loads(out) | {"data": str(packed)}
    np.savez(packed, **arrays)
    code, told, err = cli("evaluate", packed, "--usage", "PublicTest", "--json")
    assert code == 0, err
    assert "one_top_vote" not in json.loads(told)["all"]["people"]
    code, _, err = cli("evaluate", packed, "--skip-bad")
    assert (code, "a file of arrays has no bad rows" in err) == (2, True)


def test_the_text_names_heads_and_rules_and_fits_100_columns(cli, faces_csv, tmp_path, answers):
    votes = write_votes(tmp_path / "votes.csv", [0, 3, 6, 0])
    code, out, err = cli("evaluate", faces_csv, "--usage", "PublicTest", "--votes", votes)
    assert code == 0, err
    lines = out.splitlines()
    assert max(map(len, lines[1:])) <= 100
    assert lines[1].split("  ")[-1].strip() == "not in Training"
    assert "head people: what ten people would say; emotions chosen with T = 0.5" in lines
    assert "head fer2013: the labels of 2013" in lines

    def cells(label):
        return [line.removeprefix(label).split("  ")[-1].strip() for line in lines if line.startswith(label)]

    assert cells("one top vote, agreement") == ["50.00% of 2"] * 2
    assert cells("majority of eight, agreement") == ["50.00% of 2"]
    assert cells("labels, recall happy") == ["100.0% of 1"] * 2
    assert not cells("labels, recall fear")
    assert [line.split()[:3] for line in lines if line.startswith("0.5 ")] == [["0.5", "*", "50.00%"]]


def test_an_older_export_says_that_it_has_one_head(cli, faces_csv, monkeypatch):
    monkeypatch.setattr(classifier_module, "load_classifier", lambda *_, **__: TwoHeads(np.eye(7).tolist()))
    code, out, _ = cli("evaluate", faces_csv)
    assert code == 0
    assert "has no head people: an older export" in out
    assert "head fer2013: the labels of 2013" in out
    code, out, _ = cli("evaluate", faces_csv, "--json")
    assert json.loads(out)["heads"] == ["fer2013"]
    assert "people" not in json.loads(out)["all"]
    code, out, err = cli("evaluate", faces_csv, "--balance", "0.5")
    assert (code, out) == (2, "")
    assert "has no head people, among whose answers --balance chooses" in err


def test_the_balance_of_the_answers_is_marked_whoever_chose_it(cli, faces_csv, tmp_path):
    votes = write_votes(tmp_path / "votes.csv", [0, 3, 6, 0])
    code, out, err = cli("evaluate", faces_csv, "--votes", votes, "--balance", "0.6")
    assert code == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("0.6 ")] == ["*"]
    assert out.splitlines()[-1] == "* the T of the answers above"


def test_a_folder_is_evaluated_by_its_usage(cli, tmp_path, answers):
    write_picture(tmp_path / "mine" / "train" / "happy" / "1.png", 3)
    write_picture(tmp_path / "mine" / "test" / "happy" / "1.png", 3)
    write_picture(tmp_path / "mine" / "test" / "happy" / "2.png", 4)
    code, out, err = cli("evaluate", tmp_path / "mine", "--usage", "PublicTest", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["all"]["people"]["labels"]["accuracy"] == 1 / 2
    assert report["not_in_training"]["people"]["labels"]["accuracy"] == 0


def test_groups_have_their_figures_with_intervals(cli, people, answers):
    code, out, err = cli("evaluate", people, "--json")
    assert code == 0, err
    groups = json.loads(out)["groups"]
    assert list(groups) == ["sex", "person", "sex, person"]
    smiles = groups["sex"]["f"]["people"]["recall"]["happy"]
    assert (smiles["right"], smiles["rows"], smiles["share"]) == (1, 2, 0.5)
    # Wilson 1927 for 1 of 2.
    assert (smiles["low"], smiles["high"]) == (
        pytest.approx(0.0945, abs=1e-4),
        pytest.approx(0.9055, abs=1e-4),
    )
    assert groups["sex"]["m"]["fer2013"]["right"]["right"] == 0
    code, out, _ = cli("evaluate", people)
    assert "head people by group: right answers, with their 95 % interval (Wilson)" in out
    line = next(line for line in out.splitlines() if line.startswith("  f "))
    assert "3 of 4 (30-95%)" in line
    assert "1 of 2 (9-91%)" in line
    assert "2 of 2 (34-100%)" in line


def test_many_emotions_leave_room_for_counts_only(cli, tmp_path, answers):
    folder = tmp_path / "all"
    lines = ["file,emotion,sex"]
    for code, emotion in enumerate(EMOTIONS):
        write_picture(folder / f"{code}.png", code)
        lines.append(f"{code}.png,{emotion},f")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    code, out, err = cli("evaluate", folder)
    assert code == 0, err
    assert max(map(len, out.splitlines()[1:])) <= 100
    line = next(line for line in out.splitlines() if line.startswith("  f "))
    assert line.split()[1:] == ["7", "of", "7", "(65-100%)", *["1/1"] * 7]


def test_a_column_with_a_value_for_each_picture_is_no_group_and_says_so(cli, people, answers):
    lines = (people / "labels.csv").read_text().splitlines()
    for index in range(6, 27):
        write_picture(people / f"{index}.png", 6)
        lines.append(f"{index}.png,neutral,f,p{index}")
    (people / "labels.csv").write_text("\n".join(lines) + "\n")
    code, out, err = cli("evaluate", people, "--json")
    assert code == 0
    assert "column 'person' has 27 different values, more than 20: not taken as groups" in err
    assert list(json.loads(out)["groups"]) == ["sex"]


def test_pictures_that_cannot_be_read_are_named_and_counted(cli, people, answers):
    (people / "0.png").write_bytes(b"no picture")
    code, out, err = cli("evaluate", people, "--json")
    assert code == 0
    assert "skipped:" in err
    assert "0.png: not an image" in err
    report = json.loads(out)
    assert (report["skipped"], report["all"]["rows"]) == (1, 5)
    # The others keep their groups.
    assert report["groups"]["sex"]["f"]["people"]["right"] == report["groups"]["sex"]["f"]["fer2013"]["right"]
    assert report["groups"]["sex"]["f"]["people"]["right"]["right"] == 2
    assert (report["groups"]["sex"]["f"]["skipped"], report["groups"]["sex"]["m"]["skipped"]) == (1, 0)
    assert report["groups"]["person"]["p0"] == {"skipped": 1}
    code, out, _ = cli("evaluate", people)
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  ")}
    assert lines["all"] == ["happy", "neutral", "no", "face"]
    assert lines["f"][-1] == "1"
    assert lines["p0"] == ["-", "-", "-", "1"]


def test_pictures_of_another_usage_that_cannot_be_read_are_not_counted(cli, tmp_path, answers):
    for part in ("train", "test"):
        write_picture(tmp_path / "all" / part / "happy" / "good.png", 3)
        (tmp_path / "all" / part / "happy" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "all" / "train" / "happy" / "worse.png").write_bytes(b"no picture")
    for usage, skipped in (("PublicTest", 1), ("Training", 2)):
        code, out, err = cli("evaluate", tmp_path / "all", "--usage", usage, "--json")
        assert code == 0, err
        assert (json.loads(out)["skipped"], json.loads(out)["all"]["rows"]) == (skipped, 1)


def test_a_line_of_the_list_that_is_wrong_is_reported(cli, people, answers):
    (people / "2.png").unlink()
    code, _, err = cli("evaluate", people)
    assert code == 2
    assert "labels.csv: line 4: no file '2.png'" in err


def test_faces_are_searched_for_in_photographs(cli, tmp_path, astronaut, monkeypatch):
    always_happy = TwoHeads(np.eye(7)[[3] * 13].tolist())
    monkeypatch.setattr(classifier_module, "load_classifier", lambda *_, **__: always_happy)
    for emotion, picture in (("happy", astronaut), ("sad", np.full((100, 100, 3), 200, np.uint8))):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "mine" / emotion / "a.png"), picture)
    code, out, err = cli("evaluate", tmp_path / "mine", "--detect", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["skipped"], report["all"]["rows"]) == (1, 1)
    assert report["all"]["fer2013"]["labels"]["accuracy"] == 1
    assert "sad/a.png: shows no face that the detector finds" in err
    code, out, _ = cli("evaluate", tmp_path / "mine", "--json")
    assert json.loads(out)["all"]["rows"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{csv}", "--detect"), "faces.csv: --detect is for a folder of pictures"),
        (("{folder}", "--skip-bad"), "people: --skip-bad is for a CSV"),
        (("{folder}", "--votes", "votes.csv"), "people: is a folder; --votes needs a CSV"),
        (("{csv}", "--votes", "votes.csv", "--skip-bad"), "--votes needs a CSV without bad rows"),
        (("{folder}", "--usage", "PublicTest"), "people: the data has no Usage"),
        (("{csv}", "--usage", "Test"), "no row has Usage 'Test'; there are PublicTest, Training"),
        (("{csv}", "--confusion", "confusion.jpg"), "writes a PNG"),
    ],
)
def test_what_does_not_go_together_is_refused(cli, faces_csv, people, answers, arguments, message):
    places = {"csv": faces_csv, "folder": people}
    code, out, err = cli("evaluate", *(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_bad_rows_that_are_skipped_are_named(cli, faces_csv, answers):
    lines = faces_csv.read_text().splitlines()
    lines[2] = lines[2].replace(" ", " x", 1)
    faces_csv.write_text("\n".join(lines) + "\n")
    code, _, err = cli("evaluate", faces_csv)
    assert code == 2
    assert "faces.csv: row 2" in err
    assert "pixels" in err
    code, out, err = cli("evaluate", faces_csv, "--skip-bad", "--json")
    assert code == 0
    assert json.loads(out)["skipped"] == 1
    assert "row 2" in err


def test_confusion_matrices_of_both_heads_are_drawn_and_not_overwritten(
    cli, faces_csv, tmp_path, answers, monkeypatch
):
    pytest.importorskip("matplotlib")
    path = tmp_path / "confusion.png"
    path.write_text("mine\n")
    code, _, err = cli("evaluate", faces_csv, "--confusion", path)
    assert code == 2
    assert "confusion.png: exists already; --force" in err
    assert path.read_text() == "mine\n"
    votes = write_votes(tmp_path / "votes.csv", [0, 3, 6, 0])
    code, _, err = cli("evaluate", faces_csv, "--votes", votes, "--confusion", path, "--force")
    assert code == 0, err
    both = cv2.imread(str(path)).shape
    monkeypatch.setattr(classifier_module, "load_classifier", lambda *_, **__: TwoHeads(np.eye(7).tolist()))
    code, _, err = cli("evaluate", faces_csv, "--confusion", path, "--force")
    assert code == 0, err
    one = cv2.imread(str(path)).shape
    assert both[0] == one[0]
    assert both[1] == 2 * one[1]


def test_a_name_with_dollar_signs_is_no_formula_of_the_confusion_matrices(cli, faces_csv, tmp_path, answers):
    pytest.importorskip("matplotlib")
    data = faces_csv.rename(tmp_path / "a$x$_$^$.csv")
    code, _, err = cli("evaluate", data, "--confusion", tmp_path / "confusion.png")
    assert code == 0, err
    assert cv2.imread(str(tmp_path / "confusion.png")) is not None


def test_figures_are_printed_where_the_confusion_matrices_cannot_be_written(
    cli, faces_csv, tmp_path, answers, monkeypatch
):
    pytest.importorskip("matplotlib")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_edge.checks.plots.save_confusion", full)
    code, out, err = cli("evaluate", faces_csv, "--confusion", tmp_path / "confusion.png", "--json")
    assert code == 1 and "No space left" in err
    assert json.loads(out)["all"]["fer2013"]["labels"]["rows"] == 4


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["csv", "npz"])
def test_pixels_are_not_kept(cli, tmp_path, answers, form):
    """20,000 rows have 46 MB of pixels; without them they take 100 bytes each, and readers a few MB."""
    codes = np.arange(20_000) % 7
    data = tmp_path / f"faces.{form}"
    if form == "npz":
        faces = np.stack([face(code) for code in range(7)])[codes]
        usage = np.full(20_000, "PublicTest")
        votes = np.eye(10, dtype=np.uint8)[codes] * 10
        np.savez_compressed(data, pixels=faces, labels=codes.astype(np.uint8), usage=usage, votes=votes)
        del faces
        options = []
    else:
        texts = [" ".join(map(str, face(code).ravel())) for code in range(7)]
        with gzip.open(data, "wt", 1) as file:
            file.write("emotion,pixels,Usage\n")
            file.writelines(f"{code},{texts[code]},PublicTest\n" for code in codes)
        options = ["--votes", write_votes(tmp_path / "votes.csv", codes.tolist())]
    tracemalloc.start()
    code, out, err = cli("evaluate", data, *options, "--json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 0, err
    report = json.loads(out)["all"]
    assert (report["rows"], report["people"]["one_top_vote"]["rows"] > 0) == (20_000, True)
    assert peak < 30_000_000


def test_votes_that_do_not_go_with_the_rows_are_refused(cli, faces_csv, tmp_path, answers):
    """In files longer than a piece the number of rows is told, wherever they begin to differ."""
    code, out, err = cli("evaluate", faces_csv, "--votes", write_votes(tmp_path / "more.csv", [0] * 5))
    assert (code, out) == (2, "")
    assert "more.csv: has 5 rows of votes for 4 rows of images" in err
    code, out, err = cli("evaluate", faces_csv, "--votes", write_votes(tmp_path / "fewer.csv", [0] * 3))
    assert (code, out) == (2, "")
    assert "fewer.csv: has 3 rows of votes for 4 rows of images" in err
    lines = write_votes(tmp_path / "other.csv", [0, 3, 6, 0]).read_text().splitlines()
    usages = ["Usage", "Training", "PublicTest", "Training", "PublicTest"]
    told = [f"{usage},{line}" for usage, line in zip(usages, lines, strict=True)]
    (tmp_path / "other.csv").write_text("\n".join(told) + "\n")
    code, out, err = cli("evaluate", faces_csv, "--votes", tmp_path / "other.csv")
    assert (code, out) == (2, "")
    assert "other.csv: row 3 is of 'Training', that of the images of 'PublicTest'" in err
