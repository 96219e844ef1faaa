"""A lower rate while the board is too hot or short of power, taken back when it has recovered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..machine import HOT, UNDER_VOLTAGE, Condition, condition, describe

CHECK_SECONDS = 5.0
"""How often the board is looked at."""

COOLER = 5.0
"""Degrees below the limit at which the board has cooled: else the rate would go up and down."""

CALM_SECONDS = 120.0
"""For which the board is well before the rate is raised, by one step."""

PATIENCE = 60.0
"""Seconds that a lower rate is given to help before it is lowered again."""

LOWEST = 1.0
"""Frames a second of each camera below which the rate is not lowered."""

_log = logging.getLogger(__name__)


def usual_limit() -> float:
    """Degrees from which on a Raspberry Pi slows down by itself; 0, no limit, for other boards."""
    return HOT if (describe().board or "").startswith("Raspberry Pi") else 0.0


@dataclass(frozen=True)
class _Step:
    """A lowered rate, in frames a second, and the one before it."""

    rate: float
    before: float | None


@dataclass(frozen=True)
class _Trouble:
    """What is wrong with the board, until when, and what helps, in words."""

    what: str
    until: str
    remedy: str


class Guard:
    """Halves the rate of a run while the board is hot or gets too little voltage; see :meth:`check`.

    ``frames`` gives how many frames were processed so far; ``limit`` takes the most frames a second, or
    ``None``. ``hottest``: degrees Celsius from which on the board is too hot; 0: never, and low voltage does
    not count either. ``cameras``: how many share the rate.
    """

    def __init__(
        self,
        frames: Callable[[], int],
        limit: Callable[[float | None], None],
        hottest: float,
        board: Callable[[], Condition] = condition,
        clock: Callable[[], float] = time.monotonic,
        cameras: int = 1,
    ) -> None:
        self._frames, self._limit, self._hottest = frames, limit, hottest
        self._lowest = LOWEST * cameras
        self._board, self._clock = board, clock
        self._seen: tuple[float, int] | None = None
        self._steps: list[_Step] = []
        self._changed = self._unwell = 0.0
        self._warned: set[str] = set()

    def check(self) -> None:
        """Look at the board and change the rate where it has to be."""
        now, frames = self._clock(), self._frames()
        then, before = self._seen or (now, frames)
        self._seen = now, frames
        if not self._hottest or now <= then:
            return
        state = self._board()
        trouble = self._trouble(state)
        if trouble is not None:
            self._unwell = now
            if not self._steps or now - self._changed >= PATIENCE:
                self._lower(trouble, (frames - before) / (now - then), now)
        elif self._steps and self._is_well(state):
            if now - max(self._unwell, self._changed) >= CALM_SECONDS:
                self._raise(state, now)
        else:
            # Neither hot nor cool.
            self._unwell = now

    def _trouble(self, state: Condition) -> _Trouble | None:
        if state.temperature is not None and state.temperature >= self._hottest:
            return _Trouble(
                f"the processor has {state.temperature:.0f} °C",
                f"it has been below {self._hottest - COOLER:.0f} °C for a while",
                "a heat sink or fan helps",
            )
        if UNDER_VOLTAGE in (state.throttling or ()):
            return _Trouble(
                UNDER_VOLTAGE.removesuffix(" now"),
                "it has been over for a while",
                "the board's own power supply on a short cable helps",
            )
        return None

    def _is_well(self, state: Condition) -> bool:
        return state.temperature is None or state.temperature < self._hottest - COOLER

    def _lower(self, trouble: _Trouble, measured: float, now: float) -> None:
        limited = self._steps[-1].rate if self._steps else None
        present = measured if limited is None else min(measured, limited)
        rate = max(present / 2, self._lowest)
        self._changed = now
        first = trouble.remedy not in self._warned
        self._warned.add(trouble.remedy)
        if rate >= present:
            # As while the camera is waited for: there is nothing to save.
            if first:
                _log.warning("%s; %s", trouble.what, trouble.remedy)
            return
        self._steps.append(_Step(rate, limited))
        self._limit(rate)
        _log.log(
            logging.WARNING if first else logging.INFO,
            "%s: looking at %.3g frames a second instead of %.3g until %s; %s",
            trouble.what,
            rate,
            present,
            trouble.until,
            trouble.remedy,
        )

    def _raise(self, state: Condition, now: float) -> None:
        step = self._steps.pop()
        self._changed = now
        self._limit(step.before)
        degrees = "" if state.temperature is None else f" at {state.temperature:.0f} °C"
        if step.before is None:
            _log.info("the board is well again%s: looking at as many frames as before", degrees)
        else:
            _log.info("the board is better%s: looking at %.3g frames a second", degrees, step.before)
