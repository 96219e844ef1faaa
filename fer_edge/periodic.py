"""Work that is done again and again beside a run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from .errors import FerEdgeError

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def every(seconds: float, work: Callable[[], None], name: str) -> Iterator[None]:
    """Do ``work`` every so many seconds, in a thread called ``name``, while the context lasts.

    Where it fails, that is logged, and it is tried again at its next time.
    """
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            try:
                work()
            except FerEdgeError as error:
                _log.warning("%s: %s", name, error)
            except Exception as error:  # must not end what it only watches
                _log.warning("%s: %r", name, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1)
