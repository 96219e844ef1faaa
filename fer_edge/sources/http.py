"""What an HTTP server sends: asked once, so that each kind is read as what it is."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import IO

from ..errors import SourceError, SourceLostError
from .headers import HEAD_BYTES, picture_kind
from .mjpeg import read_up_to
from .urls import without_secrets

_REFUSED = (401, 403, 404, 410)
"""Answers that another request would not change."""

_PLAYLISTS = (b"#EXTM3U", b"<", b"v=0")
"""Beginnings of lists of films, whose own length says nothing."""

PICTURE_TIMEOUT = 60.0
"""Seconds within which a picture comes whole, over a slow network too."""

Errors = (OSError, http.client.HTTPException)
"""What reading an answer raises."""


@dataclass(frozen=True)
class Answer:
    """The open answer to a request, and what its beginning tells; another thread may close it."""

    response: http.client.HTTPResponse
    connection: socket.socket
    """That of the ``response``, held a second time."""
    head: bytes
    """The first bytes, which were read already."""
    length: int | None
    """Bytes of the whole; ``None`` where the server does not tell."""
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_mjpeg(self) -> bool:
        """Pictures without an end, each replacing the one before."""
        kind = self.response.headers.get_content_type()
        return kind == "multipart/x-mixed-replace" or (
            picture_kind(self.head) == "jpeg" and not kind.startswith("image/") and not self.has_end
        )

    @property
    def is_picture(self) -> bool:
        """One picture, as cameras give it at the URL of their snapshots."""
        return not self.is_mjpeg and picture_kind(self.head) is not None

    @property
    def has_end(self) -> bool:
        """Whether this is a file of known length, and not a list of others."""
        return bool(self.length) and not self.head.startswith(_PLAYLISTS)

    def read(self, size: int, /) -> bytes:
        """What has come, without waiting for ``size`` bytes; nothing at the end."""
        with self._reading:
            return self.response.read1(size)

    def picture_reader(self, closed: Callable[[], bool] = lambda: False) -> Callable[[int], bytes]:
        """Return what reads so many bytes of a picture, waiting for them; fewer at its end.

        That raises :data:`Errors`, among them TimeoutError where more still comes after
        :data:`PICTURE_TIMEOUT`, or when the source is ``closed``.
        """
        deadline = time.monotonic() + PICTURE_TIMEOUT

        def check() -> None:
            if closed() or time.monotonic() > deadline:
                raise TimeoutError(f"the picture has no end within {PICTURE_TIMEOUT:g} s")

        return lambda count: read_up_to(self, count, check)

    def close(self) -> None:
        # A read that waits ends by this; a response cannot be closed while one does.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        with self._reading:
            self.response.close()


class Download:
    """What follows in an ``answer`` that is a file, of which ``count`` bytes were read; closed with it."""

    def __init__(self, answer: Answer, name: str, count: int) -> None:
        self._answer, self._name, self._count = answer, name, count

    def read(self, size: int, /) -> bytes:
        """As of the answer. Raises SourceLostError where it breaks off before its end."""
        try:
            part = self._answer.read(size)
        except Errors as error:
            raise SourceLostError(f"{self._name}: breaks off ({error})") from error
        self._count += len(part)
        length = self._answer.length or 0
        if not part and self._count < length:
            raise SourceLostError(f"{self._name}: breaks off behind {self._count} of {length} bytes")
        return part

    def close(self) -> None:
        self._answer.close()


def ask(url: str, timeout: float) -> Answer | None:
    """Request ``url``, an ``http://`` or ``https://`` one, with the user and password in it.

    ``None`` where this is better left to FFmpeg. Like FFmpeg, does not check certificates: cameras
    sign theirs themselves. Raises :class:`~fer_edge.errors.SourceError` where the server refuses or
    does not answer within ``timeout`` seconds.
    """
    name = without_secrets(url)
    try:
        return _answer(url, timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _REFUSED:
            raise SourceError(f"{name}: the stream cannot be opened: {error.code} {error.reason}") from error
        return None
    except TimeoutError as error:
        raise SourceError(f"{name}: the stream cannot be opened: no answer within {timeout:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise SourceError(
                f"{name}: the stream cannot be opened: no answer within {timeout:g} s"
            ) from error
        raise SourceError(f"{name}: the stream cannot be opened: {_reason(error.reason)}") from error
    except (*Errors, ValueError):
        return None


def fetch(url: str, timeout: float, limit: int, closed: Callable[[], bool]) -> bytes:
    """Return the picture that ``url`` gives, up to some ``limit`` bytes, or the first bytes of what is none.

    ``closed`` and errors as for :meth:`Answer.picture_reader`.
    """
    with contextlib.closing(_answer(url, timeout)) as answer:
        if picture_kind(answer.head) is None:
            # It may be a stream, which has no end.
            return answer.head
        return answer.head + answer.picture_reader(closed)(limit)


def _answer(url: str, timeout: float) -> Answer:
    with contextlib.ExitStack() as failing:
        response = _opened(url, timeout)
        failing.callback(response.close)
        connection = failing.enter_context(socket.socket(fileno=os.dup(response.fileno())))
        length, head = response.length, b""
        while len(head) < HEAD_BYTES and (part := response.read1(HEAD_BYTES - len(head))):
            head += part
        failing.pop_all()
    return Answer(response, connection, head, length)


def _opened(url: str, timeout: float) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host).geturl()
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=unchecked), _Refusals()]
    if parts.username is not None:
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        user, password = (urllib.parse.unquote(text or "") for text in (parts.username, parts.password))
        known.add_password(None, plain, user, password)
        handlers += [
            urllib.request.HTTPBasicAuthHandler(known),
            urllib.request.HTTPDigestAuthHandler(known),
        ]
    request = urllib.request.Request(plain, headers={"User-Agent": "fer-edge", "Accept": "*/*"})
    response: http.client.HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=timeout)
    return response


class _Refusals(urllib.request.BaseHandler):
    """Closes each answer that asks for a password; urllib leaves the first one open when it asks again."""

    handler_order = urllib.request.HTTPBasicAuthHandler.handler_order - 100

    def http_error_401(
        self, request: urllib.request.Request, answer: IO[bytes], code: int, reason: str, headers: Message
    ) -> None:
        answer.close()


def _reason(error: object) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
