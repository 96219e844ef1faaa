"""Opening live sources again, and what stands for one that is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import SourceError, SourceLostError, WrongSourceError
from .base import Frame, Source


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
