"""Grey levels as classifiers take them."""

from __future__ import annotations

import numpy as np


def as_inputs(faces, dtype):
    """Levels of grey in a form that a classifier's input has."""
    numbers = faces.astype(np.int16)
    return {
        "uint8": numbers.astype(np.uint8),
        "int8": (numbers - 128).astype(np.int8),
        "float32": (numbers.astype(np.float32) - 128) / 64,
    }[dtype]
