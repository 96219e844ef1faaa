"""How well faces are followed by windows and turns, and how long it takes, on films with known faces.

IoU: of found and true boxes, mean over faces. missed: faces of the truth without a box (IoU 0.4). extra:
boxes without a face. switches: a person's track number changed. jitter: how far a box moves against the
face from one frame to the next, root mean square, in % of its width. variation: total variation distance
between the probabilities shown and those of the true box, smoothed alike but classified in every frame,
mean; label: frames with the same emotion. ms: mean, p95 and the longest of a frame, one thread.

python benchmarks/following.py [--frames 360] [--films demo fast] [--before PYTHON]

PYTHON is that of a virtual environment with an older version, whose `detect_every=10` is measured as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from films import FILMS, Shot
from numpy.typing import NDArray

METHODS: dict[str, dict[str, int]] = {
    "whole frames": {"detect_every": 1, "classify_every": 1},
    "windows": {"detect_every": 10, "classify_every": 1},
    "windows and turns": {"detect_every": 10, "classify_every": 3},
}
BEFORE = "boxes moved on (before)"
_MATCHED = 0.4


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of a frame: ``boxes`` (n, 4), track numbers or 0 (n,), ``probabilities`` (n, 7)."""

    boxes: NDArray[np.float64]
    tracks: list[int]
    probabilities: NDArray[np.float64]
    milliseconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", nargs="+", choices=FILMS, default=list(FILMS))
    parser.add_argument("--frames", type=int, default=360)
    parser.add_argument("--before", metavar="PYTHON")
    parser.add_argument("--worker", nargs=2, metavar=("FILM", "OPTIONS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(
            json.dumps(list(watched(arguments.worker[0], arguments.frames, json.loads(arguments.worker[1]))))
        )
        return
    for film in arguments.films:
        shots = list(FILMS[film](arguments.frames))
        references = list(reference(shots))
        print(f"\n{film}: {len(shots)} frames, {sum(len(shot.persons) for shot in shots)} faces")
        print(
            f"{'':<26}{'IoU':>6}{'missed':>8}{'extra':>7}{'switches':>10}{'jitter':>8}{'variation':>11}"
            f"{'label':>8}{'ms mean':>9}{'p95':>7}{'max':>7}"
        )
        methods = [(name, sys.executable, options) for name, options in METHODS.items()]
        if arguments.before:
            methods.insert(1, (BEFORE, arguments.before, {"detect_every": 10}))
        for name, python, options in methods:
            print(f"{name:<26}{compared(shots, references, ask(python, film, len(shots), options))}")


def watched(film: str, frames: int, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a run over a film; in older versions, too."""
    import fer_edge
    from fer_edge.sources.base import Frame, Source

    cv2.setNumThreads(1)

    class Film(Source):
        name = film

        def __iter__(self) -> Iterator[Frame]:
            for shot in FILMS[film](frames):
                yield Frame(shot.image, shot.seconds, film)

    with fer_edge.watch(Film(), **options) as results:
        for result in results:
            yield {
                "boxes": [face.box for face in result.faces],
                "tracks": [face.track or 0 for face in result.faces],
                "probabilities": [face.probabilities.tolist() for face in result.faces],
                "milliseconds": result.latency_ms,
            }


def ask(python: str, film: str, frames: int, options: dict[str, int]) -> list[Found]:
    """:func:`watched` in a process of its own."""
    call = [python, __file__, "--frames", str(frames), "--worker", film, json.dumps(options)]
    done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return [
        Found(
            np.array(one["boxes"]).reshape(-1, 4),
            one["tracks"],
            np.array(one["probabilities"]).reshape(-1, 7),
            one["milliseconds"],
        )
        for one in json.loads(done.stdout)
    ]


def reference(shots: list[Shot]) -> Iterator[NDArray[np.float32]]:
    """The smoothed probabilities of the true faces, (n, 7) for each frame."""
    from fer_edge.faces.faces import Faces
    from fer_edge.pipeline.recognizer import Recognizer
    from fer_edge.pipeline.smoothing import Smoother

    recognizer, smoother = Recognizer(), Smoother()
    for shot in shots:
        count = len(shot.persons)
        faces = Faces(
            shot.boxes.astype(np.float32), np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32)
        )
        told = recognizer.distributions(shot.image, faces)
        smoothed = smoother.update(np.array(shot.persons, np.int64), told, shot.seconds)
        yield recognizer.classifier.answers(smoothed).probabilities


def compared(shots: list[Shot], references: list[NDArray[np.float32]], found: list[Found]) -> str:
    """The figures of a method as a line of the table."""
    from fer_edge.faces.tracker import iou, match

    overlaps: list[float] = []
    variations: list[float] = []
    same: list[bool] = []
    moves: list[NDArray[np.float64]] = []
    missed = extra = switches = 0
    track_of: dict[int, int] = {}
    before: dict[int, NDArray[np.float64]] = {}
    for shot, expected, one in zip(shots, references, found, strict=True):
        of_truth, of_found = match(shot.boxes, one.boxes, _MATCHED)
        missed += len(shot.boxes) - len(of_truth)
        extra += len(one.boxes) - len(of_truth)
        errors = {}
        for i, j in zip(of_truth.tolist(), of_found.tolist(), strict=True):
            true, box, person, track = shot.boxes[i], one.boxes[j], shot.persons[i], one.tracks[j]
            overlaps.append(float(iou(true[np.newaxis], box[np.newaxis])[0, 0]))
            variations.append(float(np.abs(expected[i] - one.probabilities[j]).sum()) / 2)
            same.append(int(expected[i].argmax()) == int(one.probabilities[j].argmax()))
            errors[person] = (box[:2] + box[2:] / 2 - true[:2] - true[2:] / 2) / true[2]
            if track:
                switches += track_of.get(person, track) != track
                track_of[person] = track
        moves += [error - before[person] for person, error in errors.items() if person in before]
        before = errors
    jitter = 100 * float(np.sqrt((np.array(moves) ** 2).sum(axis=1).mean()))
    times = np.array([one.milliseconds for one in found])
    return (
        f"{np.mean(overlaps):>6.3f}{missed:>8}{extra:>7}{switches:>10}{jitter:>8.2f}{np.mean(variations):>11.3f}"
        f"{100 * np.mean(same):>7.1f}%{times.mean():>9.2f}{np.percentile(times, 95):>7.2f}{times.max():>7.2f}"
    )


if __name__ == "__main__":
    main()
