"""The page over TLS and behind a proxy."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ports import free_port

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from outputs.page import rooms
from outputs.page.rooms import SECONDS, listens, open_room, person, run, until
from pages import wait_for
from playwright.sync_api import expect

pytestmark = [pytest.mark.services, pytest.mark.heavy]
visit = rooms.visit
REPOSITORY = Path(__file__).resolve().parents[3]


def certificate(folder, *names):
    """A certificate for ``names`` that nobody signed, and its key."""
    made = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-keyout", made[1], "-out", made[0], "-subj", "/CN=fer-edge",
         "-addext", "subjectAltName=" + ",".join(names)],
        check=True, capture_output=True,
    )  # fmt: skip
    made[1].chmod(0o600)
    return made


@contextlib.contextmanager
def nginx(visit, folder, pages_port):
    """nginx before a page, by the configuration of docs/page.md; gives its port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "Debian's package nginx is not installed"
    (server,) = re.findall(r"```nginx\n(.*?)```", (REPOSITORY / "docs" / "page.md").read_text(), re.S)
    port = free_port()
    cert, key = certificate(folder, "DNS:shop.example")
    for documented, here in {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "http://127.0.0.1:8080;": f"http://127.0.0.1:{pages_port};",
        "/etc/ssl/shop.example.pem;": f"{cert};",
        "/etc/ssl/private/shop.example.key;": f"{key};",
    }.items():
        assert documented in server
        server = server.replace(documented, here)
    # nginx opens the log of before its configuration at a place of its own.
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    written = folder / "nginx.conf"
    written.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{server}}}\n"
    )
    process = subprocess.Popen([program, "-p", folder, "-e", folder / "error.log", "-c", written])
    try:
        wait_for(lambda: listens(port) or process.poll() is not None, SECONDS)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        visit.leave()
        process.terminate()
        process.wait(SECONDS)


def test_a_page_over_tls_is_as_any_other(visit, tmp_path):
    pytest.importorskip("skimage")
    cert, key = certificate(tmp_path, "IP:127.0.0.1")
    token = tmp_path / "token"
    token.write_text("correct-horse-battery\n")
    token.chmod(0o600)
    port = free_port()
    tls = ("--page-tls", f"{cert},{key}", "--page-token-file", str(token))
    with run(visit, tmp_path, "--camera", "demo", *tls, port=port):
        url = f"https://127.0.0.1:{port}/"
        page = visit(url + "?token=correct-horse-battery", ignore_https_errors=True)
        assert page.url == url
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator(".words")).to_have_text(re.compile(r"\d+ of 10 would say happy"))
        assert until(page, "document.querySelector('.frame img').naturalWidth") == 640
        (cookie,) = page.context.cookies()
        assert cookie["secure"]
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#link")).to_have_text("paused")


ARRIVALS = """async (wanted) => {
  const read = async (path, mark) => {
    const reader = (await fetch(path)).body.getReader();
    const began = performance.now(), decoder = new TextDecoder("latin1"), times = [];
    let text = "";
    while (times.length < wanted) {
      text += decoder.decode((await reader.read()).value);
      const found = text.split(mark).length - 1;
      while (times.length < found) times.push(performance.now() - began);
    }
    reader.cancel();
    return times;
  };
  return Promise.all([read("api/video.mjpg", "image/jpeg"), read("api/events", "event: state")]);
}"""


def test_behind_nginx_as_documented_all_of_it_works_and_nothing_is_held_back(visit, tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery\n")
    (tmp_path / "token").chmod(0o600)
    options = {"hosts": ("shop.example",), "token_file": str(tmp_path / "token")}
    with open_room(visit, tmp_path, **options) as room, nginx(visit, tmp_path, room.port) as port:
        room.put("door", person(1))
        url = f"https://shop.example:{port}/"
        page = visit(url + "?token=correct-horse-battery", ignore_https_errors=True)
        assert page.url == url
        expect(page.locator("#link")).to_have_text("live")
        assert [one["secure"] for one in page.context.cookies()] == [True]
        assert until(page, "document.querySelector('.frame img').naturalWidth") == 320
        for times in page.evaluate(ARRIVALS, 6):
            assert len(set(times)) > 3, "several came together, from a buffer that was full"
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#link")).to_have_text("paused")
        assert room.control.is_paused
