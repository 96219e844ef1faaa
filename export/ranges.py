"""Ranges of activations that are set instead of measured, the same for TFLite and ONNX."""

Range = tuple[float, float]
"""Smallest and largest value."""

INPUT_RANGE: Range = ((0 - 128) / 64, (255 - 128) / 64)
"""Of a normalized grey level: 256 steps of 1/64, so that the quantized input is exactly grey - 128."""

_WIDENING = 1 + 1 / 64


def widened(limits: Range) -> Range:
    """The range for the output of an addition, a little wider than measured.

    Where both inputs and the output were clipped by ReLU6, the output's scale would be exactly twice
    the inputs', half of all sums would lie exactly between two steps, and the runtimes, which round
    such ties differently, would drift apart.
    """
    low, high = limits
    return low * _WIDENING, high * _WIDENING
