"""What of a URL is shown."""

from __future__ import annotations

import pytest

cv2 = pytest.importorskip("cv2")
from sources.pictures import encoded, grey

from fer_edge.errors import SourceError, WrongSourceError
from fer_edge.sources import await_any, open_source
from fer_edge.sources.urls import is_url, path_of, with_urls_masked, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://192.168.1.20/stream", "rtsp://192.168.1.20/stream"),
        ("rtsp://user:secret@192.168.1.20:554/stream", "rtsp://192.168.1.20:554/stream"),
        ("RTSP://user@host/stream", "RTSP://host/stream"),
        ("rtsp://user:s@cr@t@host/stream", "rtsp://host/stream"),
        ("rtsp://user:se/cret@host/stream", "rtsp://host/stream"),
        ("rtsp://user:se?cr#et@host/stream", "rtsp://host/stream"),
        ("http://host/snap@2x/stream", "http://host/snap@2x/stream"),
        ("http://host:8080/snap@2x/stream", "http://host:8080/snap@2x/stream"),
        ("http://[fe80::1]:8080/a@b", "http://[fe80::1]:8080/a@b"),
        ("http://[fe80::1]/a@b", "http://[fe80::1]/a@b"),
        ("http://user:secret@[fe80::1]/a@b", "http://[fe80::1]/a@b"),
        ("http://host/v?pwd=secret&fps=5", "http://host/v?pwd=***&fps=5"),
        ("http://host/v?fps=5&access_token=secret", "http://host/v?fps=5&access_token=***"),
        ("http://host/v?loginuse=me;loginpas=secret", "http://host/v?loginuse=***;loginpas=***"),
        ("http://host/v?size=1#token=secret", "http://host/v?size=1#token=***"),
        ("http://host/v?camera=rtsp://me:secret@inner/x&n=1", "http://host/v?camera=***&n=1"),
        ("http://host/v?token=", "http://host/v?token=***"),
        ("http://host/v?p=secret&code=secret&fps=5", "http://host/v?p=***&code=***&fps=5"),
        ("films/user@home.mp4", "films/user@home.mp4"),
        ("films/a?token=b.mp4", "films/a?token=b.mp4"),
    ],
)
def test_secrets_are_left_out_and_all_else_stays(url, shown):
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    "text", ["rtsp:/me:secret@host/x", "rtsp:///me:secret@host/x", "http:/host/x?pwd=secret"]
)
def test_mistyped_url_does_not_tell_its_secrets(text):
    with pytest.raises(SourceError, match="host/x") as caught:
        open_source(text)
    assert "secret" not in str(caught.value)


def test_paths_are_no_urls():
    assert is_url("rtsp://host")
    assert not is_url("C:/film.mp4")
    assert not is_url("2026-11-26T12:30:00.mp4")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///films/my%20film.mp4", "/films/my film.mp4"),
        ("file://localhost/a%3Fb.mp4", "/a?b.mp4"),
        ("FILE:///caf%C3%A9", "/caf\u00e9"),
        ("file://other/a.mp4", "file://other/a.mp4"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_the_path_of_a_file_url_is_decoded(url, path):
    assert path_of(url) == path


def test_a_file_url_is_its_path(tmp_path):
    """Also where the container tells no length, as that of a camera's stream."""
    levels = [20, 60, 100, 140, 180]
    film = tmp_path / "film"
    film.write_bytes(b"".join(encoded(".jpg", grey(level)) for level in levels))
    with open_source(f"file://{film}") as source:
        assert (source.live, source.name) == (False, str(film))
        assert [frame.image.mean() for frame in source] == pytest.approx(levels, abs=2)
    with open_source(f"FILE://{tmp_path}") as folder:
        assert folder.paths == [film]
    with pytest.raises(WrongSourceError, match="only a camera or a stream can be waited for"):
        await_any(f"file://{tmp_path}/not-yet")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("rtsp://me:secret@host/x: No such file", "rtsp://host/x: No such file"),
        ("no model 'http:/me:secret@host/x', nor y", "no model 'http:/host/x', nor y"),
        ("http://host/v?token=***: refused", "http://host/v?token=***: refused"),
        ("http://host/snap@2x/stream: the stream stopped", "http://host/snap@2x/stream: the stream stopped"),
        ("films/user@home.mp4: No such file", "films/user@home.mp4: No such file"),
    ],
)
def test_messages_repeat_no_secrets(message, shown):
    assert with_urls_masked(message) == shown
