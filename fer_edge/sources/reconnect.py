"""Opening live sources again: with which pauses, and what stands for one that is not there yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from ..errors import SourceError, SourceLostError, WrongSourceError
from .base import Frame, Source

PAUSES = (1.0,) * 5 + (5.0,) * 5 + (10.0,)
"""Seconds before each attempt to open a lost source; the last repeats for ever."""

JITTER = 0.2
"""Part by which a pause is longer or shorter by chance: many devices are not to ask one server at once."""

SETTLED = 60.0
"""Seconds of frames after which a source counts as well again, and the pauses begin anew."""


class Backoff:
    """The pauses between attempts. ``chance`` returns a number in [0, 1)."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._attempts = 0

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        pause = PAUSES[min(self._attempts, len(PAUSES) - 1)]
        self._attempts += 1
        return pause * (1 + JITTER * (2 * self._chance() - 1))

    def reset(self) -> None:
        """Begin anew with short pauses."""
        self._attempts = 0


def lasting(open_source: Callable[[], Source], again: Callable[[], Source] | None = None) -> Source:
    """Open a source that, where it is live, knows how to be opened again.

    ``again``: opens it again, where that is not done as the first time.
    """
    source = open_source()
    if source.live:
        source.reopen = lambda: live(lasting(again or open_source, again))
    return source


def live(source: Source) -> Source:
    """Return ``source``, or close it and raise WrongSourceError where it is a film or picture."""
    if not source.live:
        source.close()
        raise WrongSourceError(f"{source.name}: is no camera or live stream, but has an end")
    return source


class AbsentSource(Source):
    """Stands for a camera or stream that could not be opened, until ``reopen`` can.

    Iterating raises :class:`~fer_edge.errors.SourceLostError` that says ``why``.
    """

    live = True

    def __init__(self, name: str, why: str, reopen: Callable[[], Source]) -> None:
        self.name = name
        self.reopen = lambda: live(reopen())
        self._why = why

    def __iter__(self) -> Iterator[Frame]:
        raise SourceLostError(self._why)


def opened_or_awaited(name: str, open_source: Callable[[], Source]) -> Source:
    """Open a live source; where it is not there, return an :class:`AbsentSource` of this ``name``.

    Raises :class:`~fer_edge.errors.WrongSourceError` for what no waiting would mend.
    """
    try:
        return live(open_source())
    except WrongSourceError:
        raise
    except SourceError as error:
        return AbsentSource(name, str(error), open_source)
