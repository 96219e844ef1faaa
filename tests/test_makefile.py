"""What ``make run`` passes to ``fer-edge run``."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from conftest import REPOSITORY

if not (REPOSITORY / "Makefile").exists() or shutil.which("make") is None:
    pytest.skip("no Makefile beside the tests, or no make", allow_module_level=True)


@pytest.mark.parametrize(
    ("variables", "attached", "passed"),
    [
        (("SOURCE=my film.mp4",), True, ["my film.mp4", "--seconds", "20"]),
        (("SOURCE=it's a film.mp4", "RUN="), False, ["it's a film.mp4"]),
        (("SOURCE=--camera 0", "RUN="), False, ["--camera", "0"]),
        (("RUN=--camera 1",), False, ["--camera", "1"]),
        (("RUN=--config door.toml",), False, ["--config", "door.toml"]),
        (("RUN=--print-config",), False, ["--camera", "demo", "--print-config"]),
        (("RUN=--every 2",), True, ["--every", "2"]),
        (("RUN=--every 2",), False, ["--camera", "demo", "--every", "2"]),
    ],
)
def test_make_run_passes_its_source_on_whole(tmp_path, variables, attached, passed):
    (tmp_path / "bin").mkdir()
    for name, script in (("python", f"exit {int(not attached)}"), ("fer-edge", "printf '%s\\n' \"$@\"")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".run").touch()
    done = subprocess.run(
        ["make", "-s", "-o", tmp_path / ".run", "run", f"VENV={tmp_path}", *variables],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = ["no camera attached: this is the demo camera, a photograph"] if "demo" in passed else []
    assert done.stdout.splitlines() == [*said, "run", *passed]
