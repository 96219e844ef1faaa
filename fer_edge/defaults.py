"""Default values that several rooms share; importing them loads nothing else."""

from __future__ import annotations

MIN_SCORE = 0.7
"""Faces with a lower detector score are ignored."""

MIN_HITS = 3
"""Detections after which a track counts as a person, so that a one-frame flicker does not."""

MAX_PIXELS = 100_000_000
"""Width times height above which a picture is refused: a small file can unpack to gigabytes."""

KEEP = 90.0
"""Days after which visits, minutes and gaps are deleted from a store."""

KEEP_DETAIL = 7.0
"""Days after which the seconds of sessions are."""

KEEP_FREE = 500_000_000
"""Bytes of a disk that recordings leave free where old ones may be deleted."""
