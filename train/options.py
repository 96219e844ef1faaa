"""The options of a training run: defaults, ranges, explanations; without PyTorch, so that --help is fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fer_edge.errors import DataError

from .architectures import ARCHITECTURES

OPTIMIZERS = ("muon", "sgd")


@dataclass(frozen=True)
class Augmentation:
    """How far faces are varied; every range is symmetric around "unchanged".

    rotation: degrees; scale and aspect: relative; shift: fraction of the side; brightness: grey
    levels; contrast: relative; exposure: factor as a power of two (photographic stops); local_contrast: the
    same for each place, varying smoothly over the face, as under light from one side; gamma: logarithm
    of the exponent; blur: chance of a 3x3 binomial
    blur; coarse: chance that the face is seen with 20 to 40 pixels only; noise: largest standard
    deviation in grey levels; jpeg: chance of JPEG compression with a quality of 20 to 70; erase:
    chance that a random rectangle is overwritten.
    """

    rotation: float = 15.0
    scale: float = 0.15
    aspect: float = 0.08
    shift: float = 0.08
    brightness: float = 25.0
    contrast: float = 0.3
    exposure: float = 0.0
    local_contrast: float = 0.0
    gamma: float = 0.0
    blur: float = 0.1
    coarse: float = 0.0
    noise: float = 4.0
    jpeg: float = 0.0
    erase: float = 0.4

    def scaled(self, strength: float) -> Augmentation:
        """The same kinds of change, ``strength`` (0 to 1) times as strong."""
        return Augmentation(**{name: value * strength for name, value in vars(self).items()})


POOR_CAMERA = Augmentation(gamma=0.3, coarse=0.15, jpeg=0.15)
"""Besides, what cheap cameras do: bad exposure, few pixels, compression."""

HARD_LIGHT = Augmentation(contrast=0.5, exposure=1.0, local_contrast=0.7, gamma=0.5, coarse=0.15, jpeg=0.15)
"""Besides, what light does: faces at half and double exposure, lit from one side, flat or harsh."""


def _number(default: float, low: float, high: float, text: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "text": text})


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides the result of a training run.

    model: name of an architecture.
    epochs, warmup: length of the run, and of the linear learning-rate ramp at its start, in epochs.
    batch: images a step, over all processes.
    optimizer: one of :data:`OPTIMIZERS`.
    learning_rate: peak for ``batch`` images; weight_decay: on convolution and linear weights only.
    label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016,
        arXiv:1512.00567).
    vote_weight: weight of the loss of the people head, on FER+ votes, where votes are given.
    rare_weight: power of an emotion's frequency among the votes by which its part of that loss is divided
        (:func:`.losses.rare_weights`); the shares that the head learns stay those of the votes.
    people_distill_weight: share in that loss of what the teachers say people would answer, where
        teachers are given that do; the rest is of the votes.
    distill_weight, distill_temperature: share of the teachers' targets in the loss, and the
        temperature at which they are compared, where teachers are given (Hinton et al. 2015,
        arXiv:1503.02531).
    bank: number of varied views of each face that the teachers answer once, before the student learns from
        these views (:mod:`.bank`), 0: none; in place of ``live_teachers``.
    live_teachers: whether teachers see every augmented image the student sees and answer to that
        (Beyer et al. 2021, arXiv:2106.05237), instead of once to each image as it is.
    ema: decay a step of the averaged weights, which are what is validated and exported.
    augmentation_decay_start: fraction of the run after which augmentation decays linearly, to
        ``augmentation_floor`` of its strength in the last epoch.
    minutes: budget of the run, validation included, 0: none. Then ``epochs`` only gives the scale of warm-up:
        rates and augmentation follow the time that has passed since the first step, and the run ends with it.
    mixup: strength of mixing pairs of images and their targets (Zhang et al. 2017, arXiv:1710.09412).
    bfloat16: compute activations in bfloat16; faster where the processor has matrix units for it.
    compile: run the network through ``torch.compile`` on a GPU, where that works.
    seed: decides initial weights, order, augmentation and dropout.
    """

    model: str = "edge"
    epochs: int = _number(80, 1, 10_000, "length of the run")
    warmup: float = _number(
        3.0, 0, 10_000, "epochs of linear learning-rate ramp; not given, at most a fifth of --epochs"
    )
    batch: int = _number(128, 1, 1_000_000, "images a step, over all processes")
    optimizer: str = "sgd"
    learning_rate: float = _number(0.1, 1e-9, 100, "peak learning rate")
    weight_decay: float = _number(4e-4, 0, 1, "on convolution and linear weights")
    label_smoothing: float = _number(0.1, 0, 0.9, "share of the target that is spread over all classes")
    vote_weight: float = _number(0.5, 0, 100, "weight of the loss on FER+ votes")
    rare_weight: float = _number(
        0.0, 0, 1, "power of an emotion's frequency by which its part of the loss on votes is divided"
    )
    people_distill_weight: float = _number(
        0.5, 0, 1, "share of the teachers' answers, beside the votes, in the loss on votes"
    )
    distill_weight: float = _number(0.7, 0, 1, "share of the teachers' targets in the loss")
    distill_temperature: float = _number(2.0, 0.1, 100, "temperature at which they are compared")
    live_teachers: bool = False
    bank: int = _number(0, 0, 1000, "views of each face that teachers answer once, 0: each face as it is")
    ema: float = _number(0.999, 0, 0.999999, "decay a step of the averaged weights")
    augmentation_decay_start: float = _number(
        0.75, 0, 1, "fraction of the run after which augmentation decays"
    )
    augmentation_floor: float = _number(0.4, 0, 1, "strength of augmentation in the last epoch")
    mixup: float = _number(0.0, 0, 10, "strength of mixing pairs of images, 0: none")
    minutes: float = _number(0.0, 0, 100_000, "budget of the run in minutes, in place of epochs; 0: none")
    bfloat16: bool = False
    compile: bool = False
    seed: int = _number(1, 0, 2**62, "decides initial weights, order, augmentation and dropout")
    augmentation: Augmentation = field(default_factory=Augmentation)


FINE_TUNING_STRENGTH = 0.7
"""Strength of augmentation in fine-tuning: the user's camera is one, and known."""

FINE_TUNING = TrainOptions(
    epochs=20,
    warmup=1.0,
    batch=32,
    learning_rate=0.01,
    ema=0.95,
    augmentation_decay_start=1.0,
    augmentation=Augmentation().scaled(FINE_TUNING_STRENGTH),
)
"""Defaults for some hundred images of one's own."""


_WARMUP_SHARE = 0.2
"""Of the epochs, at most, that a warm-up takes that is not given."""


@dataclass(frozen=True)
class Number:
    """An option that is a number: its type, range, explanation, and defaults of both kinds of run."""

    kind: type
    low: float
    high: float
    text: str
    default: float
    fine_tuning: float


NUMBERS: dict[str, Number] = {
    option.name: Number(
        type(option.default),
        option.metadata["low"],
        option.metadata["high"],
        option.metadata["text"],
        getattr(TrainOptions(), option.name),
        getattr(FINE_TUNING, option.name),
    )
    for option in fields(TrainOptions)
    if option.metadata
}
"""The numbers among the options, by name."""


def flag(option: str) -> str:
    """An option as the command line spells it: ``--label-smoothing``."""
    return f"--{option.replace('_', '-')}"


def make_options(
    given: Mapping[str, Any],
    *,
    fine_tuning: bool = False,
    poor_camera: bool = False,
    before: Mapping[str, Any] | None = None,
) -> TrainOptions:
    """The defaults, or those of :data:`FINE_TUNING`, with the ``given`` options changed.

    A warm-up that is not given takes at most a fifth of the run, which could otherwise end before its rate
    falls. ``before``: the options of the run that is to go on, whose warm-up counts if it is the default in
    full, or given. Raises DataError for a value that is out of range or unknown.
    """
    if given.get("minutes") and "epochs" in given:
        raise DataError("--minutes and --epochs both say how long to train; give one of them")
    options = replace(FINE_TUNING if fine_tuning else TrainOptions(), **given)
    if poor_camera:
        strength = FINE_TUNING_STRENGTH if fine_tuning else 1.0
        options = replace(options, augmentation=POOR_CAMERA.scaled(strength))
    if options.model not in ARCHITECTURES:
        raise DataError(f"--model {options.model!r}: known are {', '.join(ARCHITECTURES)}")
    if options.optimizer not in OPTIMIZERS:
        raise DataError(f"--optimizer {options.optimizer!r}: known are {', '.join(OPTIMIZERS)}")
    least = ARCHITECTURES[options.model].least_batch
    if 1 <= options.batch < least:
        raise DataError(
            f"--batch must be at least {least} with --model {options.model}, whose last batch norms take the "
            f"spread over the images alone, got {options.batch}"
        )
    if options.bank and options.live_teachers:
        raise DataError("--bank goes without --live-teachers: it is in their place")
    for name, number in NUMBERS.items():
        value = getattr(options, name)
        if not number.low <= value <= number.high:
            raise DataError(f"{flag(name)} must be from {number.low:g} to {number.high:g}, got {value}")
    if "warmup" not in given and (before or {}).get("warmup") != options.warmup:
        options = replace(options, warmup=min(options.warmup, _WARMUP_SHARE * options.epochs))
    if before is None and options.warmup >= options.epochs:
        raise DataError(
            f"--warmup must be below {_length(options)}, or the learning rate never falls; "
            f"got {options.warmup:g}"
        )
    for name in ("rare_weight", "people_distill_weight"):
        if given.get(name) and not options.vote_weight:
            raise DataError(f"{flag(name)} does nothing with --vote-weight 0, which drops the loss on votes")
    return options


def _length(options: TrainOptions) -> str:
    epochs = f"{options.epochs} epochs"
    return f"{epochs}, the scale of --minutes" if options.minutes else f"the {epochs} of the run"
