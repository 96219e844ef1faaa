"""fer-edge: facial-expression recognition that runs on a Raspberry Pi.

Names load on first use, so that ``import fer_edge`` is quick and pulls in no runtime, and so that the
program can handle Ctrl-C before anything else is imported.
"""

from __future__ import annotations

from importlib import import_module

# As in typing, which takes half as long to import as Python does to start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from .errors import (
        DataError,
        FerEdgeError,
        MissingExtraError,
        MissingRuntimeError,
        ModelError,
        OutputError,
        SourceError,
    )
    from .faces.faces import Face
    from .fer2013.reader import FerDataset, iter_fer2013, read_fer2013
    from .fer2013.votes import read_votes
    from .kernels.crop import crop_faces
    from .labels import EMOTIONS
    from .models.classifier import Classifier, load_classifier
    from .models.manifest import bundled_models
    from .pipeline.options import WatchOptions
    from .pipeline.recognizer import Recognizer
    from .pipeline.result import FrameResult
    from .pipeline.watch import Watch, watch
    from .pipeline.watch_all import WatchAll, watch_all

_HOMES = {
    "EMOTIONS": "labels",
    "DataError": "errors",
    "FerEdgeError": "errors",
    "MissingExtraError": "errors",
    "MissingRuntimeError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "SourceError": "errors",
    "Classifier": "models.classifier",
    "load_classifier": "models.classifier",
    "FerDataset": "fer2013.reader",
    "iter_fer2013": "fer2013.reader",
    "read_fer2013": "fer2013.reader",
    "read_votes": "fer2013.votes",
    "bundled_models": "models.manifest",
    "Face": "faces.faces",
    "FrameResult": "pipeline.result",
    "Watch": "pipeline.watch",
    "watch": "pipeline.watch",
    "WatchAll": "pipeline.watch_all",
    "watch_all": "pipeline.watch_all",
    "WatchOptions": "pipeline.options",
    "crop_faces": "kernels.crop",
    "Recognizer": "pipeline.recognizer",
}

_MODULES = ("errors", "labels")
"""Attributes after a mere ``import fer_edge``."""

__all__ = [
    "EMOTIONS",
    "Classifier",
    "DataError",
    "Face",
    "FerDataset",
    "FerEdgeError",
    "FrameResult",
    "MissingExtraError",
    "MissingRuntimeError",
    "ModelError",
    "OutputError",
    "Recognizer",
    "SourceError",
    "Watch",
    "WatchAll",
    "WatchOptions",
    "bundled_models",
    "crop_faces",
    "iter_fer2013",
    "load_classifier",
    "read_fer2013",
    "read_votes",
    "watch",
    "watch_all",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fer-edge")
        except PackageNotFoundError:  # run from its sources, as on a machine without an index
            return "not installed"
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
