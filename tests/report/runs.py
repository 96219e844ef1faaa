"""Made runs, as JSON lines and as a store, for tests of the report's readers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from results import tracked

from fer_edge.faces.faces import Face
from fer_edge.faces.quality import MEAN_FACE
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.jsonl import JsonLinesOutput, start_to_json
from fer_edge.outputs.store import StoreOutput
from fer_edge.pipeline.result import FrameResult
from fer_edge.pipeline.state import Gap

BEGAN = datetime(2026, 11, 26, 12, 29, 47, 230000, tzinfo=UTC)


def person(track, rng, size=80.0):
    """A face whose numbers are those that JSON lines can hold."""
    share = rng.dirichlet(np.ones(7)).round(4)
    share[6] += 1 - share.sum()
    turn = rng.uniform(-1.2, 1.2)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    points = (MEAN_FACE @ rotation.T)[:, :2] + 100
    return Face(
        (10.0, 20.0, float(size), float(size)),
        0.9,
        points.round(1).astype(np.float32),
        share.astype(np.float32),
        EMOTIONS[int(share.argmax())],
        uncertainty=0.2,
        unsure=bool(rng.random() < 0.2),
        track=track,
        detected=True,
        labels="people",
        brightness=round(float(rng.uniform(0, 255)), 1) if rng.random() < 0.95 else None,
        pitch=round(float(rng.normal(0, 25)), 1) if rng.random() < 0.95 else None,
    )


def made_run(seed, cameras=("door", "till"), seconds=200.0, jump_at=None, gaps=True):
    """Results of a run with people who come, go and come back, pauses, and a clock that is put right."""
    rng = np.random.default_rng(seed)
    results = []
    for camera in cameras:
        stay = [(track, *sorted(rng.uniform(0, seconds, 2))) for track in range(1, 14)]
        away = {track: tuple(sorted(rng.uniform(0, seconds, 2))) for track in range(1, 14, 3)}
        at, index, dropped = round(1000.0 + rng.uniform(0, 0.1), 3), 0, 0
        while at < 1000 + seconds:
            now = at - 1000
            faces = [
                person(track, rng, round(rng.uniform(25, 90), 1))
                for track, first, last in stay
                if first <= now <= last and not (track in away and away[track][0] <= now <= away[track][1])
                and rng.random() < 0.9
            ]  # fmt: skip
            gap = None
            step = float(rng.choice([0.04, 0.08, 0.2, 0.7], p=[0.6, 0.2, 0.19, 0.01]))
            if gaps and rng.random() < 0.003:
                step = float(rng.uniform(2.5, 80))
                if rng.random() < 0.5:
                    gap = Gap(BEGAN, step, f"{camera}: unplugged")
            wall = BEGAN + timedelta(seconds=at - 1000 + (3600.5 if jump_at and now > jump_at else 0))
            dropped += int(rng.random() < 0.1)
            results.append([at, camera, index, faces, dropped, wall, None])
            at = round(at + step, 3)
            index += 1
            pending = gap
            if pending is not None:
                results[-1].append(pending)
    results.sort(key=lambda one: one[0])
    waiting = {}
    found = []
    for at, camera, index, faces, dropped, wall, *rest in results:
        found.append(
            FrameResult(
                index=index,
                source=camera,
                camera=camera,
                timestamp=at - 1000,
                monotonic=at,
                time=wall,
                image=np.zeros((1, 1, 3), np.uint8),
                faces=tracked(*faces),
                latency_ms=5.0,
                dropped=dropped,
                gap=waiting.pop(camera, None),
                brightness=round(float(rng.uniform(0, 255)), 1),
            )
        )
        if rest[-1] is not None:
            waiting[camera] = rest[-1]
    return found


def starts(cameras, live=True):
    model = {"name": "edge", "backend": "litert", "precision": "int8", "labels": "people"}
    return [start_to_json("0.2.0", camera, camera, live, model, {"fps": None}) for camera in cameras]


def written(path, results, cameras=("door", "till"), mode="new", end=True, live=True, start=None):
    output = JsonLinesOutput(path, mode=mode, start=start or starts(cameras, live))
    output.open()
    for one in results:
        output.write(one)
    if end:
        output.end({"summary": {}})
    output.close()
    return path


def stored(path, results, live=True, cameras=("door", "till"), start=None):
    now = 0.0
    output = StoreOutput(path, live=live, clock=lambda: now, start=start or starts(cameras, live))
    output.open()
    output.start_session("all")
    for one in results:
        now = one.monotonic
        output.write(one)
    output.end({})
    output.close()
    return path
