"""uvicorn in a separate thread, with connections that are counted, timed, and closed if idle."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...credentials import handed_over
from ...errors import DataError
from .gate import HEAD_BYTES, HEADERS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HEAD_SECONDS = 10.0
"""Time for a request's head, from the connection's begin or the answer before; also for a TLS handshake."""

STALL_SECONDS = 30.0
"""Time for which a reader may take nothing before it is cut off."""

CONNECTIONS = 256
"""Open connections, at most."""

_IDLE_SECONDS = 5
"""Seconds until a connection without a further request is closed."""

_END_SECONDS = 0.5
"""For answers that go on, when the run ends."""

_BACKLOG = 128

_TLS_BUFFER = 16 * 1024
"""Bytes for what comes on a connection with TLS, a record of which has no more. asyncio takes 256 kB, which
makes 64 MB of all connections that may be open, and nobody needs a token for these."""

_SPARE = 64
"""Descriptors that are left to the cameras and other outputs."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"retry-after: 5\r\n\r\n"
    b'{"error": "too many connections are open; try again in a few seconds"}'
)

_log = logging.getLogger(__name__)


class _Protocol(H11Protocol):
    """A connection with time limits."""

    waiting: dict[_Protocol, None]
    """Those that have no request to answer, oldest first; shared by all."""
    head_seconds: float
    stall_seconds: float

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        # A log of requests would have tokens in it.
        self.access_log = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # What the kernel does not take is waited for, so that a slow viewer holds one picture at most. Not 0,
        # at which TLS waits without end for nothing.
        transport.set_write_buffer_limits(high=1, low=0)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._cancel_head()

    def on_response_complete(self) -> None:
        self._await_head()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        body = f'{{"error": "not a valid HTTP request: {_safe(str(error or msg))}"}}'.encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *HEADERS.items(),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # in the middle of an answer
            head = self.conn.send(h11.Response(status_code=status, headers=headers))
            self.transport.write(head + (self.conn.send(h11.Data(data=body)) or b""))
            self.conn.send(h11.EndOfMessage())
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _await_head(self) -> None:
        self._cancel_head()
        self.waiting[self] = None
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _head_late(self) -> None:
        self.waiting.pop(self, None)
        if not self.transport.is_closing():
            _log.debug("%s: no whole request within %g s", self.client, self.head_seconds)
            self.transport.abort()

    def _cancel_head(self) -> None:
        self.waiting.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel(self) -> None:
        self._cancel_head()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _safe(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter not in '"\\<>')[:100]


class _Server(uvicorn.Server):
    """Accepts connections itself: uvicorn limits neither their number nor the time of a TLS handshake."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        make: Callable[[_Server], _Protocol],
        most: int,
        on_start: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listener, self._tls, self._make, self._most = listener, tls, make, most
        self._on_start, self._on_end = on_start, on_end
        self.waiting: dict[_Protocol, None] = {}
        self._greeting: dict[asyncio.Task[None], socket.socket] = {}
        self.servers: list[asyncio.base_events.Server] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_told_quietly)
        self._accepting = asyncio.create_task(self._accept())
        self.started = True
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listener.close()
        self._on_end()
        for greeting in list(self._greeting):
            greeting.cancel()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        tasks = list(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_END_SECONDS)
        for task in tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*tasks, *self._greeting, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # The end of descriptors or memory passes; a connection that is gone already is no matter.
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.warning("page: no more connections: %s", error.strerror)
                    self._evict()
                    await asyncio.sleep(1)
                continue
            if len(self.server_state.connections) + len(self._greeting) >= self._most and not self._evict():
                if self._tls is None:
                    with contextlib.suppress(OSError):
                        connection.send(_BUSY)
                connection.close()
            else:
                connection.setblocking(False)
                task = loop.create_task(self._greet(connection))
                self._greeting[task] = connection
                task.add_done_callback(self._greeted)
            # Between many new connections, existing ones are served.
            await asyncio.sleep(0)

    async def _greet(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        limit = HEAD_SECONDS if self._tls else None
        try:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: self._make(self), connection, ssl=self._tls, ssl_handshake_timeout=limit
            )
        except (OSError, asyncio.CancelledError) as error:
            _log.debug("page: a connection failed at its begin: %r", error)
            connection.close()

    def _greeted(self, task: asyncio.Task[None]) -> None:
        self._greeting.pop(task, None)
        if not task.cancelled():
            task.exception()

    def _evict(self) -> bool:
        """Close the connection that has waited longest without a request; whether there was one."""
        if self.waiting:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            oldest.transport.abort()
            return True
        if self._greeting:
            task = next(iter(self._greeting))
            self._greeting.pop(task)
            task.cancel()
            return True
        return False


class ServerThread:
    """Serves ``app`` on ``listener`` until :meth:`close`. ``on_start`` and ``on_end`` are called in its loop.

    ``most``: open connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        on_start: Callable[[], None],
        on_end: Callable[[], None],
        most: int | None = None,
        head_seconds: float = HEAD_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        _quiet()
        if tls is not None:
            asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        config.load()

        def make(server: _Server) -> _Protocol:
            protocol = _Protocol(config=config, server_state=server.server_state, app_state={})
            protocol.waiting = server.waiting
            protocol.head_seconds, protocol.stall_seconds = head_seconds, stall_seconds
            return protocol

        self._server = _Server(config, listener, tls, make, most or connections_allowed(), on_start, on_end)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def start(self) -> None:
        """Listen and serve. Raises :class:`~fer_edge.errors.DataError` where the port is taken meanwhile."""
        try:
            self._listener.listen(_BACKLOG)
        except OSError as error:
            raise DataError(f"--page: {error.strerror}; choose another port") from error
        self._listener.setblocking(False)
        self._thread.start()

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._server.server_state.connections)

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self, seconds: float) -> None:
        """End, in so many seconds at most."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._listener.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve())
        except BaseException as error:  # a page that fails must not end the run
            _log.error("page: has ended: %r", error)


def connections_allowed() -> int:
    """How many connections may be open, so that descriptors are left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(16, min(CONNECTIONS, (soft - _SPARE) // 2))


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Raises :class:`~fer_edge.errors.DataError` for files that are missing or do not fit each other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    readable = handed_over(Path(key))
    for name, path in ((certificate, Path(certificate)), (key, readable)):
        try:
            with path.open("rb") as stream:
                if path is readable and os.fstat(stream.fileno()).st_mode & 0o007:
                    _log.warning(
                        "page: %s can be read by every user of this machine: chmod 600 %s", path, path
                    )
        except OSError as error:
            raise DataError(f"--page-tls: {name}: {error.strerror}") from error
    try:
        # A key with a password would have it asked for in the terminal.
        context.load_cert_chain(certificate, readable, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None)
        told = ": the key is not that of the certificate" if reason == "KEY_VALUES_MISMATCH" else ""
        raise DataError(
            f"--page-tls: {certificate} and {key} must be a certificate and its key, as PEM and without a "
            f"password{told}"
        ) from error
    return context


class _Quietly(logging.Handler):
    """Tells of the servers' faults at level debug: whoever connects can cause them."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _log.warning("page: %s: %r", record.getMessage().strip(), error)
        else:
            _log.debug("page: %s", record.getMessage().strip())


def _quiet() -> None:
    """Hand uvicorn's messages to our log."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        log = logging.getLogger(name)
        log.handlers = [_Quietly()] if name == "uvicorn" else []
        log.propagate = name not in ("uvicorn", "uvicorn.access")
        log.setLevel(logging.INFO)


def _told_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None or isinstance(error, (OSError, asyncio.CancelledError)):
        _log.debug("page: %s %r", context.get("message"), error)
    else:
        _log.warning("page: %s: %r", context.get("message"), error)
