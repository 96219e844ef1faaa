"""Latency of the bundled models beside a mini-Xception, the usual net for this task, on one core.

That of Arriaga, Valdenegro-Toro and Plöger 2017 (arXiv:1710.07557) for 64x64 grey faces, built here from
the paper and with random weights, since only its speed counts. Needs the extras [train] and [export].
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from timing import best_times, print_machine
from torch import Tensor, nn

from fer_edge.models.manifest import bundled_models, find_model
from fer_edge.native_output import hold_back

SIDE = 64


class Separable(nn.Sequential):
    """A depthwise 3x3 convolution and one between channels, with its batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Module(nn.Module):
    """Two separable convolutions and a maximum, beside a strided convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.straight = nn.Sequential(
            Separable(inputs, outputs),
            nn.ReLU(),
            Separable(outputs, outputs),
            nn.MaxPool2d(3, 2, 1),
        )
        self.beside = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.straight(inputs) + self.beside(inputs)
        return result


def mini_xception() -> nn.Module:
    """Logits (n, 7) of float32 (n, 1, 64, 64)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(Module(inputs, outputs) for inputs, outputs in ((8, 16), (16, 32), (32, 64), (64, 128))),
        nn.Conv2d(128, 7, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()


def to_tflite(net: nn.Module) -> tuple[bytes, bytes]:
    """The fp32 and the int8 model."""
    # Here, where what they say at being loaded is held back.
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        channels_last = litert_torch.to_channel_last_io(net, args=[0])
        litert_torch.convert(channels_last.eval(), (torch.zeros(1, SIDE, SIDE, 1),)).export(str(path))
        exact = path.read_bytes()
    work = quantizer.Quantizer(bytearray(exact), recipe.static_wi8_ai8())
    rng = np.random.default_rng(0)
    name = next(iter(Interpreter(model_content=exact).get_signature_list().values()))["inputs"][0]
    samples = [{name: rng.normal(size=(1, SIDE, SIDE, 1)).astype(np.float32)} for _ in range(8)]
    ranges = work.calibrate({"serving_default": samples})
    return exact, bytes(work.quantize(ranges).quantized_model)


def call(content: bytes) -> Callable[[], None]:
    """One inference by LiteRT on one core."""
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=OpResolverType.AUTO
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="default: %(default)s")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with contextlib.redirect_stdout(sys.__stdout__), hold_back(lambda line: True):
        exact, rounded = to_tflite(mini_xception())
    contents = {"mini-Xception 64x64, fp32": exact, "mini-Xception 64x64, int8": rounded}
    for model in bundled_models():
        for precision in ("int8", "fp32"):
            contents[f"{model}, {precision}"] = find_model(model, "litert", precision).read()
    times = best_times({name: call(content) for name, content in contents.items()}, arguments.rounds, calls=5)
    print_machine()
    print(f"{'':28}{'kB':>8}{'ms':>8}{'of mini-Xception fp32':>24}")
    usual = times["mini-Xception 64x64, fp32"]
    for name, seconds in times.items():
        print(f"{name:28}{len(contents[name]) / 1000:8.0f}{1000 * seconds:8.3f}{seconds / usual:24.2f}")


if __name__ == "__main__":
    main()
