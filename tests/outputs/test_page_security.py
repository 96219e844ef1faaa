"""Who may ask the page what, over real sockets: an attacker's list, and each one's proper answer."""

from __future__ import annotations

import asyncio.sslproto
import collections
import contextlib
import errno
import gc
import io
import os
import re
import resource
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from pages import SECONDS, served, until_closed, wait_for

from fer_edge.credentials import credential_name
from fer_edge.errors import DataError
from fer_edge.hosts import host_of
from fer_edge.option import Address
from fer_edge.outputs.page.address import Hosts, bound, is_loopback, outgoing_address
from fer_edge.outputs.page.gate import Wrong
from fer_edge.outputs.page.page import Door, PageOptions, greet
from fer_edge.outputs.page.server import connections_allowed
from fer_edge.outputs.page.token import Key, token_in, token_of

SAME = {"Sec-Fetch-Site": "same-origin"}
GETS = ("/", "/page.css", "/page.js", "/api/state", "/api/timeline", "/healthz", "/metrics")


@pytest.fixture
def page(tmp_path):
    """A page for this machine only."""
    with served(tmp_path) as one:
        one.feed()
        yield one


@pytest.fixture
def locked(tmp_path):
    """A page that needs a token."""
    (tmp_path / "token").write_text("correct-horse-battery\n")
    (tmp_path / "token").chmod(0o600)
    with served(tmp_path, token_file=str(tmp_path / "token")) as one:
        one.feed()
        yield one


BEARER = {"Authorization": "Bearer correct-horse-battery"}


def cookie_of(page):
    answer = page.ask("/?token=correct-horse-battery")
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


# Names.


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7",
     "[2001:db8::1]", "127.0.0.1@evil.example", "", "[::1", "localhost:8x", "127.0.0.1, evil.example"],
)  # fmt: skip
def test_a_foreign_host_is_refused(page, host):
    answer = page.ask("/api/state", host=host.format(port=page.port))
    assert answer.status == 421
    assert "--page-host" in answer.json["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "[::1]:{port}", "localhost."])
def test_names_of_this_machine_are_answered(page, host):
    assert page.ask("/api/state", host=host.format(port=page.port)).status == 200


def test_the_machine_s_name_and_those_that_were_given_are_answered(tmp_path):
    with served(tmp_path, hosts=("Shop.example", "192.0.2.7")) as page:
        for host in (socket.gethostname(), "shop.example", "192.0.2.7:443"):
            assert page.ask("/healthz", host=host).status != 421
        assert page.ask("/healthz", host="192.0.2.8").status == 421


def test_a_page_for_all_addresses_is_called_by_that_of_the_connection():
    hosts = Hosts.of("0.0.0.0", ())
    assert hosts.allow("192.0.2.7:8080", "192.0.2.7")
    assert hosts.allow("192.0.2.7", "::ffff:192.0.2.7")
    assert not hosts.allow("192.0.2.7", "192.0.2.9")
    assert not hosts.allow("evil.example", "192.0.2.7")


@pytest.mark.parametrize(
    ("hosts", "address", "links"),
    [
        ((), "192.0.2.7", ["http://shop:{port}/", "http://192.0.2.7:{port}/"]),
        ((), None, ["http://shop:{port}/"]),
        (("shop.example",), "192.0.2.7", ["http://shop.example:{port}/"]),
    ],
    ids=["by name and address", "without a network", "by the name that was given"],
)
def test_a_terminal_shows_links_and_a_code_that_phones_can_open(
    tmp_path, monkeypatch, capsys, hosts, address, links
):
    segno = pytest.importorskip("segno")
    monkeypatch.setattr(socket, "gethostname", lambda: "shop")
    monkeypatch.setattr("fer_edge.outputs.page.page.outgoing_address", lambda: address)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with contextlib.closing(Door(PageOptions(Address("0.0.0.0", 0), hosts=hosts), lambda: tmp_path)) as door:
        greet(door)
    token = (tmp_path / "page.token").read_text().strip()
    wanted = [f"{link.format(port=door.port)}?token={token}" for link in links]
    told = capsys.readouterr().err
    assert re.findall(r"^(?:open|or  ) (http\S+)$", told, re.MULTILINE) == wanted
    code = io.StringIO()
    segno.make(wanted[-1], error="l", micro=False).terminal(out=code, compact=True)
    assert code.getvalue() in told


def test_under_tls_the_link_keeps_the_name_that_a_certificate_is_for(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_edge.outputs.page.page.outgoing_address", lambda: "192.0.2.7")
    with contextlib.closing(Door(PageOptions(Address("0.0.0.0", 0)), lambda: tmp_path)) as door:
        assert door.numeric_url == f"http://192.0.2.7:{door.port}/"
        door.tls = True
        assert door.numeric_url is None


def test_the_address_towards_other_machines_is_this_machine_s(monkeypatch):
    if (address := outgoing_address()) is not None:
        assert not is_loopback(address)
        bound(Address(address, 0)).close()

    class Alone(socket.socket):
        def connect(self, place):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Alone)
    assert outgoing_address() is None


def test_hosts_are_told_from_their_ports():
    assert [host_of(text) for text in ("a:1", "[::1]:8", "[::1]", "A.b.")] == ["a", "::1", "::1", "a.b"]
    assert [host_of(text) for text in ("", ":80", "[x]:1", "[::1]x", "a:b", "a:1:2")] == [None] * 6


def test_two_hosts_or_none_are_no_request(page):
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        assert page.raw(b"GET /api/state HTTP/1.1\r\n" + hosts + b"\r\n").startswith(b"HTTP/1.1 400 ")


# Other sites.


@pytest.mark.parametrize(
    "path", ["/api/state", "/api/snapshot.jpg", "/api/video.mjpg", "/api/events", "/page.js"]
)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_not_show_or_read_it(page, path, site):
    answer = page.ask(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
    assert answer.status == 403


def test_a_link_on_another_site_leads_here(page):
    assert page.ask("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "ftp://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_other_sites_may_not_change_anything(page, headers):
    headers = {name: value.replace("{port}", str(page.port)) for name, value in headers.items()}
    assert page.post("/api/pause", {"paused": True}, headers).status == 403
    assert not page.control.is_paused


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
def test_what_a_form_can_send_changes_nothing(page, kind):
    headers = {"Content-Type": kind} if kind else {}
    assert page.ask("/api/pause", "POST", headers, b'{"paused": true}').status == 415
    assert not page.control.is_paused


def test_the_page_itself_may_change_things(page):
    origin = {"Origin": f"http://127.0.0.1:{page.port}"}
    assert page.post("/api/pause", {"paused": True}, {**origin, **SAME}).status == 200
    assert page.control.is_paused


def test_a_proxy_does_not_open_a_page_that_is_for_this_machine(page):
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        answer = page.ask("/api/state", headers={name: "192.0.2.7"})
        assert answer.status == 403
        assert "--page-token-file" in answer.json["error"]


def test_nginx_as_it_comes_does_not_open_it_either(page):
    """It asks by the address it was given, and adds no header."""
    head = f"GET {{}} HTTP/1.0\r\nHost: 127.0.0.1:{page.port}\r\nConnection: close\r\n\r\n"
    assert page.raw(head.format("/api/state").encode()).startswith(b"HTTP/1.1 403 ")
    assert page.raw(head.format("/healthz").encode()).startswith(b"HTTP/1.1 200 ")


# Tokens.


@pytest.mark.parametrize(
    "path", [*GETS, "/api/events", "/api/video.mjpg", "/api/snapshot.jpg", "/api/store", "/nix"]
)
def test_without_a_token_nothing_but_health_and_the_style_is_told(locked, path):
    answer = locked.ask(path)
    free = path in ("/healthz", "/page.css")
    assert answer.status == (200 if free else 401)
    if not free:
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "door" not in answer.body.decode()


def test_health_names_no_camera(locked):
    assert set(locked.ask("/healthz").json) == {"ok", "paused", "cameras", "running"}


def test_changes_need_a_token(locked):
    assert locked.post("/api/pause", {"paused": True}).status == 401
    assert not locked.control.is_paused
    assert locked.post("/api/pause", {"paused": True}, BEARER).status == 200
    assert locked.control.is_paused


def test_a_token_is_taken_as_bearer(locked):
    assert locked.ask("/api/state", headers=BEARER).status == 200
    assert locked.ask("/api/state", headers={"Authorization": "bearer correct-horse-battery"}).status == 200
    for wrong in ("Basic correct-horse-battery", "Bearer", "correct-horse-battery"):
        assert locked.ask("/api/state", headers={"Authorization": wrong}).status == 401


def test_a_link_gives_a_cookie_and_hides_the_token(locked):
    answer = locked.ask("/?token=correct-horse-battery")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert "correct-horse-battery" not in cookie
    cookie = {"Cookie": f"other=1; {cookie.partition(';')[0]}"}
    assert locked.ask("/", headers=cookie).status == 200
    assert locked.ask("/api/state", headers=cookie).status == 200
    # The token is in an address only once.
    assert locked.ask("/api/state?token=correct-horse-battery").status == 401


def test_a_link_that_is_opened_again_hides_the_token_as_well(locked):
    answer = locked.ask("/?token=correct-horse-battery", headers=cookie_of(locked))
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert locked.ask("/?other=1", headers=cookie_of(locked)).status == 200


def test_a_cookie_changes_something_only_with_an_origin(locked):
    cookie = cookie_of(locked)
    assert locked.post("/api/pause", {"paused": True}, cookie).status == 403
    origin = {"Origin": f"http://127.0.0.1:{locked.port}"}
    assert locked.post("/api/pause", {"paused": True}, {**cookie, **origin}).status == 200


def test_a_browser_is_asked_for_the_token(locked):
    html = {"Accept": "text/html"}
    answer = locked.ask("/", headers=html)
    assert answer.status == 401
    assert 'name="token"' in answer.body.decode()
    assert "http-equiv" not in answer.body.decode()
    # A strict cookie does not come along a link on another site: the page asks once more by itself.
    again = locked.ask("/", headers={**html, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert 'http-equiv="refresh"' in again.body.decode()


def test_who_tries_tokens_has_to_wait(locked):
    cookie = cookie_of(locked)
    for number in range(3):
        assert locked.ask(f"/?token=guess-{number}").status == 401
    answer = locked.ask("/?token=guess-3")
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert locked.ask("/api/state", headers=BEARER).status == 429
    assert locked.ask("/api/state", headers=cookie).status == 200
    assert locked.ask("/healthz").status == 200


def test_waiting_doubles_up_to_a_minute_and_is_forgotten():
    now = 0.0
    wrong = Wrong(clock=lambda: now)
    waits = []
    for number in range(12):
        wrong.count("192.0.2.7", str(number))
        waits.append(wrong.wait("192.0.2.7"))
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert wrong.wait("192.0.2.8") == 0
    now = 700.0
    wrong.count("192.0.2.7", "again")
    assert wrong.wait("192.0.2.7") == 0


def test_an_old_cookie_that_is_sent_again_and_again_is_one_guess():
    wrong = Wrong(clock=lambda: 0.0)
    for _ in range(50):
        wrong.count("192.0.2.7", "the same")
    assert wrong.wait("192.0.2.7") == 0


def test_old_cookies_of_several_browsers_at_one_address_do_not_shut_it_out():
    wrong = Wrong(clock=lambda: 0.0)
    for _ in range(50):
        for cookie in ("of a phone", "of a tablet"):
            wrong.count("192.0.2.7", cookie)
    assert wrong.wait("192.0.2.7") == 0


def test_whoever_has_many_addresses_fills_a_bounded_table():
    wrong = Wrong(clock=lambda: 0.0)
    for number in range(5000):
        wrong.count(f"10.0.{number >> 8}.{number & 255}", str(number))
    assert len(wrong._known) == 1024
    for number in range(3):
        wrong.count(f"2001:db8::{number}", str(number))
    assert wrong.wait("2001:db8::ffff") == 1
    assert wrong.wait("2001:db8:0:1::") == 0


def test_a_token_is_made_once_for_its_owner_only(tmp_path):
    token = token_in(tmp_path)
    assert len(token) >= 43
    assert stat.S_IMODE((tmp_path / "page.token").stat().st_mode) == 0o600
    assert token_in(tmp_path) == token
    assert Key(token, "a").cookie != Key(token + "x", "a").cookie
    assert not list(tmp_path.glob(".part-*"))


def test_the_cookie_of_a_guess_cannot_be_worked_out(tmp_path):
    """Cookies are not slowed down: with nothing but the token in them, they would be a way to guess it."""
    (tmp_path / "token").write_text("correct-horse-battery\n")
    cookies = []
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        options = PageOptions(Address("127.0.0.1", 0), token_file=str(tmp_path / "token"))
        door = Door(options, lambda name=name: tmp_path / name)
        door.close()
        cookies.append(door.key.cookie)
    assert cookies[0] == cookies[1] != cookies[2]
    assert stat.S_IMODE((tmp_path / "a" / "page.secret").stat().st_mode) == 0o600


def test_a_token_that_somebody_else_laid_there_is_not_taken(tmp_path, monkeypatch):
    known, path = tmp_path / "known", tmp_path / "page.token"
    known.write_text("known-to-somebody-else\n")
    path.symlink_to(known)
    with pytest.raises(DataError, match=r"page\.token: .* is a link"):
        token_in(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="16 or more letters"):
        token_in(tmp_path)
    path.unlink()
    path.write_text("known-to-somebody-else\n")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DataError, match=r"belongs to another user .* delete it"):
        token_in(tmp_path)


def test_a_token_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A loss of power, or a second run that begins now, never sees an empty file."""
    whole = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (whole.append((tmp_path / "page.token").exists()), sync(handle))
    )
    assert len(token_in(tmp_path)) >= 43
    assert whole[0] is False
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    (tmp_path / "page.token").unlink()
    assert token_in(tmp_path) == token_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.token"]


def test_the_token_of_whoever_was_first_is_taken(tmp_path, monkeypatch):
    link = os.link

    def late(source, target):
        target.write_text("made-by-another-run-meanwhile\n")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert token_in(tmp_path) == "made-by-another-run-meanwhile"


def test_bad_files_of_tokens_are_told(tmp_path, caplog):
    path = tmp_path / "token"
    with pytest.raises(DataError, match="No such file"):
        token_of(path)
    for text in ("", "short", "has a space in it, and is long", "ä" * 20):
        path.write_text(text)
        with pytest.raises(DataError, match="16 or more letters"):
            token_of(path)
    path.write_text("0123456789abcdef\nmore\n")
    path.chmod(0o644)
    assert token_of(path) == "0123456789abcdef"
    assert "chmod 600" in caplog.text


def test_a_token_that_systemd_hands_over_is_taken(tmp_path, monkeypatch):
    file, folder = tmp_path / "root-only", tmp_path / "credentials"
    folder.mkdir()
    (folder / credential_name(file)).write_text("handed-over-by-systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert token_of(file) == "handed-over-by-systemd"


def test_other_addresses_than_loopback_need_a_token_and_blur(tmp_path):
    for host, local in (("0.0.0.0", False), ("127.0.0.1", True)):
        door = Door(PageOptions(Address(host, 0)), lambda: tmp_path)
        door.close()
        assert (door.key is None, door.picture) == (local, "full" if local else "blurred")
    door = Door(PageOptions(Address("127.0.0.1", 0), hosts=("shop.example",)), lambda: tmp_path)
    door.close()
    assert door.picture == "blurred"
    door = Door(PageOptions(Address("0.0.0.0", 0), picture="full"), lambda: tmp_path)
    door.close()
    assert door.picture == "full"
    assert [is_loopback(text) for text in ("127.8.9.1", "::1", "::ffff:127.0.0.1")] == [True] * 3
    assert not is_loopback("192.0.2.7")


# What every answer says.


def test_every_answer_has_the_headers_that_browsers_obey(page):
    answers = [page.ask(path) for path in (*GETS, "/nix", "/api/snapshot.jpg?camera=no")]
    answers += [
        page.ask("/api/state", host="evil.example"),
        page.ask("/", "DELETE"),
        page.post("/api/pause", {}),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "server"]
    broken = page.raw(b"nonsense\r\n\r\n")
    assert b"x-content-type-options: nosniff" in broken.lower()


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
     "/files/index.html",
     "/page.css/../token.py", "/page.js%00.css", "/page.css/", "/./page.css", "/api/../page.css", "/\\..\\x",
     "/api/snapshot.jpg/../../etc/passwd", "/%ff%fe", "http://evil.example/", "*"],
)  # fmt: skip
def test_only_the_routes_lead_anywhere(page, path):
    answer = page.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize("camera", ["../../etc/passwd", "%00", "no", "%ff", "door%0d%0aX-Evil:%201"])
def test_an_unknown_camera_is_refused_with_those_known(page, camera):
    answer = page.ask(f"/api/snapshot.jpg?camera={camera}")
    assert answer.status == 404
    assert answer.json["error"].endswith("camera must be one of 'door', 'till'")
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "POST", "PROPFIND"])
def test_other_methods_are_refused(page, method):
    answer = page.ask("/api/state", method)
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_is_refused(page):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert page.ask("/api/pause", "OPTIONS", headers).status in (403, 405)
    assert page.ask("/api/pause", "GET").status == 405


@pytest.mark.parametrize("path", [*GETS, "/api/video.mjpg", "/api/events"])
def test_head_gives_the_head_alone_and_ends(page, path):
    answer = page.raw(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


def test_websockets_are_refused(page):
    more = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AA==\r\n"
    answer = page.raw(page.get("/api/events", more))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"/api/events" in answer


# Sizes.


@pytest.mark.parametrize("part", ["target", "one header", "many headers", "no end"])
def test_a_head_that_is_too_large_is_refused(page, part):
    text = {
        "target": page.get("/" + "a" * 100_000),
        "one header": page.get("/", b"X: " + b"a" * 100_000 + b"\r\n"),
        "many headers": page.get("/", b"".join(b"X-%d: a\r\n" % number for number in range(10_000))),
        "no end": b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    }[part]
    with page.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(text)
        answer = until_closed(connection)
    # Where much is still on its way, the answer may be lost with the connection.
    assert answer[:13] in (b"", b"HTTP/1.1 431 ")
    assert page.ask("/api/state").status == 200


def test_a_head_just_too_large_gets_its_answer(page):
    for text in (page.get("/", b"X: " + b"a" * 16_400 + b"\r\n"), page.get("/?" + "a" * 16_400)):
        assert page.raw(text).startswith(b"HTTP/1.1 431 ")
    assert page.raw(page.get("/", b"Connection: close\r\nX: " + b"a" * 16_000 + b"\r\n")).startswith(
        b"HTTP/1.1 200 "
    )


def test_a_body_that_is_too_large_is_refused_before_it_is_read(page):
    head = (
        f"POST /api/mask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {10**11}\r\n\r\n"
    )
    assert page.raw(head.encode()).startswith(b"HTTP/1.1 413 ")
    head = head.replace(str(10**11), "9" * 19)
    assert page.raw(head.encode()).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_pieces_is_refused_when_it_is_too_large(page):
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    body = b"".join(b"8000\r\n" + b" " * 0x8000 + b"\r\n" for _ in range(3))
    assert page.ask("/api/mask", "POST", headers, body).status == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"paused": 1}', b'{"paused": NaN}', b'{"paused": true, "more": 1}',
     b'"\xff"',
     b"\xff\xfe{\x00}\x00", b"[" * 50_000, b'{"paused": ' + b"9" * 5000 + b"}", b'{"\\ud800": 1}', b"\x00"],
)  # fmt: skip
def test_what_is_no_proper_json_is_told(page, body):
    answer = page.post("/api/pause", body)
    assert answer.status == 400
    assert answer.json["error"]
    assert not page.control.is_paused


# Requests in requests.


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 50\r\n", 400),
        (b"Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: +4\r\n", 400),
        (b"Content-Length: 4, 5\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length : 4\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding: chunked, identity\r\n", 501),
        (b"Transfer-Encoding: identity\r\n", 501),
        (b"X: a\x00b\r\n", 400),
        (b"X: a\rb\r\n", 400),
    ],
)
def test_a_request_whose_end_is_unclear_is_the_last_of_its_connection(page, framing, status):
    hidden = (
        b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 16\r\n\r\n{"paused": true}'
    )
    head = b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = page.raw(head + framing + b"\r\n0\r\n\r\n" + hidden)
    assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answer)] in ([status], [status, status])
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not page.control.is_paused


def test_requests_behind_each_other_are_answered_in_order(page):
    answer = page.raw(
        page.get("/api/timeline") + page.get("/nix") + page.get("/healthz", b"Connection: close\r\n")
    )
    assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answer)] == [200, 404, 200]


# Time and number.


def test_whoever_does_not_finish_a_request_is_cut_off(tmp_path):
    with served(tmp_path, limits={"head_seconds": 0.4}) as page:
        began = time.monotonic()
        with page.connect(b"GET /api/state HTTP/1.1\r\nHost: local") as slow, page.connect() as silent:
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < SECONDS and not _closed(slow):
                    slow.sendall(b"x")
                    time.sleep(0.05)
            assert until_closed(silent) == b""
        assert time.monotonic() - began < SECONDS / 2
        wait_for(lambda: page.page.server.connections == 0)
        assert page.ask("/healthz").status in (200, 503)


def _closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(SECONDS)


def test_a_body_that_does_not_come_is_given_up(page, monkeypatch):
    monkeypatch.setattr("fer_edge.outputs.page.routes.BODY_SECONDS", 0.3)
    answer = page.raw(
        b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 16\r\n\r\n{"
    )
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_asks_nothing_does_not_keep_others_out(tmp_path):
    with served(tmp_path, limits={"most": 20}) as page, contextlib.ExitStack() as stack:
        page.feed()
        for _ in range(150):
            stack.enter_context(page.connect())
            assert page.page.server.connections <= 20
        for _ in range(10):
            assert page.ask("/api/state").status == 200
        assert page.page.server.connections <= 20


@pytest.mark.heavy
def test_ten_thousand_connections_keep_nobody_out(tmp_path):
    """They ask nothing; those who opened them keep up to 300 of them open."""
    with served(tmp_path) as page, contextlib.ExitStack() as stack:
        page.feed()
        ours = collections.deque()
        stack.callback(lambda: [one.close() for one in ours])
        allowed = connections_allowed()
        for number in range(10_000):
            ours.append(page.connect())
            if len(ours) > 300:
                ours.popleft().close()
            # Those before are accepted first, so that the kernel's queue has room for the next.
            if number % 100 == 99:
                page.feed()
                assert page.ask("/healthz").status == 200
                assert page.ask("/api/state").status == 200
                assert page.page.server.connections <= allowed


def test_where_all_are_busy_the_next_is_told(tmp_path):
    with served(tmp_path, limits={"most": 3}, viewers=10) as page, contextlib.ExitStack() as stack:
        page.feed()
        for _ in range(3):
            stack.enter_context(page.connect(page.get("/api/events"))).recv(1)
        answer = page.raw(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in answer


@pytest.mark.parametrize(
    ("path", "more"),
    [("/", ""), ("/", "Accept: text/html\r\n"), ("/healthz", ""), ("/page.css", ""),
     ("/api/state", "Sec-Fetch-Site: cross-site\r\n"), ("/nix", "Cookie: fer_edge_page=x\r\n")],
)  # fmt: skip
def test_without_a_token_a_connection_gets_one_answer(locked, path, more):
    """With many in a row, that nobody reads, it would be busy, and such connections could take all places."""
    text = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()
    answer = locked.raw(text * 50)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


def test_descriptors_are_left_for_cameras():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        assert connections_allowed() == 96
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 16 <= connections_allowed() <= 256


def test_a_flood_of_requests_from_many_sides_is_survived(page):
    failures = []

    def ask():
        for _ in range(20):
            try:
                if page.ask("/api/state").status != 200:
                    failures.append("status")
            except (OSError, ValueError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Addresses and TLS.


@pytest.mark.parametrize(("host", "every"), [("203.0.113.9", "0.0.0.0:8080"), ("2001:db8::9", "[::]:8080")])
def test_an_address_of_another_machine_is_told_and_what_stands_for_all_of_this(host, every):
    """Both are for documentation alone."""
    with pytest.raises(DataError) as caught:
        bound(Address(host, 8080))
    assert "this machine has no such address" in str(caught.value)
    assert f"and {every} stands for all of them" in str(caught.value)
    assert "ss -tlnp" not in str(caught.value)


def test_an_address_that_is_taken_is_told():
    first = bound(Address("127.0.0.1", 0))
    first.listen()
    port = first.getsockname()[1]
    with pytest.raises(
        DataError, match=rf"--page 127\.0\.0\.1:{port}: Address already in use; choose another"
    ):
        bound(Address("127.0.0.1", port))
    first.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.7", "a" * 300])
def test_an_address_that_is_not_this_machine_s_is_told(host):
    with pytest.raises(DataError, match="--page "):
        bound(Address(host, 0))


def test_ipv6_is_served(tmp_path):
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with served(tmp_path, host="::1") as page:
        with socket.create_connection(("::1", page.port), SECONDS) as connection:
            connection.sendall(b"GET /page.css HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close\r\n\r\n")
            assert until_closed(connection).startswith(b"HTTP/1.1 200 ")
        assert page.door.url == f"http://[::1]:{page.port}/"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(cert), str(key)


def test_tls_is_served_and_its_cookies_are_secure(tmp_path, certificate):
    (tmp_path / "token").write_text("correct-horse-battery\n")
    context = ssl.create_default_context(cafile=certificate[0])
    with served(tmp_path, tls=certificate, token_file=str(tmp_path / "token")) as page:
        with (
            socket.create_connection(("127.0.0.1", page.port), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(
                b"GET /?token=correct-horse-battery HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            answer = until_closed(connection)
        assert answer.startswith(b"HTTP/1.1 303 ")
        assert b"; Secure" in answer
        # What speaks no TLS is closed, and harms nobody.
        assert b"HTTP/1.1 200" not in page.raw(page.get("/"))
        assert page.door.url.startswith("https://")


def test_a_connection_with_tls_takes_no_more_than_a_record(tmp_path, certificate):
    """Before its handshake, as whoever has no token can open as many as there may be."""
    with served(tmp_path, tls=certificate) as page, page.connect():
        wait_for(lambda: page.page.server._server._greeting)
        sizes = [
            len(one._ssl_buffer) for one in gc.get_objects() if type(one) is asyncio.sslproto.SSLProtocol
        ]
        assert sizes and max(sizes) <= 16 * 1024


def test_a_key_that_all_can_read_is_told(tmp_path, certificate, caplog):
    key = tmp_path / "key.pem"
    key.write_bytes(Path(certificate[1]).read_bytes())
    for mode, told in ((0o640, ""), (0o644, f"chmod 600 {key}")):
        key.chmod(mode)
        Door(PageOptions(Address("127.0.0.1", 0), tls=(certificate[0], str(key))), lambda: tmp_path).close()
        assert told in caplog.text
        assert bool(told) == ("every user" in caplog.text)


def test_bad_certificates_are_told(tmp_path, certificate):
    cert, key = certificate
    (tmp_path / "other").write_text("nonsense")
    other = str(tmp_path / "other")
    for pair, told in (
        ((str(tmp_path / "none"), key), "No such file"),
        ((cert, str(tmp_path / "none")), "No such file"),
        ((other, key), "must be a certificate and its key"),
        ((cert, other), "must be a certificate and its key"),
        ((key, cert), "must be a certificate and its key"),
    ):
        with pytest.raises(DataError, match=told):
            Door(PageOptions(Address("127.0.0.1", 0), tls=pair), lambda: tmp_path)
