"""How sharp faces are, as the classifier sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_edge import kernels

from .crop import checked_kind


def sharpness(faces: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return how much fine detail each face has for its contrast, float64 (n,): 0 and more, without a unit.

    In the middle of the face, columns 11 to 36 and rows 11 to 42, second differences of grey levels are
    taken across (``2 c - left - right``) and down; the smaller of their two variances is divided by the
    variance of the levels. Blur takes away second differences, and a movement only those along it, hence
    the smaller one; brightness and contrast have no influence. 0 where all levels are equal. Integer sums
    and one division: the same numbers on every machine. After Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy: a comparative study", ICPR 2000 (variance of the Laplacian).

    ``faces``: (n, 48, 48) as :func:`.crop.crop_faces` fills them, before their contrast is normalized: grey
    as uint8, grey - 128 as int8, or (grey - 128) / 64 as float32. Raises ``TypeError`` and ``ValueError``
    for other arrays, as :func:`.contrast.normalize_contrast` does.
    """
    out = np.empty(len(faces) if isinstance(faces, np.ndarray) and faces.ndim else 0)
    kernels.implementation.measure_sharpness(faces, checked_kind(faces, "faces"), out)
    return out
