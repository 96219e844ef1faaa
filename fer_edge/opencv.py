"""Whether OpenCV is there and whole, before anything relies on it."""

from __future__ import annotations

import importlib.metadata

from .errors import MissingRuntimeError, is_out_of_memory

_WANTED = "opencv-python-headless>=4.11,<5"

_PACKAGES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
"""All of them install the same folder ``cv2``."""

_NEEDED = ("imdecode", "error", "VideoCapture", "FaceDetectorYN")


def check_opencv() -> None:
    """Raise MissingRuntimeError, with the remedy, where ``cv2`` is missing, does not load or is in pieces.

    Of two of its packages installed over each other, uninstalling one leaves a ``cv2`` without content. A
    lack of memory is raised as it is.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name == "cv2":
            raise MissingRuntimeError(f"this needs OpenCV: pip install '{_WANTED}'") from error
        raise _broken(f"it does not load ({error})") from error
    except Exception as error:  # pieces of two versions raise anything
        if is_out_of_memory(error):
            raise
        raise _broken(f"it does not load ({error})") from error
    missing = [name for name in _NEEDED if not hasattr(cv2, name)]
    if missing:
        raise _broken(f"its module cv2 has no {missing[0]}")


def _broken(reason: str) -> MissingRuntimeError:
    installed = [package for package in _PACKAGES if _is_installed(package)]
    why = f"{len(installed)} packages share one folder: " if len(installed) > 1 else ""
    removed = f"pip uninstall -y {' '.join(installed)}; " if installed else ""
    return MissingRuntimeError(
        f"OpenCV is broken: {reason}. {why}{removed}pip install --force-reinstall '{_WANTED}'"
    )


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
