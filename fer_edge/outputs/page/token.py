"""The token that opens the page to whoever has it."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from pathlib import Path

from ...credentials import handed_over
from ...errors import DataError

FILE = "page.token"
"""Its name in the state folder."""

LEAST = 16
"""Characters of a token."""

_log = logging.getLogger(__name__)


def token_in(folder: Path) -> str:
    """The token of this device, made where there is none yet; its file is readable by its owner only.

    Raises :class:`~fer_edge.errors.DataError` where it can be neither read nor written.
    """
    path = folder / FILE
    token = secrets.token_urlsafe(32)
    try:
        # A link is not followed: another user could have laid it there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return token_of(path)
    except OSError as error:
        raise DataError(f"{path}: the page's token cannot be kept here: {error.strerror}") from error
    with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 (a descriptor)
        stream.write(f"{token}\n")
    return token


def token_of(path: Path) -> str:
    """The token in the first line of ``path``, or of what systemd hands over for it.

    Raises :class:`~fer_edge.errors.DataError` where it cannot be read, is too short or no token.
    """
    try:
        with handed_over(path).open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            line = stream.readline(1024).strip()
    except OSError as error:
        raise DataError(f"{path}: the page's token cannot be read: {error.strerror}") from error
    token = line.decode("latin-1")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token) or len(token) < LEAST:
        raise DataError(
            f"{path}: holds no token; its first line must have {LEAST} or more letters, digits or ._~+/=-, "
            "as python3 -c 'import secrets; print(secrets.token_urlsafe())' makes"
        )
    if mode & 0o007:
        _log.warning("page: %s can be read by every user of this machine: chmod 600 %s", path, path)
    return token


class Key:
    """Knows a token and the cookie that stands for it; compares both in constant time."""

    def __init__(self, token: str) -> None:
        self.token = token
        # Not the token itself: who sees the cookie learns nothing that opens the page by a link.
        self.cookie = hmac.new(token.encode(), b"fer-edge page cookie", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether ``text`` is the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.token.encode())

    def is_cookie(self, text: str) -> bool:
        """Whether ``text`` is the cookie that was given to somebody who had the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.cookie.encode())
