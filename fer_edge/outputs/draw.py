"""Drawing faces, emotions and probabilities into a frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..faces.faces import Face
from ..labels import EMOTIONS, VOTERS
from ..pipeline.result import FrameResult

COLOURS: dict[str, tuple[int, int, int]] = {
    "angry": (77, 77, 255),
    "disgust": (88, 178, 112),
    "fear": (235, 130, 176),
    "happy": (64, 205, 255),
    "sad": (245, 160, 80),
    "surprise": (90, 150, 255),
    "neutral": (205, 205, 205),
}
"""BGR; bright enough for dark text on them and for a thin line on a dark picture."""

MIN_WIDTH = 480
"""Smaller frames are enlarged by a whole number before drawing, or their text could not be read."""

_drawn: WeakKeyDictionary[FrameResult, NDArray[np.uint8]] = WeakKeyDictionary()
_lock = threading.Lock()
_INK = (30, 30, 30)
_PAPER = (235, 235, 235)
_UNSURE = (170, 170, 170)


@dataclass(frozen=True)
class _Rectangle:
    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    def meets(self, other: _Rectangle) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def lies_in(self, width: int, height: int) -> bool:
        return self.left >= 0 and self.top >= 0 and self.right <= width and self.bottom <= height


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels that follow from the size of the frame."""

    unit: float

    @property
    def font_scale(self) -> float:
        return 0.45 * self.unit

    @property
    def line(self) -> int:
        return max(1, round(1.6 * self.unit))

    @property
    def text(self) -> int:
        return max(1, round(0.8 * self.unit))

    def px(self, length: float) -> int:
        return round(length * self.unit)


def annotated(result: FrameResult, unsure: bool = True) -> NDArray[np.uint8]:
    """Return the frame of ``result`` with its faces drawn in; drawn once for all outputs that want it.

    ``unsure`` as for :func:`annotate`, the same for all outputs.
    """
    with _lock:
        picture = _drawn.get(result)
        if picture is None:
            picture = _drawn[result] = annotate(result.image, result.faces, unsure)
        return picture


def annotate(
    image: NDArray[np.uint8], faces: Sequence[Face], unsure: bool = True, bars: bool = True
) -> NDArray[np.uint8]:
    """Return a copy of ``image`` with a box and label on each face and its probabilities beside it.

    ``image``: uint8 (h, w, 3) BGR or (h, w) grey. The result is (h, w, 3) BGR, enlarged by a whole
    number where the longest side is below :data:`MIN_WIDTH`. Probabilities are left out where they
    would cover another face, and without ``bars``. With ``unsure`` a face that counts as unsure is labelled
    with that word, in grey, instead of its emotion.
    """
    import cv2

    factor = max(1, -(-MIN_WIDTH // max(image.shape[:2])))
    picture = image
    if factor > 1:
        picture = _as_uint8(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
    picture = _as_uint8(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)) if picture.ndim == 2 else picture.copy()
    height, width = picture.shape[:2]
    # Slower than the frame grows: large pictures are looked at on large screens.
    style = _Style(unit=max(1.0, max(height, width) / 640) ** 0.6)
    boxes = [_Rectangle(*(round(value * factor) for value in face.box)) for face in faces]
    occupied: list[_Rectangle] = []
    for face, box in zip(faces, boxes, strict=True):
        doubted = unsure and face.unsure
        colour = _UNSURE if doubted else COLOURS[face.emotion]
        _draw_corners(picture, box, colour, style)
        text = "unsure" if doubted else _label(face)
        occupied.append(_draw_label(picture, face, text, colour, box, style))
    # Large faces first: theirs is the room beside them.
    for index in sorted(range(len(faces)), key=lambda index: -boxes[index].height) if bars else ():
        others = boxes[:index] + boxes[index + 1 :] + occupied
        panel = _panel_beside(boxes[index], others, width, height, style, alone=len(faces) == 1)
        if panel is not None:
            _draw_probabilities(picture, faces[index], panel, style)
            occupied.append(panel)
    return picture


def _draw_corners(
    picture: NDArray[np.uint8], box: _Rectangle, colour: tuple[int, int, int], style: _Style
) -> None:
    import cv2

    arm = max(4, min(box.width, box.height) // 4)
    cv2.rectangle(picture, (box.left, box.top), (box.right, box.bottom), colour, style.text)
    for x, towards_x in ((box.left, arm), (box.right, -arm)):
        for y, towards_y in ((box.top, arm), (box.bottom, -arm)):
            for end in ((x + towards_x, y), (x, y + towards_y)):
                cv2.line(picture, (x, y), end, colour, 2 * style.line)


def _label(face: Face) -> str:
    if face.labels == "people":
        return f"{face.emotion} {face.voters}/{VOTERS}"
    return f"{face.emotion} {100 * face.share:.0f} %"


def _draw_label(
    picture: NDArray[np.uint8],
    face: Face,
    text: str,
    colour: tuple[int, int, int],
    box: _Rectangle,
    style: _Style,
) -> _Rectangle:
    import cv2

    text = text if face.track is None else f"#{face.track} {text}"
    (text_width, text_height), _ = cv2.getTextSize(
        text, cv2.FONT_HERSHEY_DUPLEX, style.font_scale, style.text
    )
    pad = style.px(5)
    label = _Rectangle(
        left=_clamp(box.left - style.line, picture.shape[1] - text_width - 2 * pad),
        top=_clamp(box.top - text_height - 2 * pad - style.line, picture.shape[0] - text_height - 2 * pad),
        width=text_width + 2 * pad,
        height=text_height + 2 * pad,
    )
    cv2.rectangle(picture, (label.left, label.top), (label.right, label.bottom), colour, -1)
    origin = (label.left + pad, label.bottom - pad)
    cv2.putText(
        picture, text, origin, cv2.FONT_HERSHEY_DUPLEX, style.font_scale, _INK, style.text, cv2.LINE_AA
    )
    return label


def _panel_beside(
    box: _Rectangle, others: Sequence[_Rectangle], width: int, height: int, style: _Style, alone: bool
) -> _Rectangle | None:
    """Return free room for the probabilities: right of the box, left of it, for a lone face in a corner."""
    size = (style.px(158), style.px(15) * len(EMOTIONS) + style.px(10))
    gap = style.px(8)
    top = _clamp(box.top, height - size[1])
    places = [(box.right + gap, top), (box.left - gap - size[0], top)]
    if alone:
        places += [(width - gap - size[0], height - gap - size[1]), (gap, height - gap - size[1])]
    for left, upper in places:
        panel = _Rectangle(left, upper, *size)
        if panel.lies_in(width, height) and not any(panel.meets(other) for other in others):
            return panel
    return None


def _draw_probabilities(picture: NDArray[np.uint8], face: Face, panel: _Rectangle, style: _Style) -> None:
    import cv2

    region = picture[panel.top : panel.bottom, panel.left : panel.right]
    region[:] = region // 4 + np.array(_INK, np.uint8) * 3 // 4
    row = style.px(15)
    bar_left, bar_width = panel.left + style.px(70), style.px(80)
    scale = 0.8 * style.font_scale
    for index, (name, probability) in enumerate(zip(EMOTIONS, face.probabilities, strict=True)):
        middle = panel.top + style.px(5) + index * row + row // 2
        text_colour = COLOURS[name] if name == face.emotion else _PAPER
        origin = (panel.left + style.px(6), middle + style.px(4))
        cv2.putText(
            picture, name, origin, cv2.FONT_HERSHEY_DUPLEX, scale, text_colour, style.text, cv2.LINE_AA
        )
        half = style.px(4)
        cv2.rectangle(
            picture, (bar_left, middle - half), (bar_left + bar_width, middle + half), (70, 70, 70), -1
        )
        end = bar_left + round(bar_width * float(probability))
        if end > bar_left:
            cv2.rectangle(picture, (bar_left, middle - half), (end, middle + half), COLOURS[name], -1)


def _clamp(position: int, highest: int) -> int:
    return max(0, min(position, highest))


def _as_uint8(image: object) -> NDArray[np.uint8]:
    return np.asarray(image, np.uint8)
