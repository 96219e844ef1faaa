"""How moments are written, everywhere: UTC by ISO 8601, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """``moment``, which has a zone, as ``2026-11-26T12:30:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
