"""The C kernels of ext/kernels.h in NumPy, for machines without a compiler: same bytes, same faults.

A module for each file of ext/. Every step is integer arithmetic as in the C, or IEEE double arithmetic by the
same operations in the same order. The explanations are in kernels.h.
"""

from __future__ import annotations

from .crop import crop_faces, crop_usual
from .decode import decode_faces
from .normalize import normalize_contrast
from .parse import parse_rows
from .sharpness import measure_sharpness
from .shrink import shrink, shrink_yuv

__all__ = [
    "crop_faces",
    "crop_usual",
    "decode_faces",
    "measure_sharpness",
    "normalize_contrast",
    "parse_rows",
    "shrink",
    "shrink_yuv",
]
