"""YuNet in 8 bits: what is to be known of its numbers, and weights that suit.

Between the pointwise and the depthwise convolution of a block nothing happens, so a channel may be multiplied
there by any factor: 2^k makes all channels of a block nearly as wide, which 8 bits with one scale need (Nagel
et al.: "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019). The outputs are
divided by their largest values, channel by channel, and multiplied after the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from .network import Convolution, Layer

RANGES_FILE = "yunet_ranges.json"


@dataclass(frozen=True)
class Ranges:
    """What ``tools/detector_ranges.py`` found: by the name of a layer's output."""

    exponents: Mapping[str, Sequence[int]]
    """Of the pointwise convolutions: by which power of two each channel is multiplied."""
    limits: Mapping[str, tuple[float, float]]
    """Least and largest number of a layer, as it is after that."""
    largest: Mapping[str, Sequence[float]]
    """Of the network's outputs: the largest absolute number of each channel."""


@cache
def packaged_ranges() -> Ranges:
    """Those that come with this package."""
    content = json.loads((files(__package__) / RANGES_FILE).read_text(encoding="utf-8"))
    return Ranges(content["exponents"], content["limits"], content["largest"])


def equalized(
    layers: Sequence[Layer], exponents: Mapping[str, Sequence[int]], largest: Mapping[str, Sequence[float]]
) -> list[Layer]:
    """Return the network with channels multiplied as :class:`Ranges` says; outputs are within -1 and 1."""
    factors = {name: np.exp2(np.array(powers, np.float32)) for name, powers in exponents.items()}
    factors |= {name: 1 / np.array(numbers, np.float32) for name, numbers in largest.items()}

    def scaled(layer: Layer) -> Layer:
        if layer.convolution is None:
            return layer
        weights, bias = layer.convolution.weights, layer.convolution.bias
        if layer.output in factors:
            weights = weights * _by_channel(factors[layer.output])
            bias = bias * factors[layer.output]
        if layer.inputs[0] in exponents:
            weights = weights / _by_channel(factors[layer.inputs[0]])
        return replace(layer, convolution=Convolution(weights, bias))

    return [scaled(layer) for layer in layers]


def quantized_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return weights (out, in, k, k) as -127 to 127, and the scale of each output channel."""
    scales = np.abs(weights).reshape(len(weights), -1).max(axis=1).astype(np.float64) / 127
    scales[scales == 0] = 1
    return np.rint(weights / scales[:, np.newaxis, np.newaxis, np.newaxis]).astype(np.int8), scales


def scale_and_zero(limits: tuple[float, float]) -> tuple[float, int]:
    """Return how numbers within ``limits`` become -128 to 127: (number / scale + zero), 0 exactly."""
    least, most = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = (most - least) / 255
    return scale, round(-128 - least / scale)


def _by_channel(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    return factors[:, np.newaxis, np.newaxis, np.newaxis]
