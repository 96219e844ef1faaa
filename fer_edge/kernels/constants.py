"""Numbers of ext/kernels.h that its NumPy twins and callers need."""

from __future__ import annotations

FACE_SIZE = 48
"""Side of a face in FER-2013 and of the classifier's input, in pixels."""
FACE_PIXELS = FACE_SIZE * FACE_SIZE

GREY, BGR, RGB = 0, 1, 2
"""Orders of the channels of a frame."""
