"""Bring faces to equal exposure and contrast, in the form that the classifier takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_edge import kernels

from .crop import checked_kind


def normalize_contrast(faces: NDArray[np.generic]) -> NDArray[np.generic]:
    """Shift and stretch the grey levels of each face, in place, so that its middle has fixed contrast.

    The middle are the 648 pixels in an ellipse from the brows to the chin: centre (24, 27), radii 13 and 16.
    Its mean and standard deviation become 128 and 48; all levels are rounded and cut off at 0 and 255. The
    gain stays below 16, so that the noise of a nearly uniform picture stays noise; a uniform one becomes
    128. Integer arithmetic: the same bytes on every machine, and the same levels in every dtype.

    Args:
        faces: (n,48,48), C-contiguous: grey as uint8, grey - 128 as int8, or (grey - 128) / 64 as float32.
            A float that is no whole level from 0 to 255 is taken as the nearest one modulo 256.

    Returns:
        ``faces``.

    Raises:
        TypeError: not an array of one of these dtypes.
        ValueError: another shape, or an array that is read-only, scattered or not aligned.
    """
    kernels.implementation.normalize_contrast(faces, checked_kind(faces, "faces"))
    return faces
