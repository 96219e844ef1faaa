"""Image files and folders, known by their content."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from PIL import Image
from sources.pictures import encoded, gradient, grey

from fer_edge.errors import SourceError
from fer_edge.sources import SourceOptions, open_source
from fer_edge.sources.headers import tiff_pages
from fer_edge.sources.images import ImageSource, read_content, read_image, read_images


@pytest.fixture
def folder(tmp_path):
    """Eight pictures whose level of grey is their place by name; a text; a sub-folder with a ninth."""
    names = ["a.jfif", "b.avif", "c.gif", "d.jp2", "e.mpo", "f", "g.png", "h.dat"]
    kinds = [".jpg", ".avif", ".gif", ".jp2", ".jpg", ".png", ".png", ".webp"]
    for index, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        (tmp_path / name).write_bytes(encoded(kind, grey(20 * index)))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "i.jpg").write_bytes(encoded(".jpg", grey(160)))
    return tmp_path


def levels(source):
    return [round(frame.image.mean() / 20) for frame in source]


def test_a_folder_gives_every_picture_and_names_what_it_leaves_out(folder, caplog):
    source = open_source(folder)
    assert levels(source) == list(range(8))
    assert "1 file is no picture: notes.txt" in caplog.text
    assert "1 sub-folder is not read: more (--recursive reads them)" in caplog.text


def test_recursive_reads_sub_folders_after_the_folder_itself(folder, caplog):
    assert levels(open_source(folder, SourceOptions(recursive=True))) == list(range(9))
    assert "sub-folder" not in caplog.text


def test_recursive_reads_each_folder_once_whatever_links_say(folder):
    (folder / "more" / "back").symlink_to(folder)
    (folder / "more" / "self.png").symlink_to("self.png")
    assert levels(open_source(folder, SourceOptions(recursive=True))) == list(range(9))


def test_recursive_leaves_hidden_folders_alone(folder, caplog):
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "t.png").write_bytes(encoded(".png", grey(200)))
    assert levels(open_source(folder, SourceOptions(recursive=True))) == list(range(9))
    assert "1 sub-folder is not read: .thumbnails" in caplog.text


def test_of_many_files_that_are_left_out_the_first_are_named_and_all_counted(tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(encoded(".png", grey(9)))
    for index in range(12):
        (tmp_path / f"n{index:02}.txt").write_text("no")
    assert len(list(open_source(tmp_path))) == 1
    assert "12 files are no picture: n00.txt, n01.txt, n02.txt, n03.txt, n04.txt and 7 more" in caplog.text


def test_a_pipe_in_a_folder_is_left_out_without_waiting_for_it(tmp_path, caplog):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(encoded(".png", grey(9)))
    assert len(list(open_source(tmp_path))) == 1
    assert "1 file is no picture: a.png" in caplog.text


def test_names_in_messages_cannot_drive_a_terminal(tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(encoded(".png", grey(9)))
    (tmp_path / "\x1b[31mred.txt").write_text("no")
    list(open_source(tmp_path))
    assert "\\x1b[31mred.txt" in caplog.text
    assert "\x1b" not in caplog.text


def test_links_to_where_nobody_may_look_leave_the_others_readable(folder, forbid, caplog, cli):
    hidden = folder / "more"
    (folder / "0.png").symlink_to(hidden / "i.jpg")
    (folder / "there").symlink_to(hidden / "deeper")
    (hidden / "deeper").mkdir()
    forbid(hidden)
    source = open_source(folder)
    assert "2 files are no picture: notes.txt, there" in caplog.text
    assert levels(source) == list(range(8))
    assert source.skipped == 1
    assert f"{folder}/0.png: Permission denied; skipped" in caplog.text
    code, out, err = cli("predict", hidden / "i.jpg", folder, "--crops")
    assert (code, len(out.splitlines())) == (2, 8)
    assert f"{hidden}/i.jpg: Permission denied" in err


def test_predict_reads_a_folder_as_run_does(folder, cli):
    code, out, err = cli("predict", folder, "--recursive", "--crops")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        str(folder / name) for name in ("a.jfif", "b.avif", "c.gif", "d.jp2", "e.mpo", "f", "g.png", "h.dat")
    ] + [str(folder / "more" / "i.jpg")]
    assert "notes.txt" in err


def test_predict_tells_of_a_bad_picture_in_a_folder(folder, cli):
    (folder / "bad.jpg").write_bytes(b"no picture")
    code, out, err = cli("predict", folder, "--crops")
    assert code == 2
    assert len(out.splitlines()) == 8
    assert "bad.jpg: not an image that OpenCV can read; skipped" in err


def tiff(pages, **options):
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_gives_each_of_its_pages(tmp_path, big):
    pages = [
        Image.fromarray(grey(level, size)) for level, size in ((10, (8, 6)), (90, (5, 4)), (170, (7, 9)))
    ]
    path = tmp_path / "scan.tif"
    path.write_bytes(tiff(pages, big_tiff=big))
    with open_source(path) as source:
        frames = list(source)
        assert not source.related
    assert [int(frame.image.mean()) for frame in frames] == [10, 90, 170]
    assert [frame.image.shape for frame in frames] == [(6, 8, 3), (4, 5, 3), (9, 7, 3)]
    assert [frame.name for frame in frames] == [str(path), f"{path} page 2", f"{path} page 3"]


def reduced(content, number):
    """A little-endian TIFF whose page of this ``number`` says that it is a reduced copy of another."""
    content = bytearray(content)
    offset = tiff_pages(bytes(content))[number].offset
    big = content[2] == ord("+")
    at, length, count = (offset + 8, 20, "<Q") if big else (offset + 2, 12, "<H")
    (entries,) = struct.unpack_from(count, content, offset)
    kept = [content[at + length * index : at + length * (index + 1)] for index in range(entries)]
    # The tag takes the place of one that nobody needs, Software, and stands first, as tags are in order.
    kept = [entry for entry in kept if struct.unpack_from("<H", entry)[0] != 305]
    assert len(kept) == entries - 1
    mark = struct.pack("<HHQQ" if big else "<HHII", 254, 4, 1, 1)
    content[at : at + length * entries] = mark + b"".join(kept)
    return bytes(content)


@pytest.mark.parametrize("big", [False, True])
def test_the_first_picture_of_a_tiff_is_none_that_is_a_copy_of_another(tmp_path, big):
    pages = [
        Image.fromarray(grey(level, size)) for level, size in ((10, (8, 6)), (90, (50, 40)), (170, (7, 9)))
    ]
    path = tmp_path / "scan.tif"
    path.write_bytes(reduced(tiff(pages, big_tiff=big, software="x"), 0))
    assert read_image(path).shape == (40, 50, 3)
    with open_source(path) as source:
        frames = list(source)
    assert [int(frame.image.mean()) for frame in frames] == [90, 170]
    assert [frame.name for frame in frames] == [str(path), f"{path} page 2"]


def test_a_tiff_of_nothing_but_a_copy_is_a_picture_held_to_the_limit(tmp_path):
    path = tmp_path / "scan.tif"
    path.write_bytes(reduced(tiff([Image.fromarray(grey(90, (50, 40)))], software="x"), 0))
    assert read_image(path).mean() == 90
    with pytest.raises(SourceError, match="50x40 pixels"):
        read_image(path, 1999)


def test_a_damaged_page_of_a_tiff_is_skipped_and_counted(tmp_path, caplog, cli):
    path = tmp_path / "scan.tif"
    pages = [Image.fromarray(grey(level)) for level in (10, 90, 170)]
    content = bytearray(tiff(pages, compression="tiff_adobe_deflate"))
    # StripOffsets of the second page, which then lie behind the end of the file.
    entry = content.index(b"\x11\x01", tiff_pages(bytes(content))[1].offset)
    content[entry + 8 : entry + 12] = b"\0\0\0\x7f"
    path.write_bytes(content)
    with open_source(path) as source:
        assert [round(frame.image.mean()) for frame in source] == [10, 170]
        assert source.skipped == 1
    assert "scan.tif page 2: damaged or cut off" in caplog.text
    code, out, _ = cli("run", path)
    assert (code, "skipped 1 unreadable" in out) == (0, True)
    code, out, _ = cli("predict", path)
    assert (code, "page 3" in out) == (2, True)


KINDS = (".png", ".gif", ".bmp", ".jp2", ".avif", ".webp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [*KINDS, ".jpg", ".tif", "film"])
def test_what_lies_behind_the_end_of_a_picture_is_reported(tmp_path, kind, other, caplog):
    behind = b"\0\0\0\x18ftypisom" if other == "film" else encoded(other, grey(200))
    path = tmp_path / "joined"
    path.write_bytes(encoded(kind, gradient()) + behind)
    assert read_levels(path) == 1
    wanted = {".jpg": "a JPEG picture", ".tif": "a TIFF picture", "film": "a film"}
    told = wanted.get(other, f"a {other[1:].upper()} picture")
    assert f"also holds {told} behind its end, which is not read" in caplog.text
    caplog.clear()
    path.write_bytes(encoded(kind, gradient()) + bytes(99))
    assert read_levels(path) == 1
    assert caplog.text == ""


def read_levels(path):
    with open_source(path) as source:
        return sum(1 for _ in source)


def test_a_film_where_a_picture_is_wanted_is_called_one(tmp_path):
    (tmp_path / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(99))
    with pytest.raises(SourceError, match=r"film\.mkv: a film, not an image; fer-edge run reads it"):
        read_image(tmp_path / "film.mkv")


def test_each_page_of_a_tiff_is_held_to_the_limit(tmp_path):
    pages = [Image.fromarray(grey(10, (8, 6))), Image.fromarray(grey(10, (50, 40)))]
    (tmp_path / "scan.tif").write_bytes(tiff(pages))
    with pytest.raises(SourceError, match=r"page 2: 50x40 pixels"):
        list(ImageSource(tmp_path / "scan.tif", max_pixels=1999))


def test_a_page_of_a_tiff_that_is_too_large_costs_a_folder_no_other(tmp_path, caplog):
    pages = [
        Image.fromarray(grey(level, size)) for level, size in ((20, (8, 6)), (40, (50, 40)), (60, (9, 7)))
    ]
    (tmp_path / "scan.tif").write_bytes(tiff(pages))
    source = ImageSource(tmp_path, max_pixels=1999)
    assert levels(source) == [1, 3]
    assert source.skipped == 1
    assert "scan.tif page 2: 50x40 pixels" in caplog.text
    with pytest.raises(SourceError, match="page 2: 50x40 pixels"):
        list(read_images(tmp_path / "scan.tif", 1999))


def test_stereo_pairs_give_the_first_picture_and_a_warning(tmp_path, caplog):
    frames = [Image.fromarray(grey(level)) for level in (40, 200)]
    frames[0].save(tmp_path / "pair.mpo", "MPO", save_all=True, append_images=frames[1:])
    with open_source(tmp_path / "pair.mpo") as source:
        assert levels(source) == [2]
        assert not source.related
    assert "also holds 1 more picture; the first picture is read" in caplog.text


def test_a_preview_behind_a_picture_is_no_news(tmp_path, caplog):
    small = encoded(".jpg", grey(200, (8, 6)))
    (tmp_path / "phone.jpg").write_bytes(encoded(".jpg", grey(40)) + small)
    assert levels(open_source(tmp_path / "phone.jpg")) == [2]
    assert not caplog.text


def test_motion_photos_give_the_picture_and_name_the_film(tmp_path, caplog):
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500)
    (tmp_path / "PXL.MP.jpg").write_bytes(encoded(".jpg", grey(40)) + film)
    assert levels(open_source(tmp_path / "PXL.MP.jpg")) == [2]
    assert "also holds a film (a motion photo); the first picture is read" in caplog.text


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "/dev/full"])
def test_links_to_devices_are_refused_before_they_are_read(tmp_path, target):
    (tmp_path / "a.jpg").symlink_to(target)
    for call in (open_source, read_image):
        with pytest.raises(SourceError, match=r"a\.jpg: is a device, not a file"):
            call(tmp_path / "a.jpg")


def test_links_that_go_round_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    for call in (open_source, read_image):
        with pytest.raises(SourceError, match=r"a.jpg: .*symbolic links"):
            call(tmp_path / "a.jpg")


def test_a_long_file_that_is_no_picture_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.truncate(20 << 30)
    with pytest.raises(SourceError, match="not an image"):
        read_image(tmp_path / "a.jpg")


def test_a_picture_file_longer_than_any_picture_is_refused(tmp_path):
    with (tmp_path / "a.png").open("wb") as stream:
        stream.write(encoded(".png", gradient()))
        stream.truncate(200 << 20)
    with pytest.raises(SourceError, match="more bytes than an image of 1 megapixels takes"):
        read_image(tmp_path / "a.png", max_pixels=1_000_000)
    assert np.array_equal(read_image(tmp_path / "a.png"), gradient())


def test_reading_a_picture_takes_its_memory_once(tmp_path):
    with (tmp_path / "large.tif").open("wb") as stream:
        stream.write(b"II*\0")
        stream.truncate(40 << 20)
    tracemalloc.start()
    try:
        content = read_content(tmp_path / "large.tif")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(content) == 40 << 20
    assert peak < 48 << 20
