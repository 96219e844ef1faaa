"""What the doctor says of a machine that computes wrongly."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fer_edge import kernels
from fer_edge.checks import installation
from fer_edge.labels import LABELS
from fer_edge.models import backends
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import WEIGHTS, model_files


def faults(cli) -> list[str]:
    """Details of the faults that ``fer-edge doctor`` prints; the exit code has to go with them."""
    code, out, _ = cli("doctor", "--json")
    found = [finding["detail"] for finding in json.loads(out) if finding["state"] == "fault"]
    assert code == (1 if found else 0)
    return found


def usable():
    return [file for file in model_files() if file.backend in available_backends()]


def test_every_bundled_file_gives_the_answer_of_its_manifest(cli):
    assert all(file.reference is not None for file in model_files())
    details = [finding.detail for finding in installation._backends() if finding.state == "ok"]
    assert len(details) == len(usable()) >= 4
    assert all("computes correctly" in detail for detail in details)
    assert faults(cli) == []


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("head", LABELS)
def test_a_runtime_whose_logits_are_off_is_a_fault(cli, monkeypatch, backend, head):
    """Two steps of int8, two logits of fp32, in one place of either output."""
    session = {"litert": backends.LiteRTSession, "onnx": backends.OnnxSession}[backend]
    run = session.run

    def wrong(self, heads):
        outputs = [output.copy() for output in run(self, heads)]
        outputs[heads.index(head)].reshape(-1)[3] -= 2
        return outputs

    monkeypatch.setattr(session, "run", wrong)
    found = faults(cli)
    assert len(found) == sum(file.backend == backend for file in model_files())
    assert all(f"computes wrongly on {backend}" in detail for detail in found)
    assert any("off by 2 steps (at most 1)" in detail for detail in found)
    other = {"litert": "onnx", "onnx": "litert"}[backend]
    remedies = [one.remedy for one in installation._backends() if one.state == "fault"]
    assert all(remedy.startswith(f"--backend {other}; pip install --upgrade ") for remedy in remedies)


@pytest.mark.parametrize("head", LABELS)
def test_one_step_is_no_fault_and_two_are(head):
    file = next(file for file in usable() if file.precision == "int8")
    assert file.reference is not None

    def state(steps: int) -> str:
        first, *others = file.reference.logits[head]
        logits = {**file.reference.logits, head: (first + steps, *others)}
        return installation._answer(replace(file, reference=replace(file.reference, logits=logits))).state

    assert [state(steps) for steps in (-2, -1, 0, 1, 2)] == ["fault", "ok", "ok", "ok", "fault"]


def test_a_lack_of_runtimes_is_a_fault_with_the_command(monkeypatch):
    monkeypatch.setattr(installation, "available_backends", list)
    (finding,) = installation._backends()
    assert (finding.state, finding.detail) == ("fault", "no runtime is installed")
    assert finding.remedy == "pip install ai-edge-litert, or pip install 'fer-edge[onnx]'"


@pytest.mark.parametrize(("pure", "remedy"), [("1", "unset FER_EDGE_PURE"), ("0", "install a wheel; or ")])
def test_the_slow_path_is_a_note_with_what_helps(monkeypatch, pure, remedy):
    monkeypatch.setenv("FER_EDGE_PURE", pure)
    monkeypatch.setattr(installation, "EXTENSION", False)
    finding = installation._extension()
    assert finding.state == "note"
    assert finding.remedy.startswith(remedy)


def test_an_answer_to_another_face_is_a_fault():
    file = usable()[0]
    assert file.reference is not None
    finding = installation._answer(replace(file, reference=replace(file.reference, face=1)))
    assert finding.state == "fault"
    assert "another reference face" in finding.detail


def test_a_manifest_without_answers_is_a_note():
    finding = installation._answer(replace(usable()[0], reference=None))
    assert finding.state == "note"


@pytest.mark.usefixtures("kernels")
def test_both_paths_crop_to_the_byte():
    assert installation._crops().state == "ok"


@pytest.mark.parametrize("name", ["crop_usual", "crop_faces"])
def test_kernels_that_are_off_by_one_level_are_a_fault(cli, monkeypatch, kernels, name):
    """On the C path ``crop_usual`` cuts upright squares out of colour frames, ``crop_faces`` all else."""
    original = getattr(kernels, name)

    def wrong(*arguments):
        result = original(*arguments)
        out = arguments[2] if name == "crop_usual" else arguments[-1]
        if name == "crop_faces" or result:
            out[1, 20, 20] += 1
        return result

    monkeypatch.setattr(kernels, name, wrong)
    found = " ".join(faults(cli))
    others = "grey int8, grey float32, turned"
    if kernels.__name__.endswith("_native"):
        assert f"in {'colour' if name == 'crop_usual' else others} crops" in found
    else:
        assert (f"in colour, {others} crops" in found) == (name == "crop_faces")


def test_kernels_that_raise_are_a_fault(cli, monkeypatch):
    def broken(*arguments):
        raise OverflowError("Python integer 300 out of bounds for uint8")

    monkeypatch.setattr(kernels.implementation, "crop_usual", broken)
    assert "out of bounds" in " ".join(faults(cli))


def test_reference_face_is_the_drawn_one():
    from fer_edge.models.reference import reference_face, reference_frame

    face, frame = reference_face(), reference_frame()
    assert (face.shape, face.dtype, frame.shape, frame.dtype) == ((48, 48), np.uint8, (120, 160, 3), np.uint8)
    assert (face.min(), face.max()) == (0, 255)
    assert len(np.unique(face)) > 80


@pytest.mark.parametrize("error", ["ValueError('numpy.dtype size changed')", "AttributeError('_ARRAY_API')"])
@pytest.mark.parametrize("module", ["ai_edge_litert.interpreter", "onnxruntime", "cv2"])
def test_packages_that_fail_to_load_are_told_and_the_other_runtime_serves(tmp_path, module, error):
    """In a process of its own, because here the real ones are loaded."""
    if len(available_backends()) < 2:
        pytest.skip("there is one runtime only")
    package, _, submodule = module.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / f"{submodule or '__init__'}.py").write_text(f"raise {error}\n")
    code = (
        "import fer_edge; from fer_edge.checks.installation import examine\n"
        "found = [(one.state, one.subject) for one in examine() if one.state != 'ok']\n"
        "print([pair for pair in found if pair[1] in ('backend', 'detector')])\n"
        "print(fer_edge.load_classifier().backend)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # A runtime beside one that works is no fault; without a detector nothing finds faces.
    expected = "('fault', 'detector')" if module == "cv2" else "('note', 'backend')"
    assert expected in out.splitlines()[0]
    assert ("'fault'" in out.splitlines()[0]) == (module == "cv2")
    assert out.splitlines()[1] == ("onnx" if package == "ai_edge_litert" else "litert")
    command = [sys.executable, "-m", "fer_edge", "doctor"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == (module == "cv2")
    # pip takes what is broken for installed.
    name = {"cv2": "opencv-python-headless", "onnxruntime": "onnxruntime"}.get(package, "ai-edge-litert")
    line = next(text for text in done.stdout.splitlines() if "broken: " in text)
    assert re.search(rf"\. pip uninstall -y [^;]*{name}[^;]*; pip install '?{name}", line), line


def changed(content: bytes) -> bytes:
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


@pytest.mark.parametrize(
    ("change", "words"),
    [(changed, "damaged or exchanged"), (lambda content: content[:-1], "cut off or exchanged")],
)
def test_weights_that_were_changed_are_a_fault_with_the_command(tmp_path, monkeypatch, change, words):
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    path = tmp_path / "weights" / "edge-int8.tflite"
    path.write_bytes(change(path.read_bytes()))
    monkeypatch.setattr(installation, "model_files", lambda: model_files(tmp_path / "weights"))
    (finding,) = [one for one in installation._weights() if one.state != "ok"]
    assert finding.state == "fault"
    assert "edge-int8.tflite" in finding.detail
    assert words in finding.detail
    assert finding.remedy.startswith("pip install --force-reinstall --no-deps fer-edge")
