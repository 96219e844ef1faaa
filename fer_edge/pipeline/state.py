"""What a run tells of itself while it goes on: whether its camera gives frames, and where it did not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Gap:
    """A time without frames, after which a lost camera or stream was opened again."""

    began: datetime
    """When the last frame before it was read, in UTC by the clock."""
    seconds: float
    """From that frame to the first one after the gap, by the monotonic clock."""
    reason: str
    """What was wrong first; without passwords."""

    def followed_by(self, later: Gap | None) -> Gap:
        """Return one for both, as long as the two together."""
        return self if later is None else replace(self, seconds=self.seconds + later.seconds)


@dataclass(frozen=True)
class State:
    """What a run does at this moment."""

    name: Literal["running", "waiting"]
    """``running``: it has just recognized a frame, or the next one is not due yet. ``waiting``: its camera or
    stream is lost, and is being opened again."""
    reason: str = ""
    """While waiting: why the camera is not there, as the latest attempt found it; without passwords."""
    seconds: float = 0.0
    """While waiting: for how long."""


RUNNING = State("running")
