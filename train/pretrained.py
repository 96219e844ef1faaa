"""Networks that do not begin at random weights: checkpoints, exported and bundled models, dlib's network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.errors import DataError, MissingExtraError, ModelError
from fer_edge.models.manifest import (
    MANIFEST_NAME,
    SUFFIXES,
    ModelFile,
    bundled_models,
    find_model,
    read_manifest,
)

from .architectures import ARCHITECTURES, EFFICIENTNET, FACE_TEACHER, Architecture
from .batch_norm import is_folded, restore_norms
from .checkpoint import load_net
from .data import sample
from .dlib_weights import package_file, recognizing_net
from .growth import grown
from .imagenet_weights import imagenet_file, imagenet_net
from .model import EmotionNet
from .renamed import current_names, current_stages, warn_of_former_names


def initial_net(
    model: str, faces: NDArray[np.uint8], seed: int, weights: str | None = None
) -> EmotionNet | None:
    """Where the training of an architecture on uint8 faces (n, 48, 48) begins; None: at random weights.

    With ``weights``, as for :func:`pretrained_net`, at those, which are :func:`.growth.grown` where the
    architecture has more blocks; else ``face-teacher`` begins at dlib's and ``efficientnet`` at ImageNet's.
    Batch norms that were folded are measured anew on some of the faces.
    Raises DataError where the weights do not fit the architecture ``model``, CheckpointError, ModelError,
    MissingExtraError.
    """
    if weights is None:
        torch.manual_seed(seed)
        if model == FACE_TEACHER:
            return recognizing_net(package_file(), sample(faces, seed))
        if model == EFFICIENTNET:
            return imagenet_net(imagenet_file(), sample(faces, seed))
        return None
    if Path(weights).suffix == ".npz":
        raise DataError(f"{weights}: holds logits, which a student cannot begin with; want a checkpoint")
    net = pretrained_net(weights)
    wanted = ARCHITECTURES[model]
    net.architecture = replace(net.architecture, contrast=wanted.contrast)
    if is_folded(net):
        restore_norms(net, sample(faces, seed))
    started = grown(net, wanted, seed)
    if started is None:
        raise DataError(
            f"{weights}: not of the architecture {model!r}, which it is to become, nor a part of it"
        )
    return started


def require_public_weights(model: str) -> None:
    """Raise MissingExtraError where an architecture begins at weights whose package is not installed."""
    if model == FACE_TEACHER:
        package_file()
    elif model == EFFICIENTNET:
        imagenet_file()


def pretrained_net(name: str | os.PathLike[str]) -> EmotionNet:
    """The network of a checkpoint, or of an exported model, named as for :func:`exported_net`.

    Raises CheckpointError, ModelError, MissingExtraError.
    """
    return exported_net(name).eval() if is_exported(name) else load_net(name)[0]


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Whether this names exported files (:func:`exported_net`) rather than a checkpoint."""
    return str(name) in bundled_models() or Path(name).is_dir() or Path(name).suffix in SUFFIXES.values()


def exported_net(name: str | os.PathLike[str]) -> EmotionNet:
    """The network of an exported model, from its fp32 ONNX file; raises MissingExtraError, ModelError.

    ``name`` is that of a bundled one, or else a folder or file that ``fer-edge export-int8`` wrote.
    That file has the batch norms folded into the convolutions, so they only add their bias here, and
    stay as they are in training; and the temperature into the classifier.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("Learning from an exported model", "onnx", "export") from error

    file = exported_file(name)
    architecture = Architecture.from_dict(exported_record(name)["architecture"])
    graph = onnx.load_from_string(file.read()).graph
    tensors = {
        value.name.removesuffix("_half"): torch.tensor(numpy_helper.to_array(value).astype(np.float32))
        for value in graph.initializer
    }
    return EmotionNet.from_folded(architecture, tensors)


def exported_record(name: str | os.PathLike[str]) -> dict[str, Any]:
    """What the manifest records of an exported model, named as for :func:`exported_net`; raises ModelError.

    Options and stages have their current names, whatever version wrote them.
    """
    file = exported_file(name)
    record: dict[str, Any] = read_manifest(file.path.parent)["models"][file.model]
    options = record["training_options"]
    if str(name) not in bundled_models():
        warn_of_former_names(options, file.path.parent / MANIFEST_NAME)
    return {
        **record,
        "training_options": current_names(options),
        "origin": current_stages(record.get("origin", [])),
    }


def exported_file(name: str | os.PathLike[str]) -> ModelFile:
    """The fp32 ONNX file of an exported model, named as for :func:`exported_net`; raises ModelError."""
    file = find_model(name, "onnx", "fp32")
    if (file.backend, file.precision) != ("onnx", "fp32"):
        raise ModelError(f"{name}: training needs the fp32 ONNX file")
    return file
