"""Folders of labelled pictures: the three forms, and what is wrong with others."""

from __future__ import annotations

import pytest

from fer_edge.errors import DataError
from fer_edge.fer2013.folders import list_pictures


@pytest.fixture
def folder(tmp_path):
    """Two happy pictures and a sad one; their contents do not matter."""
    for name in ("happy/b.jpg", "happy/a.png", "sad/c.jpg"):
        touch(tmp_path / name)
    return tmp_path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def write_list(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def names(pictures):
    return [path.relative_to(pictures.folder).as_posix() for path in pictures.files]


def test_sub_folders_name_the_emotions(folder):
    touch(folder / "happy" / ".DS_Store")
    (folder / ".cache").mkdir()
    pictures = list_pictures(folder)
    assert names(pictures) == ["happy/a.png", "happy/b.jpg", "sad/c.jpg"]
    assert pictures.labels.tolist() == [3, 3, 4]
    assert pictures.usage is None
    assert pictures.emotions == ("happy", "sad")
    assert pictures.groups == {}


def test_an_empty_sub_folder_is_an_emotion_still(folder):
    (folder / "fear").mkdir()
    pictures = list_pictures(folder)
    assert pictures.emotions == ("fear", "happy", "sad")
    assert len(pictures.files) == 3


@pytest.mark.parametrize("name", ["fear", "train"])
def test_an_emotion_where_nobody_may_look_is_refused(folder, forbid, name):
    (folder / ".hidden" / name).mkdir(parents=True)
    (folder / name).symlink_to(folder / ".hidden" / name)
    forbid(folder / ".hidden")
    with pytest.raises(DataError, match=f"/{name}: Permission denied"):
        list_pictures(folder)


def test_train_and_test_folders_are_usages(tmp_path):
    for name in ("train/happy/1.jpg", "train/sad/1.jpg", "test/happy/1.jpg", "PrivateTest/sad/1.jpg"):
        touch(tmp_path / name)
    touch(tmp_path / "readme.txt")
    pictures = list_pictures(tmp_path)
    assert names(pictures) == [
        "PrivateTest/sad/1.jpg",
        "test/happy/1.jpg",
        "train/happy/1.jpg",
        "train/sad/1.jpg",
    ]
    assert pictures.usage.tolist() == ["PrivateTest", "PublicTest", "Training", "Training"]
    assert pictures.labels.tolist() == [4, 3, 3, 4]


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_a_test_folder_beside_one_to_validate_on_is_kept_for_the_end(tmp_path, validation):
    for name in ("train/happy/1.jpg", f"{validation}/happy/1.jpg", "test/happy/1.jpg", "test/sad/1.jpg"):
        touch(tmp_path / name)
    pictures = list_pictures(tmp_path)
    usage = dict(zip(names(pictures), pictures.usage.tolist(), strict=True))
    assert usage == {
        "train/happy/1.jpg": "Training",
        f"{validation}/happy/1.jpg": "PublicTest",
        "test/happy/1.jpg": "PrivateTest",
        "test/sad/1.jpg": "PrivateTest",
    }


def test_a_folder_to_validate_on_without_pictures_leaves_that_to_the_test_folder(tmp_path):
    for name in ("train/happy/1.jpg", "test/happy/1.jpg"):
        touch(tmp_path / name)
    (tmp_path / "val" / "happy").mkdir(parents=True)
    assert list_pictures(tmp_path).usage.tolist() == ["PublicTest", "Training"]


def test_a_list_gives_labels_usage_and_groups(folder):
    write_list(
        folder,
        "gender, File,emotion,USAGE,age",
        'f,happy/a.png,"happy",PublicTest,',
        "m, happy/b.jpg ,neutral,Training,old",
    )
    pictures = list_pictures(folder)
    assert names(pictures) == ["happy/a.png", "happy/b.jpg"]
    assert pictures.labels.tolist() == [3, 6]
    assert pictures.usage.tolist() == ["PublicTest", "Training"]
    assert {name: values.tolist() for name, values in pictures.groups.items()} == {
        "gender": ["f", "m"],
        "age": ["", "old"],
    }
    assert pictures.emotions == ("happy", "neutral")


def test_columns_of_many_values_are_no_groups(tmp_path):
    lines = ["file,emotion,person,shelf,"]
    for index in range(21):
        touch(tmp_path / f"{index}.jpg")
        lines.append(f"{index}.jpg,sad,p{index},{index % 20},{index}")
    pictures = list_pictures(write_list(tmp_path, *lines))
    assert list(pictures.groups) == ["shelf"]
    assert len(pictures.notes) == 2
    assert "column 'person' has 21 different values, more than 20: not taken as groups" in pictures.notes[0]
    assert "column 5 has no name" in pictures.notes[1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["file,emotion", "happy/a.png,happy", "gone.jpg,sad"],
            r"labels\.csv: line 3: no file 'gone\.jpg' in",
        ),
        (["file,emotion", ",sad"], "line 2: no file ''"),
        (["file,emotion", "happy/a.png,glad"], "line 2: 'glad' is no emotion; use angry, disgust"),
        (["file,emotion", "happy/a.png,Happy"], "line 2: 'Happy' is no emotion.*in this spelling"),
        (["file,emotion", "happy/a.png,3"], "line 2: '3' is no emotion"),
        (
            ["file,emotion", "happy/a.png,sad", "sad/c.jpg,sad", "happy/a.png,happy"],
            r"line 4: 'happy/a\.png' is listed already, in line 2",
        ),
        (
            ["file,emotion", "happy/a.png,happy", "./happy//a.png,sad"],
            r"line 3: '\./happy//a\.png' is listed already, in line 2",
        ),
        (["file,emotion", "happy/a.png,sad", "sad/c.jpg"], "line 3 has 1 fields; want 2 as in the header"),
        (["file,emotion", "", "happy/a.png,sad"], "line 2 is empty"),
        (["file,emotion", "a" * 5000 + ",sad"], "line 2: no file"),
        (["file,emotion"], "no rows after the header"),
        (["file|emotion", "happy/a.png;sad"], 'no column "file" in the header, which is .file.emotion'),
        (["file,label", "happy/a.png,sad"], 'no column "emotion"'),
        (["file,emotion,sex,Sex", "happy/a.png,sad,f,f"], '2 columns "sex"'),
    ],
)
def test_a_wrong_list_is_told_by_line(folder, lines, message):
    with pytest.raises(DataError, match=message):
        list_pictures(write_list(folder, *lines))


def test_folders_of_another_form_are_refused_with_the_forms_there_are(folder, tmp_path):
    with pytest.raises(DataError, match=r"no such folder; want sub-folders named angry.*labels\.csv"):
        list_pictures(tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="has no sub-folders; want sub-folders named angry"):
        list_pictures(empty)
    (folder / "empty").rmdir()
    (folder / "joy").mkdir()
    with pytest.raises(DataError, match="joy is no emotion; use angry"):
        list_pictures(folder)
    (folder / "train").mkdir()
    with pytest.raises(DataError, match="has train beside happy, joy, sad"):
        list_pictures(folder)
