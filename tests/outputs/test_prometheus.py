"""A real Prometheus that reads a real run: each query of the dashboard has an answer, and no rule fails."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

pytest.importorskip("prometheus_client")
pytest.importorskip("starlette")
pytest.importorskip("skimage")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = [pytest.mark.services, pytest.mark.heavy]

SECONDS = 120.0
BOARD_ONLY = ("fer_edge_temperature_celsius", "fer_edge_throttled")
"""What only boards tell that have a sensor."""

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: fer-edge
    static_configs: [{{targets: ["127.0.0.1:{page}"]}}]
"""


@contextlib.contextmanager
def process(log, *command):
    with log.open("w") as told:
        started = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(SECONDS)


def answer(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=SECONDS) as given:
        return json.load(given)["data"]
    return None


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """Asks a Prometheus that has read a run of the demo camera for a while; gives ``ask(path, **query)``."""
    program = shutil.which("prometheus", path="/usr/bin:/usr/local/bin")
    assert program, "Debian's package prometheus is not installed"
    folder = tmp_path_factory.mktemp("prometheus")
    page, port = free_port(), free_port()
    written = folder / "prometheus.yml"
    written.write_text(CONFIGURATION.format(rules=EXAMPLES / "alerts.yml", page=page))
    run = (
        *(sys.executable, "-m", "fer_edge", "run", "--camera", "demo", "--no-jsonl"),
        *("--page", f"127.0.0.1:{page}", "--state-folder", folder),
    )
    server = (
        *(program, f"--config.file={written}", f"--storage.tsdb.path={folder / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    )

    def ask(path, **query):
        return answer(f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}")

    def has_read():
        told = ask("query", query="count_over_time(fer_edge_people[1m]) > 5 and fer_edge_people > 0")
        return bool(told and told["result"])

    with process(folder / "run.log", *run), process(folder / "prometheus.log", *server):
        end = time.monotonic() + SECONDS
        while not has_read():
            assert time.monotonic() < end, (folder / "run.log").read_text()[-2000:]
            time.sleep(0.2)
        yield ask


def queries():
    """Each query of the dashboard, for all instances and cameras."""
    panels = json.loads((EXAMPLES / "grafana.json").read_text())["panels"]
    panels += [inner for panel in panels for inner in panel.get("panels", ())]
    for panel in panels:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m")
            yield text.replace("$instance", ".*").replace("$camera", ".*")


@pytest.mark.parametrize("query", sorted({*queries()}))
def test_each_query_of_the_dashboard_has_an_answer(prometheus, query):
    told = prometheus("query", query=query)
    assert told is not None, "refused"
    if not any(name in query for name in BOARD_ONLY):
        assert told["result"], "no data"
        assert all(one["value"][1] != "NaN" for one in told["result"])


def test_the_dashboard_finds_devices_and_cameras(prometheus):
    assert prometheus("label/camera/values", **{"match[]": "fer_edge_frames_total"}) == ["demo camera"]
    (instance,) = prometheus("label/instance/values", **{"match[]": "fer_edge_build_info"})
    assert instance.startswith("127.0.0.1:")


def test_no_alert_fails_or_is_raised_for_a_run_that_is_well(prometheus):
    (group,) = prometheus("rules")["groups"]
    assert len(group["rules"]) == (EXAMPLES / "alerts.yml").read_text().count("- alert:")
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []
