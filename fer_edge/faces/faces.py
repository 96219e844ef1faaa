"""The faces of one frame: arrays that gain fields from the detector to the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS, VOTERS, Labels


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a frame and its emotion; all coordinates in pixels of the frame."""

    box: tuple[float, float, float, float]
    """x, y of the top-left corner, width, height; may leave the frame."""
    score: float
    """The detector's, 0 to 1."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y: right eye, left eye, nose tip, right and left mouth corner, as the person has them."""
    probabilities: NDArray[np.float32]
    """(7,), in the order of :data:`fer_edge.EMOTIONS`, sum 1: of ten people's votes the share each
    emotion would get or, by the labels of 2013, how probable each is."""
    emotion: str
    """One of :data:`fer_edge.EMOTIONS`: the one with the largest share, rare ones favoured as the model's
    balance says."""
    uncertainty: float = 0.0
    """How far from unanimous people would be, 0 to 1."""
    unsure: bool = False
    """Whether that is too far for ``emotion`` to be relied on."""
    track: int | None = None
    """Number of the person in a live run or video; ``None`` in a picture by itself, and until the
    face was detected often enough to count as a person."""
    detected: bool = True
    """Whether the detector found the face, and in this very frame: always so in a live run or video. False
    where nothing was searched, and the square stands for a face."""
    labels: Labels = "people"
    """Whose answer it is."""
    brightness: float | None = None
    """Mean brightness of the face, 0 black to 255 white; ``None`` where it was not measured."""
    sharpness: float | None = None
    """Fine detail of the face for its contrast, 0 and more, as the classifier saw it (docs/measures.md);
    ``None`` where that was not measured."""
    pitch: float | None = None
    """Degrees by which the face looks up, negative where it looks down (docs/measures.md); ``None`` where it
    was not measured."""

    @property
    def share(self) -> float:
        """The probability of ``emotion``, 0 to 1."""
        return float(self.probabilities[EMOTIONS.index(self.emotion)])

    @property
    def voters(self) -> int:
        """How many of ten people would say ``emotion``."""
        return round(VOTERS * self.share)

    def in_words(self, unsure: bool = True) -> str:
        """``8 of 10 would say happy`` or, by the labels of 2013, ``happy 84 %``.

        With ``unsure`` preceded by that word where the face is.
        """
        if self.labels == "fer2013":
            return f"{self.emotion} {100 * self.share:.0f} %"
        words = f"{self.voters} of {VOTERS} would say {self.emotion}"
        return f"unsure, {words}" if unsure and self.unsure else words


@dataclass(frozen=True, eq=False)
class Faces(Sequence[Face]):
    """The n faces of a frame as arrays; each is a :class:`Face` where it is indexed.

    The detector gives boxes, scores and landmarks, the tracker ids and ``detected``, the classifier
    probabilities. Coordinates are pixels of the frame.
    """

    boxes: NDArray[np.float32]
    """(n, 4): x, y of the top-left corner, width, height."""
    scores: NDArray[np.float32]
    """(n,): the detector's, 0 to 1."""
    landmarks: NDArray[np.float32]
    """(n, 5, 2): x, y of right eye, left eye, nose tip, right and left mouth corner."""
    ids: NDArray[np.int64] | None = None
    """(n,): number of each person from 1 on, 0 for a face that does not count as one yet; ``None``
    without tracking."""
    detected: NDArray[np.bool_] | None = None
    """(n,): whether the detector found the face in this frame; ``None``: all of them."""
    probabilities: NDArray[np.float32] | None = None
    """(n, 7): rows sum to 1; this and the next are ``None`` before classification."""
    emotions: NDArray[np.int64] | None = None
    """(n,): code of each one's emotion, its index in :data:`fer_edge.EMOTIONS`."""
    uncertainty: NDArray[np.float32] | None = None
    """(n,): 0 to 1."""
    unsure: NDArray[np.bool_] | None = None
    """(n,)"""
    labels: Labels = "people"
    brightness: NDArray[np.float32] | None = None
    """(n,): mean of each face, 0 black to 255 white, NaN where it lies outside of the picture; ``None`` where
    it was not measured."""
    sharpness: NDArray[np.float32] | None = None
    """(n,): 0 and more; ``None`` where it was not measured."""
    pitch: NDArray[np.float32] | None = None
    """(n,): degrees upwards, NaN where it cannot be told; ``None`` where it was not measured."""

    def __len__(self) -> int:
        return len(self.boxes)

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Faces:
        """Return the faces at ``rows``, indices or a mask, as they are before classification."""
        return Faces(
            self.boxes[rows],
            self.scores[rows],
            self.landmarks[rows],
            None if self.ids is None else self.ids[rows],
            None if self.detected is None else self.detected[rows],
        )

    @overload
    def __getitem__(self, index: int) -> Face: ...

    @overload
    def __getitem__(self, index: slice) -> list[Face]: ...

    def __getitem__(self, index: int | slice) -> Face | list[Face]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if (
            self.probabilities is None
            or self.emotions is None
            or self.uncertainty is None
            or self.unsure is None
        ):
            raise ValueError("these faces were not classified; read their arrays instead")
        x, y, width, height = self.boxes[index].tolist()
        track = 0 if self.ids is None else int(self.ids[index])
        light = np.nan if self.brightness is None else float(self.brightness[index])
        pitch = np.nan if self.pitch is None else float(self.pitch[index])
        return Face(
            box=(x, y, width, height),
            score=float(self.scores[index]),
            landmarks=self.landmarks[index],
            probabilities=self.probabilities[index],
            emotion=EMOTIONS[int(self.emotions[index])],
            uncertainty=float(self.uncertainty[index]),
            unsure=bool(self.unsure[index]),
            labels=self.labels,
            track=track or None,
            detected=self.detected is None or bool(self.detected[index]),
            brightness=None if np.isnan(light) else light,
            sharpness=None if self.sharpness is None else float(self.sharpness[index]),
            pitch=None if np.isnan(pitch) else pitch,
        )

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))


def together(parts: Sequence[Faces]) -> Faces:
    """Return the faces that a detector found in several parts of a frame as one, in that order."""
    if len(parts) == 1:
        return parts[0]
    return Faces(
        np.concatenate([faces.boxes for faces in parts]),
        np.concatenate([faces.scores for faces in parts]),
        np.concatenate([faces.landmarks for faces in parts]),
    )


def no_faces() -> Faces:
    """Return the faces of a frame without any."""
    return Faces(
        np.empty((0, 4), np.float32),
        np.empty(0, np.float32),
        np.empty((0, 5, 2), np.float32),
        probabilities=np.empty((0, len(EMOTIONS)), np.float32),
        emotions=np.empty(0, np.int64),
        uncertainty=np.empty(0, np.float32),
        unsure=np.empty(0, np.bool_),
    )
