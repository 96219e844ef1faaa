"""What pyproject.toml allows and requires, and what `make test-oldest` and `make lint` make of it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
UNTRIED = {"train", "teacher", "export", "ray", "postgresql", "services", "dev"}
"""Extras that no device installs."""


IMPORTED_AS = {"PIL": "pillow", "cv2": "opencv-python-headless", "paho": "paho-mqtt", "h11": "uvicorn"}
"""What has another name as a package, or comes with one."""


def test_the_oldest_versions_tried_are_the_oldest_allowed():
    project = PYPROJECT["project"]
    required = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in UNTRIED:
            required += [one for one in requirements if not one.startswith("fer-edge[")]
    allowed = {re.sub(r"(?:,<[\d.]+)?(?: *;.*)?$", "", line).replace(">=", "==") for line in required}
    lines = (REPOSITORY / "tests" / "oldest.txt").read_text().splitlines()
    tried = [line for line in lines if not line.startswith("#")]
    assert tried == sorted(allowed)


def test_mypy_finds_what_is_imported_or_is_told_to_skip_it():
    """With the packages of the extra ``dev`` alone, which `make lint` installs."""
    local = {"fer_edge", "_typeshed"} | {path.stem for path in (REPOSITORY / "tools").glob("*.py")}
    installed = local | sys.stdlib_module_names | set(_packages("dev"))
    overrides = PYPROJECT["tool"]["mypy"]["overrides"]
    skipped = {
        name.split(".")[0] for one in overrides if one.get("ignore_missing_imports") for name in one["module"]
    }
    missing = set()
    for path in (
        path for top in ("fer_edge", "train", "export", "tools") for path in (REPOSITORY / top).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            missing |= {
                (path.name, top) for top in tops if IMPORTED_AS.get(top, top) not in installed | skipped
            }
    assert not missing


def _packages(extra):
    """The packages that an extra and those within it require, with the names of modules."""
    for line in [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"][extra],
    ]:
        name, extras = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", line).groups()
        yield from (name, name.replace("-", "_"))
        if name == "fer-edge":
            for one in extras.split(","):
                yield from _packages(one)
