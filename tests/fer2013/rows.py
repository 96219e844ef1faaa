"""Three rows of FER-2013, as arrays and as the text of a file."""

from __future__ import annotations

import numpy as np

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 48, 48), dtype=np.uint8)
LABELS = [3, 0, 6]
USAGE = ["Training", "PublicTest", "PrivateTest"]


def text_of(image, blank=" "):
    return blank.join(str(value) for value in image.ravel().tolist())


TEXTS = [text_of(image) for image in PIXELS]
PLAIN = "emotion,pixels,Usage\n" + "".join(
    f"{code},{text},{usage}\n" for code, text, usage in zip(LABELS, TEXTS, USAGE, strict=True)
)


def check(found, labels=True, usage=True):
    assert found.pixels.dtype == np.uint8
    assert np.array_equal(found.pixels, PIXELS)
    if labels:
        assert found.labels.dtype == np.int8
        assert found.labels.tolist() == LABELS
    else:
        assert found.labels is None
    if usage:
        assert found.usage.dtype.kind == "U"
        assert found.usage.tolist() == USAGE
    else:
        assert found.usage is None
    assert found.skipped == ()
    assert len(found) == 3
