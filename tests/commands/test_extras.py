"""What a run lacks is told at once."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["skimage", "starlette", "paho.mqtt", "prometheus_client", "gpiozero"]))
from fer_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""


def lacking(*options):
    """Standard error of a run with these options where no extra is installed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "run", *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    return done.stderr.splitlines()[-1]


def test_all_extras_that_are_missing_are_told_in_one_error():
    told = lacking("--camera", "demo", "--page", ":0", "--mqtt", "mqtt://h", "--gpio-button", "17")
    assert told == (
        "fer-edge run: The demo camera needs scikit-image; --page needs starlette; MQTT needs paho-mqtt 2; "
        "--gpio-button needs gpiozero: pip install 'fer-edge[demo,page,mqtt,gpio]'"
    )


def test_an_extra_that_two_need_is_named_once(tmp_path):
    told = lacking("--camera", "0", "--page", ":0", "--metrics", str(tmp_path / "x.prom"))
    assert told == (
        "fer-edge run: --page needs starlette; Prometheus needs prometheus-client: "
        "pip install 'fer-edge[page]'"
    )


def test_one_of_several_cameras_may_be_the_demo_camera():
    told = lacking("--camera", "demo", "--camera", "0")
    assert told == "fer-edge run: The demo camera needs scikit-image: pip install 'fer-edge[demo]'"
