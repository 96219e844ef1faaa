"""Passwords of streams and brokers, in files of their own, so that no URL, listing or log holds one."""

from __future__ import annotations

import functools
import logging
import os
import re
import stat
import urllib.parse
from pathlib import Path

from ..credentials import handed_over
from ..errors import SourceError
from .urls import without_secrets

_LONGEST = 4096
_USER = re.compile(r"(?P<before>[a-z][a-z0-9+]*://[^/?#@:]+)(?P<after>@[^/?#@]+)", re.IGNORECASE)
"""A URL's beginning: a user without a password, and a host."""

_log = logging.getLogger(__name__)


def takes_password(url: str) -> bool:
    """Whether ``url`` names a user and no password, as in ``rtsp://viewer@camera/stream``."""
    return _USER.match(url) is not None


def with_password(
    url: str,
    file: str | os.PathLike[str],
    option: str = "--password-file",
    example: str = "rtsp://USER@HOST/stream",
) -> str:
    """Return ``url`` with the first line of ``file`` as the password of its user, percent-encoded.

    ``option``, ``example``: what errors call the option that names the file, and how its URL looks.

    Raises :class:`~fer_edge.errors.SourceError` for a file that is missing, unreadable or begins with an
    empty line, and where ``url`` names no user or has a password already.
    """
    found = _USER.match(url)
    if found is None:
        raise SourceError(
            f"{without_secrets(url)}: {option} is for a URL with a user and no password, as in {example}"
        )
    password = urllib.parse.quote_from_bytes(_first_line(Path(file), option), safe="")
    return f"{found['before']}:{password}{found['after']}{url[found.end() :]}"


def _first_line(file: Path, option: str) -> bytes:
    try:
        with handed_over(file).open("rb") as stream:
            _warn_of_readers(file, os.fstat(stream.fileno()).st_mode)
            line = stream.readline(_LONGEST).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise SourceError(f"{option} {file}: {error.strerror}") from error
    if not line:
        raise SourceError(f"{option} {file}: its first line, which is the password, is empty")
    return line


@functools.cache
def _warn_of_readers(file: Path, mode: int) -> None:
    """Warn once of a file that every user may read; a stream is opened many times."""
    if mode & stat.S_IROTH:
        _log.warning("%s: every user of this machine can read this password; chmod o= %s", file, file)
