"""Holding back what libraries write to stdout and stderr past Python."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence


@contextlib.contextmanager
def hold_back(drop: Callable[[bytes], bool], descriptors: Sequence[int] = (1, 2)) -> Iterator[None]:
    """Collect what is written to file ``descriptors``; then pass on the lines that ``drop`` does not want.

    Where the block fails all lines are shown, on stderr. Other threads' output is held back, too.
    """
    _flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    with tempfile.TemporaryFile() as log:
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
                    os.write(2, line)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
