"""What the page answers: files, figures, pictures, events, and requests that change something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...control.control import named
from ...errors import DataError
from ...store.reader import StoreReader
from ...store.schema import TABLES
from ...utc import utc_text
from .answers import CLOSE, HANDLERS, as_json, file_of
from .events import Events
from .gate import refused
from .pictures import Pictures, View

if TYPE_CHECKING:
    from ...control.control import Control
    from ..live import Live

BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0

MOST_ROWS = 5000
"""Rows of one answer of ``/api/store``."""
LONGEST_TIME = timedelta(days=366)
USUAL_TIME = timedelta(hours=1)

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}

_SNAPSHOT_SECONDS = 3.0
_AGAIN = 10.0
"""Seconds after which a picture is sent once more: a viewer whose network has gone is found out by it."""
_STATE_SECONDS = 0.2
_IDLE_STATE_SECONDS = 1.0
_AFTER_LAST = 20.0
"""Seconds for which events go on without a reader, who may come back."""
_READS_WAITING = 4

_BOUNDARY = "fer-edge-picture"


@dataclass(frozen=True)
class Sources:
    """Where the answers come from."""

    cameras: tuple[str, ...]
    figures: Live
    controls: Control
    pictures: Pictures | None
    """``None``: no pictures are shown."""
    store: Path | None
    metrics: Callable[[], tuple[bytes, str]]
    health: Callable[[], tuple[bool, dict[str, Any]]]
    """Whether frames are processed, and what is told of it."""
    frames: Callable[[], int]
    """How many results there were so far."""
    viewers: int
    """People who may look on at a time."""
    picture: str
    """``off``, ``blurred`` or ``full``."""
    unsure: bool
    """Whether the page calls faces unsure."""


class Routes:
    """The answers; to be used in the thread of the server."""

    def __init__(self, sources: Sources, events: Events) -> None:
        self._sources, self.events = sources, events
        self._taken: dict[tuple[str, str], int] = {}
        self._reader = ThreadPoolExecutor(1, "page-store")
        self._reading = 0
        self._listeners = 0
        self._listened = asyncio.Event()
        self._files = {path: (file_of(__package__, name), kind) for path, (name, kind) in FILES.items()}

    def set_store(self, store: Path | None) -> None:
        """Answer from another store from now on; from any thread."""
        self._sources = replace(self._sources, store=store)

    def app(self) -> Starlette:
        """The application, without its gate."""
        gets: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **dict.fromkeys(FILES, self._send_file),
            "/api/state": self._state,
            "/api/timeline": self._timeline,
            "/api/events": self._events,
            "/api/snapshot.jpg": self._snapshot,
            "/api/video.mjpg": self._video,
            "/api/store": self._store,
            "/healthz": self._health,
            "/metrics": self._metrics,
        }
        posts = {"/api/pause": self._pause, "/api/mask": self._mask, "/api/session": self._session}
        app = Starlette(
            routes=[
                *(Route(path, answer, methods=["GET"]) for path, answer in gets.items()),
                *(Route(path, answer, methods=["POST"]) for path, answer in posts.items()),
            ],
            exception_handlers=HANDLERS,
        )
        app.router.redirect_slashes = False
        return app

    def end(self) -> None:
        """End what goes on: streams, and what was to be read."""
        self.events.tell("ended", {"time": utc_text(datetime.now(UTC))})
        if self._sources.pictures is not None:
            self._sources.pictures.end()
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def tell_state(self) -> None:
        """Tell the state again and again while somebody listens, and what was changed."""
        loop, told, last_listener = asyncio.get_running_loop(), -1, 0.0
        controls: dict[str, Any] | None = None
        idle = 0.0
        while True:
            if self._listeners:
                last_listener = loop.time()
            elif loop.time() - last_listener > _AFTER_LAST:
                await self._listened.wait()
            frames = self._sources.frames()
            if frames != told or idle >= _IDLE_STATE_SECONDS:
                told, idle = frames, 0.0
                now = self._sources.controls.snapshot()
                if controls is not None and now != controls:
                    self.events.tell("control", now)
                controls = now
                self.events.tell("state", self._state_now())
            await asyncio.sleep(_STATE_SECONDS)
            idle += _STATE_SECONDS

    async def _send_file(self, request: Request) -> Response:
        content, kind = self._files[request.url.path]
        return Response(content, media_type=kind)

    async def _state(self, request: Request) -> Response:
        return as_json(self._state_now())

    async def _timeline(self, request: Request) -> Response:
        return as_json(self._sources.figures.timeline())

    async def _health(self, request: Request) -> Response:
        healthy, told = self._sources.health()
        return as_json(told, 200 if healthy else 503)

    async def _metrics(self, request: Request) -> Response:
        body, kind = self._sources.metrics()
        return Response(body, headers={"content-type": kind})

    async def _events(self, request: Request) -> Response:
        if not self._take("events", ""):
            return _full(self._sources.viewers)
        last = request.headers.get("last-event-id")

        async def parts() -> AsyncIterator[bytes]:
            self._listeners += 1
            self._listened.set()
            try:
                async for part in self.events.after(last, self._first):
                    yield part
            finally:
                self._listeners -= 1
                if not self._listeners:
                    self._listened.clear()

        return _Stream(parts(), "text/event-stream; charset=utf-8", lambda: self._leave("events", ""))

    def _first(self) -> bytes:
        return self.events.made("state", self._state_now())

    def _state_now(self) -> dict[str, Any]:
        """The figures of this moment, and what the page needs to know besides."""
        sources = self._sources
        masks = {camera: sources.controls.drawn(camera) for camera in sources.cameras}
        page = {"picture": sources.picture, "unsure": sources.unsure, "masks": masks}
        return {**sources.figures.snapshot(), "page": page}

    async def _snapshot(self, request: Request) -> Response:
        pictures, view = self._pictured(request)
        if not self._take("snapshots", view.camera):
            return _full(self._sources.viewers)
        try:
            with pictures.watched(view):
                async with asyncio.timeout(_SNAPSHOT_SECONDS):
                    picture = await pictures.after(view, 0)
        except TimeoutError:
            return refused(503, f"camera {view.camera!r} gives no picture; /api/state says why")
        finally:
            self._leave("snapshots", view.camera)
        if picture is None:
            return refused(503, "the run has ended")
        return Response(picture.jpeg, media_type="image/jpeg")

    async def _video(self, request: Request) -> Response:
        pictures, view = self._pictured(request)
        if not self._take("video", view.camera):
            return _full(self._sources.viewers)

        async def parts() -> AsyncIterator[bytes]:
            with pictures.watched(view):
                # The boundary follows each picture at once: browsers show one when they have seen it.
                yield f"--{_BOUNDARY}\r\n".encode()
                number = 0
                while True:
                    try:
                        # Not wait_for, which in Python 3.11 may forget that it was cancelled.
                        async with asyncio.timeout(_AGAIN):
                            picture = await pictures.after(view, number)
                    except TimeoutError:
                        number = 0
                        continue
                    if picture is None:
                        return
                    number = picture.number
                    yield (
                        f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n".encode()
                        + picture.jpeg
                        + f"\r\n--{_BOUNDARY}\r\n".encode()
                    )

        return _Stream(
            parts(),
            f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
            lambda: self._leave("video", view.camera),
        )

    def _pictured(self, request: Request) -> tuple[Pictures, View]:
        pictures, cameras = self._sources.pictures, self._sources.cameras
        if pictures is None:
            raise HTTPException(404, "this page shows no pictures; run with --page-picture blurred or full")
        camera = request.query_params.get("camera", cameras[0])
        if camera not in cameras:
            raise HTTPException(404, f"no such camera; camera must be one of {_listed(cameras)}")
        boxes = request.query_params.get("boxes", "1")
        if boxes not in ("0", "1"):
            raise HTTPException(400, "boxes must be 1, for boxes and names in the picture, or 0")
        return pictures, View(camera, boxes == "1")

    async def _store(self, request: Request) -> Response:
        path = self._sources.store
        if path is None:
            raise HTTPException(404, "this run keeps no store; start it with --store FILE")
        query = _Query.of(request.query_params)
        if self._reading >= _READS_WAITING:
            return refused(503, "others are reading the store; try again in a second", {"retry-after": "1"})
        self._reading += 1
        try:
            loop = asyncio.get_running_loop()
            rows = await loop.run_in_executor(self._reader, _rows, path, query)
        except DataError as error:
            # Of a file that is not there yet, or damaged; its path is nobody's matter here.
            return refused(503, str(error).removeprefix(f"{path}: "))
        finally:
            self._reading -= 1
        told = rows[: query.limit]
        return as_json(
            {
                "table": query.table,
                "from": utc_text(query.since),
                "to": utc_text(query.until),
                "rows": told,
                "next": told[-1]["seq"] if told else query.after,
                "more": len(rows) > query.limit,
            }
        )

    async def _pause(self, request: Request) -> Response:
        paused = (await _body(request, {"paused"})).get("paused")
        if not isinstance(paused, bool):
            raise HTTPException(400, 'paused must be true or false, as in {"paused": true}')
        controls = self._sources.controls
        return await self._changed(controls.pause if paused else controls.resume)

    async def _mask(self, request: Request) -> Response:
        body = await _body(request, {"camera", "polygons"})
        camera = body.get("camera")
        polygons: Any = body.get("polygons")
        if not isinstance(camera, str):
            raise HTTPException(400, f"camera must be one of {_listed(self._sources.cameras)}")
        return await self._changed(lambda: self._sources.controls.set_masks(camera, polygons))

    async def _session(self, request: Request) -> Response:
        body = await _body(request, {"action", "name", "group"})
        action, group, controls = body.get("action"), body.get("group"), self._sources.controls
        if action == "stop" and len(body) == 1:
            return await self._changed(controls.stop_session, 409)
        if action not in ("start", "mark") or (group is not None and action != "mark"):
            raise HTTPException(
                400,
                'give {"action": "start", "name": ...}, {"action": "mark", "name": ..., "group": ...} or '
                '{"action": "stop"}; a group may be left out',
            )
        try:
            name = named(body.get("name"), "a session" if action == "start" else "an event")
            group = None if group is None else named(group, "a group")
        except DataError as error:
            raise HTTPException(400, str(error)) from error
        if action == "start":
            return await self._changed(lambda: controls.start_session(name), 409)
        return await self._changed(lambda: controls.mark(name, group), 409)

    async def _changed(self, work: Callable[[], None], refusal: int = 400) -> Response:
        """Do ``work`` beside the loop, as it may write a file; answer with how things are now."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._reader, work)
        except DataError as error:
            raise HTTPException(refusal, str(error)) from error
        return as_json(self._sources.controls.snapshot())

    def _take(self, kind: str, camera: str) -> bool:
        taken = self._taken.get((kind, camera), 0)
        if taken >= self._sources.viewers:
            return False
        self._taken[kind, camera] = taken + 1
        return True

    def _leave(self, kind: str, camera: str) -> None:
        self._taken[kind, camera] -= 1


class _Stream(Response):
    """An answer without end: each part is made when the one before was taken."""

    def __init__(self, parts: AsyncIterator[bytes], media_type: str, on_end: Callable[[], None]) -> None:
        super().__init__(media_type=media_type, headers={"x-accel-buffering": "no"})
        self._parts, self._on_end = parts, on_end
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            tasks = [asyncio.ensure_future(self._pump(send)), asyncio.ensure_future(_gone(receive))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            await self._parts.aclose()  # type: ignore[attr-defined]
            self._on_end()

    async def _pump(self, send: Send) -> None:
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            # Returns when the reader has taken it, so that the next part is the newest by then.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True)
class _Query:
    """What is asked of the store."""

    table: str
    since: datetime
    until: datetime
    camera: str | None
    after: int
    """Only rows with a greater ``seq``: visits are stored when they end, so times would skip long ones."""
    limit: int

    @classmethod
    def of(cls, given: Mapping[str, str]) -> _Query:
        known = ("table", "from", "to", "camera", "after", "limit")
        for name in given:
            if name not in known:
                raise HTTPException(400, f"unknown parameter; there are {', '.join(known)}")
        table = given.get("table", "minutes")
        if table not in _TOLD_TABLES:
            raise HTTPException(400, f"table must be one of {', '.join(_TOLD_TABLES)}")
        until = _time("to", given["to"]) if "to" in given else datetime.now(UTC)
        since = _time("from", given["from"]) if "from" in given else until - USUAL_TIME
        if not timedelta(0) < until - since <= LONGEST_TIME:
            raise HTTPException(400, f"from must be before to, by {LONGEST_TIME.days} days at most")
        after = _whole(given, "after", 0, 0, _LAST_SEQ)
        limit = _whole(given, "limit", MOST_ROWS, 1, MOST_ROWS)
        return cls(table, since, until, given.get("camera"), after, limit)


_TOLD_TABLES = ("minutes", "visits", "gaps")

_LAST_SEQ = 2**63 - 1


def _rows(path: Path, query: _Query) -> list[dict[str, Any]]:
    with StoreReader(path) as store:
        rows = store.rows(
            query.table,
            since=query.since,
            until=query.until,
            after=query.after,
            camera=query.camera,
            limit=query.limit + 1,
        )
        flags = [column.name for column in TABLES[query.table].columns if column.kind == "flag"]
        return [_plain(row, flags) for row in rows]


def _plain(row: Mapping[str, Any], flags: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, datetime):
            told[name] = utc_text(value)
        elif isinstance(value, float):
            told[name] = round(value, 4)
        else:
            told[name] = bool(value) if name in flags and value is not None else value
    return told


def _whole(given: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = given.get(name, str(usual))
    # int() of a long text would take its time.
    if text.isascii() and text.isdecimal() and len(text) <= 19 and least <= int(text) <= most:
        return int(text)
    raise HTTPException(400, f"{name} must be a whole number from {least} to {most}")


def _time(name: str, text: str) -> datetime:
    try:
        # A + of a zone that was not escaped has become a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise HTTPException(400, f"{name} must be a time such as 2026-11-26T12:00:00Z") from error
    if not 1970 <= moment.year < 9999:
        raise HTTPException(400, f"{name} must be a time from 1970 on, such as 2026-11-26T12:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _body(request: Request, known: set[str]) -> dict[str, Any]:
    """The object that a request brings, of ``known`` keys only."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send JSON, with Content-Type: application/json", CLOSE)
    length = request.headers.get("content-length", "0")
    too_long = HTTPException(413, f"send {BODY_BYTES} bytes at most", CLOSE)
    if len(length) > 12 or int(length) > BODY_BYTES:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > BODY_BYTES:
                    raise too_long
    except TimeoutError as error:
        raise HTTPException(408, f"the body must come within {BODY_SECONDS:g} s", CLOSE) from error
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"byte {error.start} of the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise HTTPException(
            400, f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "not JSON: too deep, or with a number that JSON does not have") from error
    if not isinstance(value, dict):
        raise HTTPException(400, "the body must be an object, as in {...}")
    unknown = sorted(set(value) - known)
    if unknown:
        raise HTTPException(400, f"unknown key {unknown[0][:40]!r}; there are {', '.join(sorted(known))}")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _full(viewers: int) -> Response:
    told = f"there are {viewers} viewers already; --page-viewers N lets more in"
    return refused(503, told, {"retry-after": "10"})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
