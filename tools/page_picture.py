"""Takes the documentation's pictures of the page: ``docs/page.jpg`` and ``docs/page-phone.jpg``.

The picture and the face are the demo camera's, recognized as in any run. The ten minutes before show made-up
people, since the demo camera's one person smiles all the time.

Needs Chromium as ``chromium``, and the extras ``page`` and ``services``.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from fer_edge import watch
from fer_edge.control.control import Control
from fer_edge.faces.faces import Faces
from fer_edge.labels import EMOTIONS
from fer_edge.option import Address
from fer_edge.outputs.live import STEP, STEPS, Live
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput

DOCS = Path(__file__).resolve().parents[1] / "docs"
CAMERA = "demo camera"

# Emotion: its usual weight, how much it swings, minutes of a swing.
MOODS = {
    "angry": (0.0, 1.0, 3.3), "disgust": (-1.1, 0.7, 4.1), "fear": (-0.9, 0.8, 3.7), "happy": (2.0, 1.2, 4.7),
    "sad": (0.4, 1.1, 5.3), "surprise": (0.3, 1.2, 2.9), "neutral": (1.9, 0.8, 7.3),
}  # fmt: skip
PICTURES: dict[str, dict[str, Any]] = {
    "page.jpg": {"viewport": {"width": 1280, "height": 760}, "color_scheme": "light"},
    "page-phone.jpg": {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"},
}


def people(minute: float) -> Faces:
    """Up to three people who feel alike, at a ``minute`` of the ten."""
    count = max(0, round(1.7 + 1.6 * math.sin(minute * 1.1 + 0.4)))
    moods = [MOODS[name] for name in EMOTIONS]
    weights = np.array([usual + swing * math.sin(6.28 * minute / period) for usual, swing, period in moods])
    shares = np.exp(weights) / np.exp(weights).sum()
    return Faces(
        boxes=np.full((count, 4), 50, np.float32),
        scores=np.full(count, 0.9, np.float32),
        landmarks=np.zeros((count, 5, 2), np.float32),
        ids=np.arange(count) + 1,
        detected=np.ones(count, np.bool_),
        probabilities=np.tile(shares.astype(np.float32), (count, 1)),
        emotions=np.full(count, int(np.argmax(shares))),
        uncertainty=np.zeros(count, np.float32),
        unsure=np.zeros(count, np.bool_),
    )


def main() -> None:
    """Run the page, and take its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=DOCS, metavar="DIR", help="default: docs/")
    into = parser.parse_args().into
    back = STEP * (STEPS - 1)
    live = Live(
        (CAMERA,),
        device="fer-kitchen",
        clock=lambda: time.monotonic() - back,
        wall=lambda: datetime.now(UTC) - timedelta(seconds=back),
    )
    with tempfile.TemporaryDirectory() as folder, watch("demo") as results:
        control = Control(results)
        door = Door(PageOptions(Address("127.0.0.1", 0)), lambda: Path(folder))
        page = PageOutput(door, (CAMERA,), live, control, lambda: (b"", ""))
        first = next(results)
        while back > 0:
            if not STEP * 62 < back < STEP * 70:  # as where somebody had paused it
                live.take(replace(first, faces=people(back / 60)))
            back -= STEP
        back = 0
        page.start()
        over = threading.Event()

        def go() -> None:
            for result in results:
                live.take(result)
                page.write(result)
                if over.is_set():
                    return

        runner = threading.Thread(target=go)
        runner.start()
        try:
            take(door.url, into)
        finally:
            over.set()
            runner.join()
            page.close()


def take(url: str, into: Path) -> None:
    """Take the pictures of the page at ``url``."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, options in PICTURES.items():
            view = browser.new_page(**options)
            view.goto(url)
            view.wait_for_timeout(8000)
            path = into / name
            view.screenshot(path=path, full_page=True, type="jpeg", quality=85)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
