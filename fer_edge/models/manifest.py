"""Model files: the bundled weights, their manifest, and the check that a file is what it claims to be."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import ModelError
from ..labels import ANSWERS, EMOTIONS, Labels
from .people import MOST_BALANCE, People

Backend = Literal["litert", "onnx"]
Precision = Literal["int8", "fp32"]

BACKENDS: tuple[Backend, ...] = ("litert", "onnx")
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
SUFFIXES: dict[Backend, str] = {"litert": ".tflite", "onnx": ".onnx"}
MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = "fer-edge manifest 2"
FORMER_FORMAT = "fer-edge manifest 1"
"""Of exports whose models have the one output ``fer2013``; still read."""
WEIGHTS = Path(__file__).parent / "weights"
MAX_MODEL_BYTES = 1 << 30
"""Largest model file that is read: a thousand times the bundled ones, and what a Pi has room for."""
_MAX_MANIFEST_BYTES = 1 << 24
_ROUNDED = 1e-3
"""By which the sum of shares may differ from 1, since a manifest has them with six digits."""


@dataclass(frozen=True)
class TensorSpec:
    """Element type (``int8`` or ``float32``) of a model's input or output, and its quantization.

    real value = (stored - zero_point) * scale; scale 1 and zero point 0 for float32.
    """

    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Reference:
    """What a file answers to the face of :mod:`.reference` where it was exported.

    face: CRC-32 of that face; logits: of each output, as the file has them, so whole numbers for int8.
    """

    face: int
    logits: dict[Labels, tuple[float, ...]]


@dataclass(frozen=True)
class ModelFile:
    """One file of a model as its manifest describes it; sizes in bytes.

    ``outputs``: at least ``fer2013``; ``people`` is missing in manifests of format 1 and where no votes were
    learned, and so is the setting of that name. ``contrast``: whether faces are brought to the same exposure
    and contrast first.
    ``reference`` is None for exports of fer-edge 0.1, whose manifests have no answer.
    """

    model: str
    path: Path
    backend: Backend
    precision: Precision
    size: int
    sha256: str
    input: TensorSpec
    outputs: dict[Labels, TensorSpec]
    reference: Reference | None = None
    people: People | None = None
    contrast: bool = False

    def read(self) -> bytes:
        """The file's content, verified against size and hash of the manifest; raises ModelError."""
        content = read_bounded(self.path, MAX_MODEL_BYTES, self.size)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"{self.path}: sha256 is {digest[:16]}… but {MANIFEST_NAME} says {self.sha256[:16]}…: the "
                "file was damaged or exchanged; reinstall fer-edge or export the model again"
            )
        return content


def read_bounded(path: Path, limit: int, expected: int | None = None) -> bytes:
    """The content of a regular file of at most ``limit`` bytes, ``expected`` ones where they are known.

    Whether it is that is settled before anything is read: a file may be larger than the memory, and a
    device may never end. Raises ModelError.
    """
    try:
        # Without O_NONBLOCK a FIFO would wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ModelError(f"{path}: not a regular file; want a file on a disk")
            if expected is not None and found.st_size != expected:
                raise ModelError(
                    f"{path}: has {found.st_size} bytes but {MANIFEST_NAME} says {expected}: the file "
                    "was cut off or exchanged; reinstall fer-edge or export the model again"
                )
            if found.st_size > limit:
                raise ModelError(f"{path}: has {found.st_size} bytes; at most {limit} are read")
            return stream.read(found.st_size)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def unfit(path: Path, found: str, wanted: str) -> ModelError:
    """The error for a model file that is intact, but no classifier of faces."""
    return ModelError(f"{path}: {found}; a classifier {wanted}. fer-edge export-int8 writes files that fit")


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a folder of models; raises ModelError where there is none or a foreign one."""
    path = Path(folder) / MANIFEST_NAME
    try:
        manifest = json.loads(read_bounded(path, _MAX_MANIFEST_BYTES).decode("utf-8"))
    except ModelError as error:
        if isinstance(error.__cause__, NotADirectoryError):
            archive = next((parent for parent in path.parents if parent.is_file()), path.parent)
            raise ModelError(
                f"{archive}: is a file, and models cannot be read from within one; beside a program that "
                "zipapp packed, install fer-edge (pip install fer-edge), or pack it by shiv or PyInstaller"
            ) from error
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ModelError(
            f"{path}: no manifest, so the models beside it cannot be checked; "
            "fer-edge export-int8 writes models together with their manifest"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a readable manifest ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") not in (MANIFEST_FORMAT, FORMER_FORMAT):
        raise ModelError(f"{path}: not a manifest of this version (expected format {MANIFEST_FORMAT!r})")
    if not isinstance(manifest.get("models"), dict):
        raise ModelError(f"{path}: lists no models")
    if manifest.get("labels") != list(EMOTIONS):
        raise ModelError(f"{path}: labels are {manifest.get('labels')}, expected {list(EMOTIONS)}")
    return cast(dict[str, Any], manifest)


def model_files(folder: str | os.PathLike[str] = WEIGHTS) -> list[ModelFile]:
    """All model files that the manifest of ``folder`` lists."""
    manifest = read_manifest(folder)
    try:
        return [
            ModelFile(
                model=model,
                path=Path(folder) / name,
                backend=_one_of(entry, "backend", BACKENDS),
                precision=_one_of(entry, "precision", PRECISIONS),
                size=_whole(entry, "bytes"),
                sha256=_digest(entry),
                input=_tensor(entry["input"]),
                outputs=_outputs(entry),
                reference=_reference(entry.get("reference")),
                people=_people(description.get("people"), entry),
                contrast=_flag(description.get("contrast", False)),
            )
            for model, description in manifest["models"].items()
            for name, entry in description["files"].items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{Path(folder) / MANIFEST_NAME}: an entry is incomplete or not as it should be ({error!r})"
        ) from error


def _tensor(entry: dict[str, Any]) -> TensorSpec:
    scale = entry["scale"]
    if not _is_number(scale) or not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale!r}; want a number above 0")
    return TensorSpec(_one_of(entry, "dtype", ("int8", "float32")), scale, _whole(entry, "zero_point"))


def _one_of(entry: dict[str, Any], key: str, choices: tuple[str, ...]) -> Any:
    if entry[key] not in choices:
        raise ValueError(f"{key} is {entry[key]!r}; want one of {', '.join(choices)}")
    return entry[key]


def _whole(entry: dict[str, Any], key: str) -> int:
    value = entry[key]
    if not _is_number(value) or value != int(value):
        raise ValueError(f"{key} is {value!r}; want a whole number")
    return int(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _digest(entry: dict[str, Any]) -> str:
    value = entry["sha256"]
    if not isinstance(value, str):
        raise ValueError(f"sha256 is {value!r}; want 64 hexadecimal digits")
    return value


def _outputs(entry: dict[str, Any]) -> dict[Labels, TensorSpec]:
    named = entry["outputs"] if "outputs" in entry else {"fer2013": entry["output"]}
    outputs = {name: _tensor(named[name]) for name in ANSWERS if name in named}
    if "fer2013" not in outputs:
        raise ValueError(f"outputs are {', '.join(named) or 'none'}; want {' and '.join(ANSWERS)}")
    return outputs


def _reference(entry: dict[str, Any] | None) -> Reference | None:
    if entry is None:
        return None
    logits = entry["logits"]
    named = logits if isinstance(logits, dict) else {"fer2013": logits}
    answers = {name: tuple(map(float, named[name])) for name in ANSWERS if name in named}
    return Reference(_whole(entry, "face"), answers)


def _people(settings: dict[str, Any] | None, entry: dict[str, Any]) -> People | None:
    """The settings of the output ``people`` of the file of this ``entry``."""
    if settings is None:
        if "people" in entry.get("outputs", ()):
            raise ValueError("an output people without the settings of that name")
        return None
    prior = tuple(map(float, settings["prior"]))
    if len(prior) != len(EMOTIONS):
        raise ValueError(f"people.prior has {len(prior)} numbers")
    people = People(prior, float(settings["balance"]), float(settings["unsure_above"]))
    # Comparisons with NaN are false.
    if not (all(0 <= share <= 1 for share in prior) and abs(sum(prior) - 1) < _ROUNDED):
        raise ValueError(f"people.prior is {prior}, want shares from 0 to 1, together 1")
    if not 0 <= people.balance <= MOST_BALANCE:
        raise ValueError(f"people.balance is {people.balance}, want a number from 0 to {MOST_BALANCE:g}")
    if not 0 <= people.unsure_above <= 1:
        raise ValueError(f"people.unsure_above is {people.unsure_above}, want a number from 0 to 1")
    return people


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"contrast is {value!r}, want true or false")
    return value


def bundled_models() -> list[str]:
    """Names of the models shipped in the package."""
    return sorted({file.model for file in model_files()})


def find_model(model: str | os.PathLike[str], backend: Backend, precision: Precision) -> ModelFile:
    """The file of ``model`` for a backend and precision.

    ``model`` is a bundled name, or else a folder that ``fer-edge export-int8`` wrote, or a file in
    such a folder, whose precision then counts. Raises a ModelError that lists what there is.
    """
    candidates = _candidates(model)
    if Path(model).suffix in SUFFIXES.values():
        precision = candidates[0].precision
    for file in candidates:
        if (file.backend, file.precision) == (backend, precision):
            return file
    have = ", ".join(f"{file.backend} {file.precision}" for file in candidates)
    raise ModelError(f"{model}: has no {backend} {precision} file; it has {have}")


def digest_of(model: str | os.PathLike[str]) -> str:
    """SHA-256, in hexadecimal digits, of all that a ``model`` of :func:`find_model` answers by.

    It is of all of its files and their settings, so that it does not depend on the runtime that is installed.
    Raises ModelError where there is no such model.
    """
    told = sorted(
        (file.backend, file.precision, file.sha256, repr(file.people), file.contrast)
        for file in _candidates(model)
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _candidates(model: str | os.PathLike[str]) -> list[ModelFile]:
    path = Path(model)
    if bundled := [file for file in model_files() if file.model == os.fspath(model)]:
        return bundled
    if path.suffix in SUFFIXES.values():
        if not path.is_file():
            raise ModelError(f"{path}: no such model file")
        candidates = [file for file in model_files(path.parent) if file.path.name == path.name]
        if not candidates:
            raise ModelError(f"{path}: not listed in {path.parent / MANIFEST_NAME}, so it cannot be checked")
        return candidates
    if path.is_dir():
        candidates = model_files(path)
        names = sorted({file.model for file in candidates})
        if len(names) != 1:
            raise ModelError(f"{path}: holds the models {', '.join(names) or 'none'}; name a file of one")
        return candidates
    raise ModelError(
        f"no model {os.fspath(model)!r}: bundled are {', '.join(bundled_models())}; "
        "or give a folder or file that fer-edge export-int8 wrote"
    )
