"""Faults that tools/faults.py injects into runs with JSON lines, video and store, in a shorter form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
if not (TOOLS / "faults.py").exists():
    pytest.skip("no tools/ beside the tests", allow_module_level=True)
pytest.importorskip("cv2")
pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
sys.path.insert(0, str(TOOLS))

import faults
from faults import Outcome, SkippedFault


def injected(name, kills=5, seconds=3.0):
    try:
        outcome = faults.inject(name, kills, seconds, seed=1)
    except SkippedFault as skipped:
        pytest.skip(str(skipped))
    assert outcome.problems == []
    assert outcome.injected >= 1
    return outcome


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name",
    ["full-disk", "small-files", "read-only", "worn-card", "hanging-reader", "slow-disk", "descriptors"],
)
def test_what_is_kept_and_told_of(name):
    injected(name)


@pytest.mark.heavy
def test_every_finished_line_segment_and_row_survives_kill_9_and_the_next_start_goes_on():
    outcome = injected("kill")
    assert outcome.injected == 5
    assert outcome.kept["lines"] >= 30


@pytest.mark.heavy
def test_a_clock_set_back_and_forth_by_hours_moves_only_the_time_of_day():
    outcome = injected("clock")
    assert outcome.kept["jumps in the store"] == 4


@pytest.mark.heavy
def test_a_process_that_was_stopped_goes_on():
    assert injected("stop").kept["longest pause"] >= 2.7


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome(injected=1), 0), (Outcome(injected=1, problems=["x"]), 1), (Outcome(), 1)]
)
def test_problems_and_faults_that_were_not_injected_give_1(monkeypatch, tmp_path, capsys, outcome, code):
    monkeypatch.setattr(faults, "inject", lambda *_: outcome)
    assert faults.main(["stop", "--json", str(tmp_path / "told.json")]) == code
    assert json.loads((tmp_path / "told.json").read_text())["stop"]["problems"] == outcome.problems
    assert capsys.readouterr().out.startswith(f"stop: injected {outcome.injected}, ")


def test_a_fault_that_cannot_be_injected_is_skipped_with_the_reason(monkeypatch, capsys):
    def inject(*_):
        raise SkippedFault("needs root")

    monkeypatch.setattr(faults, "inject", inject)
    assert faults.main(["full-disk"]) == 0
    assert capsys.readouterr().out == "full-disk: skipped: needs root\n"


def test_what_is_lost_is_found(tmp_path):
    """The checks themselves: a line that is broken or missing, a segment without pictures."""
    path = tmp_path / "log.jsonl"
    frame, gap = {"type": "frame"}, {"type": "gap", "lost": 2}
    end = {"type": "end", "summary": {"frames": 5}}
    records = [{"type": "start"}, frame, gap, frame, frame, end]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    outcome = Outcome()
    faults.check_end(path, outcome)
    assert outcome.problems == []
    path.write_text("".join(f"{json.dumps(record)}\n" for record in [*records[:2], *records[3:]]))
    faults.check_end(path, outcome)
    path.write_text('{"type"\n')
    faults.read_lines(path, outcome)
    (tmp_path / "door-1.mkv").write_bytes(b"no film")
    faults.check_segments([tmp_path / "door-1.mkv"], outcome)
    assert outcome.problems == [
        "3 lines and 0 lost of 5 frames",
        "1 lines of log.jsonl are broken",
        "door-1.mkv: cannot be played, 7 bytes",
    ]
