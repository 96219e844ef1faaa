"""Keeping converters quiet: they chat on stdout and stderr from Python and from C++."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back all that is written to stdout and stderr, also past Python; show it where the block fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with tempfile.TemporaryFile() as log, open(os.dup(log.fileno()), "w", encoding="utf-8") as text:  # noqa: PTH123
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                yield
        except BaseException:
            _flush_and_restore(kept)
            log.seek(0)
            os.write(2, log.read())
            raise
        _flush_and_restore(kept)


def _flush_and_restore(kept: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, copy in zip((1, 2), kept, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)
