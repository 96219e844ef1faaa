"""The balance by which the emotion is chosen among people's shares."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import draw_face

import fer_edge
from fer_edge.models.backends import available_backends
from fer_edge.models.people import choose

pytestmark = pytest.mark.skipif(not available_backends(), reason="no runtime for models is installed")


@pytest.fixture
def faces() -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([draw_face(code % 7, rng) for code in range(70)])


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0, 2.0])
def test_a_given_balance_chooses_the_emotion_and_leaves_the_shares(faces, balance):
    own = fer_edge.load_classifier("nano")
    given = fer_edge.load_classifier("nano", balance=balance)
    answers = given.answer(faces)
    np.testing.assert_array_equal(answers.probabilities, own.predict(faces))
    assert own.people is not None
    np.testing.assert_array_equal(answers.emotions, choose(answers.probabilities, own.people.prior, balance))


def test_balance_0_is_the_largest_share_and_2_is_not(faces):
    plain = fer_edge.load_classifier("nano", balance=0.0).answer(faces)
    assert (plain.emotions == plain.probabilities.argmax(1)).all()
    assert (fer_edge.load_classifier("nano", balance=2.0).answer(faces).emotions != plain.emotions).any()


@pytest.mark.parametrize("balance", [-0.1, 2.1, float("nan")])
def test_a_balance_out_of_range_is_refused(balance):
    with pytest.raises(ValueError, match="balance must be from 0 to 2"):
        fer_edge.load_classifier("nano", balance=balance)


def test_the_option_reaches_the_answer(cli, faces, tmp_path):
    cv2 = pytest.importorskip("cv2")
    plain, favouring = (fer_edge.load_classifier("nano", balance=t).answer(faces) for t in (0.0, 2.0))
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), faces[np.flatnonzero(plain.emotions != favouring.emotions)[0]])
    told = []
    for balance in ("0", "2"):
        code, out, err = cli(
            "predict", picture, "--crops", "--model", "nano", "--balance", balance, "--jsonl"
        )
        assert code == 0, err
        told.append(json.loads(out)["faces"][0]["emotion"])
    assert told[0] != told[1]
    code, _, err = cli("predict", picture, "--balance", "3")
    assert code == 2
    assert "'3' is not a number from 0 to 2" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "test.csv", "--out", "labels.csv"),
        ("predict", "face.png", "--labels", "fer2013"),
        ("archive", "films", "--out", "scored", "--labels", "fer2013"),
    ],
)
def test_a_balance_is_refused_where_the_labels_of_2013_answer(cli, tmp_path, monkeypatch, arguments):
    if arguments[0] == "archive":
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments, "--balance", "0.5")
    assert (code, out) == (2, "")
    assert "--balance chooses among people's answers, and these are the labels of 2013" in err
    assert not list(tmp_path.iterdir())
