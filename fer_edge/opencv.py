"""Whether OpenCV is there and whole, before anything relies on it."""

from __future__ import annotations

from .errors import MissingRuntimeError, is_out_of_memory
from .installed import install_command, installed_version

_WANTED = "'opencv-python-headless>=4.11,<5'"

OPENCV_PACKAGES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
"""All of them install the same folder ``cv2``."""

_NEEDED = ("imdecode", "error", "VideoCapture", "FaceDetectorYN")


def check_opencv() -> None:
    """Raise MissingRuntimeError, with the remedy, where ``cv2`` is missing, does not load or is in pieces.

    Of two of its packages installed over each other, uninstalling one leaves a ``cv2`` without content, or
    none. A lack of memory is raised as it is.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise _broken(f"it does not load ({error})") from error
        if not installed_packages():
            raise MissingRuntimeError(f"this needs OpenCV: {opencv_remedy()}") from error
        raise _broken("its folder cv2 is gone") from error
    except Exception as error:  # pieces of two versions raise anything
        if is_out_of_memory(error):
            raise
        raise _broken(f"it does not load ({error})") from error
    missing = [name for name in _NEEDED if not hasattr(cv2, name)]
    if missing:
        raise _broken(f"its module cv2 has no {missing[0]}")


def installed_packages() -> list[str]:
    """The packages of OpenCV that pip takes for installed; more than one overwrite each other's files."""
    return [package for package in OPENCV_PACKAGES if installed_version(package)]


def opencv_remedy() -> str:
    """The command that installs OpenCV whole, whatever is there."""
    return install_command(_WANTED, OPENCV_PACKAGES)


def _broken(reason: str) -> MissingRuntimeError:
    count = len(installed_packages())
    why = f"{count} packages share one folder: " if count > 1 else ""
    return MissingRuntimeError(f"OpenCV is broken: {reason}. {why}{opencv_remedy()}")
