"""The state of a run while it goes on: whether its camera gives frames, and when it did not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

PAUSED = "paused"
"""Reason of a gap in which the operator wanted nothing to be recognized."""


@dataclass(frozen=True)
class Gap:
    """A time without frames: a camera or stream was lost and opened again, or the run was paused."""

    began: datetime
    """When the last frame before it was read, in UTC by the clock."""
    seconds: float
    """From that frame to the first one after the gap, by the monotonic clock."""
    reason: str
    """What was wrong first, without passwords; or :data:`PAUSED`."""
    paused: float = 0.0
    """Of ``seconds``, those of a pause in which the camera was not lost."""

    @property
    def lost(self) -> float:
        """Seconds for which the camera was lost; 0 where there was only a pause."""
        return self.seconds - self.paused

    def followed_by(self, later: Gap | None) -> Gap:
        """Return one for both, as long as the two together."""
        if later is None:
            return self
        return replace(self, seconds=self.seconds + later.seconds, paused=self.paused + later.paused)


@dataclass(frozen=True)
class State:
    """What a run does at this moment."""

    name: Literal["running", "waiting", "paused", "ended"]
    """``running``: it has just recognized a frame, or the next one is not due yet. ``waiting``: its camera or
    stream is lost, and is being opened again. ``paused``: nothing is recognized, as the operator wants it.
    ``ended``: one camera of several gives no more."""
    reason: str = ""
    """Where the camera is not there: why, as the latest attempt found it; without passwords."""
    seconds: float = 0.0
    """While waiting or paused: for how long."""


RUNNING = State("running")
ENDED = State("ended")
