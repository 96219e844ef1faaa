"""YuNet on LiteRT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...models.backends import litert_interpreter_class
from .network import CHANNELS, OUTPUTS, Layer
from .quantization import Ranges
from .tflite import OUTPUT_SCALE, PICTURE_ZERO, SIZE, tflite_file


class LiteRTSession:
    """The ``layers`` of YuNet on LiteRT, in 8 bits with ``ranges``; raises ModelError if it refuses them."""

    def __init__(self, layers: Sequence[Layer], threads: int, ranges: Ranges | None = None) -> None:
        interpreter = litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=tflite_file(layers, ranges), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the face detector: LiteRT cannot load it ({error})") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {one["name"]: one["index"] for one in self._interpreter.get_output_details()}
        self._outputs = [outputs[name] for name in OUTPUTS]
        self._scales = None
        self.black = 0
        if ranges is not None:
            self._scales = [
                np.array(ranges.largest[name], np.float32) * np.float32(OUTPUT_SCALE) for name in OUTPUTS
            ]
            self.black = PICTURE_ZERO
        self._size = SIZE

    def input(self, height: int, width: int) -> NDArray[np.generic]:
        if (height, width) != self._size:
            self._interpreter.resize_tensor_input(self._input, (1, height + 1, width + 1, 3))
            self._interpreter.allocate_tensors()
            self._size = height, width
        view: NDArray[np.generic] = self._interpreter.tensor(self._input)()
        picture: NDArray[np.generic] = view[0]
        return picture

    def run(self) -> list[NDArray[np.float32]]:
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(index).reshape(-1, CHANNELS) for index in self._outputs]
        if self._scales is None:
            return outputs
        return [
            np.multiply(one, scales, dtype=np.float32)
            for one, scales in zip(outputs, self._scales, strict=True)
        ]
