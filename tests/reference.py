"""Results that must be the same on every architecture, and the file that holds them.

``python tests/reference.py`` writes reference.json anew: after new weights, or where a kernel's results
were changed on purpose.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from pathlib import Path

import numpy as np
from conftest import draw_face, write_csv

import fer_edge
from fer_edge import kernels
from fer_edge.kernels.crop import crop_faces
from fer_edge.kernels.fallback.decode import FACE_NUMBERS, FACES_LIMIT
from fer_edge.kernels.shrink import shrink
from fer_edge.labels import EMOTIONS, Labels
from fer_edge.models.manifest import ModelFile, model_files

FILE = Path(__file__).with_suffix(".json")

SQUARES = np.array(
    [[10, 10, 48], [3.25, 7.5, 20], [-9.5, -4, 61.75], [60.4, 33.3, 133.1], [200, 90, 150], [0, 0, 239]]
)
"""Enlarged, shrunk, as it is, and reaching over three edges of a 320x240 frame."""


def drawn_faces() -> np.ndarray:
    """Two cartoons of each emotion, (14, 48, 48)."""
    rng = np.random.default_rng(11)
    return np.stack([draw_face(code % len(EMOTIONS), rng) for code in range(2 * len(EMOTIONS))])


def crops() -> dict[str, int]:
    """Checksums of SQUARES cut out of a colour and a grey frame, for each type of output."""
    y, x = np.mgrid[0:240, 0:320]
    frame = np.stack([x * 3 + y, x + y * 5, (x * y) >> 3], axis=-1).astype(np.uint8)
    found = {}
    for name, image in (("bgr", frame), ("grey", frame[:, :, 1])):
        for dtype in (np.uint8, np.int8, np.float32):
            out = np.empty((len(SQUARES), 48, 48), dtype)
            found[f"{name} {out.dtype}"] = zlib.crc32(crop_faces(image, SQUARES, out).tobytes())
    return found


def shrunk() -> dict[str, int]:
    """Checksums of a colour frame and of its bytes as YUV planes made smaller, by halves and otherwise."""
    y, x = np.mgrid[0:240, 0:320]
    frame = np.stack([x * 3 + y, x + y * 5, (x * y) >> 3], axis=-1).astype(np.uint8)
    planes = np.ascontiguousarray(frame[:, :, 1])
    found = {}
    for layout, image in (("bgr", frame), ("grey", planes), ("yuv420", planes), ("nv12", planes)):
        for height, width in ((80, 160), (61, 97)):
            out = np.empty((height, width, 3), np.int8)
            found[f"{layout} {width}x{height}"] = zlib.crc32(shrink(image, out, layout=layout).tobytes())
    return found


def decoded() -> dict[str, int]:
    """Checksum and number of the faces in made-up outputs of the detector."""
    numbers = np.random.default_rng(3).integers(-40, 41, (1680, 16)).astype(np.float32) / 16
    parts = tuple(numbers[start:end] for start, end in ((0, 1280), (1280, 1600), (1600, 1680)))
    faces = np.zeros((FACES_LIMIT, FACE_NUMBERS), np.float32)
    count = kernels.implementation.decode_faces(parts, 256, 320, 0.25, 0.6, faces)
    return {"faces": count, "numbers": zlib.crc32(faces.tobytes())}


def parsed() -> dict[str, int]:
    """Checksums of what a CSV of drawn faces is read as."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = fer_edge.read_fer2013(
            write_csv(Path(folder) / "drawn.csv", {"Training": 2, "PublicTest": 1})
        )
    usage = "".join(dataset.usage.tolist()).encode()
    return {
        "pixels": zlib.crc32(dataset.pixels.tobytes()),
        "labels": zlib.crc32(dataset.labels.tobytes()),
        "usage": zlib.crc32(usage),
    }


def int8_files() -> list[ModelFile]:
    """The bundled int8 files of both formats."""
    return [file for file in model_files() if file.precision == "int8"]


def quantized_logits(file: ModelFile, faces: np.ndarray) -> dict[Labels, np.ndarray]:
    """Both of a file's int8 outputs for faces, as int (n, k)."""
    logits = fer_edge.load_classifier(file.path).logits(faces)
    return {
        head: np.rint(logits[head] / spec.scale + spec.zero_point).astype(int)
        for head, spec in file.outputs.items()
    }


def main() -> None:
    """Compute everything here and now and write it."""
    faces = drawn_faces()
    content = {
        "faces": zlib.crc32(faces.tobytes()),
        "crops": crops(),
        "shrunk": shrunk(),
        "decoded": decoded(),
        "parsed": parsed(),
        "models": {
            file.path.name: {
                "sha256": file.sha256,
                # A line a face.
                "logits": {
                    head: [" ".join(map(str, row)) for row in rows]
                    for head, rows in quantized_logits(file, faces).items()
                },
            }
            for file in int8_files()
        },
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    print(f"{FILE.name}: {len(faces)} faces, {', '.join(content['models'])}")


if __name__ == "__main__":
    main()
