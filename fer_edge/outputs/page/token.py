"""The token that opens the page to whoever has it."""

from __future__ import annotations

import errno
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import IO

from ...credentials import handed_over
from ...errors import DataError
from ...files import sync_folder

FILE = "page.token"
"""Its name in the state folder."""

SECRET = "page.secret"
"""Name of the file beside it that cookies depend on as well."""

LEAST = 16
"""Characters of a token."""

_log = logging.getLogger(__name__)


def token_in(folder: Path, name: str = FILE) -> str:
    """The token of this device, made where there is none yet; its file is readable by its owner only.

    ``name``: of the file, for another secret. Raises :class:`~fer_edge.errors.DataError` where it can be
    neither read nor written, or somebody else has laid it there.
    """
    path = folder / name
    try:
        if not os.path.lexists(path):
            _make(path, f"{secrets.token_urlsafe(32)}\n")
        # A link is not followed, and a pipe not waited for: another user could have laid them there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        told = "is a link" if error.errno == errno.ELOOP else error.strerror
        raise DataError(f"{path}: the page's token cannot be kept here: {told}") from error
    with open(descriptor, "rb") as stream:  # noqa: PTH123 (a descriptor)
        owner = os.fstat(descriptor).st_uid
        if owner not in (0, os.geteuid()):
            raise DataError(
                f"{path}: belongs to another user (number {owner}), who knows what it holds; delete it, and "
                "a new one is made"
            )
        return _token_from(stream, path)


def _make(path: Path, text: str) -> None:
    """Make a file for its owner only, whole or not at all; one that was made meanwhile stays."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    try:
        with open(handle, "w", encoding="ascii") as stream:  # noqa: PTH123 (a descriptor)
            stream.write(text)
            stream.flush()
            # After a loss of power, an empty file would keep the page shut.
            os.fsync(handle)
        try:
            os.link(name, path)
        except FileExistsError:
            return
        except OSError:  # as on FAT, which has no links
            Path(name).replace(path)
        sync_folder(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def token_of(path: Path) -> str:
    """The token in the first line of ``path``, or of what systemd hands over for it.

    Raises :class:`~fer_edge.errors.DataError` where it cannot be read, is too short or no token.
    """
    try:
        with handed_over(path).open("rb") as stream:
            return _token_from(stream, path)
    except OSError as error:
        raise DataError(f"{path}: the page's token cannot be read: {error.strerror}") from error


def _token_from(stream: IO[bytes], path: Path) -> str:
    mode = os.fstat(stream.fileno()).st_mode
    token = stream.readline(1024).strip().decode("latin-1")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token) or len(token) < LEAST:
        raise DataError(
            f"{path}: holds no token; its first line must have {LEAST} or more letters, digits or ._~+/=-, "
            "as python3 -c 'import secrets; print(secrets.token_urlsafe())' makes"
        )
    if mode & 0o007:
        _log.warning("page: %s can be read by every user of this machine: chmod 600 %s", path, path)
    return token


class Key:
    """Knows a token and the cookie that stands for it; compares both in constant time.

    ``secret``: known to this device only. Without it, an attacker could compute the cookies of
    guessed tokens. Attempts with cookies are not slowed down, since that would also shut out browsers at the
    attacker's address.
    """

    def __init__(self, token: str, secret: str) -> None:
        self.token = token
        # Not the token itself: the cookie must not reveal what opens the page by a link.
        message = f"fer-edge page cookie {token}".encode()
        self.cookie = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether ``text`` is the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.token.encode())

    def is_cookie(self, text: str) -> bool:
        """Whether ``text`` is the cookie that was given to somebody who had the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.cookie.encode())
