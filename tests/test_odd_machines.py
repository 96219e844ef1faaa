"""Names, streams and installations that are not as usual, through the real program."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_csv

import fer_edge
from fer_edge.errors import is_out_of_memory
from fer_edge.models.manifest import WEIGHTS

REPOSITORY = Path(__file__).parents[1]


def program(*arguments, **options):
    command = [sys.executable, "-m", "fer_edge", *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    cv2.imwrite(str(path), data.astronaut()[:, :, ::-1])
    return path


def test_a_name_that_is_not_utf8_is_read_and_written(photo, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.png"))
    shutil.copy(photo, odd)
    done = program("predict", odd, "--jsonl")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["faces"][0]["emotion"] == "happy"
    assert os.fsencode(record["source"]) == os.fsencode(odd)
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xff.png"))
    done = program("run", odd, "--save-image", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    assert os.fsencode(odd) in done.stdout


def test_a_video_with_such_a_name_is_refused_in_words(tmp_path):
    video = Path(os.fsdecode(os.fsencode(tmp_path) + b"/v\xff.mp4"))
    video.write_bytes(b"no matter")
    done = program("run", video)
    assert done.returncode == 2
    assert b"UTF-8" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(photo, closed):
    command = f'exec "{sys.executable}" -m fer_edge predict "{photo}" {closed}'
    assert subprocess.run(["/bin/sh", "-c", command], timeout=120, capture_output=True).returncode == 0


def test_the_input_is_never_the_output(photo, tmp_path):
    image = shutil.copy(photo, tmp_path / "me.png")
    content = Path(image).read_bytes()
    done = program("run", image, "--save-image", image)
    assert done.returncode == 2
    assert b"is also the input" in done.stderr
    assert Path(image).read_bytes() == content
    table = tmp_path / "t.csv"
    table.write_text("pixels\n" + " ".join(["1"] * 2304) + "\n")
    assert program("predict", table, "--out", table).returncode == 2
    assert table.read_text().startswith("pixels")


def test_a_folder_named_like_a_model_changes_nothing(photo, tmp_path):
    (tmp_path / "edge").mkdir()
    done = program("predict", photo, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"happy" in done.stdout


def test_an_oversized_image_is_an_error_and_the_next_is_answered(photo, tmp_path):
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xea\x60\x00\x00\xea\x60\x08\x02\x00\x00\x00"
    (tmp_path / "huge.png").write_bytes(header + bytes(64))
    done = program("predict", tmp_path / "huge.png", photo)
    assert done.returncode == 2
    assert b"huge.png" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"happy" in done.stdout


def test_a_termination_leaves_no_half_written_file(tmp_path):
    table = tmp_path / "test.csv"
    row = " ".join(["7"] * 2304) + "\n"
    table.write_text("pixels\n" + row * 20_000)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "fer_edge", "predict", str(table), "--out", str(out / "s.csv")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(out.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert list(out.iterdir()) == []


def test_litert_that_does_not_load_gives_way_to_onnx(photo, tmp_path):
    pytest.importorskip("onnxruntime")
    for name in ("ai_edge_litert", "tflite_runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('GLIBC_2.34 not found')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = program("predict", photo, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"happy" in done.stdout
    done = program("predict", photo, "--backend", "litert", env=environment)
    assert done.returncode == 2
    assert b"GLIBC_2.34 not found" in done.stderr


def test_opencv_that_does_not_load_is_said_in_one_line(photo, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1 is missing')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (("predict", photo), ("predict", photo, "--crops"), ("run", photo)):
        done = program(*command, env=environment)
        assert done.returncode == 2
        assert b"OpenCV is broken: it does not load (libGL.so.1 is missing)" in done.stderr
        assert b"; pip install 'opencv-python-headless>=" in done.stderr
        assert b"Traceback" not in done.stderr


def test_what_two_opencv_packages_leave_of_each_other_is_told_with_the_remedy(photo, tmp_path):
    """After one of two was uninstalled, cv2 is a folder without modules, which Python takes for a package."""
    (tmp_path / "cv2" / "data").mkdir(parents=True)
    for package in ("opencv_python", "opencv_python_headless"):
        (tmp_path / f"{package}-4.12.0.dist-info").mkdir()
        (tmp_path / f"{package}-4.12.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 4.12.0\n"
        )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import importlib.machinery, importlib.util\n"
        "spec = importlib.machinery.ModuleSpec('cv2', None, is_package=True)\n"
        "sys.modules['cv2'] = importlib.util.module_from_spec(spec)\n"
        "from fer_edge.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    remedy = "pip uninstall -y opencv-python-headless opencv-python; pip install 'opencv-python-headless>="
    for command in ("predict", "run", "doctor"):
        arguments = [command] if command == "doctor" else [command, str(photo)]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, timeout=120, text=True
        )
        assert done.returncode == (1 if command == "doctor" else 2)
        told = done.stdout if command == "doctor" else done.stderr
        assert "OpenCV is broken: its module cv2 has no imdecode. 2 packages share one folder" in told
        assert remedy in told
        assert "Traceback" not in done.stderr


def test_opencv_that_pip_takes_for_installed_is_installed_anew(tmp_path):
    """Without uninstalling what is left, pip would say that the requirement is satisfied."""
    metadata = tmp_path / "opencv_python_headless-4.12.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: opencv-python-headless\nVersion: 4.12.0\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules['cv2'] = None\n"
        "from fer_edge.opencv import check_opencv\n"
        "try: check_opencv()\nexcept ImportError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert told.startswith(
        "OpenCV is broken: its folder cv2 is gone. pip uninstall -y opencv-python-headless"
    )


@pytest.mark.parametrize(("numpy", "kept"), [("1.26.4", True), ("2.4.0", False)])
def test_installing_opencv_anew_keeps_numpy_1(monkeypatch, numpy, kept):
    """Bookworm's picamera2 needs it, and OpenCV would bring NumPy 2."""
    from fer_edge import opencv

    monkeypatch.setattr(importlib.metadata, "version", {"numpy": numpy}.__getitem__)
    monkeypatch.setattr(importlib.metadata, "PackageNotFoundError", KeyError)
    assert opencv.opencv_remedy().endswith(" 'numpy<2'") == kept


def limited(megabytes, *arguments, folder=None):
    """The program in the folder, with so much address space, as ``ulimit -v`` gives it."""
    command = f'ulimit -v {megabytes * 1024}; exec "{sys.executable}" -m fer_edge "$@"'
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        timeout=120,
        text=True,
    )


@pytest.mark.parametrize(
    ("command", "options", "megabytes"),
    [
        *(("predict", ("photo.png",), megabytes) for megabytes in (60, 100, 140)),
        *(("run", ("photo.png",), megabytes) for megabytes in (60, 100, 140)),
        # These load libraries while their options are checked; a table needs less than 140.
        ("predict", ("faces.csv", "--out", "answers.csv"), 80),
        ("run", ("--camera", "demo", "--frames", "1", "--jsonl", "log.jsonl"), 80),
        ("run", ("--camera", "demo", "--frames", "1", "--jsonl", "log.jsonl"), 100),
    ],
)
def test_a_lack_of_memory_is_told_in_one_line(tmp_path, photo, command, options, megabytes):
    shutil.copy(photo, tmp_path / "photo.png")
    write_csv(tmp_path / "faces.csv", {"Training": 1})
    done = limited(megabytes, command, *options, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"fer-edge {command}: not enough memory: ")
    assert "Traceback" not in done.stderr


def test_a_lack_of_memory_while_options_are_checked_is_told_in_one_line(cli, tmp_path, monkeypatch):
    def without_memory(head):
        raise MemoryError

    monkeypatch.setattr("fer_edge.sources.headers.picture_kind", without_memory)
    code, _, err = cli("run", "--camera", "demo", "--jsonl", tmp_path / "log.jsonl")
    assert code == 1
    assert err.startswith("fer-edge: not enough memory: ")
    assert len(err.splitlines()) == 1


def test_opencvs_lack_of_memory_is_known():
    import cv2

    error = cv2.error("Failed to allocate 921600 bytes")
    error.code = cv2.Error.StsNoMem
    assert is_out_of_memory(error)
    error.code = cv2.Error.StsBadArg
    assert not is_out_of_memory(error)


def _old_litert() -> bool:
    """Whether LiteRT is of a version that may hang when the process ends after it had no memory."""
    try:
        major, minor = importlib.metadata.version("ai-edge-litert").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) < (2, 3)


@pytest.mark.heavy
@pytest.mark.skipif(_old_litert(), reason="LiteRT before 2.3 may hang at its own end without memory")
def test_no_limit_of_memory_ends_in_a_crash_or_hangs(photo):
    """OpenCV's OpenBLAS, with more than one thread, crashes at 350 MB, where all works with one."""
    codes = [limited(megabytes, "predict", photo).returncode for megabytes in range(100, 550, 50)]
    assert set(codes) == {0, 1}
    assert codes == sorted(codes, reverse=True)


def test_a_picture_too_large_for_the_memory_is_told_as_such(tmp_path):
    """243 MB of pixels, packed into some kilobytes."""
    import cv2

    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.zeros((9000, 9000), np.uint8))
    done = limited(450, "predict", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "fer-edge predict: not enough memory: " in done.stderr


@pytest.mark.heavy
def test_classifiers_load_in_parallel_and_leave_stderr_alone():
    from concurrent.futures import ThreadPoolExecutor

    before = os.stat(2)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: fer_edge.load_classifier(), range(60)))
    after = os.stat(2)
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)


def test_a_model_file_counts_with_its_own_precision():
    suffix = fer_edge.load_classifier().file.path.suffix
    classifier = fer_edge.load_classifier(WEIGHTS / f"edge-fp32{suffix}")
    assert classifier.precision == "fp32"
    assert classifier.predict(np.zeros((1, 48, 48), np.uint8)).shape == (1, 7)


def test_every_extra_that_a_message_names_exists():
    text = "".join(path.read_text() for folder in ("fer_edge", "train", "export") for path in
                   (REPOSITORY / folder).rglob("*.py"))  # fmt: skip
    named = set(re.findall(r"fer-edge\[(\w+)\]", text))
    named |= set(re.findall(r'MissingExtraError\([^)]*"(\w+)"\)', text))
    named |= set(re.findall(r'extra: str = "(\w+)"', text))
    project = (REPOSITORY / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[project.scripts]")[0]
    assert {"train", "export", "demo", "plots", "onnx"} <= named
    assert named <= set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
