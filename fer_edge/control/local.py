"""A local socket through which a run on this machine is asked: one JSON line there, one back.

A run ``NAME`` listens at ``NAME.sock`` in the folder that systemd made for it (``/run/fer-edge/NAME``), else
in ``$XDG_RUNTIME_DIR/fer-edge``, else in its state folder. Whoever may write to the socket may ask: its
user and group, by its mode 0660. A lock beside it, which the kernel lets go with the process, tells a socket
that is in use from one that was left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DataError, FerEdgeError, ServiceError
from .folder import state_path

LONGEST_REQUEST = 4096
"""Bytes of a request, its newline included."""

ANSWER_SECONDS = 5.0
"""Time for a request to arrive, and for its answer to be read; slower clients are cut off."""

MOST_CLIENTS = 16
"""Clients at a time; of more, the oldest is cut off."""

MOST_RUNS = 9
"""Runs of one name that are numbered; later ones cannot be asked."""

_BACKLOG = 128
_MODE = 0o660
_SYSTEM = Path("/run/fer-edge")
_WAKE = b"."

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Client:
    connection: socket.socket
    until: float
    request: bytearray = field(default_factory=bytearray)
    answer: bytes = b""


class Listener:
    """Listens at a socket in a thread, and lets ``answer`` make a JSON object of each request.

    Requests are answered one after the other; a client that sends half a request, or takes no answer, holds
    up neither the run nor another client. Raises ``BlockingIOError`` where another run listens at ``path``,
    ``OSError`` where nobody can.
    """

    def __init__(self, path: Path, answer: Callable[[Any], Mapping[str, Any]]) -> None:
        self.path, self._answer = path, answer
        with contextlib.ExitStack() as undoing:
            self._lock = os.open(
                path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            undoing.callback(os.close, self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            undoing.callback(self._listening.close)
            # Made under another name, so that nobody sees it with a wrong mode.
            part = path.with_name(f".{path.name}")
            part.unlink(missing_ok=True)
            with _short(part) as address:
                self._listening.bind(address)
            part.chmod(_MODE)
            self._listening.listen(_BACKLOG)
            part.replace(path)
            undoing.pop_all()
        self._listening.setblocking(False)
        self._woken, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: dict[socket.socket, _Client] = {}
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more; requests that are not answered by then are cut off."""
        self._wake.send(_WAKE)
        self._thread.join(1)
        for one in (*self._clients, self._listening, self._woken, self._wake):
            one.close()
        self._selector.close()
        self.path.unlink(missing_ok=True)
        os.close(self._lock)

    def _serve(self) -> None:
        while True:
            deadlines = [client.until for client in self._clients.values()]
            wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listening:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._clients:
                    client = self._clients[key.fileobj]
                    with _dropping(self._drop, client):
                        self._go_on(client)
            now = time.monotonic()
            for client in [one for one in self._clients.values() if one.until <= now]:
                self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            # It has gone again; or there is no descriptor left, and others will be closed in time.
            time.sleep(0.01)
            return
        if len(self._clients) >= MOST_CLIENTS:
            self._drop(min(self._clients.values(), key=lambda client: client.until))
        connection.setblocking(False)
        self._clients[connection] = _Client(connection, time.monotonic() + ANSWER_SECONDS)
        self._selector.register(connection, selectors.EVENT_READ)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        del self._clients[client.connection]
        client.connection.close()

    def _go_on(self, client: _Client) -> None:
        """Read or write what can be without waiting."""
        if client.answer:
            client.answer = client.answer[client.connection.send(client.answer) :]
            if not client.answer:
                self._drop(client)
            return
        part = client.connection.recv(LONGEST_REQUEST + 1 - len(client.request))
        client.request += part
        ended = b"\n" in client.request or (not part and client.request)
        if ended or len(client.request) > LONGEST_REQUEST:
            client.answer = self._answered(bytes(client.request)) + b"\n"
            self._selector.modify(client.connection, selectors.EVENT_WRITE)
        elif not part:
            self._drop(client)

    def _answered(self, request: bytes) -> bytes:
        line = request.split(b"\n")[0]
        told: Mapping[str, Any]
        try:
            if len(line) >= LONGEST_REQUEST:
                raise DataError(f"a request has at most {LONGEST_REQUEST} bytes")
            try:
                asked = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError("a request is a line of JSON") from error
            told = {"ok": True, **self._answer(asked)}
        except FerEdgeError as error:
            told = {"ok": False, "error": str(error)}
        except Exception as error:  # must not end the thread that others ask
            _log.warning("request not answered: %r", error)
            told = {"ok": False, "error": f"the run failed on it: {type(error).__name__}"}
        return json.dumps(told).encode()


def listening_folder(state: Path | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where a run listens: in systemd's folder for it, that of its user, or its own of state."""
    if made := environment.get("RUNTIME_DIRECTORY"):
        return Path(made.split(":")[0])
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "fer-edge" if Path(runtime).is_absolute() and Path(runtime).is_dir() else state


@contextlib.contextmanager
def listening(
    folder: Path | None, name: str, answer: Callable[[Any], Mapping[str, Any]], level: int = logging.INFO
) -> Iterator[None]:
    """Let a run ``name`` be asked while the context lasts.

    If a run of that name is already listening, this one's name gets a number; if listening fails, the run
    goes on without. Both are logged at ``level``.
    """
    listener = None
    try:
        listener = _opened(folder, name, answer, level)
    except OSError as error:
        told = error.strerror or error
        _log.log(level, "%s: fer-edge session, pause and resume cannot reach this run: %s", folder, told)
    try:
        yield
    finally:
        if listener is not None:
            listener.close()


def _opened(
    folder: Path | None, name: str, answer: Callable[[Any], Mapping[str, Any]], level: int
) -> Listener | None:
    if folder is None:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, MOST_RUNS + 1):
        told = name if number == 1 else f"{name}-{number}"
        try:
            listener = Listener(folder / f"{told}.sock", partial(_named, told, answer))
        except BlockingIOError:
            continue
        if number > 1:
            _log.log(
                level,
                "a run named %s is already going on; for fer-edge session and pause, this one is named %s",
                name,
                told,
            )
        return listener
    _log.log(
        level,
        "%d runs named %s are already going on; fer-edge session and pause cannot reach this one",
        MOST_RUNS,
        name,
    )
    return None


def _named(name: str, answer: Callable[[Any], Mapping[str, Any]], asked: Any) -> Mapping[str, Any]:
    return {"run": name, **answer(asked)}


@dataclass(frozen=True)
class Found:
    """A socket at which a run listens."""

    name: str
    path: Path
    denied: bool = False
    """Whether it is another user's."""


def folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where runs listen that this user may ask: services, runs of the user."""
    found = [_SYSTEM]
    own = environment.get("XDG_RUNTIME_DIR", "")
    if Path(own).is_absolute():
        found.append(Path(own) / "fer-edge")
    with contextlib.suppress(DataError):
        found.append(state_path(None, environment))
    return [*dict.fromkeys(found)]


def runs(places: list[Path]) -> list[Found]:
    """The runs that listen in ``places``, or one folder below, by name."""
    found = []
    # Two may be one folder, under two names.
    for folder in {place.resolve() for place in places}:
        for path in sorted({*folder.glob("*.sock"), *folder.glob("*/*.sock")}):
            try:
                with _connected(path):
                    found.append(Found(path.stem, path))
            except PermissionError:
                found.append(Found(path.stem, path, denied=True))
            except OSError:
                continue
    return sorted(found, key=lambda one: one.name)


def find(name: str | None, places: list[Path]) -> Found:
    """The run ``name``, or the only one that listens.

    Raises :class:`~fer_edge.errors.ServiceError` where there is none, or several.
    """
    found = [one for one in runs(places) if name in (None, one.name)]
    reachable = [one for one in found if not one.denied]
    if len(reachable) == 1:
        return reachable[0]
    if reachable:
        names = ", ".join(one.name for one in reachable)
        raise ServiceError(f"{len(reachable)} runs are listening: {names}; choose one with --run NAME")
    if found:
        raise ServiceError(
            f"{found[0].path}: no permission, as the run {found[0].name} is another user's; use sudo"
        )
    called = "" if name is None else f" {name!r}"
    where = ", ".join(map(str, places))
    raise ServiceError(
        f"no run{called} is listening in {where}; start one: fer-edge run --store FILE.db"
        + ("" if name is None else f" --name {name}")
    )


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send ``request`` to the run that listens at ``path``; return its answer.

    Raises :class:`~fer_edge.errors.DataError` where it refuses, with its reason;
    :class:`~fer_edge.errors.ServiceError` where it does not answer within :data:`ANSWER_SECONDS`.
    """
    try:
        with _connected(path) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
        told = json.loads(answer)
    except TimeoutError as error:
        raise ServiceError(f"{path}: the run does not answer within {ANSWER_SECONDS:g} s") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its answer is no JSON"
        raise ServiceError(f"{path}: the run does not answer: {reason}") from error
    if not isinstance(told, dict) or not told.get("ok"):
        raise DataError(str(told.get("error")) if isinstance(told, dict) else "the answer is no object")
    return told


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        with _short(path) as address:
            connection.connect(address)
        yield connection


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address of ``path``, of which the kernel takes at most 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def _dropping(drop: Callable[[_Client], None], client: _Client) -> Iterator[None]:
    try:
        yield
    except OSError:
        drop(client)
