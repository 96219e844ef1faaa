"""Pictures turned and mirrored, for cameras that hang upside down or on their side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np

TURNS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Turn:
    """How to turn a picture: first clockwise, then, where asked for, left to right as in a mirror.

    Raises ``ValueError`` for an angle that is not one of :data:`TURNS`.
    """

    degrees: int = 0
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.degrees not in TURNS:
            raise ValueError(f"rotate must be 0, 90, 180 or 270 degrees, got {self.degrees}")

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 ``image``, (h, w, 3) or (h, w), turned; itself where there is nothing to do."""
        if self == NO_TURN:
            return image
        import cv2

        # A half turn and a mirror are both flips: one of the two axes, or both.
        if self.degrees in (0, 180):
            flip = -1 if not self.mirror else 0 if self.degrees else 1
            return cast("NDArray[np.uint8]", cv2.flip(image, flip))
        turned = cv2.rotate(
            image, cv2.ROTATE_90_CLOCKWISE if self.degrees == 90 else cv2.ROTATE_90_COUNTERCLOCKWISE
        )
        return cast("NDArray[np.uint8]", cv2.flip(turned, 1) if self.mirror else turned)


NO_TURN = Turn()
