"""Write faces/engines/yunet_ranges.json: the ranges of YuNet's numbers, which the detector in int8 needs.

python tools/detector_ranges.py

They are found on the demo camera's photograph: its face large and small, near, cut off, tilted, dark and
bright, and several in one picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from skimage.data import astronaut

from fer_edge.faces.detector import read_model
from fer_edge.faces.engines import quantization
from fer_edge.faces.engines.network import DIVISOR, OUTPUTS, Layer, read_layers
from fer_edge.faces.engines.quantization import RANGES_FILE, equalized
from fer_edge.faces.engines.tflite import tflite_file
from fer_edge.kernels.shrink import shrink

Picture = NDArray[np.uint8]
Extremes = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

LARGEST_LOGIT = 8.0
"""Beyond it probabilities are 0 or 1 for any threshold, and the steps between would be too wide."""
SIZES = (320, 160)


def pictures() -> Iterator[Picture]:
    """BGR, at most 320 pixels wide and high."""
    photo = np.ascontiguousarray(astronaut()[:, :, ::-1])
    views = [*_frames(photo), *_close(photo)]
    views += [view[:, ::-1] for view in views]
    yield from views
    yield from (view // 4 for view in views)
    yield from (np.clip(view * 1.6, 0, 255).astype(np.uint8) for view in views)
    rng = np.random.default_rng(0)
    yield rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    yield np.kron(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def _frames(photo: Picture) -> Iterator[Picture]:
    face = photo[20:240, 110:330]
    for size in (320, 224, 160, 96, 64):
        yield _resized(photo, size, size)
    for tilt in (-25, 25):
        turn = cv2.getRotationMatrix2D((110, 110), tilt, 1.0)
        yield np.asarray(cv2.warpAffine(face, turn, (220, 220), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    group = _resized(photo, 320, 240)
    for i, size in enumerate((20, 28, 40, 56, 80, 110, 64, 34)):
        x, y = 80 * (i % 4), 120 * (i // 4)
        group[y : y + size, x : x + size] = _resized(face, size, size)[:, : 320 - x]
    yield group


def _close(photo: Picture) -> Iterator[Picture]:
    for x, y, width, height in (
        (130, 30, 190, 190),
        (160, 50, 130, 140),
        (170, 60, 110, 120),
        (90, 0, 260, 260),
    ):
        for size in (320, 240, 160):
            yield _resized(photo[y : y + height, x : x + width], size, min(320, round(size * height / width)))
    large = _resized(photo[20:240, 110:330], 260, 260)
    for x, y in ((-90, 0), (90, 0), (0, -90), (0, 90)):
        cut = cv2.warpAffine(large, np.array([[1, 0, x], [0, 1, y]], np.float32), (260, 260))
        yield np.asarray(cut, np.uint8)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    smaller = width < picture.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way), np.uint8)


def network_input(picture: Picture, size: int) -> NDArray[np.float32]:
    """Return what the network gets of a picture whose longest side is at most ``size``."""
    scale = min(1, size / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    whole = np.zeros((1, *(-(-side // DIVISOR) * DIVISOR + 1 for side in (height, width)), 3), np.float32)
    shrink(np.ascontiguousarray(picture), whole[0, 1 : height + 1, 1 : width + 1])
    return whole


def extremes(layers: Sequence[Layer], inputs: Sequence[NDArray[np.float32]]) -> Extremes:
    """Return for each layer the least and the largest number of each channel."""
    # Delegates would keep what is between their operators to themselves.
    interpreter = Interpreter(
        model_content=tflite_file(layers),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    index = interpreter.get_input_details()[0]["index"]
    indices = {one["name"]: one["index"] for one in interpreter.get_tensor_details()}
    found: Extremes = {}
    for picture in inputs:
        interpreter.resize_tensor_input(index, picture.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, picture)
        interpreter.invoke()
        for layer in layers:
            numbers = interpreter.get_tensor(indices[layer.output])
            numbers = numbers.reshape(-1, numbers.shape[-1])
            least, most = numbers.min(axis=0), numbers.max(axis=0)
            before = found.get(layer.output, (least, most))
            found[layer.output] = np.minimum(before[0], least), np.maximum(before[1], most)
    return found


def _largest(found: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.maximum(np.abs(found[0]), np.abs(found[1]))


def _exponents(largest: NDArray[np.float32]) -> list[int]:
    powers: list[int] = np.floor(np.log2(largest.max() / np.maximum(largest, 1e-3))).astype(int).tolist()
    return powers


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def main() -> None:
    layers = read_layers(read_model())
    inputs = [network_input(picture, size) for picture in pictures() for size in SIZES]
    found = extremes(layers, inputs)
    mixed = [layer.inputs[0] for layer in layers if layer.inputs[0].endswith(", mixed")]
    exponents = {name: _exponents(_largest(found[name])) for name in mixed}
    largest: Mapping[str, list[float]] = {
        name: [
            _rounded(min(number, LARGEST_LOGIT) if channel < 2 else number)
            for channel, number in enumerate(_largest(found[name]).tolist())
        ]
        for name in OUTPUTS
    }
    after = extremes(equalized(layers, exponents, largest), inputs)
    computed = [layer.output for layer in layers if layer.operation in ("convolve", "add")]
    limits = {
        name: [_rounded(float(after[name][0].min())), _rounded(float(after[name][1].max()))]
        for name in computed
        if name not in OUTPUTS
    }
    content: dict[str, Mapping[str, list[int] | list[float]]]
    content = {"exponents": exponents, "limits": limits, "largest": largest}
    text = ",\n".join(
        f'"{part}": {{\n'
        + ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in values.items())
        + "}"
        for part, values in content.items()
    )
    target = Path(quantization.__file__).with_name(RANGES_FILE)
    target.write_text(f"{{{text}}}\n", encoding="utf-8")
    print(f"{target}: {len(inputs)} inputs, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
