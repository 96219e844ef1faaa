"""What HTTP servers send: films, live streams, snapshots, and failures among them."""

from __future__ import annotations

import base64
import gc
import itertools
import struct
import threading
import time
import tracemalloc
import warnings

import pytest

cv2 = pytest.importorskip("cv2")
from sources.pictures import animation, encoded, grey, write_film
from sources.web import MJPEG, jpeg, multipart, serving, whole

from fer_edge.errors import SourceError, SourceLostError
from fer_edge.sources import SourceOptions, http, open_source, stream
from fer_edge.sources.http import ask
from fer_edge.sources.opencv_capture import FAILED_READS_ALLOWED

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

POLLING = SourceOptions(poll=0.02)


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.mark.parametrize("suffix", ["ts", "avi", "mkv"])
def test_a_film_without_ranges_is_a_film(server, tmp_path, suffix):
    pictures = (grey(level, (64, 48)) for level in range(20, 220, 10))
    path = write_film(tmp_path / f"a.{suffix}", pictures, "mp4v")
    server.answers["/film"] = whole("video/mp2t", path.read_bytes())
    with open_source(server.url + "/film") as source:
        frames = list(source)
        assert not source.live
    assert [frame.image.mean() for frame in frames] == pytest.approx(range(20, 220, 10), abs=4)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kind", ["image/*", "application/octet-stream", None])
def test_a_snapshot_is_polled(server, suffix, kind):
    levels = itertools.count(20, 20)
    server.answers["/snap"] = lambda _: whole(kind, encoded(suffix, grey(next(levels))))
    with open_source(server.url + "/snap", POLLING) as source:
        frames = list(itertools.islice(source, 4))
        assert source.live
    assert [frame.image.mean() for frame in frames] == pytest.approx([20, 40, 60, 80], abs=2)
    steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(frames)]
    assert min(steps) >= 0.02 - 1e-3


def test_a_snapshot_without_polling_is_one_picture(server):
    server.answers["/snap"] = whole("image/png", encoded(".png", grey(70)))
    with open_source(server.url + "/snap", SourceOptions(poll=0)) as source:
        (frame,) = source
        assert (source.live, source.related) == (False, False)
    assert frame.image.mean() == 70
    assert len(server.asked) == 1


LEVELS = list(range(20, 220, 10))


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", None])
def test_raw_mjpeg_on_a_server_is_a_film(server, kind):
    content = b"".join(encoded(".jpg", grey(level)) for level in LEVELS)
    server.answers["/film"] = whole(kind, content)
    with open_source(server.url + "/film", POLLING) as source:
        assert (source.live, source.related) == (False, True)
        frames = list(source)
        assert source.missing == 0
    assert [frame.image.mean() for frame in frames] == pytest.approx(LEVELS, abs=2)
    assert [frame.timestamp for frame in frames] == pytest.approx([k / 30 for k in range(20)])
    assert len(server.asked) == 1


def test_raw_mjpeg_on_a_server_is_read_as_it_comes(server):
    """Not as a whole before the first frame."""
    content = b"".join(encoded(".jpg", grey(level)) for level in LEVELS) * 50
    more = threading.Event()

    def body():
        yield content
        more.wait(30)
        yield content

    server.answers["/film"] = "image/jpeg", 2 * len(content), body()
    with open_source(server.url + "/film") as source:
        assert not source.live
        frames = iter(source)
        began = time.monotonic()
        next(frames)
        assert time.monotonic() - began < 10
        more.set()
        assert 1 + sum(1 for _ in frames) == 2 * 50 * 20


def test_raw_mjpeg_that_breaks_off_is_a_failure(server):
    content = b"".join(encoded(".jpg", grey(level)) for level in LEVELS)
    server.answers["/film"] = "image/jpeg", len(content) + 1000, [content]
    given = []
    with open_source(server.url + "/film") as source:
        assert not source.live
        frames = iter(source)
        words = rf"/film: breaks off behind {len(content)} of {len(content) + 1000} bytes"
        with pytest.raises(SourceLostError, match=words):
            given.extend(iter(lambda: next(frames).image.mean(), None))
    assert given == pytest.approx(LEVELS, abs=2)


def test_an_animation_on_a_server_is_a_film(server):
    server.answers["/film"] = whole("image/gif", animation("GIF", [10, 90, 170, 250], [200, 40, 500, 100]))
    with open_source(server.url + "/film", POLLING) as source:
        assert (source.live, source.related) == (False, True)
        frames = list(source)
    assert [frame.image.mean() for frame in frames] == pytest.approx([10, 90, 170, 250], abs=3)
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.2, 0.24, 0.74])
    assert len(server.asked) == 1


def test_snapshots_that_fail_now_and_then_go_on(server):
    bad = [503, whole("image/jpeg", b""), whole("image/jpeg", jpeg(9)[:40]), whole("text/html", b"busy")]
    answers = itertools.chain(
        [whole("image/jpeg", jpeg(20))], bad, itertools.repeat(whole("image/jpeg", jpeg(60)))
    )
    server.answers["/snap"] = lambda _: next(answers)
    with open_source(server.url + "/snap", POLLING) as source:
        levels = [frame.image.mean() for frame in itertools.islice(source, 3)]
    assert levels == pytest.approx([20, 60, 60], abs=2)
    assert len(server.asked) == 3 + len(bad)


def test_snapshots_that_go_on_failing_are_a_lost_source(server):
    answers = itertools.chain([whole("image/jpeg", jpeg(20))], itertools.repeat(500))
    server.answers["/snap"] = lambda _: next(answers)
    with open_source(server.url + "/snap", SourceOptions(poll=0.001)) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(SourceLostError, match="26 times in a row no picture"):
            next(frames)


class Endless:
    """A body that goes on after ``content`` for half a minute; ``over`` once it was sent to its end."""

    def __init__(self, content):
        self.content = content
        self.over = False

    def __iter__(self):
        yield self.content
        until = time.monotonic() + 30
        while time.monotonic() < until:
            yield bytes(1 << 12)
            time.sleep(0.01)
        self.over = True


@pytest.mark.parametrize(
    ("kind", "begins", "seconds"), [(MJPEG, b"--frame\r\n", http.PICTURE_TIMEOUT), ("image/jpeg", b"", 1.0)]
)
def test_a_snapshot_url_that_begins_to_stream_is_asked_again(server, monkeypatch, kind, begins, seconds):
    body = Endless(begins + jpeg(100))
    answers = itertools.chain([whole("image/jpeg", jpeg(20)), (kind, None, body)], itertools.repeat(None))
    server.answers["/snap"] = lambda _: next(answers) or whole("image/jpeg", jpeg(60))
    with open_source(server.url + "/snap", POLLING) as source:
        monkeypatch.setattr(http, "PICTURE_TIMEOUT", seconds)
        levels = [frame.image.mean() for frame in itertools.islice(source, 2)]
    assert levels == pytest.approx([20, 60], abs=2)
    assert not body.over


def test_a_picture_without_an_end_is_refused(server, monkeypatch):
    monkeypatch.setattr(http, "PICTURE_TIMEOUT", 1.0)
    body = Endless(jpeg(20))
    server.answers["/snap"] = "image/jpeg", None, body
    with pytest.raises(SourceError, match=r"/snap: the stream cannot be opened: .* no end within 1 s"):
        open_source(server.url + "/snap", POLLING)
    assert not body.over


def test_closing_ends_a_picture_without_an_end(server):
    body = Endless(jpeg(20))
    answers = iter([whole("image/jpeg", jpeg(20)), ("image/jpeg", None, body)])
    server.answers["/snap"] = lambda _: next(answers)
    source = open_source(server.url + "/snap", POLLING)
    frames = iter(source)
    next(frames)
    reader = threading.Thread(target=list, args=(frames,))
    reader.start()
    while len(server.asked) < 2:
        time.sleep(0.01)
    source.close()
    reader.join()
    assert not body.over


def test_closing_ends_the_wait_for_the_next_snapshot(server):
    server.answers["/snap"] = whole("image/jpeg", jpeg(20))
    source = open_source(server.url + "/snap", SourceOptions(poll=60))
    frames = iter(source)
    next(frames)
    threading.Timer(0.2, source.close).start()
    began = time.monotonic()
    assert list(frames) == []
    assert time.monotonic() - began < 30


def test_rare_snapshots_do_not_count_as_silence(server):
    import fer_edge

    server.answers["/snap"] = whole("image/jpeg", jpeg(20))
    with fer_edge.watch(server.url + "/snap", poll=0.5, silence=0.1, frames=3) as results:
        assert len(list(results)) == 3


@pytest.mark.parametrize(
    "bad", [b"", b"no picture at all", jpeg(9)[:60], jpeg(9)[:-2], jpeg(9)[:2] + b"\xff\xd9"]
)
def test_a_bad_part_does_not_end_an_mjpeg_stream(server, bad):
    parts = [jpeg(20), bad, jpeg(60), bad, bad, jpeg(100)]
    server.answers["/video"] = (MJPEG, None, multipart(parts))
    with open_source(server.url + "/video") as source:
        assert source.live
        frames = []
        with pytest.raises(SourceLostError, match="stopped"):
            for frame in source:
                frames.append(frame)
    assert [frame.image.mean() for frame in frames] == pytest.approx([20, 60, 100], abs=2)


def test_an_empty_first_part_does_not_end_an_mjpeg_stream(server):
    server.answers["/video"] = (MJPEG, None, multipart([b"", b"", jpeg(20)]))
    with open_source(server.url + "/video") as source:
        assert next(iter(source)).image.mean() == pytest.approx(20, abs=2)


def test_an_mjpeg_stream_with_nothing_but_bad_parts_is_lost(server):
    bad = jpeg(9)[:2] + b"\xff\xff\xd9"
    server.answers["/video"] = (
        MJPEG,
        None,
        multipart([jpeg(20), *[bad] * (FAILED_READS_ALLOWED + 1), jpeg(60)]),
    )
    with open_source(server.url + "/video") as source, pytest.raises(SourceLostError, match="stopped"):
        assert [round(frame.image.mean()) for frame in source] == [20]


def test_an_mjpeg_stream_that_falls_silent_is_lost(server, monkeypatch):
    monkeypatch.setattr(stream, "OPEN_TIMEOUT", 0.5)
    silent = threading.Event()

    def body():
        yield from multipart([jpeg(20)])
        silent.wait(20)

    server.answers["/video"] = (MJPEG, None, body())
    with open_source(server.url + "/video") as source, pytest.raises(SourceLostError, match="timed out"):
        list(source)
    silent.set()


def test_closing_ends_the_wait_for_a_stream_that_stalls(server):
    """Not only when the server has been silent for as long as it may be, ten seconds."""
    stalled = threading.Event()

    def body():
        yield from multipart([jpeg(20)])
        stalled.wait(30)

    server.answers["/video"] = (MJPEG, None, body())
    source = open_source(server.url + "/video")
    frames, ends = iter(source), []
    next(frames)

    def read():
        try:
            next(frames)
        except SourceLostError as error:
            ends.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    began = time.monotonic()
    source.close()
    reader.join()
    assert time.monotonic() - began < 5
    stalled.set()
    assert ends == [f"{server.url}/video: the stream stopped"]


def test_frames_of_an_mjpeg_stream_come_as_soon_as_they_are_there(server):
    """Not only when the next one, or a full buffer, has come."""
    more = threading.Event()

    def body():
        yield from multipart([jpeg(20)])
        more.wait(20)
        yield from multipart([jpeg(60)])

    server.answers["/video"] = (MJPEG, None, body())
    with open_source(server.url + "/video") as source:
        frames = iter(source)
        began = time.monotonic()
        next(frames)
        assert time.monotonic() - began < 10
        more.set()
        assert next(frames).image.mean() == pytest.approx(60, abs=2)


@pytest.mark.parametrize("path", ["/video", "/snap"])
def test_user_and_password_of_the_url_are_sent_where_they_are_asked_for(server, path, caplog):
    right = "Basic " + base64.b64encode(b"me:p@ss").decode()

    def answer(request):
        if request.headers.get("Authorization") != right:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return None, None, []
        if path == "/snap":
            return whole("image/jpeg", jpeg(20))
        return MJPEG, None, multipart([jpeg(20)])

    server.answers[path] = answer
    with open_source(server.url.replace("//", "//me:p%40ss@") + path, POLLING) as source:
        frame = next(iter(source))
    assert frame.image.mean() == pytest.approx(20, abs=2)
    assert frame.name == server.url + path
    with pytest.raises(SourceError, match="401") as error:
        open_source(server.url.replace("//", "//me:wrong@") + path)
    assert "wrong" not in str(error.value)


def test_answers_that_ask_for_a_password_are_closed(server):
    def answer(request):
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="camera"')
        request.end_headers()
        return None, None, []

    def keep_the_error():
        # With its traceback it refers to itself, so only the collector finds the answers that it holds.
        with pytest.raises(SourceError, match="401") as error:
            ask(server.url.replace("//", "//me:wrong@") + "/snap", timeout=30)
        assert error.tb is not None

    server.answers["/snap"] = answer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        keep_the_error()
        gc.collect()
    assert len(server.asked) > 1
    assert not [str(one.message) for one in caught if one.category is ResourceWarning]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_says_what_the_server_said(server, status):
    server.answers["/x?token=abc"] = status
    with pytest.raises(SourceError, match=f"cannot be opened: {status} "):
        open_source(server.url + "/x?token=abc")


def test_the_limit_on_pixels_holds_for_what_the_network_sends(server):
    server.answers["/snap"] = whole("image/png", encoded(".png", grey(9)))
    with pytest.raises(SourceError, match="32x24 pixels"):
        open_source(server.url + "/snap", SourceOptions(poll=0, max_pixels=700))
    with open_source(server.url + "/snap", SourceOptions(poll=0, max_pixels=768)) as source:
        assert len(list(source)) == 1


def test_a_camera_whose_pictures_are_too_large_is_refused_at_once(server):
    """A PNG of 30000x30000 pixels in a few bytes: waiting for a smaller one would be in vain."""
    content = bytearray(encoded(".png", grey(9)))
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    server.answers["/snap"] = whole("image/png", bytes(content))
    with pytest.raises(
        SourceError, match="/snap: 30000x30000 pixels are 900 megapixels; at most 100"
    ) as told:
        open_source(server.url + "/snap", POLLING)
    assert not isinstance(told.value, SourceLostError)


def test_a_part_of_mjpeg_that_is_too_large_is_passed_over(server):
    bomb = bytearray(jpeg(9))
    size = bomb.index(b"\xff\xc0") + 5
    bomb[size : size + 4] = struct.pack(">HH", 30_000, 30_000)
    server.answers["/cam"] = MJPEG, None, multipart([jpeg(9), bytes(bomb), jpeg(90)])
    with open_source(server.url + "/cam") as source:
        frames = list(itertools.islice(source, 2))
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [10, 90]


@pytest.mark.parametrize("length", [10**15, -7, "abc"])
def test_a_length_that_is_not_true_does_no_harm(server, length):
    server.answers["/snap"] = "image/jpeg", length, [jpeg(90)]
    with open_source(server.url + "/snap", SourceOptions(poll=0)) as source:
        assert [frame.image.shape for frame in source] == [(24, 32, 3)]


@pytest.mark.parametrize("length", [None, 10**15])
def test_a_picture_of_unknown_length_takes_the_memory_of_what_comes(server, length):
    """And not of all that might come, 867 MB."""
    server.answers["/snap"] = "image/jpeg", length, [jpeg(90)]
    tracemalloc.start()
    try:
        with open_source(server.url + "/snap", POLLING) as source:
            assert len(list(itertools.islice(source, 3))) == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20


def test_an_empty_answer_is_refused(server):
    server.answers["/snap"] = whole("image/jpeg", b"")
    with pytest.raises(SourceError, match="/snap: the stream cannot be opened"):
        open_source(server.url + "/snap", POLLING)


@pytest.mark.parametrize("length", [0, 10**12, -5])
def test_a_part_of_mjpeg_whose_length_is_not_true_is_read_by_its_marks(server, length):
    parts = [
        b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % length + picture + b"\r\n"
        for picture in (jpeg(9), jpeg(50), jpeg(90))
    ]
    server.answers["/cam"] = MJPEG, None, parts
    with open_source(server.url + "/cam") as source:
        frames = list(itertools.islice(source, 3))
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [10, 50, 90]


def test_raw_frames_do_not_come_from_urls(cli):
    code, _, err = cli("run", "http://127.0.0.1:9/x?pwd=secret", "--raw", "gray:4x4")
    assert code == 2
    assert "not from a URL" in err
    assert "secret" not in err
