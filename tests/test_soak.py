"""What a run needs does not grow with its length: tools/soak.py, for a few frames."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
if not (TOOLS / "soak.py").exists():
    pytest.skip("no tools/ beside the tests", allow_module_level=True)
pytest.importorskip("cv2")
sys.path.insert(0, str(TOOLS))

import soak
from soak import Sample, growth


def samples(count, rss=100_000_000, rise=0, step=10):
    return [Sample(1000 + step * k, 0.1 * k, rss + rise * k, 4, 9) for k in range(count)]


def test_growth_is_of_the_least_of_quarters_and_a_line():
    grown = growth(samples(40, rise=1000))
    assert (grown.frames, grown.rss) == (390, 30_000)
    assert grown.rss_per_million_frames == pytest.approx(100_000_000)
    assert (grown.threads, grown.descriptors) == (0, 0)
    assert growth(samples(8)).rss == 0


def test_pictures_that_wait_now_and_then_are_no_growth():
    steady = samples(40)
    busy = [replace(one, rss=one.rss + (k % 8) * 900_000 * (k >= 30)) for k, one in enumerate(steady)]
    grown = growth(busy)
    assert (grown.rss, grown.waiting) == (0, 7 * 900_000)
    once = [replace(one, descriptors=10 if k in (0, 39) else 9) for k, one in enumerate(steady)]
    assert growth(once).descriptors == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, 0), ({"rss": 107_000_000}, 1), ({"threads": 5}, 1), ({"descriptors": 10}, 1)],
)
def test_what_grows_fails(monkeypatch, capsys, change, code):
    steady = samples(40)
    grown = [*steady[:30], *(replace(sample, **change) for sample in steady[30:])]
    monkeypatch.setattr(soak, "soak", lambda *_: (grown, {}))
    assert soak.main(["--frames", "1400"]) == code
    assert "over 390 frames: " in capsys.readouterr().out


def test_a_run_that_fails_is_no_result():
    with pytest.raises(RuntimeError, match="exit code 2"):
        soak.soak(10, ["--min-score", "7"], 2)


@pytest.mark.services
def test_all_outputs_together_are_watched(tmp_path):
    pytest.importorskip("skimage")
    pytest.importorskip("uvicorn")
    pytest.importorskip("paho.mqtt")
    given = ["--frames", "400", "--save-video", "--store", "--page", "--mqtt", "--growth", "20"]
    assert soak.main([*given, "--json", str(tmp_path / "soak.json")]) in (0, 1)
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["end"]["summary"]["frames"] == 400
    # Pipe, video, store, page and its viewer, broker: beside JSON lines alone, which have 4 and 3.
    assert told["samples"][-1]["threads"] > 6
    assert told["samples"][-1]["descriptors"] > 12


@pytest.mark.heavy
def test_memory_threads_and_descriptors_stay_as_they_are_over_3000_frames(tmp_path, monkeypatch):
    """On a busy machine the eighth picture to wait for the video, and memory for it, may come late."""
    pytest.importorskip("skimage")
    # Pictures that are freed go back to the system at once, so that only what is in use counts.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    given = ["--frames", "6000", "--warm-up", "3000", "--save-video"]
    code = soak.main([*given, "--json", str(tmp_path / "soak.json")])
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["end"]["summary"]["frames"] == 6000
    assert len(told["samples"]) >= 40
    # A frame has 0.9 MB: one kept in a hundred would be 10 MB.
    assert told["growth"]["rss"] < 4_000_000
    assert (told["growth"]["threads"], told["growth"]["descriptors"]) == (0, 0)
    assert code == 0
