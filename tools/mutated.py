"""Makes a corpus of damaged pictures and films: seeds drawn from the demo camera, then changed at random."""

from __future__ import annotations

import io
import itertools
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_edge.sources.demo import DemoSource

FRAMES = 24
SIZE = (160, 120)
FPS = 25.0
PAGES = 3

Frames = Sequence[NDArray[np.uint8]]


def seeds() -> dict[str, bytes]:
    """A whole file of each format, by suffix: pictures of one frame, TIFF pages, animations and films."""
    frames = [frame.image for frame in itertools.islice(DemoSource(SIZE, paced=False), 0, 10 * FRAMES, 10)]
    still = frames[0]
    made = {name: _encoded(name, still) for name in ("jpg", "png", "bmp", "jp2")}
    made["tif"] = _with_pillow(frames[:PAGES], "TIFF")
    made["gif"] = _with_pillow(frames[:FRAMES], "GIF", duration=40)
    made["webp"] = _with_pillow(frames[:FRAMES], "WEBP", duration=40)
    made["apng.png"] = _with_pillow(frames[:PAGES], "PNG", duration=40)
    made["mjpeg"] = b"".join(_encoded("jpg", frame) for frame in frames)
    for name, codec in _FILMS.items():
        made[name] = _film(frames, name, codec)
    return made


_FILMS = {
    "avi": "MJPG",
    "mp4": "mp4v",
    "mkv": "mp4v",
    "webm": "VP80",
    "ts": "MPG2",
    "mov": "mp4v",
    "flv": "FLV1",
    "mpg": "MPG1",
    "ffv1.mkv": "FFV1",
}


def _encoded(suffix: str, image: NDArray[np.uint8]) -> bytes:
    done, content = cv2.imencode(f".{suffix}", image)
    assert done
    return content.tobytes()


def _with_pillow(frames: Frames, form: str, **options: int) -> bytes:
    pictures = [Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1])) for frame in frames]
    buffer = io.BytesIO()
    pictures[0].save(buffer, form, save_all=True, append_images=pictures[1:], **options)
    return buffer.getvalue()


def _film(frames: Frames, suffix: str, codec: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed.{suffix}"
        # MJPG, FFV1 and so on are codecs, whatever OpenCV thinks of their tags.
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), FPS, SIZE)
        assert writer.isOpened(), f"OpenCV cannot write {suffix} with {codec}"
        for frame in frames:
            writer.write(frame)
        writer.release()
        return path.read_bytes()


def _flipped(content: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _index in range(rng.choice((1, 1, 2, 5, 20, 100))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _head_flipped(content: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _index in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(min(512, len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content))]


def _hole(content: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(content))
    length = rng.randrange(1, max(2, len(content) // 3))
    filling = rng.choice((b"", bytes(length)))
    return content[:start] + filling + content[start + length :]


def _joined(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return content + rng.choice((content, rng.choice(others)))


def _same(content: bytes, _: random.Random, __: Sequence[bytes]) -> bytes:
    return content


CHANGES: dict[str, Callable[[bytes, random.Random, Sequence[bytes]], bytes]] = {
    "flipped": _flipped,
    "head": _head_flipped,
    "cut": _cut,
    "hole": _hole,
    "joined": _joined,
    "renamed": _same,
}

_ODD_NAMES = (
    "",
    ".JPG",
    ".jpeg.part",
    ".csv.bak",
    ".txt",
    " .mp4",
    ".h264",
    ".heic",
    ".2026-11-26T12:30:00.mp4",
)


def make(folder: Path, count: int, seed: int, wholes: Mapping[str, bytes] | None = None) -> None:
    """Write ``count`` files into ``folder``: ``wholes`` (:func:`seeds`), damaged as ``seed`` has it."""
    folder.mkdir(parents=True, exist_ok=True)
    wholes = wholes or seeds()
    contents = list(wholes.values())
    for index in range(count):
        rng = random.Random(f"{seed} {index}")
        form = list(wholes)[index % len(wholes)]
        change = list(CHANGES)[index // len(wholes) % len(CHANGES)]
        changed = CHANGES[change](wholes[form], rng, contents)
        suffix = f".{form}"
        if change == "renamed":
            suffix = rng.choice((*_ODD_NAMES, *(f".{other}" for other in wholes if other != form)))
        (folder / f"{index:05d}-{form.replace('.', '-')}-{change}{suffix}").write_bytes(changed)
