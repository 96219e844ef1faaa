"""FER+ votes: files, majorities and shares."""

from __future__ import annotations

import numpy as np
import pytest
from fer2013.rows import PLAIN

from fer_edge.errors import DataError
from fer_edge.fer2013.votes import (
    absolute_majorities,
    majority_votes,
    people_votes,
    read_votes,
    top_votes,
    vote_shares,
)
from fer_edge.labels import PEOPLE_ANSWERS, VOTE_COLUMNS

pytestmark = pytest.mark.usefixtures("kernels")


VOTES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_votes_may_be_separated_otherwise(write, separator):
    lines = [separator.join(VOTE_COLUMNS), separator.join("9876543210")]
    assert read_votes(write("\n".join(lines) + "\n")).tolist() == [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]


def test_votes_come_in_the_order_of_vote_columns_whatever_the_header(write):
    header = "Usage,Image name," + ",".join(reversed(VOTE_COLUMNS)).upper()
    votes = read_votes(
        write(
            f"{header}\r\nTraining,fer0000000.png,9,8,7,6,5,4,3,2,1,0\r\nTraining,,0,0,0,0,0,0,0,0,0,10\r\n\r\n"
        )
    )
    assert votes.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (VOTES, "no rows"),
        (VOTES.replace(",NF", "") + "1,2,3,4,5,6,7,8,9\n", 'no column "NF"'),
        (VOTES + "1,2,3,4,5,6,7,8,9\n", "row 1 has 9 fields; want 10"),
        (VOTES + "0,0,0,0,0,0,0,0,0,0\n0,0,x,0,0,0,0,0,0,0\n", "row 2, column \"surprise\": found 'x'"),
        (VOTES + "0,0,0,0,0,0,0,0,0,256\n", "column \"NF\": found '256'; want a whole number from 0 to 255"),
        (VOTES + "-1,0,0,0,0,0,0,0,0,0\n", "found '-1'"),
        (VOTES + "1.5,0,0,0,0,0,0,0,0,0\n", "found '1.5'"),
        (VOTES + "\n1,0,0,0,0,0,0,0,0,0\n", "row 1 is empty"),
        (VOTES + "9" * 10**6 + ",0\n", "not CSV|fields"),
        (VOTES + "9" * 3 * 10**6, "longer than"),
        (VOTES + '"' + "1,0,0,0,0,0,0,0,0,0\n" * 10**5, "not CSV"),
        (VOTES.encode("utf-16"), "UTF-16"),
        (PLAIN, 'no column "neutral"'),
    ],
)
def test_a_wrong_votes_file_is_a_data_error(write, text, words):
    with pytest.raises(DataError, match=words) as error:
        read_votes(write(text))
    assert len(str(error.value)) < 600


def test_votes_for_another_number_of_images_are_refused(write):
    path = write(VOTES + "1,0,0,0,0,0,0,0,0,0\n" * 2)
    assert read_votes(path, rows=2).shape == (2, 10)
    with pytest.raises(DataError, match="has 2 rows of votes for 3 rows of images"):
        read_votes(path, rows=3)


def test_the_majority_is_translated_to_fer2013_codes():
    # One column after the other wins; contempt, unknown and NF are none of the seven emotions.
    assert majority_votes(np.eye(10, dtype=np.uint8) * 6 + 1).tolist() == [6, 3, 5, 4, 0, 1, 2, -1, -1, -1]


def test_a_tie_has_no_majority():
    votes = np.array(
        [
            [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 0, 0, 0, 0, 0, 0, 4, 1, 1],
            [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
    )
    assert majority_votes(votes).tolist() == [-1, -1, 6, -1]
    assert majority_votes(votes).dtype == np.int8


def test_the_top_vote_is_single_and_may_be_no_emotion():
    given = [{"happy": 6, "neutral": 4}, {"happy": 5, "sad": 5}, {"unknown": 7, "sad": 3}, {}]
    votes = np.array([[row.get(name, 0) for name in PEOPLE_ANSWERS] for row in given], np.float32)
    assert top_votes(votes).tolist() == [3, -1, 8, -1]


def test_single_votes_are_outliers():
    """A face with ten different opinions has none, and one vote more decides."""
    votes = np.array([[1] * 10, [1, 2, 1, 1, 1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.uint8)
    assert majority_votes(votes).tolist() == [-1, 3, -1]
    assert absolute_majorities(votes).tolist() == [-1, 3, -1]
    assert people_votes(votes).sum(1).tolist() == [0, 2, 0]


def test_an_absolute_majority_is_more_than_half_of_the_votes_that_count():
    votes = np.array(
        [
            [5, 3, 2, 0, 0, 0, 0, 0, 0, 0],  # half is not more than half
            [5, 3, 1, 1, 0, 0, 0, 0, 0, 0],  # 5 of 8
            [0, 0, 0, 0, 4, 0, 0, 6, 0, 0],  # contempt is the eighth answer
            [0, 0, 0, 0, 0, 0, 0, 0, 9, 1],  # unknown is none
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # nor is NF,
            [5, 0, 0, 0, 0, 0, 0, 0, 0, 5],  # but its votes count
        ],
        np.uint8,
    )
    assert absolute_majorities(votes).tolist() == [-1, 6, 7, -1, -1, -1]
    assert absolute_majorities(votes).dtype == np.int8


def test_shares_of_votes_are_those_that_count():
    votes = np.array(
        [
            [4, 4, 0, 1, 0, 0, 0, 0, 0, 1],
            [0, 0, 2, 0, 0, 0, 0, 3, 3, 2],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 5],  # five of ten say NF: not most
            [4, 0, 0, 0, 0, 0, 0, 0, 0, 6],
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ],
        np.uint8,
    )
    shares = vote_shares(votes)
    assert shares.dtype == np.float32
    # angry, disgust, fear, happy, sad, surprise, neutral, contempt, unknown
    np.testing.assert_allclose(
        shares,
        [
            [0, 0, 0, 0.5, 0, 0, 0.5, 0, 0],
            [0, 0, 0, 0, 0, 0.25, 0, 0.375, 0.375],
            [0, 0, 0, 0, 0, 0, 1, 0, 0],
            [0] * 9,
            [0] * 9,
        ],
    )


@pytest.mark.parametrize("rule", [majority_votes, absolute_majorities, vote_shares, people_votes])
def test_votes_of_another_shape_are_refused(rule):
    with pytest.raises(ValueError, match=r"shape \(3, 7\)"):
        rule(np.zeros((3, 7)))
    assert len(rule(np.zeros((0, 10)))) == 0


def test_votes_of_another_order_are_refused(tmp_path):
    rows = ["Training,img.png,1,2,3,4,0,0,0,0,0,0", "PublicTest,img.png,1,2,3,4,0,0,0,0,0,0"]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(["Usage,Image name," + ",".join(VOTE_COLUMNS), *rows]) + "\n")
    usage = np.array(["Training", "PublicTest"])
    assert read_votes(path, 2, usage).shape == (2, 10)
    assert read_votes(path, 2).shape == (2, 10)
    with pytest.raises(DataError, match="row 1 is of 'Training', that of the images of 'PublicTest'"):
        read_votes(path, 2, usage[::-1])
