"""What a cheap camera costs: accuracy by FER-2013 labels after blur, few pixels, JPEG, noise, light and tilt.

Rows of PublicTest whose image is not in Training count. Needs FER-2013: --data, or the variable FER2013_CSV.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import fer_edge
from fer_edge.fer2013.duplicates import in_training
from fer_edge.models.manifest import bundled_models

Faces = NDArray[np.uint8]


def each(change: Callable[[Faces], Faces]) -> Callable[[Faces], Faces]:
    return lambda faces: np.stack([change(face) for face in faces])


def few_pixels(side: int) -> Callable[[Faces], Faces]:
    def change(face: Faces) -> Faces:
        small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (48, 48), interpolation=cv2.INTER_LINEAR)

    return each(change)


def jpeg(quality: int) -> Callable[[Faces], Faces]:
    def change(face: Faces) -> Faces:
        _, encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)

    return each(change)


def tilted(degrees: float, shift: float = 0.0) -> Callable[[Faces], Faces]:
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), degrees, 1.0)
    matrix[0, 2] += shift
    return each(lambda face: cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE))


def noise(deviation: float) -> Callable[[Faces], Faces]:
    rng = np.random.default_rng(0)
    return lambda faces: (faces + rng.normal(0, deviation, faces.shape)).clip(0, 255).astype(np.uint8)


def gamma(exponent: float) -> Callable[[Faces], Faces]:
    table = (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
    return lambda faces: table[faces]


CONDITIONS: dict[str, Callable[[Faces], Faces]] = {
    "as it is": lambda faces: faces,
    "face of 32 pixels": few_pixels(32),
    "face of 24 pixels": few_pixels(24),
    "JPEG quality 30": jpeg(30),
    "noise, deviation 10": noise(10),
    "dark, gamma 2": gamma(2),
    "bright, gamma 0.5": gamma(0.5),
    "tilted by 10 degrees": tilted(10),
    "tilted by 20 degrees": tilted(20),
    "shifted by 4 pixels": tilted(0, 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FER2013_CSV"), help="FER-2013 CSV")
    parser.add_argument("--model", nargs="+", default=bundled_models(), help="bundled names or folders")
    parser.add_argument("--rows", type=int, help="use so many rows only")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("give --data or set FER2013_CSV")
    dataset = fer_edge.read_fer2013(arguments.data)
    if dataset.usage is None or dataset.labels is None:
        parser.error("the CSV needs the columns emotion and Usage")
    chosen = np.flatnonzero((dataset.usage == "PublicTest") & ~in_training(dataset))[: arguments.rows]
    faces, labels = dataset.pixels[chosen], dataset.labels[chosen]
    classifiers = {model: fer_edge.load_classifier(model, labels="fer2013") for model in arguments.model}
    print(f"accuracy in per cent of {len(labels)} rows, int8\n")
    print(f"{'':24}" + "".join(f"{Path(model).name:>12}" for model in classifiers))
    for name, change in CONDITIONS.items():
        changed = change(faces)
        reached = [100 * np.mean(c.predict(changed).argmax(1) == labels) for c in classifiers.values()]
        print(f"{name:24}" + "".join(f"{value:12.2f}" for value in reached))


if __name__ == "__main__":
    main()
