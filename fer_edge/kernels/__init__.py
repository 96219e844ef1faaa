"""The one switch between the C kernels and their NumPy twins, which give the same bytes.

The environment variable ``FER_EDGE_PURE=1`` forces NumPy; it is also what runs where the extension
was not built.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def _load() -> ModuleType:
    if os.environ.get("FER_EDGE_PURE", "") not in ("", "0"):
        return importlib.import_module("fer_edge.kernels.fallback")
    try:
        return importlib.import_module("fer_edge.kernels._native")
    except ImportError:
        return importlib.import_module("fer_edge.kernels.fallback")


implementation = _load()
"""The module whose ``crop_faces``, ``crop_usual``, ``normalize_contrast``, ``measure_sharpness``,
``shrink``, ``shrink_yuv``, ``decode_faces`` and ``parse_rows`` are in use."""

EXTENSION: bool = implementation.__name__ == "fer_edge.kernels._native"
"""True where the C extension is in use."""
