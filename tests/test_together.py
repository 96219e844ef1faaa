"""Page, broker, metrics and files together, with faults: tools/together.py, in a shorter form."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
if not (TOOLS / "together.py").exists():
    pytest.skip("no tools/ beside the tests", allow_module_level=True)
pytest.importorskip("cv2")
pytest.importorskip("prometheus_client")
pytest.importorskip("paho.mqtt.enums")
sys.path.insert(0, str(TOOLS))

import together
from faults import Outcome
from soak import Sample
from together_scene import Device, Probe, Scene

from fer_edge.outputs.mqtt.link import Message

BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)


def frames(*times, lost=()):
    records = [{"type": "frame", "frame": k, "monotonic": at, "faces": []} for k, at in enumerate(times)]
    records += [{"type": "gap", "monotonic": at, "lost": 3} for at in lost]
    return sorted(records, key=lambda record: record["monotonic"])


def steady(first, last, step=0.1):
    return [first + step * k for k in range(round((last - first) / step) + 1)]


def healthy(at, status=200, **told):
    if status == 503:
        told = {"ok": False, "reason": "no camera gives frames", **told}
    return Probe(at, at + 0.01, status, told)


def problems_of_health(records, *probes):
    outcome = Outcome()
    together.check_health(SimpleNamespace(name="demo", probes=probes), records, outcome)
    return outcome.problems


def test_health_is_held_against_the_frames_that_were_recorded():
    records = frames(*steady(100, 110), *steady(150, 160))
    assert not problems_of_health(records, healthy(105), healthy(112), healthy(140, 503), healthy(155))
    assert not problems_of_health(records, Probe(130, 135, 0, {}), healthy(140, paused=True))


@pytest.mark.parametrize(
    ("probe", "told"),
    [
        (healthy(158, 503), "/healthz 503"),
        (healthy(140, 503, reason=""), "/healthz 503"),
        (healthy(140), "/healthz 200 30.0 s after the last frame"),
    ],
)
def test_health_that_is_not_true_is_a_problem(probe, told):
    (problem,) = problems_of_health(frames(*steady(100, 110), *steady(148.5, 160)), probe)
    assert told in problem


def test_a_frame_that_was_read_and_is_not_yet_processed_is_none_for_health():
    records = frames(*steady(100, 110), *steady(150, 160))
    assert not problems_of_health(records, healthy(150.3, 503))


def test_frames_of_a_full_disk_are_no_silence():
    records = frames(*steady(100, 110), *steady(150, 160), lost=(151,))
    assert not problems_of_health(records, healthy(140))


class Rows(SimpleNamespace):
    """A device with three finished minutes."""

    def rows(self, table):
        if table != "minutes":
            return []
        return [{"seq": seq, "began": BEGAN + timedelta(minutes=seq), "frames": 600} for seq in (1, 2, 3)]


def minute(seq, frames=600, store="a"):
    began = (BEGAN + timedelta(minutes=seq)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"version": 1, "store": store, "seq": seq, "began": began, "frames": frames}
    return Message("fer-edge/demo/minutes", json.dumps(told).encode())


def problems_of_rows(*messages, answered=()):
    device = Rows(name="demo", answered={"minutes": set(answered), "visits": set()})
    reader = SimpleNamespace(messages=messages)
    outcome = Outcome()
    together.check_rows(Scene(60, None, None, reader, None, [device], None), device, outcome)
    return outcome.problems


def test_rows_may_come_twice_and_be_asked_for():
    assert not problems_of_rows(minute(1), minute(2), minute(1), minute(2), minute(3))
    assert not problems_of_rows(minute(1), minute(3), answered=[2])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([minute(1), minute(3)], "[2] did not come"),
        ([minute(1), minute(3), minute(2)], "out of order"),
        ([minute(1), minute(2), minute(3), minute(4)], "not in the store"),
        ([minute(1), minute(2), minute(3, 599)], "differs from the store: {'frames': (599, 600)}"),
        ([minute(1), minute(2), minute(3, store="b")], "stores"),
    ],
)
def test_rows_that_are_missing_or_wrong_are_problems(messages, told):
    assert any(told in problem for problem in problems_of_rows(*messages))


def scraped(*bodies):
    device = object.__new__(Device)
    device.name, device.scrapes, device.problems = "demo", [], []
    for body in bodies:
        device.ask = lambda _, body=body: (200, body.encode())
        device.scrape()
    return device


FIGURES = """\
# TYPE fer_edge_frames_total counter
fer_edge_frames_total{{camera="demo"}} {frames}
# TYPE fer_edge_people gauge
fer_edge_people{{camera="demo"}} {people}
"""


def test_counters_must_not_go_back_or_vanish():
    rising = scraped(*(FIGURES.format(frames=k, people=3 - k) for k in (1, 2, 2)))
    assert rising.problems == []
    assert rising.figure("fer_edge_frames_total") == 2
    assert len(scraped(FIGURES.format(frames=2, people=1), FIGURES.format(frames=1, people=1)).problems) == 1
    assert len(scraped(FIGURES.format(frames=2, people=1), "").problems) == 1


COUNTERS = """\
# TYPE fer_edge_frames_total counter
fer_edge_frames_total{{camera="demo"}} 5
# TYPE fer_edge_faces_total counter
fer_edge_faces_total{{camera="demo"}} 0
# TYPE fer_edge_gaps_total counter
fer_edge_gaps_total{{camera="demo"}} {gaps}
# TYPE fer_edge_inference_seconds histogram
fer_edge_inference_seconds_bucket{{camera="demo",le="+Inf"}} 5
fer_edge_inference_seconds_sum{{camera="demo"}} 1
fer_edge_inference_seconds_count{{camera="demo"}} 5
"""


@pytest.mark.parametrize(
    ("paused", "counted", "told"),
    [
        ((), 0, None),
        ((6.5, 0, 6.5), 1, None),
        ((6.5, 3.25), 1, None),
        ((6.5, 0), 2, "2 gaps, 1 in lines"),
        ((0, 0), 1, "1 gaps, 2 in lines"),
    ],
)
def test_the_counter_of_gaps_is_held_against_the_losses_in_the_lines_not_the_pauses(paused, counted, told):
    records = frames(100, 101, 102, 103, 104)
    records += [
        {"type": "gap", "monotonic": 103, "lost": 0, "seconds": 6.5, "paused": seconds} for seconds in paused
    ]
    outcome = Outcome()
    together.check_figures(scraped(COUNTERS.format(gaps=counted)), records, outcome)
    assert outcome.problems == ([] if told is None else [f"demo: {told}"])


def problems_of_growth(first=0, rise=0, threads=(), descriptors=()):
    """Of 40 samples, one a minute from minute ``first`` on; more is needed in the last ten of them."""
    samples = [Sample(600 * k, 60.0 * (first + k), 150_000_000 + rise * k, 17, 24 + k % 2) for k in range(40)]
    samples[30:] = [
        replace(one, threads=one.threads + sum(threads), descriptors=one.descriptors + sum(descriptors))
        for one in samples[30:]
    ]
    outcome = Outcome()
    together.check_growth(SimpleNamespace(name="demo", samples=samples), 4.0, outcome)
    return outcome.problems


def test_what_a_run_needs_must_not_grow_once_it_has_settled():
    assert problems_of_growth(first=26) == []
    assert problems_of_growth(first=26, rise=300_000) == ["demo: +9.00 MB"]
    assert problems_of_growth(first=26, threads=[1]) == ["demo: 17 threads at most, then 18 at least"]
    assert problems_of_growth(first=26, descriptors=[2]) == ["demo: 25 descriptors at most, then 26 at least"]
    # Too short to tell.
    assert problems_of_growth(first=-20, rise=300_000) == []


def test_unknown_faults_are_refused(capsys):
    with pytest.raises(SystemExit):
        together.main(["earthquake"])
    assert "there is no fault earthquake" in capsys.readouterr().err


@pytest.mark.services
def test_what_fails_together_comes_back_together(tmp_path):
    pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
    pytest.importorskip("uvicorn")
    told = tmp_path / "together.json"
    faults = ["page pause", "broker killed", "camera lost", "mqtt pause"]
    together.main([*faults, "--seconds", "1", "--json", str(told)])
    outcomes = json.loads(told.read_text())["outcomes"]
    assert {name: one["problems"] for name, one in outcomes.items() if one["problems"]} == {}
    assert all(outcomes[name]["injected"] for name in (*faults, "rows", "health", "figures", "files"))
