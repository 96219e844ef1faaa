"""The documentation says what is there: links, commands, snippets and messages."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from fer_edge.cli import COMMANDS, _parser

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("examples/*.md")])
if not (REPOSITORY / "docs").is_dir():
    pytest.skip("no docs/ beside the tests", allow_module_level=True)

# Said by pip, apt and NumPy, not by us.
FOREIGN = ("externally-managed", "not a supported wheel", "No matching distribution", "numpy.")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"\$ fer-edge ", line):
                    found.append((page.name, line.removeprefix("$ ")))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_there_are_commands_to_check():
    assert len(commands()) > 20


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:60])
def test_commands_have_options_that_exist(page, line):
    words = shlex.split(line, comments=True)
    words = words[: next((i for i, word in enumerate(words) if word in ("|", ">", "&&")), len(words))]
    assert words[1] in COMMANDS
    _parser(words[1]).parse_args(words[1:])


def test_a_clone_that_is_not_installed_trains_by_links(tmp_path):
    (block,) = [text for text in blocks(REPOSITORY / "docs" / "model.md", "console") if "links/" in text]
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("fer_edge", "train", "export"):
        (clone / name).symlink_to(REPOSITORY / name)
    # Without site, which is what finds an editable installation; its packages alone remain.
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{sysconfig.get_path("purelib")}" exec {sys.executable} -S "$@"\n'
    )
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        ["bash", "-ec", re.sub(r"^\$ ", "", block, flags=re.MULTILINE).replace(" …\n", " --help\n")],
        cwd=clone,
        env={**environment, "PATH": f"{python.parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: fer-edge train")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_compile(page):
    for block in blocks(page, "python"):
        ast.parse(block)


def test_reliability_names_tests_that_exist():
    named = re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "reliability.md").read_text())
    assert len(named) > 40
    tests = {
        node.name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name in named if name not in tests] == []


def said_by_the_package() -> str:
    """All texts of the package's modules, with names that are filled in left out.

    ``fer_edge.train`` and ``fer_edge.export`` lie in folders beside it.
    """
    texts = []
    rooms = [REPOSITORY / name for name in ("fer_edge", "train", "export")]
    for path in (path for room in rooms for path in room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_troubleshooting_quotes_messages_that_are_given():
    """Of each quoted message the longest part without a name that is filled in has to be in the code."""
    rows = (REPOSITORY / "docs" / "troubleshooting.md").read_text().splitlines()
    symptoms = [row.split("|")[1] for row in rows if row.startswith("| ") and "| cause |" not in row]
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]
    ours = [text for text in quoted if not any(foreign in text for foreign in FOREIGN)]
    assert len(ours) > 40
    said = said_by_the_package()
    parts = [max(re.split(r"…|/dev/video0|: |\bN\b|\b15 s\b", text), key=len).strip(" ,()") for text in ours]
    assert [part for part in parts if part not in said] == []
