"""The last line of a run."""

from __future__ import annotations

from fer_edge.pipeline.summary import Tally


def test_summary_in_words():
    tally = Tally()
    assert str(tally.summary(0, 0, 0)).startswith("0 frames in 0.0 s, dropped 0, faces 0")
    tally.count(1, 5.0)
    assert str(tally.summary(1, 0, 0)) == (
        "1 frame in 0.0 s, latency p50 5.0 ms, p95 5.0 ms, dropped 0, faces 1 (1 track)"
    )
    tally.count(2, 5.0)
    words = str(tally.summary(2, 3, 1))
    assert words.startswith("2 frames in 0.0 s, ")
    assert words.endswith("dropped 0, skipped 3 unreadable, missing 1 damaged, faces 3 (2 tracks)")


def test_a_tenth_of_a_film_may_be_missing():
    tally = Tally()
    for _ in range(90):
        tally.count(0, 1.0)
    assert not tally.summary(0, 0, 10).damaged
    assert tally.summary(0, 0, 11).damaged
