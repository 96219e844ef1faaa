"""The four files of a model: fp32 and int8, for LiteRT and ONNX Runtime, as bytes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.labels import Labels
from fer_edge.models.manifest import Backend, Precision, TensorSpec
from fer_edge.native_output import hold_back
from fer_edge.train.model import normalize

from . import onnx_files, tflite
from .network import InferenceNet


@dataclass(frozen=True)
class Converted:
    """One file, and input and outputs as it describes them itself."""

    backend: Backend
    precision: Precision
    content: bytes
    input: TensorSpec
    outputs: dict[Labels, TensorSpec]


def convert(
    net: InferenceNet, calibration: NDArray[np.uint8], progress: Callable[[str], None]
) -> list[Converted]:
    """Convert and quantize ``net``; faces uint8 (n, 48, 48) give the ranges of activations.

    The fp32 files compute in float32 and store their weights as float16, which halves them.
    """
    normalized = normalize(torch.from_numpy(calibration)).numpy()
    progress("converting to TFLite")
    with quiet():
        tflite_fp32 = tflite.convert(net)
        ranges = tflite.calibrate(tflite_fp32, normalized)
        tflite_int8 = tflite.quantize(tflite_fp32, ranges)
        tflite_half = tflite.with_half_weights(tflite_fp32)
    progress("converting to ONNX")
    with quiet():
        onnx_fp32 = onnx_files.convert(net)
        onnx_int8 = onnx_files.from_tflite(tflite_int8)
        onnx_half = onnx_files.with_half_weights(onnx_fp32)
    plain = TensorSpec("float32", 1.0, 0)
    return [
        Converted("litert", "int8", tflite_int8, *tflite.tensor_specs(tflite_int8)),
        Converted("litert", "fp32", tflite_half, *tflite.tensor_specs(tflite_half)),
        Converted("onnx", "int8", onnx_int8, *onnx_files.quantization(onnx_int8)),
        Converted("onnx", "fp32", onnx_half, plain, dict.fromkeys(net.heads, plain)),
    ]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The converters chat from Python and from C++; only a failure makes that worth reading."""
    with (
        contextlib.redirect_stdout(sys.__stdout__),
        contextlib.redirect_stderr(sys.__stderr__),
        hold_back(lambda line: True),
    ):
        yield
