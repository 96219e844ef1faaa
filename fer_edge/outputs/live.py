"""The present figures of a run, which page, MQTT and Prometheus show. docs/api.md explains every field."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import DataError
from ..faces.faces import Faces
from ..faces.quality import Facing, directions, facing, sizes
from ..labels import EMOTIONS
from ..machine import Condition, condition
from ..pipeline.result import FrameResult
from ..pipeline.state import State
from ..utc import utc_text

VERSION = 1
"""Of :meth:`Live.snapshot`. It rises if a field changes its meaning or disappears, not for new fields."""

RECENT = 10.0
"""Seconds over which rate and latency are measured."""

STEP = 5.0
"""Seconds of each entry of the timeline."""

STEPS = 120

_BOARD_SECONDS = 5.0
"""Seconds for which the board's state is kept: on some boards, reading it starts a program."""

_MOST_RECENT = 4096
"""Latencies of each camera that are kept: more than a camera gives in :data:`RECENT`, fewer than a film."""

_ARRIVALS = 60.0
"""Seconds of each count of people who came."""

_LONGEST_DAY = 26 * 3600.0

_CLOCK_JUMP = 1.0
"""Seconds by which the clock may drift from the monotonic one before the store is read again."""

_NOT_YET = "no frame yet"


@dataclass
class _Camera:
    """What is known of a camera."""

    state: State
    since: float
    """Of the monotonic clock, as all times here."""
    faces: Faces | None = None
    """Of the latest frame; ``None`` while the camera gives none."""
    size: tuple[int, int] | None = None
    dropped: int = 0
    first: float | None = None
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_RECENT))
    """When a result came, and its latency in milliseconds."""
    last_person: int = 0


@dataclass
class _Sum:
    """The results of a camera in one step of the timeline."""

    frames: int = 0
    people: int = 0
    shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EMOTIONS)))


class Live:
    """Takes every result of a run, and gives the present figures at any time; several threads may use it.

    ``cameras``: their names, as results have them. ``device``: what the device is called, by default its
    host name. ``store``: path of the file that the run writes, which knows who came earlier today.
    ``told``: gives what was asked of the run, with ``paused`` and ``session``. ``board``: looks at the
    machine. ``clock``: monotonic, in seconds; ``wall``: the time of day, which may jump.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        device: str | None = None,
        store: str | os.PathLike[str] | None = None,
        told: Callable[[], Mapping[str, Any]] = dict,
        board: Callable[[], Condition] = condition,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._device = device or socket.gethostname()
        self._told, self._board, self._clock, self._wall = told, board, clock, wall
        self._began = clock()
        self._lock = threading.Lock()
        waiting = State("waiting", _NOT_YET)
        self._cameras = {name: _Camera(waiting, self._began) for name in cameras}
        self._steps: deque[tuple[int, dict[str, _Sum]]] = deque(maxlen=STEPS)
        self._arrivals: deque[list[int]] = deque()
        """Minute of the monotonic clock, and how many people came in it."""
        self._earlier = _Earlier(store)
        self._board_lock = threading.Lock()
        self._condition: tuple[float, Condition] | None = None

    def take(self, result: FrameResult) -> None:
        """Count a result; called in the thread of the loop."""
        now, faces = self._clock(), result.faces
        people = _people(faces)
        with self._lock:
            camera = self._camera(result.camera, now)
            _turn(camera, State("running"), now)
            camera.faces, camera.size, camera.dropped = faces, result.size, result.dropped
            camera.first = now if camera.first is None else camera.first
            camera.recent.append((now, result.latency_ms))
            while camera.recent[0][0] <= now - RECENT:
                camera.recent.popleft()
            self._meet(camera, faces, now)
            entry = self._step(now).setdefault(result.camera, _Sum())
            entry.frames += 1
            if people.any() and faces.probabilities is not None:
                entry.people += int(np.count_nonzero(people))
                entry.shares += faces.probabilities[people].sum(axis=0)

    def on_state(self, state: State, camera: str | None = None) -> None:
        """Take note of the state of ``camera``, or of all; called in any thread."""
        now = self._clock()
        with self._lock:
            for name, one in self._cameras.items():
                if camera in (None, name) and (state.name != "running" or one.faces is not None):
                    _turn(one, state, now)

    def snapshot(self) -> dict[str, Any]:
        """Return the figures of this moment as JSON has them; see docs/api.md."""
        board, told = self._look(), self._told()
        now, wall = self._clock(), self._wall()
        today, since = self._today(now, wall)
        paused = bool(told.get("paused", False))
        with self._lock:
            cameras = [_Present(name, camera, now, paused) for name, camera in self._cameras.items()]
            dropped = sum(camera.dropped for camera in self._cameras.values())
        latencies = [latency for one in cameras for latency in one.latencies]
        shown = [one.faces for one in cameras if one.faces is not None]
        return {
            "version": VERSION,
            "device": self._device,
            "fer_edge": __version__,
            "time": utc_text(wall),
            "uptime": round(now - self._began, 1),
            "paused": paused,
            "session": told.get("session"),
            "people": sum(int(np.count_nonzero(_people(faces))) for faces in shown),
            "people_today": today,
            "people_today_since": utc_text(since),
            "fps": round(sum(one.fps for one in cameras), 2),
            "latency_ms": _latency(latencies),
            "dropped": dropped,
            "temperature": board.temperature,
            "throttled": None if board.throttling is None else any(map(_is_now, board.throttling)),
            "throttling": None if board.throttling is None else list(board.throttling),
            **_mood(shown),
            "attention": _attention(shown),
            "cameras": [one.to_json() for one in cameras],
        }

    def timeline(self) -> list[dict[str, Any]]:
        """Return the last ten minutes of the run as JSON has them, oldest first: at most :data:`STEPS` steps.

        ``people``: how many there were on average, ``None`` where no frame was looked at; ``shares``: of the
        seven emotions among them, ``None`` where there was nobody.
        """
        now, wall = self._clock(), self._wall()
        with self._lock:
            self._step(now)
            return [
                {"time": utc_text(wall - timedelta(seconds=now - step * STEP)), **_amounts(cameras)}
                for step, cameras in self._steps
            ]

    def _camera(self, name: str, now: float) -> _Camera:
        """The camera of this name; the only one has a new name where it was plugged in elsewhere."""
        if name not in self._cameras:
            known = [*self._cameras.values()]
            if len(known) == 1:
                self._cameras = {name: known[0]}
            else:
                self._cameras[name] = _Camera(State("running"), now)
        return self._cameras[name]

    def _step(self, now: float) -> dict[str, _Sum]:
        """The entry of the timeline that goes on; those that were left out are made."""
        step = math.floor(now / STEP)
        first = max(self._steps[-1][0] + 1, step - STEPS + 1) if self._steps else step
        for missing in range(first, step + 1):
            self._steps.append((missing, {}))
        return self._steps[-1][1]

    def _meet(self, camera: _Camera, faces: Faces, now: float) -> None:
        """Count new people, by their numbers, which only rise."""
        if faces.ids is None or not len(faces.ids):
            return
        last = int(faces.ids.max())
        if last <= camera.last_person:
            return
        new = int(np.count_nonzero(faces.ids > camera.last_person))
        camera.last_person = last
        minute = math.floor(now / _ARRIVALS)
        if self._arrivals and self._arrivals[-1][0] == minute:
            self._arrivals[-1][1] += new
        else:
            self._arrivals.append([minute, new])
        while self._arrivals[0][0] < minute - _LONGEST_DAY / _ARRIVALS:
            self._arrivals.popleft()

    def _today(self, now: float, wall: datetime) -> tuple[int, datetime]:
        """How many people came since local midnight, or since the later time that is returned with it, when
        counting began.

        Those of this run are known by the monotonic clock, so that a clock that is set dates them anew.
        """
        local = wall.astimezone()
        # A naive time is of the local zone, with the offset that holds then.
        midnight = datetime(local.year, local.month, local.day).astimezone()
        began = wall - timedelta(seconds=now - self._began)
        known = self._earlier.visits(midnight, began) if began > midnight else None
        earlier, since = known or (0, began)
        first = (now - (wall - midnight).total_seconds()) / _ARRIVALS
        with self._lock:
            # To the minute: who came in the one of midnight came today if most of it is.
            came = sum(count for minute, count in self._arrivals if minute + 0.5 >= first)
        return came + earlier, max(midnight, since)

    def _look(self) -> Condition:
        """The state of the board, of the last seconds."""
        with self._board_lock:
            now = self._clock()
            if self._condition is None or now - self._condition[0] >= _BOARD_SECONDS:
                self._condition = now, self._board()
            return self._condition[1]


class _Earlier:
    """Counts the visits of a store before this run; asks it once a day, and after the clock was set."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: tuple[datetime, datetime, tuple[int, datetime] | None] | None = None

    def visits(self, since: datetime, until: datetime) -> tuple[int, datetime] | None:
        """How many began in that time, and when the store did; ``None`` where none did before its end."""
        if self._path is None:
            return None
        with self._lock:
            if self._known is not None:
                known_since, known_until, found = self._known
                drift = abs((until - known_until).total_seconds())
                if known_since == since and drift <= _CLOCK_JUMP:
                    return found
            found = _visits(self._path, since, until)
            self._known = since, until, found
            return found


def _visits(path: str | os.PathLike[str], since: datetime, until: datetime) -> tuple[int, datetime] | None:
    # With SQLite it takes 3 MB, which a run without a store need not have.
    from ..store.reader import StoreReader

    try:
        with StoreReader(path) as store:
            own = [device.name for device in store.devices()[:1]]
            counts = store.totals("visits", {"visits": "count(*)"}, since=since, until=until)
            first = next((run["began"] for run in store.rows("runs", until=until, limit=1)), None)
    except DataError:
        return None
    if first is None:
        return None
    return sum(int(figures["visits"]) for (device, _), figures in counts.items() if device in own), first


class _Present:
    """A camera at the moment of a snapshot: taken while it is locked, and worked out later."""

    def __init__(self, name: str, camera: _Camera, now: float, paused: bool) -> None:
        self.name = name
        ended = camera.state.name == "ended"
        self._state = "paused" if paused and not ended else camera.state.name
        self._reason = camera.state.reason if self._state == "waiting" else ""
        self._since = now - camera.since
        self._size = camera.size
        self.faces = camera.faces if self._state == "running" else None
        recent = [latency for came, latency in camera.recent if came > now - RECENT]
        self.latencies = recent
        known = RECENT if camera.first is None else min(RECENT, now - camera.first)
        # In its first second, a run that has just begun has no rate yet.
        self.fps = len(recent) / max(known, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return what a snapshot says of it."""
        faces, size = self.faces, self._size
        return {
            "name": self.name,
            "state": self._state,
            "reason": self._reason,
            "since": round(max(self._since, 0.0), 1),
            "fps": round(self.fps, 2),
            "people": 0 if faces is None else int(np.count_nonzero(_people(faces))),
            "size": None if size is None else list(size),
            "faces": [] if faces is None or size is None else _faces(faces, size),
        }


def _turn(camera: _Camera, state: State, now: float) -> None:
    """Let a camera be in ``state``."""
    if state.name != camera.state.name:
        camera.since = now
    if state.name in ("waiting", "paused"):
        camera.since = now - state.seconds
    if state.name != "running":
        camera.faces = None
    camera.state = state


def _people(faces: Faces) -> NDArray[np.bool_]:
    """Which faces are of people: all in a picture by itself, else those that were seen often enough."""
    return np.ones(len(faces), np.bool_) if faces.ids is None else faces.ids > 0


def _faces(faces: Faces, size: tuple[int, int]) -> list[dict[str, Any]]:
    width, height = size
    boxes = (faces.boxes / np.array([width, height, width, height])).round(4).tolist()
    return [
        {
            "track": face.track,
            "box": box,
            "emotion": face.emotion,
            "text": face.in_words(unsure=False),
            "unsure": face.unsure,
            "probabilities": _named(face.probabilities),
        }
        for face, box in zip(faces, boxes, strict=True)
    ]


def _named(shares: NDArray[Any]) -> dict[str, float]:
    return dict(zip(EMOTIONS, shares.astype(np.float64).round(4).tolist(), strict=True))


def _mood(shown: Sequence[Faces]) -> dict[str, Any]:
    """The emotions of those who are present, together."""
    shares, codes, unsure = [], [], []
    for faces in shown:
        people = _people(faces)
        if people.any():
            if faces.probabilities is None or faces.emotions is None or faces.unsure is None:
                raise ValueError("these faces were not classified")
            shares.append(faces.probabilities[people])
            codes.append(faces.emotions[people])
            unsure.append(faces.unsure[people])
    if not shares:
        return {"emotions": None, "dominant": None, "unsure_share": None}
    mean, doubt = np.concatenate(shares).mean(axis=0, dtype=np.float64), np.concatenate(unsure)
    votes = np.bincount(np.concatenate(codes)[~doubt], minlength=len(EMOTIONS))
    # Means are less than 1 but for one emotion alone, so they decide between equal votes only.
    dominant = EMOTIONS[int(np.argmax(votes + mean / 2))] if votes.any() else None
    return {
        "emotions": _named(mean),
        "dominant": dominant,
        "unsure_share": round(float(doubt.mean()), 4),
    }


def _attention(shown: Sequence[Faces]) -> float | None:
    """Of the people whose direction is clear, the share that is turned to a camera."""
    turned: list[int] = []
    for faces in shown:
        people = _people(faces)
        angles = directions(faces.landmarks, faces.pitch)
        turned += facing(angles, sizes(faces.boxes))[people].tolist()
    clear = [one for one in turned if one != Facing.UNCLEAR]
    return round(clear.count(Facing.CAMERA) / len(clear), 4) if clear else None


def _latency(latencies: Sequence[float]) -> dict[str, float | None]:
    if not latencies:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(latencies, (50, 95)).tolist()
    return {"p50": round(p50, 2), "p95": round(p95, 2)}


def _amounts(cameras: Mapping[str, _Sum]) -> dict[str, Any]:
    """People and shares of a step; cameras count alike, however many frames each of them gave."""
    if not cameras:
        return {"people": None, "shares": None}
    people = sum(one.people / one.frames for one in cameras.values())
    shares = sum((one.shares / one.frames for one in cameras.values()), np.zeros(len(EMOTIONS)))
    return {"people": round(people, 2), "shares": _named(shares / people) if people else None}


def _is_now(flag: str) -> bool:
    return flag.endswith(" now")
