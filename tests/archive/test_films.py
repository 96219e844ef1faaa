"""Which films an archive has."""

import os
from datetime import UTC, datetime

import pytest

from fer_edge.archive.films import find_films
from fer_edge.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.mp4", "a/2.MKV", "a/notes.txt", "a/.hidden.mp4", "b/c/3.ts", "other.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return tmp_path


def names(films, folder):
    return [os.path.relpath(film.path, folder) for film in films]


def test_a_folder_has_the_films_in_and_below_it(folder):
    films = find_films([str(folder)])
    assert names(films, folder) == ["a/1.mp4", "a/2.MKV", "b/c/3.ts"]
    assert [film.source for film in films] == ["a", "a", "c"]
    assert films[0].size == len("a/1.mp4")
    assert films[0].modified == (folder / "a" / "1.mp4").stat().st_mtime


def test_a_pattern_and_a_named_file(folder):
    assert names(find_films([str(folder / "**" / "*.ts")]), folder) == ["b/c/3.ts"]
    assert names(find_films([str(folder / "other.bin")]), folder) == ["other.bin"]


def test_each_film_counts_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names(find_films(["a", str(folder / "a" / "1.mp4"), "./a/1.mp4"]), folder) == [
        "a/1.mp4",
        "a/2.MKV",
    ]


def test_a_path_with_two_dots_is_the_film_that_it_leads_to(folder, monkeypatch):
    monkeypatch.chdir(folder / "b" / "c")
    films = find_films([str(folder / "a" / "1.mp4"), "../../a/1.mp4", "../../a", "../c/../../b/c/3.ts"])
    expected = [str(folder / name) for name in ("a/1.mp4", "a/2.MKV", "b/c/3.ts")]
    assert [film.path for film in films] == expected
    assert [film.source for film in films] == ["a", "a", "c"]
    (folder / "x").mkdir()
    monkeypatch.chdir(folder / "x")
    assert [film.source for film in find_films(["../b/c/3.ts", "../other.bin"])] == ["c", folder.name]


def test_two_dots_behind_a_link_lead_to_where_the_link_leads(folder):
    (folder / "b" / "1.mp4").write_bytes(b"another")
    (folder / "a" / "c").symlink_to(folder / "b" / "c")
    (film,) = find_films([str(folder / "a" / "c" / ".." / "1.mp4")])
    assert (film.path, film.source, film.size) == (str(folder / "b" / "1.mp4"), "b", len(b"another"))
    (film,) = find_films([str(folder / "a" / "c" / ".." / ".." / "other.bin")])
    assert film.path == str(folder / "other.bin")


def test_a_link_keeps_its_name_and_the_source_of_its_folder(folder):
    (folder / "door").mkdir()
    (folder / "door" / "now.mp4").symlink_to(folder / "a" / "1.mp4")
    (folder / "till").symlink_to(folder / "a")
    films = find_films([str(folder / "b" / ".." / "door"), str(folder / "till" / "1.mp4")])
    assert [film.path for film in films] == [str(folder / name) for name in ("door/now.mp4", "till/1.mp4")]
    assert [film.source for film in films] == ["door", "till"]


def test_a_list_tells_when_a_film_began_and_its_source(folder):
    listed = folder / "list.txt"
    listed.write_text("# a comment\n\na/1.mp4\t2026-11-26T08:00:00+01:00\tdoor\nb/c/3.ts\t2026-11-26\n")
    for films in (find_films([f"@{listed}"]), find_films([], [str(listed)])):
        assert names(films, folder) == ["a/1.mp4", "b/c/3.ts"]
        assert films[0].began == datetime(2026, 11, 26, 7, tzinfo=UTC).timestamp()
        assert [film.source for film in films] == ["door", "c"]
        assert films[1].began == datetime(2026, 11, 26, tzinfo=UTC).timestamp()


def test_what_a_list_tells_holds_however_else_the_film_is_named(folder):
    when, where = folder / "when.txt", folder / "where.txt"
    when.write_text("a/1.mp4\t2026-11-26\n")
    where.write_text("a/1.mp4\t\tdoor\na/1.mp4\t2026-11-26T01:00+01:00\tdoor\n")
    lists = [f"@{when}", f"@{where}"]
    for inputs in (
        [str(folder / "a"), *lists],
        [*reversed(lists), str(folder / "a" / "1.mp4"), str(folder / "a")],
    ):
        films = find_films(inputs)
        assert names(films, folder) == ["a/1.mp4", "a/2.MKV"]
        assert [film.began for film in films] == [datetime(2026, 11, 26, tzinfo=UTC).timestamp(), None]
        assert [film.source for film in films] == ["door", "a"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "a/1.mp4\t2026-11-26\n./a/1.mp4\t2026-11-26T00:00+01:00\n",
            r"a/1\.mp4: is listed as begun at 2026-11-26T00:00:00\+00:00 and at 2026-11-25T23:00:00\+00:00",
        ),
        ("a\t\tdoor\na/1.mp4\t\ttill\n", r"a/1\.mp4: is listed with the sources 'door' and 'till'"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(folder, lines, told):
    (folder / "list.txt").write_text(lines)
    with pytest.raises(DataError, match=told):
        find_films([f"@{folder / 'list.txt'}"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a/1.mp4\tyesterday", "line 1: 'yesterday' is not a time"),
        ("a/1.mp4\t2026-11-26\ta/b", "leave out / and ="),
        ("a/9.mp4", "No such file"),
    ],
)
def test_a_bad_list_is_told(folder, line, told):
    (folder / "list.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=told):
        find_films([f"@{folder / 'list.txt'}"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nothing.mp4", "No such file"),
        ("*.avi", "no film matches"),
        ("@nothing", "as a list"),
        ("e", "no film in"),
    ],
)
def test_what_does_not_exist_is_told(folder, monkeypatch, given, told):
    (folder / "e").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=told):
        find_films([given])


def test_a_list_of_another_machine_is_read(folder):
    """With a byte-order mark, Windows' ends of lines, and names that hold what Unicode takes for ends."""
    odd = folder / "a" / "x\u2028y\x85z.mp4"
    odd.write_bytes(b"x")
    listed = folder / "list.txt"
    listed.write_bytes(f"\ufeffa/1.mp4\t\tdoor\r\n{odd}\r\n".encode())
    films = find_films([f"@{listed}"])
    assert names(films, folder) == ["a/1.mp4", "a/x\u2028y\x85z.mp4"]
    assert [film.source for film in films] == ["door", "a"]


def test_what_cannot_be_read_in_a_folder_is_told(folder, caplog, monkeypatch):
    (folder / "a" / "broken.mp4").symlink_to(folder / "nothing")
    (folder / "a" / "again").symlink_to(folder)
    scandir = os.scandir

    def refused(path):
        if os.fspath(path).endswith("b"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert names(find_films([str(folder)]), folder) == ["a/1.mp4", "a/2.MKV"]
    told = [record.getMessage() for record in caplog.records]
    assert f"{folder / 'b'}: left out: Permission denied" in told
    assert f"{folder / 'a' / 'broken.mp4'}: left out: a link to no file" in told
