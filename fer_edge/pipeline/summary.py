"""What a run did, in figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    frames: int
    """Processed."""
    dropped: int
    """Given by a live source while another frame was processed."""
    skipped: int
    """Unreadable images."""
    faces: int
    """Summed over frames."""
    tracks: int
    """Persons as far as tracking tells; 0 for unrelated images."""
    seconds: float
    """From the first frame to the emotions of the last."""
    p50_ms: float
    """Median time from frame to emotions over the latest 10,000 frames; NaN without frames."""
    p95_ms: float

    @property
    def fps(self) -> float:
        """Processed frames a second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        parts = [f"{self.frames} frames in {self.seconds:.1f} s", f"{self.fps:.1f} fps"]
        if self.frames:
            parts.append(f"latency p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms")
        parts.append(f"dropped {self.dropped}")
        if self.skipped:
            parts.append(f"skipped {self.skipped} unreadable")
        parts.append(f"faces {self.faces}" + (f" ({self.tracks} tracks)" if self.tracks else ""))
        return ", ".join(parts)
