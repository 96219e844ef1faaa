"""URLs without their secrets, for logs, records and messages."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT = re.compile(r"\d*")
_SECRET_KEY = re.compile(
    r"pass|pwd|psw|token|auth|secret|key|sig|sess|cred|login|user|usr|uid|code|^(p|pw|st|t|k)$", re.IGNORECASE
)
_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<key>[^=&;#]*)=(?P<value>[^&;#]*)")
_URL_IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]*:/+\S+?(?=[:;,.'\")\]]*(?:\s|$))", re.IGNORECASE)
"""Without the punctuation that follows."""


def is_url(text: str) -> bool:
    """Whether ``text`` is the URL of a stream and no path."""
    return re.match(r"[a-z][a-z0-9+]*://", text, re.IGNORECASE) is not None


def path_of(source: str) -> str:
    """Return the path on this machine that a ``file:`` URL names (RFC 8089), and all else as it is."""
    if not source.lower().startswith("file://"):
        return source
    host, slash, path = source[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost"):
        return source
    return slash + unquote(path, errors="surrogateescape")


def without_secrets(url: str) -> str:
    """Return ``url`` without user and password, and with ``***`` for parameters that may be secret.

    These are ``pwd``, ``token``, ``user`` and the like, and URLs within the URL. What is no URL stays
    as it is. Passwords are often not quoted: one may hold "@", and also "/" where what stands before
    that is no host with a port.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return url
    rest = _without_user(url[scheme.end() :])
    return scheme.group() + _PARAMETER.sub(_masked, rest)


def with_urls_masked(text: str) -> str:
    """Return a message with :func:`without_secrets` applied to each URL that it repeats."""
    return _URL_IN_TEXT.sub(lambda found: without_secrets(found.group()), text)


def _without_user(text: str) -> str:
    authority = _AUTHORITY.match(text)
    assert authority is not None
    _, at, host = authority.group().rpartition("@")
    if at:
        return host + text[authority.end() :]
    _, colon, port = authority.group().rpartition(":")
    if colon and "]" not in port and not _PORT.fullmatch(port):
        return text.rpartition("@")[2]
    return text


def _masked(parameter: re.Match[str]) -> str:
    before, key, value = parameter.group("before", "key", "value")
    if _SECRET_KEY.search(key) or "@" in value:
        value = "***"
    return f"{before}{key}={value}"
