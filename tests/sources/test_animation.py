"""More than one frame is a film: animated pictures and raw MJPEG."""

from __future__ import annotations

import io
import itertools
import tracemalloc

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from PIL import Image
from sources.pictures import animation, encoded, grey

from fer_edge.errors import SourceError
from fer_edge.sources import SourceOptions, open_source
from fer_edge.sources.images import read_images
from fer_edge.sources.mjpeg import pictures

KINDS = ["GIF", "WEBP", "PNG", "AVIF"]
LEVELS, DURATIONS = [10, 90, 170, 250], [200, 40, 500, 100]


def written(tmp_path, content):
    (tmp_path / "film").write_bytes(content)
    return tmp_path / "film"


@pytest.mark.parametrize("kind", KINDS)
def test_an_animation_is_a_film_with_its_own_times(tmp_path, kind):
    with open_source(written(tmp_path, animation(kind, LEVELS, DURATIONS))) as source:
        frames = list(source)
        assert (source.live, source.related, source.missing) == (False, True, 0)
    assert [frame.image.mean() for frame in frames] == pytest.approx(LEVELS, abs=3)
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.2, 0.24, 0.74])
    assert frames[0].image.shape == (24, 32, 3)


def test_a_gif_that_asks_for_no_time_goes_as_browsers_play_it(tmp_path):
    with open_source(written(tmp_path, animation("GIF", LEVELS, [0] * 4))) as source:
        assert [frame.timestamp for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_frames_that_change_a_part_only_come_whole(tmp_path):
    frames = [Image.fromarray(grey(60)) for _ in range(3)]
    for index, frame in enumerate(frames):
        frame.paste((200, 200, 200), (8 * index, 0, 8 * index + 8, 8))
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=50)
    with open_source(written(tmp_path, stream.getvalue())) as source:
        for index, frame in enumerate(source):
            assert frame.image[20, 30].tolist() == pytest.approx([60] * 3, abs=2)
            assert frame.image[2, 8 * index + 2].tolist() == pytest.approx([200] * 3, abs=2)
    assert index == 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_a_picture(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(grey(90)).save(stream, kind)
    with open_source(written(tmp_path, stream.getvalue())) as source:
        assert not source.related
        assert len(list(source)) == 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_that_is_cut_off_gives_what_is_there(tmp_path, kind, caplog):
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype="uint8")) for _ in range(10)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], duration=100)
    content = stream.getvalue()
    path = written(tmp_path, content[: len(content) * 6 // 10])
    try:
        with open_source(path) as source:
            count = len(list(source))
            missing = source.missing
    except SourceError as error:
        assert kind == "WEBP"
        assert "film" in str(error)
        return
    assert 4 <= count <= 6
    if kind == "GIF":
        # Its header does not tell how many there should be.
        assert "cut off" in caplog.text
    else:
        assert count + missing == 10
        assert f"ends after {count} of 10 frames" in caplog.text


def test_a_large_animation_is_refused(tmp_path):
    path = written(tmp_path, animation("GIF", LEVELS, DURATIONS))
    with pytest.raises(SourceError, match="32x24 pixels"):
        open_source(path, SourceOptions(max_pixels=700))


@pytest.mark.parametrize("kind", KINDS)
def test_where_one_picture_is_wanted_an_animation_says_how_many_it_has(tmp_path, kind, caplog):
    path = written(tmp_path, animation(kind, LEVELS, DURATIONS))
    ((name, image),) = read_images(path)
    assert (name, round(image.mean(), -1)) == (str(path), 10)
    assert f"{path}: an animation of 4 frames; the first is read" in caplog.text


def mjpeg(levels):
    return [encoded(".jpg", grey(level)) for level in levels]


def test_raw_mjpeg_is_a_film(tmp_path, caplog):
    path = written(tmp_path, b"".join(mjpeg(range(0, 240, 12))))
    with open_source(path) as source:
        frames = list(source)
        assert (source.related, source.live, source.missing) == (True, False, 0)
    assert [frame.image.mean() for frame in frames] == pytest.approx(range(0, 240, 12), abs=2)
    assert [frame.timestamp for frame in frames] == pytest.approx([k / 30 for k in range(20)])
    assert "30 frames a second are assumed" in caplog.text


def test_raw_mjpeg_stays_a_film_where_its_first_picture_is_damaged(tmp_path):
    """The height in its header is wrong, so that it is not as large as the others."""
    parts = [encoded(".jpg", grey(level)) for level in (10, 90, 130, 170, 210, 250)]
    height = parts[0].index(b"\xff\xc0") + 5
    parts[0] = parts[0][:height] + b"\x10" + parts[0][height + 1 :]
    with open_source(written(tmp_path, b"".join(parts))) as source:
        levels = [round(frame.image.mean()) for frame in source]
    assert levels[1:] == pytest.approx([90, 130, 170, 210, 250], abs=1)


def test_a_film_behind_many_pictures_does_not_make_them_a_motion_photo(tmp_path):
    parts = [encoded(".jpg", grey(level)) for level in (10, 50, 90, 130, 170)]
    with open_source(written(tmp_path, b"".join(parts) + b"\0\0\0\x18ftypisom")) as source:
        assert sum(1 for _ in source) == 5


def test_raw_mjpeg_in_a_folder_is_reported(tmp_path, caplog):
    written(tmp_path, b"".join(mjpeg([30, 60, 90])))
    (frame,) = open_source(tmp_path)
    assert frame.image.mean() == pytest.approx(30, abs=2)
    assert "a film of 3 frames; the first is read" in caplog.text


def test_damaged_pictures_of_raw_mjpeg_are_counted_and_passed_over(tmp_path, caplog):
    parts = mjpeg([20, 60, 100, 140, 180])
    parts[1] = parts[1][:2] + b"\xff\xd9"  # empty
    parts[3] = parts[3][:-2]  # without its end
    with open_source(written(tmp_path, b"".join(parts))) as source:
        frames = list(source)
        assert source.missing == 1
    assert [frame.image.mean() for frame in frames] == pytest.approx([20, 100, 140, 180], abs=2)
    assert "1 damaged frames are left out" in caplog.text


def test_raw_mjpeg_goes_on_behind_a_long_stretch_of_damaged_pictures(tmp_path):
    good = mjpeg([20, 60, 100, 140])
    empty = good[0][:2] + b"\xff\xd9"
    with open_source(written(tmp_path, b"".join([*good[:2], *[empty] * 40, *good[2:]]))) as source:
        frames = list(source)
        assert source.missing == 40
    assert [frame.image.mean() for frame in frames] == pytest.approx([20, 60, 100, 140], abs=2)
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 1 / 30, 42 / 30, 43 / 30])


def test_opening_raw_mjpeg_reads_no_more_than_it_takes_to_tell(tmp_path):
    path = written(tmp_path, b"".join(mjpeg(range(0, 240, 12))) * 2000)
    assert path.stat().st_size > 20 << 20
    tracemalloc.start()
    try:
        with open_source(path) as source:
            assert [frame.image.mean() for frame in itertools.islice(source, 3)] == pytest.approx(
                [0, 12, 24], abs=2
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_raw_mjpeg_of_large_pictures_is_a_film(tmp_path):
    """Of four pictures, which hardly fit into a megabyte each, and which alone tell that it is one."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 1000, 3), np.uint8)
    part = encoded(".jpg", noise)
    assert len(part) > 500_000
    with open_source(written(tmp_path, part * 4)) as source:
        assert sum(1 for _ in source) == 4


class Slowly:
    """A stream that gives a few bytes at a time."""

    def __init__(self, content, step):
        self.content, self.step = content, step

    def read(self, size):
        part, self.content = self.content[: self.step], self.content[self.step :]
        return part


@pytest.mark.parametrize("step", [1, 7, 300, 100_000])
def test_mjpeg_is_split_the_same_however_it_arrives(step):
    parts = mjpeg([10, 50, 90])
    # With a preview in its own segment, which holds an end of its own, and headers between the pictures.
    preview = b"\xff\xe1" + (len(parts[0]) + 2).to_bytes(2, "big") + parts[0]
    parts[1] = parts[1][:2] + preview + parts[1][2:]
    between = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    stream = Slowly(between.join([b"", *parts]) + between, step)
    assert list(pictures(stream)) == parts


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_of_an_animation_gives_frames_or_a_source_error(tmp_path, kind):
    content = animation(kind, LEVELS, DURATIONS)
    for length in [*range(1, 60), *range(60, len(content), max(1, len(content) // 40))]:
        try:
            with open_source(written(tmp_path, content[:length])) as source:
                assert len(list(source)) >= 1
        except SourceError:
            continue


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_behind_the_end_of_an_animation_is_reported(tmp_path, kind, caplog):
    content = animation(kind, LEVELS, DURATIONS)
    with open_source(written(tmp_path, content + content)) as source:
        assert sum(1 for _ in source) == 4
    assert f"also holds a {kind} picture behind its end, which is not read" in caplog.text
