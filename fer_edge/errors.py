"""The errors this package raises; each also is the built-in error a caller would expect."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence


class FerEdgeError(Exception):
    """Base of all errors that say what was wrong, where, and what would be right.

    ``exit_code`` is what the command line returns: 2 for usage and bad input, 1 for failures.
    """

    exit_code = 2


class DataError(FerEdgeError, ValueError):
    """Input data is not what it should be."""


class ModelError(FerEdgeError, ValueError):
    """A model file is missing, damaged, foreign, or does not fit."""


class SourceError(FerEdgeError, OSError):
    """A camera, stream or file gives no frames."""


class SourceLostError(SourceError):
    """A camera or stream that gave frames stopped giving them."""

    exit_code = 1


class WrongSourceError(SourceError):
    """A source that no waiting would bring: its name says nothing, is ambiguous, or needs what is missing."""


class LargePictureError(SourceError):
    """A picture has more pixels than may be read."""


class OutputError(FerEdgeError, OSError):
    """An output cannot be written (any more)."""

    exit_code = 1


class ServiceError(FerEdgeError):
    """The service manager does not do what it was asked for."""

    exit_code = 1


class MissingRuntimeError(FerEdgeError, ImportError):
    """No inference runtime that could serve is installed and loads."""


class MissingExtraError(FerEdgeError, ImportError):
    """A feature needs packages that are not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        self.feature, self.package, self.extra = feature, package, extra
        super().__init__(f"{feature} needs {package}: pip install 'fer-edge[{extra}]'")

    @classmethod
    def of_all(cls, missing: Sequence[MissingExtraError]) -> MissingExtraError:
        """One error for all that is ``missing``, with one command that installs it."""
        *others, last = missing
        feature = "".join(f"{one.feature} needs {one.package}; " for one in others) + last.feature
        return cls(feature, last.package, ",".join(dict.fromkeys(one.extra for one in missing)))


def named(name: str | None, text: str) -> str:
    """Return ``text`` after ``name`` and a colon, unless there is no name or it begins so already."""
    return text if not name or text.startswith(f"{name}: ") else f"{name}: {text}"


_NOT_LOADED = "failed to map segment"
"""What the loader of shared libraries says where the memory for one is lacking."""


_OPENCV_NO_MEMORY = -4
"""``cv2.Error.StsNoMem``."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is one of the forms that a lack of memory takes."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # cv2.error, which is not to be imported for this.
    if type(error).__module__ == "cv2" and getattr(error, "code", None) == _OPENCV_NO_MEMORY:
        return True
    return isinstance(error, ImportError) and _NOT_LOADED in str(error)


def described(error: Exception) -> str:
    """What a message says of ``error``: where the name of a file is known, that first."""
    if isinstance(error, FerEdgeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error).strip().partition("\n")[0][:300]
    if isinstance(error, ValueError):
        return text
    return f"{type(error).__name__}: {text} (FER_EDGE_DEBUG=1 shows where)"


SHOWN = 16
"""Characters of somebody's text that a message repeats."""


def shortened(text: str, length: int = SHOWN) -> str:
    """``text``, with its end after ``length`` characters left out, for messages."""
    return text if len(text) <= length else text[:length] + "..."


def counted(count: int, what: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """``text`` with control characters as escapes: the name of a file must not drive a terminal."""
    return _CONTROLS.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)
