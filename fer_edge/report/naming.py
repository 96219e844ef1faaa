"""Names by which files, and the devices that wrote them, are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def called(path: Path, among: Iterable[Path]) -> str:
    """The end of ``path``, with as many folders before it as tell it from the others; all are absolute."""
    parts = path.parts
    others = [other.parts for other in among if other != path]
    count = next(n for n in range(1, len(parts) + 1) if all(other[-n:] != parts[-n:] for other in others))
    return str(Path(*parts[-count:]))
