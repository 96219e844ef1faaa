"""Passwords of streams from files: put into the URL where it is opened, and seen nowhere else."""

from __future__ import annotations

import base64
import errno
import http.server
import re
import threading
from pathlib import Path

import pytest

cv2 = pytest.importorskip("cv2")
from sources.pictures import encoded, grey

from fer_edge.config import ConfigError, load, to_toml
from fer_edge.credentials import credential_name
from fer_edge.errors import DataError, SourceError
from fer_edge.sources import SourceOptions, open_source
from fer_edge.sources.password import takes_password, with_password

SECRET = "p@ss/w:ö #1?%"
ENCODED = "p%40ss%2Fw%3A%C3%B6%20%231%3F%25"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "door.password"
    path.write_text(f"{SECRET}\nsecond line\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def camera():
    """A server of one picture that asks for user and password; ``asked`` holds the headers."""
    picture = encoded(".jpg", grey(80))
    right = "Basic " + base64.b64encode(f"viewer:{SECRET}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            given = self.headers.get("Authorization")
            self.server.asked.append((self.path, given))
            if given != right:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.asked = []
        running.right = right
        running.url = f"http://viewer@127.0.0.1:{running.server_address[1]}/still.jpg"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_the_first_line_is_put_into_the_url_percent_encoded(secret):
    url = "rtsp://viewer@host:8554/live?x=a@b#c"
    assert with_password(url, secret) == f"rtsp://viewer:{ENCODED}@host:8554/live?x=a@b#c"
    secret.write_bytes(b" with spaces \r\n")
    assert with_password("RTSP://viewer@[::1]/", secret) == "RTSP://viewer:%20with%20spaces%20@[::1]/"
    secret.write_bytes(b"no end of line")
    assert with_password("http://v%40w@h", secret) == "http://v%40w:no%20end%20of%20line@h"


@pytest.mark.parametrize(
    "url",
    ["rtsp://host/live", "rtsp://me:pw@host/live", "rtsp://me:@host", "rtsp://host/a@b", "party.mp4", ""],
)
def test_a_url_without_a_user_or_with_a_password_takes_none(url, secret):
    assert not takes_password(url)
    with pytest.raises(SourceError, match="is for a URL with a user and no password") as caught:
        with_password(url, secret)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\nsecret\n", None])
def test_a_missing_or_empty_file_is_reported(content, tmp_path):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    reason = "No such file or directory" if content is None else "its first line, which is the password, is"
    with pytest.raises(SourceError, match=re.escape(f"--password-file {path}: {reason}")):
        with_password("rtsp://me@host", path)


def test_of_a_service_it_is_what_systemd_hands_over(tmp_path, secret, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / credential_name(secret)).write_text("other\n")
    assert with_password("rtsp://me@host/x", secret) == "rtsp://me:other@host/x"
    hidden = tmp_path / "hidden"
    (tmp_path / credential_name(hidden)).write_text("third\n")
    assert with_password("rtsp://me@host/x", hidden) == "rtsp://me:third@host/x"


def test_a_folder_that_only_root_may_enter_is_no_hindrance_to_a_service(tmp_path, monkeypatch):
    path, reached = tmp_path / "root" / "secret", Path.stat

    def stat(self, **given):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return reached(self, **given)

    monkeypatch.setattr(Path, "stat", stat)
    given = {"source": "rtsp://me@host/x", "password_file": str(path)}
    with pytest.raises(DataError, match=re.escape(f"--password-file {path}: Permission denied")):
        load(given, {})
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / credential_name(path)).write_text("other\n")
    assert load(given, {}).config.watch.password_file == str(path)


def test_a_file_that_everybody_can_read_is_warned_of_once(secret, caplog):
    for mode, warned in ((0o640, 0), (0o644, 1)):
        secret.chmod(mode)
        with_password("rtsp://me@host", secret)
        with_password("rtsp://me@host", secret)
        assert len(caplog.messages) == warned
    assert caplog.messages == [
        f"{secret}: every user of this machine can read this password; chmod o= {secret}"
    ]


def test_a_camera_is_opened_with_it_and_named_without(camera, secret):
    with open_source(camera.url, SourceOptions(poll=0, password_file=secret)) as source:
        assert len(list(source)) == 1
        assert source.name == camera.url.replace("viewer@", "")
    assert camera.asked[-1] == ("/still.jpg", camera.right)
    secret.write_text("wrong\n")
    with pytest.raises(SourceError, match="401") as caught:
        open_source(camera.url, SourceOptions(poll=0, password_file=secret))
    assert "wrong" not in str(caught.value) and "viewer" not in str(caught.value)


def test_a_password_for_a_file_is_refused(tmp_path, secret):
    with pytest.raises(SourceError, match=r"party\.mp4: a password is for the URL of a stream"):
        open_source("party.mp4", SourceOptions(password_file=secret))


def test_a_run_writes_the_password_nowhere(cli, camera, secret, tmp_path):
    log = tmp_path / "log.jsonl"
    code, out, err = cli(
        "run",
        camera.url,
        "--poll",
        "0",
        "--password-file",
        secret,
        "--jsonl",
        log,
        "--save-image",
        tmp_path / "a.png",
    )
    assert code == 0, err
    written = out + err + log.read_text()
    for part in (SECRET, ENCODED, "p@ss", "p%40ss", "viewer", camera.right.split()[1]):
        assert part not in written
    assert str(secret) in written

    code, out, err = cli("run", camera.url, "--password-file", secret, "--print-config")
    assert code == 0
    assert "p@ss" not in out and "p%40ss" not in out
    assert f'password_file = "{secret}"  # --password-file' in out


def test_a_bad_password_file_is_a_bad_configuration_or_a_bad_flag(cli, tmp_path, secret):
    missing = tmp_path / "none"
    url = "rtsp://me@127.0.0.1:9/live"
    assert cli("run", url, "--password-file", missing)[0] == 2
    file = tmp_path / "door.toml"
    file.write_text(f'source = "{url}"\npassword_file = "{missing}"\n')
    code, _, err = cli("run", "--config", file)
    assert code == 78
    assert err.strip() == (
        f"fer-edge run: --password-file {missing}: No such file or directory (password_file: {file}, line 2)"
    )
    file.write_text(f'camera = 0\npassword_file = "{secret}"\n')
    with pytest.raises(ConfigError, match=r"^0: --password-file is for a URL with a user"):
        load({}, {}, str(file))
    file.write_text(f'source = "{url}"\npassword_file = "{secret}"\n')
    assert SECRET not in to_toml(load({}, {}, str(file)))
