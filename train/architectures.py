"""The shapes of the networks: two for a Raspberry Pi, and teachers; plain numbers, without PyTorch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fer_edge.kernels.constants import FACE_SIZE

EFFICIENTNET = "efficientnet"
"""The architecture that begins with ImageNet weights, see :mod:`.imagenet_weights`."""

FACE_TEACHER = "face-teacher"
"""The architecture that begins with the weights of dlib's network, see :mod:`.dlib_weights`."""


@dataclass(frozen=True)
class Stage:
    """A run of residual blocks that share their channel count; ``stride`` applies to the first.

    ``inverted`` blocks expand with a 1x1 (where ``expansion`` is 1 and ``lean``: do not) and filter with a
    depthwise convolution; ``fused`` blocks do
    both with one full convolution; ``basic`` blocks are two full convolutions without expansion;
    ``pooled`` blocks too, but where shapes differ their input is averaged and filled up with zeros;
    ``plain`` blocks are one convolution, after a maximum over each 2x2 where they have a stride.
    """

    block: Literal["inverted", "fused", "basic", "pooled", "plain"]
    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3
    lean: bool = False


@dataclass(frozen=True)
class Architecture:
    """All numbers that define a network: stem and head width in channels, and the stages between.

    Without a ``head`` (0) the classifier works on the last stage's channels. Of the faces the network looks
    at the centred ``crop`` x ``crop`` pixels (0: all), which are random ones where augmentation shifts the
    faces; a ``side`` larger than the faces' enlarges them first. ``stem_pool`` is the window, without border,
    of a maximum over every second place after the stem (0: none), whose convolution then has no border
    either. ``contrast``: whether faces are brought to equal exposure and contrast first.
    """

    stem: int
    stages: tuple[Stage, ...]
    head: int
    dropout: float = 0.1
    stem_stride: int = 2
    stem_kernel: int = 3
    stem_pool: int = 0
    side: int = FACE_SIZE
    contrast: bool = False
    crop: int = 0

    @property
    def input_side(self) -> int:
        """Pixels a side of what the first convolution sees."""
        return self.crop or self.side

    @property
    def output_side(self) -> int:
        """Pixels a side of what the last stage gives."""
        side = self.input_side // self.stem_stride
        if self.stem_pool:
            bare = (self.input_side - self.stem_kernel) // self.stem_stride + 1
            side = (bare - self.stem_pool) // 2 + 1
        for stage in self.stages:
            side = side // stage.stride if stage.block in ("pooled", "plain") else -(-side // stage.stride)
        return side

    @property
    def least_batch(self) -> int:
        """Images that a step needs; where features end as one pixel, a single image has no variance."""
        return 2 if self.output_side == 1 else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for checkpoints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "stages": tuple(Stage(**stage) for stage in values["stages"])})


ARCHITECTURES: dict[str, Architecture] = {
    "edge": Architecture(
        stem=24,
        stages=(
            Stage("fused", expansion=1, channels=24, repeats=1, stride=1),
            Stage("fused", expansion=3, channels=40, repeats=2, stride=2),
            Stage("fused", expansion=2, channels=40, repeats=1, stride=1),
            Stage("inverted", expansion=4, channels=72, repeats=5, stride=2),
            Stage("inverted", expansion=4, channels=96, repeats=2, stride=1),
        ),
        head=320,
        contrast=True,
    ),
    "nano": Architecture(
        stem=16,
        stages=(
            Stage("fused", expansion=2, channels=24, repeats=1, stride=2),
            Stage("inverted", expansion=3, channels=24, repeats=1, stride=1),
            Stage("inverted", expansion=4, channels=40, repeats=3, stride=2),
            Stage("inverted", expansion=4, channels=56, repeats=2, stride=1),
        ),
        head=160,
        dropout=0.0,
        contrast=True,
    ),
    "teacher": Architecture(
        stem=32,
        stages=(
            Stage("basic", expansion=1, channels=64, repeats=2, stride=2),
            Stage("basic", expansion=1, channels=128, repeats=2, stride=2),
            Stage("basic", expansion=1, channels=256, repeats=2, stride=2),
        ),
        head=0,
        dropout=0.3,
        stem_stride=1,
    ),
    "vgg": Architecture(
        stem=64,
        stages=(
            Stage("plain", expansion=1, channels=64, repeats=1, stride=1),
            Stage("plain", expansion=1, channels=128, repeats=2, stride=2),
            Stage("plain", expansion=1, channels=256, repeats=2, stride=2),
            Stage("plain", expansion=1, channels=512, repeats=2, stride=2),
        ),
        head=0,
        dropout=0.5,
        stem_stride=1,
        crop=44,
    ),
    "resnet18": Architecture(
        stem=64,
        stages=(
            Stage("basic", expansion=1, channels=64, repeats=2, stride=1),
            Stage("basic", expansion=1, channels=128, repeats=2, stride=2),
            Stage("basic", expansion=1, channels=256, repeats=2, stride=2),
            Stage("basic", expansion=1, channels=512, repeats=2, stride=2),
        ),
        head=0,
        dropout=0.2,
        stem_stride=1,
    ),
    EFFICIENTNET: Architecture(
        stem=32,
        stages=(
            Stage("inverted", expansion=1, channels=16, repeats=1, stride=1, lean=True),
            Stage("inverted", expansion=6, channels=24, repeats=2, stride=2),
            Stage("inverted", expansion=6, channels=40, repeats=2, stride=2, kernel=5),
            Stage("inverted", expansion=6, channels=80, repeats=3, stride=2),
            Stage("inverted", expansion=6, channels=112, repeats=3, stride=1, kernel=5),
            Stage("inverted", expansion=6, channels=192, repeats=4, stride=2, kernel=5),
            Stage("inverted", expansion=6, channels=320, repeats=1, stride=1),
        ),
        head=1280,
        dropout=0.2,
        side=96,
    ),
    FACE_TEACHER: Architecture(
        stem=32,
        stages=(
            Stage("pooled", expansion=1, channels=32, repeats=3, stride=1),
            Stage("pooled", expansion=1, channels=64, repeats=4, stride=2),
            Stage("pooled", expansion=1, channels=128, repeats=3, stride=2),
            Stage("pooled", expansion=1, channels=256, repeats=3, stride=2),
            Stage("pooled", expansion=1, channels=256, repeats=1, stride=2),
        ),
        head=0,
        dropout=0.3,
        stem_kernel=7,
        stem_pool=3,
        side=112,
    ),
}
