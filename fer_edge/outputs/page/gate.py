"""Access to the page: names, tokens, origins, and the headers that restrict browsers."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import shortened
from ...hosts import plain_address
from .address import Hosts
from .token import Key

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
"""Of every answer."""

HEAD_BYTES = 16 * 1024
"""Of a request."""

COOKIE_SECONDS = 30 * 86400

_FREE = 3
"""Wrong tokens of an address before it has to wait."""
_LONGEST_WAIT = 60.0
_FORGET = 600.0
_DIGESTS = 16
"""Wrong tokens of an address that are known again."""
_ADDRESSES = 1024
"""Addresses whose wrong tokens are remembered."""

_OPEN = frozenset({"/healthz", "/page.css"})
"""What is told without a token: whether all is well, and the style of the form that asks for one."""

_PROXIED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


@dataclass
class _Guesses:
    count: int = 0
    until: float = 0.0
    """Time before which no token of this address is looked at."""
    latest: float = 0.0
    known: deque[bytes] = field(default_factory=lambda: deque(maxlen=_DIGESTS))
    """Digests of the latest: an old cookie that a browser sends again and again is one guess, also where
    there are several browsers at one address."""


@dataclass
class Wrong:
    """Slows down addresses that try tokens: after three, each doubles the wait, up to a minute."""

    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, _Guesses] = field(default_factory=OrderedDict)

    def wait(self, address: str) -> float:
        """Seconds until a token of ``address`` is looked at again."""
        guesses = self._known.get(_network(address))
        return max(0.0, guesses.until - self.clock()) if guesses else 0.0

    def count(self, address: str, text: str) -> None:
        """Take note of a wrong token, or cookie."""
        now, key = self.clock(), _network(address)
        guesses = self._known.pop(key, None)
        if guesses is None or now - guesses.latest > _FORGET:
            guesses = _Guesses()
        self._known[key] = guesses
        if len(self._known) > _ADDRESSES:
            self._known.popitem(last=False)
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        guesses.latest = now
        if digest in guesses.known:
            return
        guesses.known.append(digest)
        guesses.count += 1
        if guesses.count >= _FREE:
            guesses.until = now + min(_LONGEST_WAIT, 2.0 ** min(guesses.count - _FREE, 10))


def _network(address: str) -> str:
    """What counts as one address: of IPv6 everybody has 2**64."""
    plain = plain_address(address)
    if plain is None or ":" not in plain:
        return plain or address
    return str(ipaddress.ip_network(f"{plain}/64", strict=False))


class Gate:
    """Lets through to ``app`` what may go there, and refuses the rest with a reason as JSON, after which the
    connection is closed, with what may still come on it.

    ``key``: the token that is needed; ``None`` for a page of this machine only, which needs none. ``cookie``:
    name of the cookie. ``secure``: whether the page is served over TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Hosts,
        key: Key | None,
        cookie: str,
        secure: bool,
        wrong: Wrong | None = None,
    ) -> None:
        self._app, self._hosts, self._key = app, hosts, key
        self._cookie, self._secure = cookie, secure
        self._wrong = wrong or Wrong()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        added = HEADERS
        if refusal is not None or (self._key is not None and scope["path"] in _OPEN):
            # Whoever needs no token gets one answer a connection: with many in a row that are not read, the
            # connection would count as busy, and a few hundred such would keep out everybody else.
            added = {**HEADERS, "connection": "close"}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in added.items() if n.encode() not in have),
                ]
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await refusal(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
        """The answer to a request that does not get through."""
        size = len(scope["raw_path"]) + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
            # The server's own limit holds for what comes in pieces only.
            return refused(431, f"address and headers have at most {HEAD_BYTES} bytes together")
        if b"upgrade" in headers and b"websocket" in headers[b"upgrade"].lower():
            return refused(400, "websockets are not supported; read /api/events")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return refused(400, "give Content-Length or Transfer-Encoding, not both")
        host = headers.get(b"host", b"").decode("latin-1")
        server = scope.get("server")
        if not self._hosts.allow(host, server[0] if server else None):
            return refused(
                421,
                f"this page is not called {shortened(host, 64)!r}; --page-host NAME adds a name",
            )
        foreign = self._foreign(scope, headers, host)
        if foreign is not None:
            return foreign
        if self._key is None:
            # Browsers speak HTTP/1.1; nginx, which by default tells nothing of itself, long spoke 1.0.
            proxied = _PROXIED & headers.keys() or scope["http_version"] == "1.0"
            if proxied and scope["path"] not in _OPEN:
                return refused(
                    403,
                    "this page is for this machine only, and the request came through a proxy; "
                    "--page-token-file FILE opens it to whoever has the token",
                )
            return None
        return self._unknown(scope, headers, self._key)

    def _foreign(self, scope: Scope, headers: dict[bytes, bytes], host: str) -> Response | None:
        """Refuse what another site's page asks for."""
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["method"] not in ("GET", "HEAD"):
            told = "only this page itself may change anything: Origin must be http(s)://HOST, as in Host"
            if site not in ("", "same-origin"):
                return refused(403, told)
            if origin and not _is_origin(origin, host):
                return refused(403, told)
            # Browsers name an origin wherever they send cookies to change something.
            if not (site or origin) and b"cookie" in headers and b"authorization" not in headers:
                return refused(403, told)
        elif site in ("cross-site", "same-site") and headers.get(b"sec-fetch-mode") != b"navigate":
            return refused(403, "other sites may not show or read this page")
        return None

    def _unknown(self, scope: Scope, headers: dict[bytes, bytes], key: Key) -> Response | None:
        """Refuse clients without the token; give a cookie to those that bring it for the first time."""
        path, page = scope["path"], b"text/html" in headers.get(b"accept", b"")
        if path in _OPEN:
            return None
        given = _bearer(headers)
        asked = path == "/" and scope["method"] == "GET" and _asked(scope["query_string"].decode("latin-1"))
        cookie = _cookie(headers.get(b"cookie", b"").decode("latin-1"), self._cookie)
        if cookie is not None and key.is_cookie(cookie):
            # Opening the link again must not leave the token in the address either.
            return RedirectResponse("/", 303) if asked else None
        client = scope.get("client")
        address = client[0] if client else ""
        wait = self._wrong.wait(address)
        if wait:
            return refused(
                429,
                f"too many wrong tokens from this address; wait {math.ceil(wait)} s",
                {"retry-after": str(math.ceil(wait))},
            )
        if given is None and asked:
            given = asked
            if key.is_token(given):
                return self._welcome(key)
        if given is not None and key.is_token(given):
            return None
        for text in (given, cookie):
            if text is not None:
                self._wrong.count(address, text)
        if page:
            came_from_elsewhere = headers.get(b"sec-fetch-site") == b"cross-site"
            return _door(wrong=given is not None, again=came_from_elsewhere and path == "/")
        told = "wrong token" if given is not None else "a token is needed"
        return refused(
            401,
            f"{told}: open the link that was shown when the run started, or send Authorization: Bearer TOKEN",
            {"www-authenticate": 'Bearer realm="fer-edge"'},
        )

    def _welcome(self, key: Key) -> Response:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._cookie,
            key.cookie,
            max_age=COOKIE_SECONDS,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return answer


def refused(status: int, told: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says what was wrong."""
    return JSONResponse({"error": told}, status, headers)


def _door(wrong: bool, again: bool) -> HTMLResponse:
    """Ask for the token.

    ``again``: a browser that comes by a link on another site keeps a strict cookie to itself, and sends it
    when this page itself asks once more.
    """
    refresh = '<meta http-equiv="refresh" content="0;url=/">' if again else ""
    told = '<p class="notice">That is not the token.</p>' if wrong else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        '<meta name="viewport" content="width=device-width">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"><title>fer-edge</title>'
        f"</head><body><header><h1>fer-edge</h1></header>{told}<section><h2>This page needs its token</h2>"
        '<form action="/"><p class="soft">Open the link that was shown when the run started, or enter the '
        'token here.</p><label>Token <input type="password" name="token" autocomplete="current-password" '
        'required></label> <button class="main">Open</button></form></section></body></html>',
        401,
        {"www-authenticate": 'Bearer realm="fer-edge"'},
    )


def _is_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _bearer(headers: dict[bytes, bytes]) -> str | None:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _asked(query: str) -> str | None:
    try:
        tokens = parse_qs(query, max_num_fields=8).get("token")
    except ValueError:
        return None
    return tokens[0] if tokens else None


def _cookie(header: str, name: str) -> str | None:
    for part in header.split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key == name:
            return value
    return None
