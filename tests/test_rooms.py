"""Imports go down only: each room may use those below it, and nobody uses the rooms above."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up; rooms of one storey do not know each other.
STOREYS = (
    {
        "labels",
        "errors",
        "defaults",
        "option",
        "utc",
        "spreadsheet",
        "credentials",
        "backoff",
        "installed",
        "hosts",
    },
    {"files", "machine", "log", "periodic", "native_output", "interrupts", "opencv", "kernels", "toml_text"},
    {"fer2013", "models", "sources", "chromium"},
    {"faces"},
    {"pipeline"},
    {"store"},
    {"control", "report"},
    {"outputs", "checks", "config"},
    {"service", "archive", "fleet", "notice"},
    {"train"},
    {"export"},
    {"commands"},
    {"cli"},
    {"__main__"},
    {"_pyinstaller"},
)
STOREY = {room: storey for storey, rooms in enumerate(STOREYS) for room in rooms}
FOLDERS = {
    ROOT / "fer_edge": "fer_edge",
    ROOT / "train": "fer_edge.train",
    ROOT / "export": "fer_edge.export",
}


def modules():
    for folder, package in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield path, ".".join([package, *parts])


def room_of(module: str) -> str | None:
    """The room of a module of ours; None for the package itself and for other packages."""
    parts = module.split(".")
    if parts[0] == "fer_edge" and parts[-1] == "__main__":
        return "__main__"
    return parts[1] if parts[0] == "fer_edge" and len(parts) > 1 else None


def imported(path: Path, module: str):
    """Full names of what a module imports, at its top or within functions, but for annotations only."""
    package = module.removesuffix(".__init__") if path.stem == "__init__" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{name}.{alias.name}"


@pytest.mark.parametrize(("path", "module"), [pytest.param(*one, id=one[1]) for one in modules()])
def test_imports_go_down_only(path, module):
    room = room_of(module)
    if room in (None, "__init__"):
        return
    for name in imported(path, module):
        other = room_of(name)
        if other is None or other in (room, "__version__"):
            continue
        assert other in STOREY, f"{name}: a room that has no storey"
        assert STOREY[other] < STOREY[room], f"{module} imports {name}, which does not lie below it"


def test_every_room_has_a_storey():
    rooms = {room_of(module) for _, module in modules()} - {None, "__init__"}
    assert rooms == set(STOREY)


def test_the_check_sees_relative_absolute_and_late_imports():
    source = (
        "from ..outputs import jsonl\n"
        "from ..cli import main\n"
        "import fer_edge.commands.run\n"
        "def late():\n    from .watch import Watch\n"
    )
    path = type("Text", (), {"stem": "x", "read_text": lambda self, encoding: source})()
    assert list(imported(path, "fer_edge.pipeline.x")) == [
        "fer_edge.outputs.jsonl",
        "fer_edge.cli.main",
        "fer_edge.commands.run",
        "fer_edge.pipeline.watch.Watch",
    ]


def test_every_folder_of_the_package_is_installed_as_a_package():
    # setuptools fills the terminal of whoever installs with warnings of the others.
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    for folder, package in FOLDERS.items():
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert ".".join([package, *path.parent.relative_to(folder).parts]) in listed, path
