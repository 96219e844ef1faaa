"""Noticing that a camera hangs upside down or on its side.

The detector's landmarks do not show it: YuNet puts the eyes above the mouth even on a face upside down. Its
scores do: of 200 faces of FER-2013, each turned to all four sides, none scored higher while not upright.
"""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ..faces.detector import LIVE_SIZE, FaceDetector
from ..faces.faces import Faces
from ..sources.turn import TURNS, Turn

SURE = 0.88
"""A face with this score is upright."""
LIKELY = 0.8
"""A turned picture counts where a face in it has this score, ..."""
MARGIN = 0.05
"""... and it speaks for the turn where no face in the picture as it is comes as near as this."""
ENOUGH = 5
"""Pictures that count, after which the matter is settled."""
TRIES = 20
"""Pictures with a face that are turned at most, as each costs three runs of the detector; ..."""
PAUSE = 10
"""Of a film, one frame in this many is looked at: neighbours show the same."""
LONGEST_PAUSE = 320
"""... after as many without one, in a row, the pause doubles with each, up to this many frames."""

_log = logging.getLogger(__name__)


class UprightCheck:
    """Logs once where faces have higher scores in a turned picture; its message begins with ``prefix``."""

    def __init__(self, detector: FaceDetector, turn: Turn, pause: int = 1, prefix: str = "") -> None:
        self._detector = detector
        self._turn = turn
        self._pause = self._step = pause
        self._prefix = prefix
        self._seen = self._tries = self._empty = 0
        self._looked = -pause
        self._votes: Counter[int] = Counter()
        self._done = False

    def look(self, image: NDArray[np.uint8], faces: Faces) -> None:
        """Take a picture, as it is recognized, and the ``faces`` found in it."""
        self._seen += 1
        # Whoever comes is looked at soon, however long nobody did.
        if self._done or self._seen - self._looked < (self._pause if len(faces) else self._step):
            return
        self._looked = self._seen
        if len(faces) and float(faces.scores.max()) >= SURE:
            self._votes[0] += 1
            somebody = True
        else:
            somebody = self._try(image, faces)
            self._tries += somebody
        self._empty = 0 if somebody else self._empty + 1
        self._step = self._pause if self._empty < TRIES else min(2 * self._step, LONGEST_PAUSE)
        if self._votes.total() >= ENOUGH or self._tries >= TRIES:
            self.close()

    def close(self) -> None:
        """Say what was noticed, where it is the same in most pictures that count."""
        if self._done:
            return
        self._done = True
        for degrees, votes in self._votes.most_common(1):
            if degrees and votes > 0.7 * self._votes.total():
                wanted = (self._turn.degrees + (-degrees if self._turn.mirror else degrees)) % 360
                _log.warning(
                    "%sfaces are clearer when the picture is turned by %d degrees; is the camera turned? "
                    "--rotate %d sets it right",
                    self._prefix,
                    degrees,
                    wanted,
                )

    def _try(self, image: NDArray[np.uint8], faces: Faces) -> bool:
        """Turn a picture; whether it shows anybody, this way or another."""
        best = {0: float(faces.scores.max()) if len(faces) else 0.0}
        for degrees in TURNS[1:]:
            scores = self._detector.detect(Turn(degrees).apply(image), LIVE_SIZE).scores
            best[degrees] = float(scores.max()) if len(scores) else 0.0
        turn = max(best, key=lambda degrees: best[degrees])
        if best[turn] >= LIKELY:
            self._votes[turn if best[turn] > best[0] + MARGIN else 0] += 1
        return best[turn] > 0
