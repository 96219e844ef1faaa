"""Films of one photograph moved about by known geometry, so that it is known where the faces are.

The mouth is drawn down and up again every two seconds, which turns the classifier from happy to neutral and
back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

FPS = 30.0

FACE = (178.9, 62.7, 90.8, 114.0)
"""Box of the face in the photograph, x, y, width, height: YuNet's, median over eight scales, 0.6 to 2.4."""

_CENTRE = (FACE[0] + FACE[2] / 2, FACE[1] + FACE[3] / 2)
_HEAD = 1.8
"""Size of what is pasted as a head over that of the face's box."""
_VISIBLE = 0.6
"""A face counts while so much of its box is in the frame and not behind another."""
_MOUTH = (222.7, 146.7)
"""Its centre in the photograph; it is 40 pixels wide."""
_MOUTHS = 20


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame: uint8 (h, w, 3) BGR, and its faces: ``boxes`` (n, 4) and who they are, ``persons`` (n,)."""

    image: NDArray[np.uint8]
    seconds: float
    boxes: NDArray[np.float64]
    persons: list[int]


@dataclass(frozen=True)
class Head:
    """A face in a frame: its centre, width in pixels, who it is."""

    x: float
    y: float
    width: float
    person: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        height = self.width * FACE[3] / FACE[2]
        return self.x - self.width / 2, self.y - height / 2, self.width, height


def demo(count: int, size: tuple[int, int] = (640, 480)) -> Iterator[Shot]:
    """What the demo camera shows, with noise: one near face that wanders and zooms slowly."""
    for index in range(count):
        t = index / FPS
        zoom = size[0] / 640 * (2.3 + 0.3 * math.sin(t / 1.7))
        x, y = 223 + 35 * math.sin(t / 1.3), 136 + 14 * math.sin(t / 0.9)
        yield _camera(index, size, zoom, (x, y), (size[0] / 2, size[1] / 2))


def fast(count: int) -> Iterator[Shot]:
    """A face that crosses the frame in a second and a half, nears and tilts, with motion blur and noise."""
    for index in range(count):
        t = index / FPS
        zoom = 1.4 + 0.8 * math.sin(t * 1.1)
        place = 320 + 180 * math.sin(t * 2.1), 240 + 60 * math.sin(t * 2.9)
        blur = int(abs(180 * 2.1 * math.cos(t * 2.1)) / FPS / 2)
        yield _camera(index, (640, 480), zoom, _CENTRE, place, math.radians(25) * math.sin(t * 1.7), blur)


def crossing(count: int) -> Iterator[Shot]:
    """Two faces pass each other twice in four seconds, one in front of the other."""
    for index in range(count):
        swing = math.cos(2 * math.pi * index / FPS / 4)
        yield _heads(index, [Head(320 - 200 * swing, 215, 90, 1), Head(320 + 200 * swing, 255, 110, 2)])


def speaking(count: int) -> Iterator[Shot]:
    """A near face that talks, with a neutral mouth between syllables, smiles for a second, and talks on.

    Four to six syllables a second, which last unevenly and open the mouth unevenly far; after five seconds
    of each six the smile. The hand that holds the camera trembles.
    """
    rng = np.random.default_rng(1)
    tremble = cv2.GaussianBlur(rng.normal(0, 8, (count, 2)), (1, 9), 0)
    for index in range(count):
        t = index / FPS
        x, y = 320 + tremble[index, 0], 240 + tremble[index, 1]
        yield _camera(index, (640, 480), 2.0, _CENTRE, (x, y), mouth=_said(t))


def leaving(count: int) -> Iterator[Shot]:
    """Of two faces one walks out of the frame and comes back two seconds later, as somebody else."""
    for index in range(count):
        t = index / FPS % 6
        there = 450 + 110 * max(0.0, t - 1) if t < 4 else 450 + 110 * max(0.0, 7 - t - 1)
        person = 2 + int(index / FPS / 6) + (t >= 4)
        yield _heads(index, [Head(180 + 10 * math.sin(t), 240, 100, 1), Head(there, 230, 90, person)])


def cut(count: int) -> Iterator[Shot]:
    """A film with a cut every 1.2 seconds: other faces in other places, sometimes none."""
    scenes: list[list[tuple[float, float, float]]] = [
        [(200, 200, 140)],
        [(420, 260, 80), (180, 240, 90)],
        [],
        [(330, 230, 190)],
        [(120, 160, 60), (320, 260, 70), (520, 180, 60)],
    ]
    for index in range(count):
        scene = index // 37
        t = index / FPS
        yield _heads(
            index,
            [
                Head(x + 12 * math.sin(t * 2 + i), y + 8 * math.cos(t * 1.5 + i), width, 10 * scene + i + 1)
                for i, (x, y, width) in enumerate(scenes[scene % len(scenes)])
            ],
        )


def group(count: int, faces: int, size: tuple[int, int] = (640, 480)) -> Iterator[Shot]:
    """So many faces in rows, each of which sways a little; one is the demo camera's."""
    if faces == 1:
        yield from demo(count, size)
        return
    columns = math.ceil(math.sqrt(faces * size[0] / size[1]))
    rows = math.ceil(faces / columns)
    cell = size[0] / columns, size[1] / rows
    width = 0.45 * min(cell[0], cell[1] * FACE[2] / FACE[3])
    for index in range(count):
        t = index / FPS
        heads = []
        for i in range(faces):
            x, y = (i % columns + 0.5) * cell[0], (i // columns + 0.5) * cell[1]
            sway = 0.1 * width * math.sin(t * (1 + 0.07 * i) + i), 0.1 * width * math.cos(t * 1.3 + i)
            heads.append(Head(x + sway[0], y + sway[1], width, i + 1))
        yield _heads(index, heads, size)


FILMS: dict[str, Callable[[int], Iterator[Shot]]] = {
    "demo": demo,
    "fast": fast,
    "crossing": crossing,
    "leaving": leaving,
    "speaking": speaking,
    "cut": cut,
}


def _camera(
    index: int,
    size: tuple[int, int],
    zoom: float,
    centre: tuple[float, float],
    place: tuple[float, float],
    angle: float = 0.0,
    blur: int = 0,
    mouth: int | None = None,
) -> Shot:
    """The photograph around ``centre``, which comes to ``place``, enlarged and turned."""
    across, down = zoom * math.cos(angle), zoom * math.sin(angle)
    turn = np.array([[across, -down], [down, across]])
    offset = np.array(place) - turn @ np.array(centre)
    image = cv2.warpAffine(
        _photo(_mouth(index, 1) if mouth is None else mouth),
        np.column_stack([turn, offset]),
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if blur > 1:
        image = cv2.blur(image, (blur | 1, 1))
    x, y = turn @ np.array(_CENTRE) + offset
    head = Head(float(x), float(y), zoom * FACE[2], 1)
    return _shot(index, np.asarray(image, np.uint8), [head])


def _heads(index: int, heads: list[Head], size: tuple[int, int] = (640, 480)) -> Shot:
    """Heads before a wall, the later ones in front."""
    image = _wall(size).copy()
    for head in heads:
        zoom = head.width / FACE[2]
        x, y, width, height = head.box
        left, top = max(0, int(x - width / 2)), max(0, int(y - height / 2))
        part = image[top : max(0, int(y + 1.5 * height)), left : max(0, int(x + 1.5 * width))]
        if part.size:
            placed = np.array(
                [
                    [zoom, 0, head.x - left - zoom * _CENTRE[0]],
                    [0, zoom, head.y - top - zoom * _CENTRE[1]],
                ]
            )
            mask, photo = (
                cv2.warpAffine(source, placed, part.shape[1::-1], flags=cv2.INTER_LINEAR)
                for source in (_mask(), _photo(_mouth(index, head.person)))
            )
            part[...] = part + (photo - part.astype(np.float32)) * mask[..., np.newaxis]
    return _shot(index, image, heads)


def _shot(index: int, image: NDArray[np.uint8], heads: list[Head]) -> Shot:
    height, width = image.shape[:2]
    counted = []
    for i, head in enumerate(heads):
        _, _, w, h = head.box
        inside = _shared(head.box, (0, 0, width, height)) / (w * h)
        hidden = max((_shared(head.box, other.box) / (w * h) for other in heads[i + 1 :]), default=0.0)
        if inside >= _VISIBLE and hidden <= 1 - _VISIBLE:
            counted.append(head)
    boxes = np.array([head.box for head in counted], np.float64).reshape(-1, 4)
    return Shot(_noisy(image, index), index / FPS, boxes, [head.person for head in counted])


def _shared(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    across = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    down = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _noisy(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """As from a cheap camera in a room: standard deviation 5, the same in all channels, and 2.5 in each."""
    noise = _noise(image.shape)
    shift = np.random.default_rng(index).integers(0, image.shape[:2])
    noise = np.roll(noise, (int(shift[0]), int(shift[1])), (0, 1))
    noisy: NDArray[np.uint8] = np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return noisy


@cache
def _noise(shape: tuple[int, int, int]) -> NDArray[np.int16]:
    rng = np.random.default_rng(1)
    noise: NDArray[np.int16] = np.rint(rng.normal(0, 5, (*shape[:2], 1)) + rng.normal(0, 2.5, shape)).astype(
        np.int16
    )
    return noise


def _mouth(index: int, person: int) -> int:
    """Which of the mouths somebody shows in a frame."""
    return round((_MOUTHS - 1) * (0.5 + 0.5 * math.sin(math.pi * index / FPS + person)))


SMILE_FROM, ROUND = 5.0, 6.0
"""Seconds of talking, and of talking and smiling, in the film :func:`speaking`."""


def _said(t: float) -> int:
    """Which of the mouths somebody who talks shows, see :func:`speaking`."""
    if t % ROUND >= SMILE_FROM:
        return 0
    syllables = math.sin(2 * math.pi * 4.3 * t + 2 * math.sin(2 * math.pi * 0.7 * t))
    loudness = 0.6 + 0.4 * math.sin(2 * math.pi * 0.31 * t)
    return round((_MOUTHS - 1) * (1.1 + 0.27 * loudness * syllables))


@cache
def _photo(mouth: int) -> NDArray[np.uint8]:
    """The photograph with its smile (``mouth`` 0), or with the mouth closed and its corners drawn down.

    From 19 on the corners are low, and at 21 the face is called neutral.
    """
    photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    down = 1.2 * mouth / (_MOUTHS - 1)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    across, below = x - _MOUTH[0], y - _MOUTH[1]
    lips = np.clip((1.1 - np.hypot(across / 21, below / 8)) * 4, 0, 1)[..., np.newaxis] * min(down, 1.0)
    image = photo * (1 - lips) + np.array([110, 125, 190]) * lips
    line = np.exp(-((below / 1.5) ** 2)) * (np.abs(across) < 18)
    image *= 1 - 0.5 * min(down, 1.0) * line[..., np.newaxis]
    near = np.exp(-((across / 20) ** 2 / 2.5 + (below / 20) ** 2 / 1.2))
    shift = -14.4 * down * ((across / 20) ** 2 - 0.3) * near
    moved = cv2.remap(image.astype(np.uint8), x, (y + shift).astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8)


@cache
def _mask() -> NDArray[np.float32]:
    """1 on the head in the photograph, falling to 0 around it."""
    y, x = np.mgrid[: _photo(0).shape[0], : _photo(0).shape[1]]
    distance = np.hypot(
        (x - _CENTRE[0]) / (FACE[2] / 2 * _HEAD), (y - _CENTRE[1] + 10) / (FACE[3] / 2 * _HEAD)
    )
    mask: NDArray[np.float32] = np.clip((1 - distance) * 8, 0, 1).astype(np.float32)
    return mask


@cache
def _wall(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Large soft spots, as of an unsharp background."""
    coarse = np.random.default_rng(2).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
