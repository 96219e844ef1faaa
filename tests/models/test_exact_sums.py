"""int8 answers on an x86-64 processor without VNNI, where ONNX Runtime's usual kernels cut off sums.

qemu-user emulates one on any x86-64 machine.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import development_data
from reference import drawn_faces

import fer_edge
from fer_edge.labels import LABELS, Labels
from fer_edge.models import backends
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import bundled_models

PROCESSOR = "Haswell"
"""AVX2 without VNNI."""
FACES = {"edge": 100, "nano": 300}
"""Of PublicTest: as many as take some seconds."""
PROGRAM = """
import sys
import numpy as np
import fer_edge
from fer_edge.labels import LABELS, Labels
from fer_edge.models import backends
folder = sys.argv[1]
assert backends._cuts_off_sums(), "the emulated processor has exact kernels"
for model in sys.argv[2:]:
    faces = np.load(f"{folder}/{model}.npy")
    for backend in ("litert", "onnx"):
        for head, logits in fer_edge.load_classifier(model, backend).logits(faces).items():
            np.save(f"{folder}/{model}-{backend}-{head}.npy", logits)
backends._cuts_off_sums = lambda: False
classifier = fer_edge.load_classifier("nano", "onnx")
for head, logits in classifier.logits(np.load(f"{folder}/nano.npy")[:14]).items():
    np.save(f"{folder}/inexact-{head}.npy", logits)
"""

needs_onnx = pytest.mark.skipif("onnx" not in available_backends(), reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """Folder with faces and with the logits that the emulated processor computes for them."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if platform.machine() != "x86_64":
        pytest.skip(f"Python's packages are for {platform.machine()}, not for x86-64")
    if emulator is None:
        pytest.skip("no qemu-x86_64: sudo apt-get install qemu-user")
    if len(available_backends()) < 2:
        pytest.skip("needs LiteRT and ONNX Runtime")
    folder = tmp_path_factory.mktemp("emulated")
    for model in bundled_models():
        np.save(folder / f"{model}.npy", np.concatenate([drawn_faces(), *_photographs(FACES[model])]))
    command = [emulator, "-cpu", PROCESSOR, sys.executable, "-c", PROGRAM, folder, *bundled_models()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def _photographs(count: int) -> list[np.ndarray]:
    path = development_data("FER2013_CSV")
    if path is None:
        return []
    dataset = fer_edge.read_fer2013(path)
    return [dataset.pixels[dataset.usage == "PublicTest"][:count]]


def steps(model: str, head: Labels, first: np.ndarray, second: np.ndarray) -> int:
    scale = fer_edge.load_classifier(model).file.outputs[head].scale
    return round(float(np.abs(first - second).max()) / scale)


@pytest.mark.heavy
@pytest.mark.parametrize("model", bundled_models())
def test_both_runtimes_answer_without_vnni_as_with_it(emulated, model):
    faces = np.load(emulated / f"{model}.npy")
    here = fer_edge.load_classifier(model, "litert").logits(faces)
    assert here.keys() == set(LABELS)
    for backend in available_backends():
        for head, logits in here.items():
            there = np.load(emulated / f"{model}-{backend}-{head}.npy")
            assert steps(model, head, logits, there) <= 1
            assert np.mean(logits.argmax(1) == there.argmax(1)) >= 0.998


@pytest.mark.heavy
def test_the_usual_kernels_would_not(emulated):
    faces = np.load(emulated / "nano.npy")[:14]
    for head, logits in fer_edge.load_classifier("nano", "litert").logits(faces).items():
        assert steps("nano", head, logits, np.load(emulated / f"inexact-{head}.npy")) > 2


@needs_onnx
@pytest.mark.parametrize("model", bundled_models())
def test_both_kinds_of_kernels_load_the_bundled_files_and_agree(monkeypatch, model):
    """Where sums are exact anyway, the option changes the kernels, and no answer."""
    if backends._cuts_off_sums():
        pytest.skip("this processor has no exact kernels but those of the option")
    answers = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cut_off in (False, True):
            monkeypatch.setattr(backends, "_cuts_off_sums", lambda value=cut_off: value)
            answers.append(fer_edge.load_classifier(model, "onnx").logits(drawn_faces()))
    for head in LABELS:
        np.testing.assert_array_equal(*(one[head] for one in answers))


@needs_onnx
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo")
def test_the_probe_knows_processors_with_vnni():
    flags = Path("/proc/cpuinfo").read_text()
    if "vnni" not in flags and platform.machine() == "x86_64":
        pytest.skip("this processor has no VNNI; without AVX2 it may be exact, too")
    assert not backends._cuts_off_sums()


@needs_onnx
def test_the_probe_is_what_it_says():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(backends._PROBE)
    onnx.checker.check_model(model)
    (node,), (weights,) = model.graph.node, model.graph.initializer
    assert node.op_type == "MatMulInteger"
    assert onnx.numpy_helper.to_array(weights).ravel().tolist() == [127, 127]
