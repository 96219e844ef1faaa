"""A year of a busy camera fits on a card."""

from __future__ import annotations

from conftest import repository_module

DAYS = 4


def test_a_year_of_a_busy_camera_takes_less_than_200_mb(tmp_path):
    """2,000 visits and 1,440 minutes a day, in what the file has beyond an empty one."""
    benchmark = repository_module("benchmarks/store_year.py")
    empty, full = tmp_path / "empty.db", tmp_path / "full.db"
    benchmark.write_year(empty, 0, 2000)
    benchmark.write_year(full, DAYS, 2000)
    grown = full.stat().st_size - empty.stat().st_size
    # 129 MB in docs/store.md.
    assert 100e6 < 365 / DAYS * grown < 200e6
