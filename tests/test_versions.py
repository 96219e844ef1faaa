"""The versions that pyproject.toml allows, and those that `make test-oldest` tries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
UNTRIED = {"train", "teacher", "export", "ray", "postgresql", "services", "dev"}
"""Extras that no device installs."""


def test_the_oldest_versions_tried_are_the_oldest_allowed():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    required = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in UNTRIED:
            required += [one for one in requirements if not one.startswith("fer-edge[")]
    allowed = {re.sub(r"(?:,<[\d.]+)?(?: *;.*)?$", "", line).replace(">=", "==") for line in required}
    lines = (REPOSITORY / "tests" / "oldest.txt").read_text().splitlines()
    tried = [line for line in lines if not line.startswith("#")]
    assert tried == sorted(allowed)
