"""Figures for Prometheus, of results made by hand."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import threading
import timeit
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families
from results import BEGAN, Clocks, face, gap, result, tracked

from fer_edge.errors import DataError, OutputError
from fer_edge.faces.quality import MEAN_FACE
from fer_edge.labels import EMOTIONS
from fer_edge.machine import Condition
from fer_edge.outputs.base import Losses
from fer_edge.outputs.live import Live
from fer_edge.outputs.metrics import Metrics, MetricsFile
from fer_edge.periodic import every
from fer_edge.pipeline.state import PAUSED, State

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTED = Path(__file__).parents[2] / "docs" / "prometheus.md"
BUILD = {"version": "9.9", "model": "edge", "backend": "litert", "precision": "int8"}


@pytest.fixture
def clocks():
    return Clocks()


def made(clocks, *cameras, told=dict, losses=dict, board=None):
    live = Live(
        cameras or ("door",),
        told=told,
        board=lambda: board or Condition(None, 0.0, None),
        clock=lambda: clocks.now,
        wall=clocks.wall,
    )
    return live, Metrics(live, BUILD, losses, clock=lambda: clocks.now, wall=clocks.wall)


def take(live, metrics, *faces, camera="door", **changes):
    told = replace(result(), camera=camera, faces=tracked(*faces), **changes)
    live.take(told)
    metrics.take(told)


def samples(metrics, process=False):
    """What is told, by name and labels."""
    text = metrics.render(process)[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of_door(name, **labels):
    return f"fer_edge_{name}", tuple(sorted({"camera": "door", **labels}.items()))


def of_run(name):
    return f"fer_edge_{name}", ()


def test_what_happened_is_counted_by_camera(clocks):
    live, metrics = made(clocks, "door", "till")
    take(live, metrics, face(track=1), face(track=0), dropped=2, latency_ms=12.0)
    take(live, metrics, face(track=1), face(track=2), dropped=5, latency_ms=20.0, gap=gap(12.5))
    take(live, metrics, face(track=2), dropped=5, latency_ms=4000.0)
    take(live, metrics, face(track=1), camera="till", dropped=0)
    told = samples(metrics)
    assert told[of_door("frames_total")] == 3
    assert told[of_door("frames_dropped_total")] == 5
    assert told[of_door("faces_total")] == 5
    assert told[of_door("visits_total")] == 2
    assert (told[of_door("gaps_total")], told[of_door("gap_seconds_total")]) == (1, 12.5)
    assert told["fer_edge_frames_total", (("camera", "till"),)] == 1


def test_a_pause_is_no_loss_of_the_camera_but_one_within_it_is(clocks):
    live, metrics = made(clocks)
    take(live, metrics, gap=replace(gap(3600.0, PAUSED), paused=3600.0))
    told = samples(metrics)
    assert (told[of_door("gaps_total")], told[of_door("gap_seconds_total")]) == (0, 0)
    take(live, metrics, gap=replace(gap(600.0, PAUSED), paused=588.0))
    take(live, metrics, gap=gap(2.5))
    told = samples(metrics)
    assert (told[of_door("gaps_total")], told[of_door("gap_seconds_total")]) == (2, 14.5)


def test_inference_is_a_histogram_of_seconds(clocks):
    live, metrics = made(clocks)
    for latency in (12.0, 20.0, 20.1, 4000.0):
        take(live, metrics, latency_ms=latency)
    told = samples(metrics)
    counts = {
        bound: told[of_door("inference_seconds_bucket", le=bound)] for bound in ("0.01", "0.02", "0.03")
    }
    # A bound belongs to its bucket.
    assert counts == {"0.01": 0, "0.02": 2, "0.03": 3}
    assert told[of_door("inference_seconds_bucket", le="2.5")] == 3
    assert told[of_door("inference_seconds_bucket", le="+Inf")] == 4
    assert told[of_door("inference_seconds_count")] == 4
    assert told[of_door("inference_seconds_sum")] == pytest.approx(4.0521)


def test_what_holds_now_is_a_gauge(clocks):
    board = Condition(71.5, 0.0, ("throttled now",))
    live, metrics = made(clocks, "door", "till", told=lambda: {"paused": False}, board=board)
    take(live, metrics, face("happy", 0.7, track=1), face("happy", 0.4, track=2, unsure=True))
    told = samples(metrics)
    assert told[of_door("people")] == 2
    assert told[of_door("emotion_ratio", emotion="happy")] == pytest.approx(0.55)
    assert sum(told[of_door("emotion_ratio", emotion=one)] for one in EMOTIONS) == pytest.approx(1, abs=1e-3)
    assert told[of_run("unsure_ratio")] == 0.5
    assert told[of_run("people_today")] == 2
    assert (told[of_run("temperature_celsius")], told[of_run("throttled")]) == (71.5, 1)
    assert told[of_run("paused")] == 0
    assert told["fer_edge_build_info", tuple(sorted(BUILD.items()))] == 1
    assert told[of_door("camera_up")] == 1
    assert told["fer_edge_camera_up", (("camera", "till"),)] == 0, "it gave no frame yet"
    live.on_state(State("waiting", "gone", 3.0), "door")
    told = samples(metrics)
    assert (told[of_door("camera_up")], told[of_door("people")]) == (0, 0)
    assert of_door("emotion_ratio", emotion="happy") not in told, "of nobody there are no shares"


def test_what_is_not_known_has_no_sample(clocks):
    told = samples(made(clocks)[1])
    for name in ("temperature_celsius", "throttled", "attention_ratio", "unsure_ratio"):
        assert of_run(name) not in told


def test_a_clock_that_is_set_moves_the_time_of_the_last_frame(clocks):
    live, metrics = made(clocks)
    take(live, metrics)
    clocks.now += 30
    assert samples(metrics)[of_door("last_frame_timestamp_seconds")] == pytest.approx(BEGAN.timestamp())
    clocks.offset += timedelta(hours=1)
    assert samples(metrics)[of_door("last_frame_timestamp_seconds")] == pytest.approx(
        BEGAN.timestamp() + 3600
    )


def test_outputs_tell_what_they_did_not_write(clocks):
    losses = {"jsonl": Losses(lost=7, dropped=2, failures=3), "door: video": Losses(0, 0)}
    told = samples(made(clocks, losses=lambda: losses)[1])
    assert told["fer_edge_output_errors_total", (("output", "jsonl"),)] == 3
    assert told["fer_edge_output_lost_results_total", (("output", "jsonl"),)] == 7
    assert told["fer_edge_output_dropped_results_total", (("output", "jsonl"),)] == 2
    assert told["fer_edge_output_errors_total", (("output", "door: video"),)] == 0


def test_labels_do_not_grow_with_people(clocks):
    live, metrics = made(clocks)
    take(live, metrics, face(track=1))
    before = samples(metrics).keys()
    for track in range(2, 500):
        take(live, metrics, face(track=track))
    assert samples(metrics).keys() == before


def test_a_camera_may_have_any_name(clocks):
    name = 'rtsp://host/a?token=***"\\\n'
    live, metrics = made(clocks, name)
    take(live, metrics, camera=name)
    assert samples(metrics)["fer_edge_frames_total", (("camera", name),)] == 1


def test_figures_of_the_process_are_told_where_asked_for(clocks):
    _, metrics = made(clocks)
    assert samples(metrics, process=True)["process_resident_memory_bytes", ()] > 1e6
    assert not any(name.startswith("process_") for name, _ in samples(metrics))


def test_the_type_is_that_of_the_text(clocks):
    body, kind = made(clocks)[1].render()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert body.startswith(b"# HELP fer_edge_build_info ")


def test_the_file_holds_what_is_rendered_and_goes_with_the_run(clocks, tmp_path):
    live, metrics = made(clocks)
    path = tmp_path / "fer-edge.prom"
    file = MetricsFile(str(path), metrics)
    assert path.read_bytes() == metrics.render(process=False)[0]
    take(live, metrics)
    file.write()
    assert b'fer_edge_frames_total{camera="door"} 1.0' in path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["fer-edge.prom"]
    file.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="does not exist"):
        MetricsFile(str(tmp_path / "missing" / "a.prom"), metrics)


def test_the_node_exporter_does_not_read_half_a_file_nor_one_that_a_killed_run_leaves(
    clocks, tmp_path, monkeypatch
):
    _, metrics = made(clocks)
    file = MetricsFile(str(tmp_path / "fer-edge.prom"), metrics)
    write, seen = Path.write_bytes, []

    def watched(path, data):
        write(path, data)
        seen.extend(sorted(one.name for one in tmp_path.glob("*.prom")))
        assert len(list(tmp_path.iterdir())) == 2

    monkeypatch.setattr(Path, "write_bytes", watched)
    file.write()
    assert seen == ["fer-edge.prom"]


def test_a_file_of_other_content_is_refused_and_left_alone(clocks, tmp_path):
    _, metrics = made(clocks)
    path = tmp_path / "notes.prom"
    path.write_text("# HELP node_notes Mine.\n")
    with pytest.raises(DataError, match=r"notes\.prom: exists already, and holds no figures of fer-edge"):
        MetricsFile(str(path), metrics)
    assert path.read_text() == "# HELP node_notes Mine.\n"


@pytest.mark.parametrize("left", [b"", b"# HELP fer_edge_build_info Version"])
def test_figures_that_a_killed_run_left_are_replaced(clocks, tmp_path, left):
    _, metrics = made(clocks)
    path = tmp_path / "fer-edge.prom"
    path.write_bytes(left)
    MetricsFile(str(path), metrics)
    assert path.read_bytes() == metrics.render(process=False)[0]


def test_a_full_disk_under_the_file_is_told_in_words_and_leaves_the_old_figures(
    clocks, tmp_path, monkeypatch, caplog
):
    _, metrics = made(clocks)
    path = tmp_path / "fer-edge.prom"
    file = MetricsFile(str(path), metrics)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"fer-edge\.prom: cannot be written: No space left on device"):
            file.write()
        told = threading.Event()

        def write():
            try:
                file.write()
            finally:
                told.set()

        with every(0.01, write, "metrics"):
            assert told.wait(60)
    assert set(caplog.messages) == {f"metrics: {path}: cannot be written: No space left on device"}
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["fer-edge.prom"]


def test_a_file_that_cannot_be_removed_is_reported(clocks, tmp_path, monkeypatch, caplog):
    _, metrics = made(clocks)
    path = tmp_path / "fer-edge.prom"
    file = MetricsFile(str(path), metrics)

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refused)
    file.close()
    assert caplog.messages == [f"metrics: {path}: is left, and cannot be deleted: Read-only file system"]


def test_a_result_costs_next_to_nothing(clocks):
    _, metrics = made(clocks)
    seen = replace(result(), faces=tracked(*(face(track=track) for track in range(1, 6))))
    # 5 microseconds on x86-64; a hundred times as many for machines that are slow or busy.
    assert min(timeit.repeat(lambda: metrics.take(seen), number=200, repeat=5)) / 200 < 500e-6


def everything(clocks):
    """Figures in which each there is has a sample."""
    board = Condition(71.5, 0.0, ())
    live, metrics = made(clocks, losses=lambda: {"jsonl": Losses(1, 2, 3)}, board=board)
    person = face(track=1, box=(0.0, 0.0, 60.0, 60.0))
    take(live, metrics, replace(person, landmarks=MEAN_FACE[:, :2] + 100), gap=gap())
    return metrics


def names_in(text):
    return set(re.findall(r"\b(?:fer_edge|process)_\w+", text))


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no examples/ beside the tests")
def test_the_dashboard_names_figures_and_labels_that_there_are(clocks):
    told = samples(everything(clocks), process=True)
    labels = {name: {label for label, _ in pairs} | {"instance", "job"} for name, pairs in told}
    board = json.loads((EXAMPLES / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    assert len(queries) > 20
    for query in queries:
        assert names_in(query) <= labels.keys(), query
        for name, selector in re.findall(r"\b((?:fer_edge|process)_\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)=~?", selector)) <= labels[name], query
    shown = names_in(" ".join(queries))
    # What the dashboard shows otherwise: the sum and number of a histogram, and a pause as a lost camera.
    left = {name for name in labels if name.startswith("fer_edge_")} - shown
    assert left == {"fer_edge_inference_seconds_count", "fer_edge_inference_seconds_sum", "fer_edge_paused"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no examples/ beside the tests")
def test_the_alerts_name_figures_that_there_are(clocks):
    told = {name for name, _ in samples(everything(clocks))}
    names = names_in((EXAMPLES / "alerts.yml").read_text())
    assert len(names) >= 6
    assert names <= told


@pytest.mark.skipif(not DOCUMENTED.is_file(), reason="no docs/ beside the tests")
def test_every_figure_is_explained(clocks):
    told = samples(everything(clocks))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in told}
    rows = dict(re.findall(r"^\| `(fer_edge_\w+)` \|[^|]*\|([^|]*)\|", DOCUMENTED.read_text(), re.MULTILINE))
    assert rows.keys() == families
    for name, labels in rows.items():
        held = {label for one, pairs in told for label, _ in pairs if one.startswith(name) and label != "le"}
        assert set(re.findall(r"`(\w+)`", labels)) == held, name


@pytest.mark.services
def test_promtool_accepts_what_the_dashboard_asks_for(tmp_path):
    board = json.loads((EXAMPLES / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query_{index}", "expr": query.replace("$__rate_interval", "5m").replace("$", "")}
        for index, query in enumerate(queries)
    ]
    # YAML holds JSON.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool = shutil.which("promtool") or "promtool"
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(queries)} rules found" in done.stdout


@pytest.mark.services
def test_promtool_accepts_the_alerts():
    promtool = shutil.which("promtool")
    assert promtool, "Debian's package prometheus has it"
    done = subprocess.run(
        [promtool, "check", "rules", EXAMPLES / "alerts.yml"], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert b"SUCCESS: 7 rules found" in done.stdout


ALERTS = """
rule_files: ["{rules}"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      # The last frame came when the clock was at 0.
      - series: 'fer_edge_last_frame_timestamp_seconds{{instance="pi", job="j", camera="door"}}'
        values: "0x60"
      - {{series: 'fer_edge_paused{{instance="pi", job="j"}}', values: "{paused}x60"}}
      - {{series: 'fer_edge_build_info{{instance="pi", job="j", version="9"}}', values: "1x10 _x50"}}
    alert_rule_test:
      - eval_time: 4m
        alertname: FerEdgeSilent
        exp_alerts: []
      - eval_time: 7m
        alertname: FerEdgeSilent
        exp_alerts: {silent}
      - eval_time: 12m
        alertname: FerEdgeGone
        exp_alerts: []
      - eval_time: 60m
        alertname: FerEdgeGone
        exp_alerts:
          - exp_labels: {{severity: critical, instance: pi, job: j, version: "9"}}
            exp_annotations: {{summary: "pi: fer-edge tells nothing"}}
"""


@pytest.mark.services
@pytest.mark.parametrize("paused", [False, True])
def test_alerts_are_raised_for_what_is_silent_and_not_for_what_is_paused(tmp_path, paused):
    silent = (
        "[{exp_labels: {severity: warning, instance: pi, job: j, camera: door}, exp_annotations: {summary: "
        '"pi: no frame from door for 7m 0s"}}]'
    )
    rules = EXAMPLES / "alerts.yml"
    text = ALERTS.format(rules=rules, paused=int(paused), silent="[]" if paused else silent)
    (tmp_path / "tests.yml").write_text(text)
    done = subprocess.run(
        [shutil.which("promtool") or "promtool", "test", "rules", tmp_path / "tests.yml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.services
def test_promtool_has_nothing_to_say(clocks):
    promtool = shutil.which("promtool")
    assert promtool, "Debian's package prometheus has it"
    live, metrics = made(clocks, "door", "till", losses=lambda: {"jsonl": Losses(1, 2, 3)})
    take(live, metrics, face(track=1), gap=gap())
    take(live, metrics, face(track=1), camera="till")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.render()[0], capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
