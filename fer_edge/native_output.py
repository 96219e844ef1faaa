"""Holding back what libraries write to stdout and stderr past Python."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence


@contextlib.contextmanager
def hold_back(drop: Callable[[bytes], bool], descriptors: Sequence[int] = (1, 2)) -> Iterator[None]:
    """Collect what is written to file ``descriptors``; then pass on the lines that ``drop`` does not want.

    Where the block fails all lines are shown, on stderr. For programs, not for library code: other
    threads' output is held back, too, and two of these blocks must not overlap.
    """
    _flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    with os.fdopen(os.memfd_create("held back"), "r+b") as log:
        for descriptor in descriptors:
            os.dup2(log.fileno(), descriptor)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            log.seek(0)
            for line in log:
                if failed or not drop(line):
                    # What cannot be told, as on a full disk, must not keep a library from being used.
                    with contextlib.suppress(OSError):
                        os.write(2, line)


def litert_greeting() -> contextlib.AbstractContextManager[None]:
    """Hold back the line with which LiteRT's first model in a process announces XNNPACK."""
    return hold_back(lambda line: b"XNNPACK delegate" in line, descriptors=(2,))


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
